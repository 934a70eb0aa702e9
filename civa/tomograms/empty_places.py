"""Places in tomograms where no particle is listed: boxes of a class of their own."""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

EMPTY = "empty"  # the class of such boxes
TRIES = 50  # places that are drawn for each that is asked for


def empty_places(
    occupied: NDArray[np.float64],
    extent_angstrom: NDArray[np.float64],
    count: int,
    *,
    edge_angstrom: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw places at random whose boxes lie inside and hold no particle near their middle.

    They lie where particles do, or half a box beyond.  Listed particles, and the places from one
    another, are at least half of a box's edge away.

    Parameters
    ----------
    occupied
        (n, 3) positions of all particles in Å.
    extent_angstrom
        (3,) size of the tomogram, in the same order.
    count
        Places that are asked for.
    edge_angstrom
        Of a box.

    Returns
    -------
    (m, 3) positions in Å; fewer than asked for where there is no more room.
    """
    half = edge_angstrom / 2
    low, high = np.full(3, half), extent_angstrom - half
    if len(occupied):  # not in the margins that reconstruction leaves blank
        low = np.maximum(low, occupied.min(axis=0) - half)
        high = np.minimum(high, occupied.max(axis=0) + half)
    if (high <= low).any():
        return np.empty((0, 3))
    drawn = low + (high - low) * generator.random((TRIES * count, 3))
    if len(occupied):
        drawn = drawn[KDTree(occupied).query(drawn)[0] >= half]
    cells: dict[tuple[int, ...], list[NDArray[np.float64]]] = {}  # of half a box's edge
    kept: list[NDArray[np.float64]] = []
    for place in drawn:
        if len(kept) == count:
            break
        cell = tuple((place // half).astype(int))
        around = itertools.product(*((at - 1, at, at + 1) for at in cell))
        near = [other for one in around for other in cells.get(one, ())]
        if all(np.linalg.norm(place - other) >= half for other in near):
            kept.append(place)
            cells.setdefault(cell, []).append(place)
    return np.array(kept).reshape(-1, 3)
