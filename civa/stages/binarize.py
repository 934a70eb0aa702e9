"""Maps -> masks: the best share of voxels on validation, the same for every volume."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import write_json
from civa.data.stack import Stack, write_masks
from civa.evaluation.validation import FRACTIONS, Validation, top_fraction

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
    """Cut localization maps at a share of their voxels; masks carry the class's label.

    Parameters
    ----------
    maps
        (n, d, h, w) localization maps, MRC stack.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record: the share of voxels that was chosen, validation mIoU (%) of all that
        were tried.
    """
    validation = Validation(masks, particles, split, predictions)
    stack = Stack.open(maps).expect_volumes(len(validation.map_class))

    def candidates(rows: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        values = stack[rows]
        return (top_fraction(values, fraction) for fraction in fractions)

    fraction, tried = validation.choose(fractions, candidates, default=default_fraction)
    logger.info("cut at %g %% of the voxels", 100 * fraction)

    def cut(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        return top_fraction(stack[rows], fraction) * validation.map_class[rows, None, None, None]

    write_masks(out, stack, cut, cut=f"{100 * fraction:g} % of the voxels")
    write_json(choice, {"fraction": fraction, "validation_miou": tried})
