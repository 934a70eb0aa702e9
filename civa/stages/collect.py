"""Shards -> one particle table, one stack of volumes, one of masks."""

from pathlib import Path

import numpy as np
import pandas as pd

from civa.data.files import write_csv
from civa.data.particles import read_particles
from civa.data.volume import read_stack, stack_voxel_size, write_stack


def run(
    volume_shards: tuple[Path, ...],
    mask_shards: tuple[Path, ...],
    particle_shards: tuple[Path, ...],
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
) -> None:
    """Join the shards of a data set, in their order."""
    voxel_size = stack_voxel_size(volume_shards[0])
    for shards, stack in ((volume_shards, volumes), (mask_shards, masks)):
        joined = np.concatenate([read_stack(shard) for shard in shards])
        write_stack(stack, joined, voxel_size_angstrom=voxel_size)
    tables = [read_particles(shard) for shard in particle_shards]
    write_csv(particles, pd.concat(tables, ignore_index=True))
