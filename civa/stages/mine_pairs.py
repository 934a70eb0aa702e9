"""Pseudo labels -> voxel affinity pairs (Sec. 4.4, Eqs. 5-7)."""

import logging
from pathlib import Path

import numpy as np

from civa.civanet.affinity import pair_offsets, sample_pairs
from civa.data.files import replacing
from civa.data.particles import ParticleSet
from civa.data.volume import read_stack

logger = logging.getLogger(__name__)


def run(
    class_maps: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    radius: float = 2.0,
) -> None:
    """Sample the pairs of every training volume's pseudo class-map.

    The ``.npz`` holds ``indices`` (n,) positions in the stack; ``offsets`` (o, 3) z, y, x;
    ``shape`` (3,); and ``boundary`` and ``background`` (n, o, d h w / 8) uint8: one bit per
    anchor voxel (the corner of a pair's bounding box), in C order.
    """
    indices = ParticleSet(particles, split).parts["train"]
    stack = read_stack(class_maps)
    offsets = pair_offsets(radius)
    sampled = [sample_pairs(stack[index], offsets) for index in indices]
    boundary, background = (
        np.stack([np.packbits(pairs[side].reshape(len(offsets), -1), axis=1) for pairs in sampled])
        for side in (0, 1)
    )
    with replacing(out) as temporary:
        np.savez_compressed(
            temporary,
            indices=indices,
            offsets=np.array(offsets, dtype=np.int8),
            shape=np.array(stack.shape[1:]),
            boundary=boundary,
            background=background,
        )
    empty = int((stack[indices].reshape(len(indices), -1).max(axis=1) == 0).sum())
    if empty:
        logger.warning("%d of %d pseudo labels are empty: no boundary pair", empty, len(indices))
    counts = [int(np.unpackbits(bits).sum()) for bits in (boundary, background)]
    logger.info("%d volumes: %d boundary and %d background pairs", len(indices), *counts)
