"""Grad-CAM and co-occurrence -> merged localization maps (Sec. 4.3, Eq. 4)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.civanet.cooccurrence import merge_maps, rank_normalize
from civa.data.files import write_json
from civa.data.stack import Stack, write_like
from civa.evaluation.validation import FRACTIONS, Validation, as_record, best, top_fraction

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
    """Rank-normalise both maps and merge them; the weight w1 is chosen on validation.

    Parameters
    ----------
    gradcam
        (n, d, h, w) Grad-CAM maps, MRC stack; maximum 1 each.
    cooccurrence
        (n, d, h, w) co-occurrence maps, MRC stack.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    out
        (n, d, h, w) merged maps, MRC stack; ranks, 0 to 1.
    choice
        JSON record: the weight w1 that was chosen, validation mIoU (%) of all that were
        tried.
    """
    validation = Validation(masks, particles, split, predictions)
    n = len(validation.map_class)
    ranked = RankedMaps(*(Stack.open(maps).expect_volumes(n) for maps in (gradcam, cooccurrence)))
    weight, tried = _choose(ranked, validation, weights, fractions, default=default_weight)
    logger.info("w1 = %g of %s", weight, tried or "the default: no validation masks")
    like = ranked.localization
    with write_like(out, like, np.float16) as merged:
        for rows in like.batches():
            merged[rows] = merge_maps(*ranked[rows], weight=weight).numpy()
    write_json(choice, {"w1": weight, "validation_miou": tried})


@dataclass(frozen=True)
class RankedMaps:
    """Grad-CAM and co-occurrence maps on disk; indexing ranks those of some volumes."""

    localization: Stack
    cooccurrence: Stack

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Rank-normalised maps (b, d, h, w) of either kind."""
        first, second = (
            rank_normalize(torch.from_numpy(stack[rows].astype(np.float32)))
            for stack in (self.localization, self.cooccurrence)
        )
        return first, second


def _choose(
    ranked: RankedMaps,
    validation: Validation,
    weights: Sequence[float],
    fractions: Sequence[float],
    *,
    default: float,
) -> tuple[float, dict[str, float]]:
    """Return the weight whose maps score best at their best share of voxels, and all qualities."""
    if not validation.is_possible:
        return default, {}

    def candidates(rows: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        maps = ranked[rows]
        for weight in weights:
            merged = merge_maps(*maps, weight=weight).numpy()
            yield from (top_fraction(merged, fraction) for fraction in fractions)

    mious = validation.mious(candidates)  # weight by weight, one for every fraction
    qualities = np.reshape(mious, (len(weights), len(fractions))).max(axis=1).tolist()
    return best(weights, qualities), as_record(weights, qualities)
