"""Affinity pairs on disk come back as they were sampled."""

from pathlib import Path

import numpy as np
import pytest

from civa.civanet.affinity import pair_offsets, sample_pairs
from civa.data.pairs import Pairs, write_pairs

SHAPE = (4, 5, 6)
OFFSETS = pair_offsets(2)


def sampled(seed: int) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 3, size=SHAPE)
    return np.stack(sample_pairs(labels, OFFSETS))  # (2, o, d, h, w)


def write(path: Path) -> None:
    indices = np.array([7, 2, 11])
    with write_pairs(path, indices, OFFSETS, SHAPE) as out:
        for index in indices:
            out.add(int(index), sampled(int(index)))


def test_pairs_come_back_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "pairs.npz")
    pairs = Pairs(tmp_path / "pairs.npz")
    assert pairs.indices.tolist() == [7, 2, 11]
    assert (pairs.offsets, pairs.shape) == (OFFSETS, SHAPE)
    boundary, background = pairs[np.array([2, 0])]
    for row, index in enumerate((11, 7)):
        np.testing.assert_array_equal(boundary[row], sampled(index)[0])
        np.testing.assert_array_equal(background[row], sampled(index)[1])


def test_the_archive_is_one_that_numpy_reads(tmp_path: Path) -> None:
    write(tmp_path / "pairs.npz")
    with np.load(tmp_path / "pairs.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {
            "indices",
            "offsets",
            "shape",
            "pairs_2",
            "pairs_7",
            "pairs_11",
        }
        # 13 offsets, one bit for each of 120 anchors
        assert archive["pairs_2"].shape == (2, 13, 15)


def test_equal_pairs_give_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.npz")
    write(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_what_is_no_archive_of_pairs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"pairs\.npz is not a file of pairs .*rerun 'mine-pairs'"):
        Pairs(path)
    with write_pairs(path, np.array([3]), OFFSETS, SHAPE):
        pass  # no pairs of volume 3
    with pytest.raises(ValueError, match=r"pairs\.npz has no pairs of volume 3"):
        Pairs(path)[np.array([0])]
