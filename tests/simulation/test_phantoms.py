"""Phantoms have the symmetry and size that they state, and none looks like another."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.simulation.phantoms import (
    PHANTOMS,
    VOLUME_PER_PSEUDO_ATOM,
    cyclic,
    dihedral,
    ellipsoid,
    phantom,
)
from civa.simulation.structures import Atoms, electron_potential

ORDER = {"cage": 4, "barrel": 7, "spike": 3, "wishbone": 2, "ring": 8, "dimer": 2}
DIHEDRAL = ("cage", "barrel")


def potential(atoms: Atoms) -> NDArray[np.float32]:
    return electron_potential(atoms, voxel_size_angstrom=10, resolution_angstrom=10)


def correlation_after_turn(name: str, axis: str, angle_deg: float) -> float:
    atoms = phantom(name).centred()
    turned = Rotation.from_euler(axis, angle_deg, degrees=True).apply(atoms.positions)
    first, second = potential(atoms), potential(Atoms(turned, atoms.weights))
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize(("name", "order"), ORDER.items())
def test_the_main_axis_has_the_stated_order(name: str, order: int) -> None:
    assert correlation_after_turn(name, "z", 360 / order) > 0.95
    # and not twice that order: half a step brings domains over gaps
    assert correlation_after_turn(name, "z", 180 / order) < 0.95


@pytest.mark.parametrize("name", ORDER)
def test_only_dihedral_and_flat_phantoms_look_the_same_upside_down(name: str) -> None:
    # x is one of the n axes across of a dihedral group as built; the domains of ring and dimer
    # are ellipsoids with axes along z, so that turning them over changes nothing either
    upside_down = correlation_after_turn(name, "x", 180)
    assert (upside_down > 0.95) == (name in DIHEDRAL or name in ("ring", "dimer"))


@pytest.mark.parametrize("name", PHANTOMS)
def test_phantoms_have_the_size_of_real_complexes(name: str) -> None:
    assert 60 < phantom(name).diameter_angstrom < 200


def radial_mass(name: str) -> NDArray[np.float64]:
    """Share of mass per shell of 10 Å: no rotation changes it."""
    radii = np.linalg.norm(phantom(name).centred().positions, axis=1)
    return np.histogram(radii, bins=np.arange(0, 120, 10))[0] / len(radii)


@pytest.mark.parametrize(("first", "second"), list(combinations(PHANTOMS, 2)))
def test_no_rotation_turns_one_phantom_into_another(first: str, second: str) -> None:
    # total variation: the share of mass that would have to move to another shell
    distance = 0.5 * np.abs(radial_mass(first) - radial_mass(second)).sum()
    assert distance > 0.1


@pytest.mark.parametrize("name", PHANTOMS)
def test_a_phantom_is_the_same_every_time(name: str) -> None:
    np.testing.assert_array_equal(phantom(name).positions, phantom(name).positions)


def test_an_ellipsoid_is_filled_evenly() -> None:
    radii = np.array([20.0, 30, 40])
    points = ellipsoid((5, -6, 7), tuple(radii))
    # 4/3 pi abc / 40 cubic ångström per pseudo-atom
    assert len(points) == int(4 / 3 * np.pi * radii.prod() / VOLUME_PER_PSEUDO_ATOM)
    scaled = (points - (5, -6, 7)) / radii
    radius = np.linalg.norm(scaled, axis=1)
    assert radius.max() <= 1
    # an evenly filled unit ball: P(radius < r) = r^3, and each coordinate has variance 1/5
    assert (radius < 0.5).mean() == pytest.approx(0.125, abs=0.02)
    np.testing.assert_allclose(scaled.var(axis=0), 0.2, rtol=0.1)


def test_point_groups_have_their_number_of_elements() -> None:
    point = np.array([[30.0, 5.0, 7.0]])
    assert len(cyclic(point, 5)) == 5
    assert len(dihedral(point, 5)) == 10
    # C4 of (30, 5, 7): quarter turns about z, in their order
    np.testing.assert_allclose(
        cyclic(point, 4), [[30, 5, 7], [-5, 30, 7], [-30, -5, 7], [5, -30, 7]], atol=1e-9
    )


def test_an_unknown_phantom_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no phantom 'ribosome': choose from .*'barrel'"):
        phantom("ribosome")
