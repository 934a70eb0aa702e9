"""What stacks of masks tell: their sizes, their agreement, and how good they are as labels."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from civa.data.particles import BACKGROUND
from civa.data.stack import Stack
from civa.evaluation.metrics import iou, is_annotated, score_images


def sizes(masks: Stack) -> NDArray[np.float64]:
    """Count the foreground voxels of every mask of a stack (n, d, h, w).

    Returns
    -------
    (n,), NaN where there is no prediction.
    """
    found = np.empty(len(masks))
    for part in masks.batches():
        chunk = masks[part]
        voxels = np.count_nonzero(chunk > BACKGROUND, axis=(1, 2, 3))
        found[part] = np.where(is_annotated(chunk), voxels, np.nan)
    return found


def annotated(masks: Stack, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which of the volumes ``rows`` (m,) of a stack of masks have a ground truth, (m,)."""
    found = [is_annotated(masks[part]) for part in masks.batches(rows)]
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def agreement(first: Stack, second: Stack) -> NDArray[np.float64]:
    """IoU of two stacks of masks (n, d, h, w), volume by volume, whatever their labels.

    Returns
    -------
    (n,) in [0, 1]; NaN where either mask is empty or missing.
    """
    found = np.empty(len(first))
    for part in first.batches():
        one, other = (stack[part] > BACKGROUND for stack in (first, second))
        both = one.any(axis=(1, 2, 3)) & other.any(axis=(1, 2, 3))
        found[part] = np.where(both, iou(one, other), np.nan)
    return found


def supervision_miou(masks: Stack, truth: Stack, rows: NDArray[np.int64]) -> float:
    """Strict mean IoU, in per cent, of the volumes ``rows`` that have a ground truth.

    Parameters
    ----------
    masks, truth
        (n, d, h, w) labels.
    rows
        (m,) positions, the training part.

    Returns
    -------
    NaN where none of them has a ground truth and a mask.
    """
    found: list[float] = []
    for part in masks.batches(rows):
        mask, known = masks[part], truth[part]
        usable = is_annotated(mask) & is_annotated(known)
        if usable.any():
            found += score_images(mask[usable], known[usable])["iou"].tolist()
    return 100 * float(np.mean(found)) if found else np.nan


def spread(voxels: NDArray[np.float64], classes: ArrayLike) -> tuple[str, float]:
    """Find the class whose masks differ most in size.

    Parameters
    ----------
    voxels
        (n,) sizes from `sizes`; empty and missing masks are left out.
    classes
        (n,) names.

    Returns
    -------
    Its name, and the standard deviation of its sizes over their mean, in per cent; NaN where no
    class has two masks.
    """
    groups = pd.Series(voxels).where(voxels > 0).groupby(np.asarray(classes))
    ratios = (100 * groups.std() / groups.mean()).dropna()
    return (str(ratios.idxmax()), float(ratios.max())) if len(ratios) else ("", np.nan)
