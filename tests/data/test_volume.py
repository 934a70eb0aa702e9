"""MRC volumes and stacks: what is written, and what is refused on reading."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from civa.data.stack import read_stack, write_stack
from civa.data.volume import read_shape, read_volume, standardize, write_volume

HEADER_BYTES = 1024
STORED = {np.int8: 0, np.float32: 2, np.float16: 12}  # type -> mode of the MRC2014 format


def numbers(shape: tuple[int, ...], dtype: type = np.float32) -> NDArray:
    """Voxels that differ along every axis; the fractions are exact even in float16."""
    counted = (np.arange(np.prod(shape)) % 127).reshape(shape)
    return (counted if dtype == np.int8 else counted / 128).astype(dtype)


def written(path: Path) -> bytes:
    """Write a small volume and return the bytes of its file."""
    write_volume(path, numbers((4, 5, 6)), voxel_size_angstrom=10)
    return path.read_bytes()


@pytest.mark.parametrize(("dtype", "mode"), STORED.items())
def test_a_volume_comes_back_as_it_was(tmp_path: Path, dtype: type, mode: int) -> None:
    path, volume = tmp_path / "volume.mrc", numbers((4, 5, 6), dtype)
    write_volume(path, volume, voxel_size_angstrom=13.5)
    back, voxel_size = read_volume(path)
    np.testing.assert_array_equal(back, volume)
    assert back.dtype == volume.dtype
    assert voxel_size == 13.5  # a power-of-two fraction: exact in the header's float32
    assert mrcfile.validate(path)
    with mrcfile.open(path, header_only=True) as mrc:
        assert (mrc.header.ispg, mrc.header.mode) == (1, mode)  # 1: a volume, no image stack
        assert (mrc.header.nx, mrc.header.ny, mrc.header.nz) == (6, 5, 4)  # x is fastest


def test_booleans_are_stored_as_int8(tmp_path: Path) -> None:
    path, mask = tmp_path / "mask.mrc", numbers((4, 4, 4)) > 0.25
    write_volume(path, mask, voxel_size_angstrom=10)  # the docstring promises it
    back, _ = read_volume(path)
    np.testing.assert_array_equal(back, mask.astype(np.int8))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.complex64])
def test_types_that_mrc_would_narrow_silently_are_refused(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "wide.mrc"
    with pytest.raises(ValueError, match=r"wide\.mrc: cannot store \w+64 .*use int8"):
        write_volume(path, numbers((4, 4, 4), dtype), voxel_size_angstrom=10)
    assert not path.exists()


@pytest.mark.parametrize("bad", [np.zeros((2,) * 5, np.float32), np.zeros((4, 4, 4))])
def test_a_failed_write_leaves_the_previous_file(tmp_path: Path, bad: NDArray) -> None:
    # five axes fail inside mrcfile, when the temporary file is already open
    path = tmp_path / "volume.mrc"
    before = written(path)
    with pytest.raises(ValueError, match=r"dimension|float64"):
        write_volume(path, bad, voxel_size_angstrom=10)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path, volume = tmp_path / "nan.mrc", numbers((4, 4, 4))
    volume[1, 2, 3] = value
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.zeros_like(volume))
        mrc.data[:] = volume
        mrc.voxel_size = 10
    with pytest.raises(ValueError, match=r"nan\.mrc holds NaN or infinite voxels"):
        read_volume(path)


@pytest.mark.parametrize("voxel_size", [0.0, 0.1, (10, 10, 12)])
def test_unusable_voxel_sizes_are_refused_unless_overridden(
    tmp_path: Path, voxel_size: float | tuple[float, ...]
) -> None:
    # 0 is a missing one, 0.1 is 1 Å in nanometres, and unequal ones are no cube
    path = tmp_path / "header.mrc"
    with mrcfile.new(path, data=numbers((4, 4, 4))) as mrc:
        mrc.voxel_size = voxel_size
    with pytest.raises(ValueError, match=r"header\.mrc: .*voxel size.*--voxel-size-angstrom"):
        read_volume(path)
    _, stated = read_volume(path, voxel_size_angstrom=8)
    assert stated == 8


@pytest.mark.parametrize("voxel_size", [0.0, -10.0, float("nan")])
def test_an_override_must_be_a_size_too(tmp_path: Path, voxel_size: float) -> None:
    path = tmp_path / "volume.mrc"
    written(path)
    with pytest.raises(ValueError, match="voxel size"):
        read_volume(path, voxel_size_angstrom=voxel_size)


@pytest.mark.parametrize("kept", [0, 500, HEADER_BYTES, HEADER_BYTES + 100])
def test_a_truncated_volume_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.mrc"
    path.write_bytes(written(tmp_path / "whole.mrc")[:kept])
    with pytest.raises(ValueError, match=r"cut\.mrc is (not a readable MRC|no MRC)"):
        read_volume(path)


@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_a_truncated_gzip_volume_is_named(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(written(tmp_path / "whole.mrc"))
    path = tmp_path / "cut.mrc.gz"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.mrc\.gz is (not a readable MRC|no MRC)"):
        read_volume(path)


def test_a_truncated_stack_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.mrcs"
    write_stack(path, numbers((2, 4, 4, 4)), voxel_size_angstrom=10)
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ValueError, match=r"cut\.mrcs is not a readable MRC stack"):
        read_stack(path)


@pytest.mark.parametrize("length", [200, 4000])  # shorter and longer than a header
def test_a_web_page_saved_as_mrc_is_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "page.mrc"
    path.write_text("<!DOCTYPE html><html>404".ljust(length))
    with pytest.raises(ValueError, match=r"page\.mrc is (not a readable MRC|no MRC)"):
        read_volume(path)
    with pytest.raises(ValueError, match=r"page\.mrc is not a readable MRC stack"):
        read_stack(path)


def test_a_header_that_claims_a_terabyte_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path, whole = tmp_path / "huge.mrc", bytearray(written(tmp_path / "whole.mrc"))
    whole[:12] = np.array([6500, 6500, 6500], "<i4").tobytes()  # 4 x 6500^3 bytes = 1.1 TB
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"huge\.mrc is no MRC file or is cut short"):
        read_volume(path)


def test_odd_machine_stamps_and_gzip_are_read(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path / "whole.mrc"))
    whole[212:216] = bytes(4)  # the stamp's place in the header; some programs leave it empty
    (tmp_path / "stamp.mrc").write_bytes(whole)
    (tmp_path / "packed.mrc.gz").write_bytes(gzip.compress(written(tmp_path / "whole.mrc")))
    for name in ("stamp.mrc", "packed.mrc.gz"):
        back, voxel_size = read_volume(tmp_path / name)
        np.testing.assert_array_equal(back, numbers((4, 5, 6)))
        assert voxel_size == 10


def test_missing_files_and_wrong_ranks_are_named(tmp_path: Path) -> None:
    stack, volume = tmp_path / "s.mrcs", tmp_path / "v.mrc"
    write_stack(stack, numbers((2, 4, 4, 4)), voxel_size_angstrom=10)
    written(volume)
    with pytest.raises(ValueError, match=r"none\.mrc does not exist"):
        read_volume(tmp_path / "none.mrc")
    with pytest.raises(ValueError, match=r"none\.mrcs is not a readable MRC stack"):
        read_stack(tmp_path / "none.mrcs")
    with pytest.raises(ValueError, match=r"s\.mrcs has shape \(2, 4, 4, 4\): expected one volume"):
        read_volume(stack)
    with pytest.raises(ValueError, match=r"v\.mrc has shape \(4, 5, 6\): expected a volume stack"):
        read_stack(volume)


def test_standardize_takes_each_volume_by_itself() -> None:
    one = np.random.default_rng(0).normal(size=(8, 8, 8))
    volumes = np.stack([one, 1000 - 30 * one]).astype(np.float32)
    scaled = standardize(volumes)
    assert scaled.dtype == np.float32
    # a linear map with negative slope, then standardised: the same volume with its sign turned
    np.testing.assert_allclose(scaled[1], -scaled[0], atol=1e-4)
    np.testing.assert_allclose(scaled.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=(1, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("value", [0, 0.1, 1e6 + 1 / 3])  # 0.1 has no exact binary form
def test_a_constant_volume_is_refused(value: float) -> None:
    volumes = np.stack([numbers((8, 8, 8)), np.full((8, 8, 8), value, np.float32)])
    with pytest.raises(ValueError, match=r"boxes\.csv is constant"):
        standardize(volumes, source="boxes.csv")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_the_shape_is_that_of_the_header(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    content = written(tmp_path / "plain.mrc")  # (4, 5, 6)
    (tmp_path / "box.mrc").write_bytes(pack(content[: HEADER_BYTES + 8]))  # most voxels are missing
    assert read_shape(tmp_path / "box.mrc") == (4, 5, 6)


def test_a_file_without_a_header_has_no_shape(tmp_path: Path) -> None:
    content = written(tmp_path / "plain.mrc")
    (tmp_path / "box.mrc").write_bytes(content[: HEADER_BYTES // 2])
    for name in ("box.mrc", "none.mrc"):
        with pytest.raises(ValueError, match=name):
            read_shape(tmp_path / name)
