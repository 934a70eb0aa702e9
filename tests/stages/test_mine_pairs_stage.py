"""mine-pairs on tiny class-maps: the pairs of Eqs. (5) to (7), of training volumes alone."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_set import DATA, TinySet

EDGE = 4
PARTS = ["test", "train", "validation", "train", "train", "test"]
LABELS = [1, 2, 1, 1, 2, 2]
TRAIN = [1, 3, 4]
FILES = {"class_maps": "maps.mrcs", **DATA, "out": "pairs.npz"}
SIDES = ("boundary", "background")
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def class_maps(seed: int = 0) -> NDArray[np.int8]:
    generator = np.random.default_rng(seed)
    shown = generator.random((len(PARTS), *(EDGE,) * 3)) < 0.3
    return (shown * np.reshape(LABELS, (-1, 1, 1, 1))).astype(np.int8)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_stack("maps.mrcs", class_maps())
    return made


def mined(data: TinySet) -> dict[str, NDArray]:
    with np.load(data.path("pairs.npz"), allow_pickle=False) as archive:
        members = dict(archive)
    both = np.stack([members.pop(f"pairs_{index}") for index in members["indices"]], axis=1)
    return {**members, **dict(zip(SIDES, both, strict=True))}  # (n, o, d h w / 8) each


def unpacked(pairs: dict[str, NDArray], side: str, volume: int) -> set[Pair]:
    """Return the pairs of one volume; both voxels follow from the anchor, the least corner."""
    bits = np.unpackbits(pairs[side][volume], axis=1, count=EDGE**3)
    found = set()
    for offset, anchors in zip(pairs["offsets"], bits.reshape(-1, *(EDGE,) * 3), strict=True):
        for anchor in np.argwhere(anchors):
            p = anchor - np.minimum(0, offset)
            found.add(tuple(sorted((tuple(p.tolist()), tuple((p + offset).tolist())))))
    return found


def by_definition(labels: NDArray, radius: float) -> tuple[set[Pair], set[Pair]]:
    """S^- and S^+_bg of one class-map, from all pairs of its voxels."""
    unlike, background = set(), set()
    for p, q in combinations(np.ndindex(labels.shape), 2):
        if sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) < radius**2:
            if labels[p] != labels[q]:
                unlike.add((p, q))
            elif labels[p] == 0:
                background.add((p, q))
    return unlike, background


@pytest.mark.parametrize("radius", [2.0, 2.5])
def test_pairs_are_those_of_the_training_volumes_by_definition(
    data: TinySet, radius: float
) -> None:
    data.run("mine-pairs", FILES, radius=radius)
    pairs = mined(data)
    assert pairs["indices"].tolist() == TRAIN
    assert pairs["shape"].tolist() == [EDGE] * 3
    assert pairs["boundary"].shape == (len(TRAIN), len(pairs["offsets"]), EDGE**3 // 8)
    for position, row in enumerate(TRAIN):
        expected = by_definition(class_maps()[row], radius)
        assert tuple(unpacked(pairs, side, position) for side in SIDES) == expected


def test_class_maps_and_labels_of_held_out_volumes_give_no_pair(data: TinySet) -> None:
    data.run("mine-pairs", FILES)
    before = mined(data)
    held_out = np.array(PARTS) != "train"
    maps = np.where(held_out[:, None, None, None], class_maps(seed=1), class_maps())
    data.write_stack("maps.mrcs", maps)
    data.write_tables(np.where(held_out, 3 - np.array(LABELS), LABELS), PARTS)
    data.run("mine-pairs", FILES)
    after = mined(data)
    assert set(before) == set(after)
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


def test_an_empty_class_map_gives_every_background_pair_and_a_warning(
    data: TinySet, caplog: pytest.LogCaptureFixture
) -> None:
    maps = class_maps()
    maps[3] = 0
    data.write_stack("maps.mrcs", maps)
    data.run("mine-pairs", FILES)
    pairs = mined(data)
    assert unpacked(pairs, "boundary", 1) == set()
    # Half of the 26 neighbours: 3 edges of 3 x 4 x 4, 6 diagonals of 3 x 3 x 4, 4 of 3 x 3 x 3.
    assert len(unpacked(pairs, "background", 1)) == 3 * 48 + 6 * 36 + 4 * 27
    assert "1 of 3 pseudo labels are empty" in caplog.text


def test_class_maps_of_other_volumes_are_refused(
    data: TinySet, caplog: pytest.LogCaptureFixture
) -> None:
    data.write_stack("pseudo.mrcs", class_maps()[:-1])
    assert data.status("mine-pairs", {**FILES, "class_maps": "pseudo.mrcs"}) == 1
    assert "pseudo.mrcs holds" in caplog.text
    assert "rows of the particle table" in caplog.text
