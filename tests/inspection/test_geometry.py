"""Tilt axis and range, measured from voxels of tomograms whose tilts are known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from shared import shared

from civa.data.volume import write_volume
from civa.inspection.geometry import Geometry, measure_geometry
from civa.tomograms.tomogram import Tomogram, unpacked

SHAPE = (96, 160, 160)


def frequencies(axis_deg: float) -> tuple[NDArray, NDArray]:
    """Frequencies along z, and across a tilt axis in the xy plane, in cycles per voxel."""
    z, y, x = np.meshgrid(*map(np.fft.fftfreq, SHAPE), indexing="ij")
    turn = np.deg2rad(axis_deg)
    return z, x * np.cos(turn) - y * np.sin(turn)


def tilted(axis_deg: float, tilts: NDArray, *, decay: float, floor: float) -> NDArray:
    """Noise imaged at some tilts: planes in Fourier space, high tilts weaker, ramp-weighted."""
    z, across = frequencies(axis_deg)
    weight = np.zeros(SHAPE)
    for tilt in np.deg2rad(tilts):
        apart = z * np.cos(tilt) - across * np.sin(tilt)
        weight += np.exp(-((apart * SHAPE[0]) ** 2) * 2 - decay * abs(tilt))
    weight *= 0.01 + np.hypot(z, across)
    noise = np.fft.fftn(np.random.default_rng(0).normal(size=SHAPE))
    return np.fft.ifftn(noise * (weight + floor * weight.mean())).real


def measured(path: Path, volume: NDArray) -> Geometry:
    write_volume(path, volume.astype(np.float32), voxel_size_angstrom=10)
    return measure_geometry(Tomogram.open(path))


@pytest.mark.parametrize(
    ("axis", "first", "last", "decay", "floor"),
    [
        pytest.param(0, -60, 60, 0.0, 0.0, marks=pytest.mark.slow),
        (0, -54, 60, 0.7, 0.1),
        pytest.param(0, -45, 60, 0.7, 0.1, marks=pytest.mark.slow),
        (88, -60, 57, 0.7, 0.2),
        pytest.param(-35, -51, 51, 1.0, 0.1, marks=pytest.mark.slow),
    ],
)
def test_axis_and_range_are_those_of_the_tilts(
    tmp_path: Path, axis: float, first: float, last: float, decay: float, floor: float
) -> None:
    volume = tilted(axis, np.arange(first, last + 1, 3), decay=decay, floor=floor)
    found = measured(tmp_path / "t.mrc", volume)
    assert found.is_measured
    assert abs(found.axis_deg - axis) <= 2
    assert found.tilts_deg == pytest.approx((first, last), abs=3)


@pytest.mark.slow
def test_gold_does_not_hide_the_wedge(tmp_path: Path) -> None:
    volume = tilted(0, np.arange(-60, 61, 3), decay=0.5, floor=0.1)
    volume /= volume.std()
    for place in np.random.default_rng(3).integers(4, 90, size=(40, 3)):
        volume[tuple(slice(p - 2, p + 3) for p in place)] -= 40
    assert measured(tmp_path / "t.mrc", volume).tilts_deg == pytest.approx((-60, 60), abs=4)


def test_noise_without_a_wedge_has_no_geometry(tmp_path: Path) -> None:
    found = measured(tmp_path / "t.mrc", np.random.default_rng(0).normal(size=SHAPE))
    assert not found.is_measured


@pytest.mark.parametrize("name", ["tomogram_raw.mrc.gz", "tomogram_phaseflipped.mrc.gz"])
def test_a_tomogram_of_other_programs(tmp_path: Path, name: str) -> None:
    with unpacked(shared("crowded", "tomogram1", name), tmp_path) as plain:
        found = measure_geometry(Tomogram.open(plain))
    print(f"{name}: axis {found.axis_deg:g}, tilts {found.tilts_deg}; truth 0, (-54, 60)")
    assert abs(found.axis_deg) <= 3
    assert found.tilts_deg == pytest.approx((-54, 60), abs=3)


@pytest.mark.parametrize("shape", [(32, 80, 80), (36, 80, 80), (40, 96, 80)])
def test_smooth_noise_in_thin_tomograms_has_no_geometry(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=shape)
        found = measured(tmp_path / "t.mrc", ndimage.gaussian_filter(noise, 1.2))
        assert not found.is_measured, found
