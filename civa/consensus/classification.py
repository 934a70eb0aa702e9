"""The averages of a class: one, or one of each structure that goes by its name."""

import logging
from dataclasses import replace

import numpy as np

from civa.consensus.averaging import (
    AGREEING,
    Average,
    Plan,
    average_structure,
    into_two,
)
from civa.consensus.heterogeneity import Split
from civa.consensus.subtomograms import Setup, Subtomograms

logger = logging.getLogger(__name__)

FEWEST = 10  # particles below which an average is hardly one
SPLITTABLE = 2 * FEWEST  # particles from which two averages can be told from one


def average_class(
    subtomograms: Subtomograms, setup: Setup, *, plan: Plan, seed: int
) -> list[Average]:
    """Average a class, divide it if it holds two structures, and go on with either part, centred.

    A part that shows nothing is left out: one of fewer than ten volumes, or the smaller one if its
    half-sets have little in common.

    Parameters
    ----------
    subtomograms
        Volumes (n) of the class and their rough centres.
    plan
        How hard to try.
    seed
        Of the random starts.
    """
    average, aligned, split = average_and_divide(subtomograms, setup, plan=plan, seed=seed)
    if split is None:
        return [average]
    if not split.is_real:
        return [replace(average, split=split)]
    logger.info(
        "two averages correlate at %.2f, and %.0f %% of the volumes are of the smaller one, in "
        "partitions that correlate at %.2f: each is averaged by itself",
        *(split.correlation, 100 * split.smaller_share, split.stability),
    )
    found = []
    for rows in (np.flatnonzero(~split.is_second), np.flatnonzero(split.is_second)):
        if len(rows) < FEWEST:
            logger.warning("%d volumes that fit badly are left out of the average", len(rows))
            continue
        is_minority = len(rows) < len(subtomograms) / 2
        for part in average_class(aligned[rows], setup, plan=plan, seed=seed):
            if is_minority and _shows_nothing(part):
                continue
            found.append(replace(part, members=rows[part.members], apart=split))
    return found


def average_and_divide(
    subtomograms: Subtomograms, setup: Setup, *, plan: Plan, seed: int
) -> tuple[Average, Subtomograms, Split | None]:
    """Average a class, and try to divide it where it is large enough.

    Returns
    -------
    The average, the sub-tomograms centred by it, and what dividing them gives; None if they are
    too few.
    """
    generator = np.random.default_rng(seed)
    average, aligned = average_structure(subtomograms, setup, plan=plan, generator=generator)
    if len(subtomograms) < SPLITTABLE:
        return average, aligned.subtomograms, None
    split = into_two(aligned, setup, plan=plan, generator=generator)
    return average, aligned.subtomograms, split


def _shows_nothing(part: Average) -> bool:
    """Whether the half-sets of a part that was set apart have little in common; warns of it."""
    correlation = part.half_set_correlation
    agrees = correlation >= AGREEING  # NaN, where no shell is independent, does not
    if not agrees:
        logger.warning(
            "%d volumes that were set apart show nothing in common (their half-sets correlate at "
            "%.2f where they are independent): they are left out of the averages",
            *(len(part.members), correlation),
        )
    return not agrees
