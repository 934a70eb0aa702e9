"""Masks by alignment and by a network -> the network's where the alignment is not to be trusted."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from civa.data.files import write_json
from civa.data.particles import check_ids, read_particles
from civa.data.volume import read_stack, stack_voxel_size, write_stack

logger = logging.getLogger(__name__)


def run(
    aligned: Path, network: Path, alignment: Path, particles: Path, *, out: Path, choice: Path
) -> None:
    """Take the masks of a network for the misfits of an alignment; all others are kept."""
    table = pd.read_csv(alignment, dtype={"id": str}, keep_default_na=False)
    check_ids(alignment, table, read_particles(particles), stage="align")
    misfits = table["misfit"].to_numpy() == 1
    masks = np.array(read_stack(aligned))
    masks[misfits] = read_stack(network)[misfits]
    logger.info("%d of %d masks are the network's", misfits.sum(), len(misfits))
    write_stack(out, masks, voxel_size_angstrom=stack_voxel_size(aligned))
    write_json(choice, {"replaced": int(misfits.sum()), "volumes": len(misfits)})
