"""Which particles of a class are averaged apart, so that what both averages show is no accident."""

import logging

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LEAST_SHARE = 1 / 3  # of the particles in the smaller half-set: fewer would judge the larger


def half_sets(
    count: int, tomograms: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide particles into two half-sets, the volumes of a tomogram in one of them.

    Neighbours in a tomogram share noise, alignment errors of its tilts and pieces of each other,
    all of which would correlate.  Where there are too few tomograms for that, or none are known,
    every other particle is taken.

    Parameters
    ----------
    count
        Number of particles.
    tomograms
        (n,) number of each particle's tomogram; None where they are not known.

    Returns
    -------
    Numbers of the particles of either half-set, in order.
    """
    numbers = np.arange(count)
    if tomograms is not None:
        is_second = np.zeros(count, dtype=bool)
        names, sizes = np.unique(tomograms, return_counts=True)
        totals = [0, 0]
        for which in np.argsort(-sizes, kind="stable"):  # the largest first, to the smaller half
            half = int(totals[1] < totals[0])
            totals[half] += int(sizes[which])
            is_second |= (tomograms == names[which]) & bool(half)
        if min(totals) >= LEAST_SHARE * count:
            return numbers[~is_second], numbers[is_second]
        logger.info(
            "both half-sets of %d particles hold some of the same tomogram, which makes them look "
            "a little more alike: of %d tomograms, one has %d; more tomograms per class help",
            *(count, len(names), sizes.max()),
        )
    return numbers[::2], numbers[1::2]
