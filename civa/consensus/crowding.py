"""Particles that two picks claim: one keeps it, and the other looks for its own."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from civa.consensus.picks import TAKEN_VOXELS, Picks
from civa.data.particles import read_tomograms

PLACES = ["z_angstrom", "y_angstrom", "x_angstrom"]


def places_angstrom(particles: pd.DataFrame) -> NDArray[np.float64] | None:
    """Middles (n, 3) z, y, x of boxes in their tomograms, in Å; None where they are not known."""
    if read_tomograms(particles) is None or not set(PLACES) <= set(particles):
        return None
    places = particles[PLACES].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    return places if np.isfinite(places).all() else None


def contested(
    particles: pd.DataFrame, offsets: NDArray[np.float64], voxel_size_angstrom: float
) -> list[tuple[int, int]]:
    """Find pairs of volumes that were found to show one particle.

    No two particles have their centres as close as `TAKEN_VOXELS`.

    Parameters
    ----------
    offsets
        (n, 3) z, y, x of the particles found, in voxels from the middles of their boxes.
    voxel_size_angstrom
        Of the boxes.

    Returns
    -------
    Pairs of rows: whose pick lies nearer to the particle, and who has to look elsewhere.
    """
    places = places_angstrom(particles)
    if places is None:
        return []
    found = places / voxel_size_angstrom + offsets
    distance = np.linalg.norm(offsets, axis=1)
    pairs = []
    for _, rows in particles.groupby("tomogram").indices.items():
        for first, second in sorted(cKDTree(found[rows]).query_pairs(TAKEN_VOXELS)):
            nearer, other = sorted((rows[first], rows[second]), key=lambda row: distance[row])
            pairs.append((int(nearer), int(other)))
    return pairs


def leave_to_others(
    picks: Picks,
    pairs: list[tuple[int, int]],
    particles: pd.DataFrame,
    centres: NDArray[np.float64],
    voxel_size_angstrom: float,
) -> Picks:
    """Note for every volume which places near it belong to others.

    Parameters
    ----------
    pairs
        As `contested` returns them.
    centres
        (n, 3) z, y, x of the particles found, in voxels of their own volumes.
    """
    places = places_angstrom(particles)
    assert places is not None, "pairs are known by places"
    losers = [other for _, other in pairs]
    most = max(losers.count(row) for row in set(losers))
    taken = np.full((len(particles), most, 3), np.nan)
    used = np.zeros(len(particles), dtype=int)
    for keeper, other in pairs:
        moved = (places[keeper] - places[other]) / voxel_size_angstrom
        taken[other, used[other]] = centres[keeper] + moved
        used[other] += 1
    before = picks.taken
    return replace(
        picks, taken=taken if before is None else np.concatenate([before, taken], axis=1)
    )
