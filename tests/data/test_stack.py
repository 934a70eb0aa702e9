"""Stacks of volumes: written and read a few at a time, in any order."""

import itertools
import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from stored import stored

from civa.data import stack as stacks
from civa.data.stack import (
    VOLUME_STACK,
    Stack,
    open_volumes,
    read_stack,
    write_batches,
    write_masks,
    write_stack,
)

STORED = {np.int8: 0, np.float32: 2, np.float16: 12}  # type -> mode of the MRC2014 format


def numbers(n: int, shape: tuple[int, ...] = (4, 5, 6), dtype: type = np.float32) -> NDArray:
    """Voxels that differ along every axis; the fractions are exact even in float16."""
    counted = (np.arange(n * np.prod(shape)) % 127).reshape(n, *shape)
    return (counted if dtype == np.int8 else counted / 128).astype(dtype)


@pytest.mark.parametrize(("dtype", "mode"), STORED.items())
def test_a_stack_comes_back_as_it_was(tmp_path: Path, dtype: type, mode: int) -> None:
    path, volumes = tmp_path / "stack.mrcs", numbers(3, dtype=dtype)
    write_stack(path, volumes, voxel_size_angstrom=13.5)
    np.testing.assert_array_equal(read_stack(path), volumes)
    stack = Stack.open(path)
    assert (stack.shape, stack.dtype, stack.voxel_size_angstrom) == ((3, 4, 5, 6), dtype, 13.5)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:  # an independent reader
        np.testing.assert_array_equal(mrc.data, volumes)
        assert (mrc.header.ispg, mrc.header.mode) == (VOLUME_STACK, mode)
        assert (mrc.header.mz, mrc.header.nz) == (4, 12)  # MRC2014: mz per volume, nz in all
        assert float(mrc.header.dmin) == volumes.min()
        assert float(mrc.header.dmax) == volumes.max()
        assert float(mrc.header.dmean) == pytest.approx(volumes.mean(dtype=float))
        assert float(mrc.header.rms) == pytest.approx(volumes.std(dtype=float))


def test_the_space_group_of_volume_stacks_is_that_of_the_format() -> None:
    assert VOLUME_STACK == 401  # MRC2014, note 6


def test_a_stack_of_one_volume_stays_a_stack(tmp_path: Path) -> None:
    assert stored(tmp_path, numbers(1)).shape == (1, 4, 5, 6)
    assert read_stack(tmp_path / "stack.mrcs").shape == (1, 4, 5, 6)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([0, 1, 2]),
        np.array([6, 2, 3, 4, 0]),  # a run in the middle
        np.array([5, 5, 1]),  # one volume twice
        np.array([], dtype=int),
        np.arange(7) % 2 == 0,
        slice(1, None, 2),
        slice(None),
        ...,
    ],
)
def test_rows_are_those_of_the_array(tmp_path: Path, rows: object) -> None:
    volumes = numbers(7)
    np.testing.assert_array_equal(stored(tmp_path, volumes)[rows], volumes[rows])


def test_a_number_gives_one_volume(tmp_path: Path) -> None:
    volumes = numbers(3)
    stack = stored(tmp_path, volumes)
    for number in (0, np.int64(2), -1):
        np.testing.assert_array_equal(stack[number], volumes[number])


