"""Masks by alignment and by a network -> the network's where the alignment is not to be trusted."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.consensus.alignment_table import AlignmentTable
from civa.data.files import write_json
from civa.data.particles import read_particles
from civa.data.stack import Stack, write_masks

logger = logging.getLogger(__name__)


def run(
    aligned: Path, network: Path, alignment: Path, particles: Path, *, out: Path, choice: Path
) -> None:
    """Take the masks of a network for the misfits of an alignment; all others are kept.

    Parameters
    ----------
    aligned
        (n, d, h, w) masks by alignment, MRC stack of labels.
    network
        (n, d, h, w) masks of the network, MRC stack of labels.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels),
        trust.
    particles
        CSV table of the volumes, a row each: id, class, label.
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record of how many masks are the network's.
    """
    found = AlignmentTable.read(alignment, read_particles(particles))
    is_outlier = found.is_outlier
    kept, replacements = (
        Stack.open(path).expect_volumes(len(is_outlier)) for path in (aligned, network)
    )

    def masks(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        return np.where(is_outlier[rows, None, None, None], replacements[rows], kept[rows])

    logger.info("%d of %d masks are the network's", is_outlier.sum(), len(is_outlier))
    write_masks(out, kept, masks, cut="outliers replaced")
    write_json(choice, {"replaced": int(is_outlier.sum()), "volumes": len(is_outlier)})
