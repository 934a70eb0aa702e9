"""A packed slab: nothing overlaps, what is asked for is there, and the truth is true."""

import logging

import numpy as np
import pytest
from numpy.typing import NDArray

from civa.simulation.phantoms import phantom
from civa.simulation.slab import Crowd, Slab, pack
from civa.simulation.specimen import render
from civa.simulation.structures import OVERSAMPLING, PROTEIN_POTENTIAL, electron_potential

VOXEL = 10.0
NAMES = ("cage", "spike", "globule")
PLAIN = Crowd(shape=(40, 64, 70), vesicles=0, gold_beads=0, background=0)


@pytest.fixture(scope="module")
def templates() -> dict[str, NDArray]:
    return {
        name: electron_potential(phantom(name), voxel_size_angstrom=VOXEL, resolution_angstrom=20)
        for name in NAMES
    }


def packed(templates: dict[str, NDArray], crowd: Crowd = PLAIN, copies: int = 5) -> Slab:
    asked = dict.fromkeys(NAMES, copies)
    return pack(crowd, templates, copies=asked, generator=np.random.default_rng(1))


def test_the_map_of_instances_is_that_of_the_particles_as_they_are_placed(
    templates: dict[str, NDArray],
) -> None:
    slab = packed(templates)
    assert [one.instance for one in slab.particles] == list(range(1, 16))
    for one in slab.particles:
        whole = np.rint(one.centre).astype(int)
        body = render(templates[one.structure], one.rotation, one.centre - whole)
        solid = np.argwhere(body > PLAIN.mask_fraction * body.max()) - body.shape[0] // 2 + whole
        expected = {tuple(voxel) for voxel in solid.tolist()}
        found = {tuple(v) for v in np.argwhere(slab.instances == one.instance).tolist()}
        assert len(expected ^ found) <= 0.02 * len(expected)  # the middle may round either way


def test_nothing_overlaps(templates: dict[str, NDArray]) -> None:
    slab = packed(templates)
    alone = sum(
        int((body > PLAIN.mask_fraction * body.max()).sum())
        for body in (
            render(templates[one.structure], one.rotation, one.centre - np.rint(one.centre))
            for one in slab.particles
        )
    )
    assert abs(int((slab.instances > 0).sum()) - alone) <= 0.02 * alone


def test_potential_is_per_volume_whatever_the_voxel(templates: dict[str, NDArray]) -> None:
    slab = packed(templates)
    inside = slab.potential[slab.instances > 0]
    assert inside.mean() == pytest.approx(PROTEIN_POTENTIAL, rel=0.5)
    scattering = slab.potential.sum() * VOXEL**3  # Å, all atoms of all particles
    expected = 5 * sum(t.sum() for t in templates.values())
    assert scattering == pytest.approx(expected, rel=0.02)
    assert OVERSAMPLING == 2


def test_placing_stops_at_the_occupancy(templates: dict[str, NDArray]) -> None:
    crowd = Crowd(shape=(60, 80, 80), occupancy=0.05, vesicles=0, gold_beads=0, background=0)
    slab = packed(templates, crowd, copies=1000)
    assert 0.05 <= (slab.instances > 0).mean() < 0.055
    kinds = [one.structure for one in slab.particles]
    assert max(map(kinds.count, NAMES)) - min(map(kinds.count, NAMES)) <= 1


def test_particles_without_room_are_said(
    templates: dict[str, NDArray], caplog: pytest.LogCaptureFixture
) -> None:
    crowd = Crowd(shape=(32, 32, 32), occupancy=0.4, vesicles=0, gold_beads=0, background=0)
    with caplog.at_level(logging.WARNING, logger="civa"):
        slab = packed(templates, crowd, copies=100)
    assert "find no room" in caplog.text
    assert slab.particles


def test_membrane_gold_and_small_proteins_are_nobodys(templates: dict[str, NDArray]) -> None:
    crowd = Crowd(shape=(40, 64, 70), vesicles=2, gold_beads=3, background=0.02)
    slab = packed(templates, crowd)
    assert slab.potential.max() == pytest.approx(8 * PROTEIN_POTENTIAL, rel=0.05)
    nobodys = slab.potential[slab.instances == 0]
    assert nobodys.max() == slab.potential.max()
    assert 0.02 < (nobodys > 0.3 * PROTEIN_POTENTIAL).mean() < 0.3
    again = packed(templates, crowd)
    np.testing.assert_array_equal(slab.potential, again.potential)
