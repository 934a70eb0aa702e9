"""Shards -> one particle table, one stack of volumes, one of masks."""

from pathlib import Path

import pandas as pd

from civa.data.files import write_csv
from civa.data.particles import read_particles
from civa.data.stack import Stack, write_batches


def run(
    volume_shards: tuple[Path, ...],
    mask_shards: tuple[Path, ...],
    particle_shards: tuple[Path, ...],
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
) -> None:
    """Join the shards of a data set, in their order.

    Parameters
    ----------
    volume_shards
        (m, d, h, w) sub-tomograms of every shard, MRC stacks.
    mask_shards
        (m, d, h, w) ground truth of every shard, MRC stacks of labels.
    particle_shards
        CSV tables of the volumes of every shard.
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (n, d, h, w) ground truth, MRC stack of labels.
    particles
        CSV table of the volumes, a row each: id, class, label.
    """
    for shards, stack in ((volume_shards, volumes), (mask_shards, masks)):
        _join([Stack.open(shard) for shard in shards], stack)
    tables = [read_particles(shard) for shard in particle_shards]
    write_csv(particles, pd.concat(tables, ignore_index=True))


def _join(shards: list[Stack], path: Path) -> None:
    first = shards[0]
    shape = (sum(len(shard) for shard in shards), *first.shape[1:])
    size = {"voxel_size_angstrom": first.voxel_size_angstrom}
    with write_batches(path, shape, first.dtype, **size) as joined:
        start = 0
        for shard in shards:
            for rows in shard.batches():
                joined[start + rows] = shard[rows]
            start += len(shard)
