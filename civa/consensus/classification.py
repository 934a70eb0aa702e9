"""The averages of a class: one, or one of each structure that goes by its name."""

import logging
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from civa.consensus.alignment import Images, Optics
from civa.consensus.averaging import COARSE_ANGSTROM, Average, Averager, Plan

logger = logging.getLogger(__name__)

FEWEST = 10  # particles below which an average is hardly one
SPLITTABLE = 2 * FEWEST  # particles from which two averages can be told from one
AGREEING = 0.5  # correlation of half-sets at 53 Å below which an average shows nothing


def average_class(
    images: Images,
    optics: Optics,
    window: NDArray[np.float32],
    *,
    plan: Plan,
    seed: int,
    device: torch.device,
) -> list[Average]:
    """Average a class, divide it if it holds two structures, and go on with either part, centred.

    A part that shows nothing is left out: one of fewer than ten volumes, or the smaller one if its
    half-sets have little in common.

    Parameters
    ----------
    images
        Volumes (n) of the class and their rough centres.
    optics, window, plan
        See `Averager`.
    """
    averager = Averager(images, optics, window, plan=plan, seed=seed, device=device)
    average, centred, rotations = averager.run()
    if len(images) < SPLITTABLE:
        return [average]
    split = averager.into_two(centred, rotations)
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
        for part in average_class(
            centred[rows], optics, window, plan=plan, seed=seed, device=device
        ):
            correlation = part.halves_agree(optics)
            if correlation < AGREEING and len(rows) < len(images) / 2:
                logger.warning(
                    "%d volumes that were set apart show nothing in common (their half-sets "
                    "correlate at %.2f at %g Å): they are left out of the averages",
                    *(len(part.members), correlation, COARSE_ANGSTROM),
                )
                continue
            found.append(replace(part, members=rows[part.members], apart=split))
    return found
