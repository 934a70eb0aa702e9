"""Beads of gold tell what was done about the contrast transfer; particles do not."""

from pathlib import Path

import numpy as np
import pytest

from civa.data.volume import read_volume, write_volume
from civa.inspection.gold import GoldEvidence, state_from_gold
from civa.optics import TiltRange
from civa.simulation.phantoms import phantom
from civa.simulation.slab import Crowd, pack
from civa.simulation.slab_imaging import Acquisition, SlabImaging
from civa.simulation.structures import electron_potential
from civa.tomograms.tomogram import Tomogram

SHAPE, VOXEL = (64, 128, 128), 10.0
DEFOCUS_UM = 4.2


def told(
    folder: Path, state: str, *, beads: int, sign: int = 1, seed: int = 3
) -> GoldEvidence | None:
    """Simulate a crowded slab in one state, and look at its gold."""
    generator = np.random.default_rng(seed)
    templates = {
        name: electron_potential(phantom(name), voxel_size_angstrom=VOXEL, resolution_angstrom=20)
        for name in ("cage", "rod", "spike")
    }
    crowd = Crowd(shape=SHAPE, gold_beads=beads, vesicles=0, occupancy=0.06, background=0.01)
    slab = pack(crowd, templates, copies=dict.fromkeys(templates, 99), generator=generator)
    imaging = SlabImaging(SHAPE, VOXEL, Acquisition(defocus_um=DEFOCUS_UM))
    images = [imaging.corrected(*one, state) for one in imaging.images(slab.potential, generator)]
    path = folder / "t.mrc"
    write_volume(path, sign * imaging.reconstruct(images), voxel_size_angstrom=VOXEL)
    return state_from_gold(Tomogram.open(path), TiltRange())


@pytest.mark.parametrize("state", ["raw", "phase-flipped", "ctf-multiplied"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_state_and_the_defocus_are_told(tmp_path: Path, state: str, sign: int) -> None:
    found = told(tmp_path, state, beads=8, sign=sign)
    assert found is not None
    assert found.is_told
    assert found.state == state
    assert found.radius_angstrom == pytest.approx(50, abs=5)
    assert found.defocus_um == pytest.approx(DEFOCUS_UM, abs=0.5)


@pytest.mark.parametrize("state", ["raw", "phase-flipped"])
def test_gold_that_overflowed_bytes_tells_it_too(tmp_path: Path, state: str) -> None:
    assert told(tmp_path, state, beads=8) is not None
    volume, _ = read_volume(tmp_path / "t.mrc")
    levels = np.clip(np.rint(20 * volume / volume.std()), -127, 127).astype(np.int8)
    assert (levels == -127).sum() > 8 * 20
    write_volume(tmp_path / "t.mrc", levels, voxel_size_angstrom=VOXEL)
    found = state_from_gold(Tomogram.open(tmp_path / "t.mrc"), TiltRange())
    assert found is not None
    assert found.is_told
    assert found.state == state


def test_without_gold_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, "raw", beads=0) is None


def test_voxels_too_large_for_a_zero_tell_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    write_volume(tmp_path / "t.mrc", noise, voxel_size_angstrom=30)
    assert state_from_gold(Tomogram.open(tmp_path / "t.mrc"), TiltRange()) is None
