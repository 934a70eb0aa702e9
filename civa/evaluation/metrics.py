"""Intersection over union of the target, and the paper's means of it (Sec. 5.2)."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.particles import BACKGROUND, UNANNOTATED


def iou(
    prediction: NDArray, truth: NDArray, *, claimed: NDArray | None = None
) -> NDArray[np.float64]:
    """Intersection over union of two foregrounds, volume by volume.

    Parameters
    ----------
    prediction, truth
        (n, d, h, w) booleans.
    claimed
        (n, d, h, w) booleans: voxels that were claimed for any class at all.  They count in the
        union, so that voxels of a wrong class are errors.

    Returns
    -------
    (n,) in [0, 1]; 1 where both are empty.
    """
    axes = (-3, -2, -1)
    intersection = np.count_nonzero(prediction & truth, axis=axes)
    union = np.count_nonzero((prediction if claimed is None else claimed) | truth, axis=axes)
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))


def is_annotated(masks: NDArray) -> NDArray[np.bool_]:
    """Tell which volumes of a mask stack (n, d, h, w) come with a ground truth, (n,)."""
    return np.asarray(masks[:, 0, 0, 0]) != UNANNOTATED


def score_images(prediction: NDArray, truth: NDArray) -> pd.DataFrame:
    """Score label volumes against the ground truth, one row per image (Sec. 5.2).

    Parameters
    ----------
    prediction, truth
        (n, d, h, w) labels; a mask carries the label of the class that it claims.

    Returns
    -------
    Columns ``iou`` (strict: voxels of a wrong class are errors, so a misclassified image scores
    0), ``iou_agnostic`` (whatever the class), ``voxels`` and ``true_voxels``.
    """
    labels = truth.max(axis=(-3, -2, -1), keepdims=True)
    found, present = prediction > BACKGROUND, truth > BACKGROUND
    right = found & ((prediction == labels) | (labels <= BACKGROUND))
    return pd.DataFrame(
        {
            "iou": iou(right, present, claimed=found),
            "iou_agnostic": iou(found, present),
            "voxels": np.count_nonzero(found, axis=(-3, -2, -1)),
            "true_voxels": np.count_nonzero(present, axis=(-3, -2, -1)),
        }
    )


def miou(scores: pd.DataFrame) -> float:
    """Strict mean IoU of scored images, in per cent; NaN where there is none."""
    return 100 * float(scores["iou"].mean())


def mean_iou(scores: pd.DataFrame) -> dict[str, float]:
    """Average per-image scores into the scores of the paper's tables, in per cent.

    Parameters
    ----------
    scores
        One row per test image, with columns ``class``, ``iou`` and ``iou_agnostic``.

    Returns
    -------
    ``miou`` (mean over images, the paper's), ``class_miou`` (mean of class means),
    ``miou_agnostic``, one entry per class, and ``n``; NaN where nothing was scored.
    """
    per_class = 100 * scores.groupby("class", sort=True)["iou"].mean()
    return {
        "miou": miou(scores),
        "class_miou": float(per_class.mean()),
        "miou_agnostic": 100 * float(scores["iou_agnostic"].mean()),
        **{str(name): float(value) for name, value in per_class.items()},
        "n": len(scores),
    }
