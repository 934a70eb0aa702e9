"""Bytes without a sign, and axes in another order: what other programs' headers mean."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from civa.data.mrc import EXTRA2, IMOD_STAMP
from civa.data.volume import read_volume
from civa.tomograms.tomogram import Tomogram

VOLUME = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)


def stamped(path: Path, values: np.ndarray, *, flags: int) -> Path:
    """Write bytes with IMOD's stamp."""
    with mrcfile.new(path) as mrc:
        mrc.set_data(values.astype(np.uint8).view(np.int8))
        mrc.voxel_size = 10
    raw = bytearray(path.read_bytes())
    raw[EXTRA2 : EXTRA2 + 8] = np.array([IMOD_STAMP, flags], "<i4").tobytes()
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(("flags", "largest"), [(0, 240), (1, -16)])
def test_bytes_of_imod_have_the_sign_that_its_flag_says(
    tmp_path: Path, flags: int, largest: int
) -> None:
    values = np.full((3, 4, 5), 240)
    path = stamped(tmp_path / "bytes.rec", values, flags=flags)
    assert read_volume(path)[0][0, 0, 0] == largest
    window = Tomogram.open(path).window(np.array([0, 0, 0]), np.array([1, 1, 1]))
    assert window[0, 0, 0] == largest


def reordered(path: Path, axes: tuple[int, int, int]) -> Path:
    """Write `VOLUME` with the axes x, y, z = 1, 2, 3 as columns, rows and sections in an order."""
    columns, rows, sections = axes
    stored = VOLUME.transpose(3 - sections, 3 - rows, 3 - columns)
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ascontiguousarray(stored))
        mrc.header.mapc, mrc.header.mapr, mrc.header.maps = axes
        mrc.header.mx, mrc.header.my, mrc.header.mz = VOLUME.shape[::-1]
        mrc.header.cella = (50, 40, 30)
    return path


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (2, 3, 1), (3, 1, 2)])
def test_axes_come_back_as_z_y_x(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    path = reordered(tmp_path / "map.mrc", axes)
    volume, voxel_size = read_volume(path)
    np.testing.assert_array_equal(volume, VOLUME)
    assert voxel_size == 10
    tomogram = Tomogram.open(path)
    assert tomogram.shape == VOLUME.shape
    window = tomogram.window(np.array([1, 0, 2]), np.array([3, 4, 5]))
    np.testing.assert_array_equal(window, VOLUME[1:3, :, 2:5])


def test_axes_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "axes.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(VOLUME)
        mrc.voxel_size = 10
        mrc.header.mapc = 3
    with pytest.raises(ValueError, match=r"axes\.mrc names its axes \[3, 2, 3\] \(MAPC"):
        read_volume(path)


def test_complex_voxels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "transform.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(VOLUME.astype(np.complex64))
        mrc.voxel_size = 10
    for read in (read_volume, Tomogram.open):
        with pytest.raises(ValueError, match=r"transform\.mrc holds complex voxels .*give the vol"):
            read(path)
