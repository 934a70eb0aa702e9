"""Averages of volumes with a wrong label: found by the averages of the other classes."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from civa.consensus.averaging import Average
from civa.consensus.half_sets import half_sets
from civa.consensus.subtomograms import Subtomograms

logger = logging.getLogger(__name__)

MOST_FOREIGN = 0.5  # of an average's volumes may fit another class better than it


@dataclass(frozen=True)
class Averaged:
    """A class, its volumes, and what averaging them gave."""

    name: str
    label: int
    subtomograms: Subtomograms
    averages: list[Average]


def without_strays(
    classes: Sequence[Averaged], score: Callable[[Average, Subtomograms], NDArray[np.float64]]
) -> list[Averaged]:
    """Drop the averages that consist of other classes' particles, and say so.

    Volumes that were set apart from the rest of their class either show a second structure, and
    then fit their own average best, or have a wrong label, and then most of them are likelier under
    the average of another class.  Their own average is that of the half-set which they are not in,
    or they would fit themselves.  The largest average of a class always stays.

    Parameters
    ----------
    score
        (average, sub-tomograms (n)) -> log-likelihoods (n,) of the best poses.
    """
    mains = [max(one.averages, key=lambda average: len(average.members)) for one in classes]
    cleaned = []
    for one, main in zip(classes, mains, strict=True):
        others = [m for m, other in zip(mains, classes, strict=True) if other is not one]
        kept = []
        for average in one.averages:
            if average is not main and others:
                members = one.subtomograms[average.members]
                own = np.empty(len(members))
                for half, rows in enumerate(half_sets(len(members), members.imaging.tomogram)):
                    unseen = replace(average, density=average.halves[1 - half])
                    own[rows] = score(unseen, members[rows])
                foreign = np.max([score(other, members) for other in others], axis=0) > own
                if foreign.mean() > MOST_FOREIGN:
                    logger.warning(
                        "class %s: %d volumes were set apart, and %.0f %% of them fit the average "
                        "of another class better: their labels may be wrong, and they are left out",
                        *(one.name, len(foreign), 100 * foreign.mean()),
                    )
                    continue
            kept.append(average)
        cleaned.append(replace(one, averages=kept))
    return cleaned
