"""Phantom complexes with the size and symmetry of real ones, built from pseudo-atoms.

They make the pipeline run anywhere, without network and without files.  Every phantom is
a few ellipsoidal domains, filled at the density of protein and repeated by its point group.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from civa.simulation.structures import Atoms

VOLUME_PER_PSEUDO_ATOM = 40.0  # cubic ångström; two heavy atoms of protein
WEIGHT = 5.0  # ångström; twice the electron scattering factor of carbon at zero angle

Points = NDArray[np.float64]


def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...], tilt_deg: float = 0) -> Points:
    """Fill an ellipsoid (x, y, z, Å), tilted about y, with evenly random points (n, 3)."""
    volume = 4 / 3 * np.pi * np.prod(radii)
    generator = np.random.default_rng([int(1000 + 10 * abs(v)) for v in (*centre, *radii)])
    count = int(volume / VOLUME_PER_PSEUDO_ATOM)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ball = directions * generator.uniform(size=(count, 1)) ** (1 / 3)
    from scipy.spatial.transform import Rotation  # slow to import: not to list the phantoms

    return Rotation.from_euler("y", tilt_deg, degrees=True).apply(ball * radii) + centre


def cyclic(points: Points, order: int, phase_deg: float = 0) -> Points:
    """Repeat points by an n-fold axis along z."""
    from scipy.spatial.transform import Rotation

    angles = phase_deg + 360 / order * np.arange(order)
    return np.concatenate([Rotation.from_euler("z", a, degrees=True).apply(points) for a in angles])


def dihedral(points: Points, order: int) -> Points:
    """Repeat points by an n-fold axis along z and the two-fold axes across it."""
    turned = points * np.array([1.0, -1.0, -1.0])  # half a turn about x
    return np.concatenate([cyclic(points, order), cyclic(turned, order)])


def cage() -> Points:
    """Octameric cage, D4: two layers of four domains around a channel, ~120 Å."""
    return dihedral(ellipsoid((36, 8, 26), (24, 21, 27), 20), 4)


def barrel() -> Points:
    """Two stacked seven-membered rings, D7: a hollow barrel, ~105 Å wide and 95 Å tall."""
    return dihedral(ellipsoid((38, 0, 23), (15, 16, 22)), 7)


def spike() -> Points:
    """Trimeric spike, C3: a head of three lobes on a stalk, ~180 Å long."""
    head = np.concatenate(
        [ellipsoid((24, 0, 42), (21, 20, 30), 25), ellipsoid((12, 0, 5), (13, 13, 34))]
    )
    return cyclic(np.concatenate([head, ellipsoid((6, 0, -45), (8, 8, 30))]), 3)


def wishbone() -> Points:
    """Two long arms that meet at a hinge, C2: a V of ~170 Å."""
    arm = np.concatenate(
        [ellipsoid((36, 0, 5), (18, 16, 54), 38), ellipsoid((58, 0, 40), (21, 20, 20))]
    )
    return cyclic(np.concatenate([arm, ellipsoid((8, 0, -36), (15, 18, 15))]), 2)


def wishbone_open() -> Points:
    """The wishbone in another conformation: each arm swung outwards by 17 degrees."""
    arm = np.concatenate(
        [ellipsoid((43, 0, 1), (18, 16, 52), 55), ellipsoid((70, 0, 26), (20, 20, 20))]
    )
    return cyclic(np.concatenate([arm, ellipsoid((8, 0, -36), (15, 18, 15))]), 2)


def rod() -> Points:
    """A straight rod, ~150 Å long."""
    return ellipsoid((0, 0, 0), (17, 17, 75))


def ring() -> Points:
    """A flat ring of eight domains, C8, ~140 Å wide."""
    return cyclic(ellipsoid((52, 0, 0), (17, 18, 18)), 8)


def dimer() -> Points:
    """Two globular domains side by side, C2, ~100 Å long."""
    return cyclic(ellipsoid((27, 0, 0), (25, 22, 22)), 2)


def globule() -> Points:
    """One globular domain, ~75 Å."""
    return ellipsoid((0, 0, 0), (38, 34, 36))


PHANTOMS: dict[str, Callable[[], Points]] = {
    shape.__name__: shape
    for shape in (cage, barrel, spike, wishbone, wishbone_open, rod, ring, dimer, globule)
}


def phantom(name: str) -> Atoms:
    """Return a phantom's pseudo-atoms.

    Raises
    ------
    ValueError
        If no phantom has that name.
    """
    if name not in PHANTOMS:
        raise ValueError(f"there is no phantom '{name}': choose from {sorted(PHANTOMS)}")
    points = PHANTOMS[name]()
    return Atoms(points, np.full(len(points), WEIGHT))
