"""Grad-CAM and co-occurrence -> merged localization maps (Sec. 4.3, Eq. 4)."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from civa.civanet.cooccurrence import merge_maps, rank_normalize
from civa.data.files import write_json
from civa.data.volume import read_stack, stack_voxel_size, write_stack
from civa.evaluation.validation import FRACTIONS, Validation, choose, top_fraction

logger = logging.getLogger(__name__)


def run(
    gradcam: Path,
    cooccurrence: Path,
    masks: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    *,
    out: Path,
    choice: Path,
    weights: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75),
    default_weight: float = 0.5,
    fractions: tuple[float, ...] = FRACTIONS,
) -> None:
    """Rank-normalise both maps and merge them; the weight w1 is chosen on validation."""
    stacks = read_stack(gradcam), read_stack(cooccurrence)
    validation = Validation(masks, particles, split, predictions)

    def quality(weight: float) -> float:
        merged = _merge(*(stack[validation.indices] for stack in stacks), weight=weight)
        return max(validation.miou(top_fraction(merged, fraction)) for fraction in fractions)

    weight = default_weight
    tried: dict[str, float] = {}
    if validation.is_possible:
        weight, tried = choose(weights, quality)
    logger.info("w1 = %g of %s", weight, tried or "the default: no validation masks")
    merged = np.empty(stacks[0].shape, dtype=np.float16)
    for start in range(0, len(merged), 64):
        part = slice(start, start + 64)
        merged[part] = _merge(*(stack[part] for stack in stacks), weight=weight)
    write_stack(out, merged, voxel_size_angstrom=stack_voxel_size(gradcam))
    write_json(choice, {"w1": weight, "validation_miou": tried})


def _merge(gradcam: NDArray, cooccurrence: NDArray, *, weight: float) -> NDArray[np.float32]:
    ranked = [
        rank_normalize(torch.from_numpy(maps.astype(np.float32)))
        for maps in (gradcam, cooccurrence)
    ]
    return merge_maps(*ranked, weight=weight).numpy()
