"""Pseudo labels -> voxel affinity pairs (Sec. 4.4, Eqs. 5-7)."""

import logging
from pathlib import Path

import numpy as np

from civa.civanet.affinity import pair_offsets, sample_pairs
from civa.data.pairs import write_pairs
from civa.data.particles import ParticleSet
from civa.data.stack import Stack

logger = logging.getLogger(__name__)


def run(
    class_maps: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    radius: float = 2.0,
) -> None:
    """Sample the pairs of every training volume's pseudo class-map; see `write_pairs`.

    Parameters
    ----------
    class_maps
        (n, d, h, w) pseudo labels, MRC stack of labels.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        Affinity pairs of the training volumes, ``.npz`` of one bit per pair.
    """
    data = ParticleSet(particles, split)
    indices = data.parts["train"]
    stack = Stack.open(class_maps).expect_volumes(len(data.labels))
    offsets = pair_offsets(radius)
    empty, counts = 0, np.zeros(2, dtype=np.int64)
    with write_pairs(out, indices, offsets, stack.shape[1:]) as pairs:
        for rows in stack.batches(indices):
            for index, labels in zip(rows, stack[rows], strict=True):
                sampled = np.stack(sample_pairs(labels, offsets))  # (2, o, d, h, w)
                pairs.add(int(index), sampled)
                counts += sampled.sum(axis=(1, 2, 3, 4))
                empty += not labels.any()
    if empty:
        logger.warning("%d of %d pseudo labels are empty: no boundary pair", empty, len(indices))
    logger.info("%d volumes: %d boundary and %d background pairs", len(indices), *counts)
