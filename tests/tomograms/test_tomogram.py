"""Tomograms are opened without being read, also compressed ones."""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from civa.data.volume import write_volume
from civa.tomograms.tomogram import Tomogram, unpacked

VOLUME = np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4)


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files_are_unpacked_and_taken_away(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    write_volume(tmp_path / "t.mrc", VOLUME, voxel_size_angstrom=10)
    packed = tmp_path / f"t.mrc{ending}"
    packed.write_bytes(compress((tmp_path / "t.mrc").read_bytes()))
    with unpacked(packed, tmp_path) as plain:
        whole = Tomogram.open(plain).window(np.zeros(3, int), np.array(VOLUME.shape))
        np.testing.assert_array_equal(whole, VOLUME)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.mrc", packed.name]


def test_a_compressed_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    packed = tmp_path / "t.mrc.gz"
    write_volume(tmp_path / "t.mrc", VOLUME, voxel_size_angstrom=10)
    packed.write_bytes(gzip.compress((tmp_path / "t.mrc").read_bytes())[:-20])
    with (
        pytest.raises(ValueError, match=r"t\.mrc\.gz cannot be unpacked"),
        unpacked(packed, tmp_path),
    ):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_is_not_packed_is_used_as_it_is(tmp_path: Path) -> None:
    with unpacked(tmp_path / "t.mrc", tmp_path) as plain:
        assert plain == tmp_path / "t.mrc"


def test_a_tomogram_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.mrc"
    write_volume(path, VOLUME, voxel_size_angstrom=10)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"t\.mrc is no tomogram that can be read"):
        Tomogram.open(path)


def test_a_single_image_is_no_tomogram(tmp_path: Path) -> None:
    path = tmp_path / "image.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(VOLUME[0])
        mrc.voxel_size = 10
    with pytest.raises(ValueError, match=r"image\.mrc is no tomogram .*\(5, 4\)\): expected one"):
        Tomogram.open(path)


def test_a_stated_voxel_size_stands_before_the_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.mrc"
    write_volume(path, VOLUME, voxel_size_angstrom=10)
    assert Tomogram.open(path).voxel_size_angstrom == 10
    assert Tomogram.open(path, voxel_size_angstrom=13.28).voxel_size_angstrom == 13.28