def test_batches_cover_all_rows_once_and_in_order(tmp_path: Path) -> None:
    stack = stored(tmp_path, numbers(7))
    assert [part.tolist() for part in stack.batches(size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    picked = np.array([6, 0, 3])
    assert [part.tolist() for part in stack.batches(picked, size=2)] == [[6, 0], [3]]
    assert [part.tolist() for part in stack.batches(np.arange(7) > 4, size=2)] == [[5, 6]]
    assert list(stack.batches(np.array([], dtype=int))) == []


def test_a_batch_has_as_many_voxels_whatever_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "BATCH_VOXELS", 64 * 32**3)
    for edge, expected in ((32, 64), (64, 8), (96, 2), (256, 1)):
        stack = Stack(Path("x"), (1000, edge, edge, edge), np.dtype(np.float32), 10.0, 1024)
        assert len(next(stack.batches())) == expected


def test_volumes_may_be_written_in_any_order(tmp_path: Path) -> None:
    volumes, path = numbers(5), tmp_path / "out.mrcs"
    with write_batches(path, volumes.shape, np.float32, voxel_size_angstrom=10) as out:
        for rows in (np.array([4, 1]), np.array([0, 3]), slice(2, 3)):
            out[rows] = volumes[rows]
        assert not path.exists()  # until all of it is there
    np.testing.assert_array_equal(read_stack(path), volumes)


def test_a_volume_that_is_not_written_is_no_stack(tmp_path: Path) -> None:
    path = tmp_path / "out.mrcs"
    with (
        pytest.raises(ValueError, match=r"volumes \[1\] of a stack were not written"),
        write_batches(path, (3, 2, 2, 2), np.int8, voxel_size_angstrom=10) as out,
    ):
        out[np.array([0, 2])] = np.zeros((2, 2, 2, 2))
    assert list(tmp_path.iterdir()) == []


def test_volumes_of_another_shape_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"volumes are \(2, 2, 2, 3\): expected \(2, 2, 2, 2\)"),
        write_batches(tmp_path / "o.mrcs", (3, 2, 2, 2), np.int8, voxel_size_angstrom=10) as out,
    ):
        out[np.array([0, 2])] = np.zeros((2, 2, 2, 3))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.complex64])
def test_types_that_mrc_would_narrow_are_refused(tmp_path: Path, dtype: type) -> None:
    with pytest.raises(ValueError, match=r"wide\.mrcs: cannot store \w+64 .*use int8"):
        write_stack(tmp_path / "wide.mrcs", numbers(2).astype(dtype), voxel_size_angstrom=10)
    assert list(tmp_path.iterdir()) == []


def test_what_a_stack_reads_is_its_own_copy(tmp_path: Path) -> None:
    stack = stored(tmp_path, numbers(2))
    before = stack.path.read_bytes()
    stack[:][0, 0, 0, 0] = 5
    assert stack.path.read_bytes() == before


def test_a_stack_of_another_length_is_refused(tmp_path: Path) -> None:
    stack = stored(tmp_path, numbers(2))
    assert stack.expect_volumes(2) is stack
    with pytest.raises(ValueError, match=r"stack\.mrcs holds 2 volumes: expected .* the 3 rows"):
        stack.expect_volumes(3)


def test_only_standardised_volumes_are_volumes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((3, 16, 16, 16)).astype(np.float32)
    assert len(open_volumes(stored(tmp_path, noise).path)) == 3
    for wrong in (noise + 0.5, 3 * noise, noise * np.nan):
        with pytest.raises(
            ValueError, match=r"stack\.mrcs holds volumes of mean .* expected 0 and 1"
        ):
            open_volumes(stored(tmp_path, wrong).path)


def test_masks_are_written_and_the_empty_ones_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    like = stored(tmp_path, numbers(5))
    labels = np.array([1, 0, 2, 0, 1], dtype=np.int8)

    def masks(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        return np.ones((len(rows), 4, 5, 6), dtype=np.int8) * labels[rows, None, None, None]

    assert write_masks(tmp_path / "masks.mrcs", like, masks, cut="a cut") == 2
    assert read_stack(tmp_path / "masks.mrcs")[:, 0, 0, 0].tolist() == labels.tolist()
    assert "2 of 5 masks are empty (a cut)" in caplog.text


def test_memory_does_not_grow_with_the_number_of_volumes(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        path, shape = tmp_path / f"{n}.mrcs", (n, 32, 32, 32)
        tracemalloc.start()
        with write_batches(path, shape, np.float32, voxel_size_angstrom=10) as out:
            for start in range(0, n, 64):
                out[start : start + 64] = np.ones((min(64, n - start), 32, 32, 32), np.float32)
        stack = Stack.open(path)
        assert sum(float(stack[rows].sum()) for rows in stack.batches()) == n * 32**3
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        path.unlink()
        return most

    assert peak(640) < 1.05 * peak(128)


def test_every_pair_of_rows_is_read_right(tmp_path: Path) -> None:
    volumes = numbers(4, (2, 2, 2))
    stack = stored(tmp_path, volumes)
    for pair in itertools.product(range(4), repeat=2):
        np.testing.assert_array_equal(stack[np.array(pair)], volumes[list(pair)])
