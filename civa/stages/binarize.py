"""Maps -> masks: the best share of voxels on validation, the same for every volume."""

import logging
from pathlib import Path

import numpy as np

from civa.data.files import write_json
from civa.data.particles import read_guides
from civa.data.volume import read_stack, stack_voxel_size, write_stack
from civa.evaluation.validation import FRACTIONS, Validation, choose, top_fraction

logger = logging.getLogger(__name__)


def run(
    maps: Path,
    masks: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    *,
    out: Path,
    choice: Path,
    fractions: tuple[float, ...] = FRACTIONS,
    default_fraction: float = 0.02,
) -> None:
    """Cut localization maps at a share of their voxels; masks carry the class's label."""
    stack = read_stack(maps)
    validation = Validation(masks, particles, split, predictions)
    fraction = default_fraction
    tried: dict[str, float] = {}
    if validation.is_possible:
        held_out = stack[validation.indices]
        fraction, tried = choose(
            fractions, lambda share: validation.miou(top_fraction(held_out, share))
        )
    guide = read_guides(predictions)
    cut = np.empty(stack.shape, dtype=np.int8)
    for start in range(0, len(stack), 64):
        part = slice(start, start + 64)
        cut[part] = top_fraction(stack[part], fraction) * guide[part, None, None, None]
    logger.info("cut at %g %% of the voxels", 100 * fraction)
    write_stack(out, cut, voxel_size_angstrom=stack_voxel_size(maps))
    write_json(choice, {"fraction": fraction, "validation_miou": tried})
