"""Choosing thresholds and weights on the validation part (Sec. 5), never on test."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from civa.data.particles import BACKGROUND, ParticleSet, read_guides
from civa.data.volume import read_stack
from civa.evaluation.metrics import iou, is_annotated

Choice = TypeVar("Choice")

# Shares of voxels at which maps are cut; a threshold on a ranked map is a share of voxels.
FRACTIONS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08)


def logit_steps(low: float, high: float) -> tuple[float, ...]:
    """Return cuts of a probability in even steps (0.5) of its logit, both ends included."""
    logits = np.arange(low, high + 0.25, 0.5)
    return tuple(round(float(1 / (1 + np.exp(-logit))), 4) for logit in logits)


def top_fraction(maps: NDArray, fraction: float) -> NDArray[np.bool_]:
    """Keep the voxels of highest value of every map.

    A threshold on a rank-normalised map is a fraction of voxels; so thresholds are searched
    as fractions.

    Parameters
    ----------
    maps
        (n, d, h, w).
    fraction
        Share of voxels to keep, in (0, 1).

    Returns
    -------
    (n, d, h, w) booleans; voxels at a map's minimum are never kept, so that a map without
    any activation gives an empty mask.
    """
    values = np.asarray(maps, dtype=np.float32).reshape(len(maps), -1)
    keep = max(1, round(fraction * values.shape[1]))
    threshold = np.partition(values, -keep, axis=1)[:, -keep, None]
    mask = (values >= threshold) & (values > values.min(axis=1, keepdims=True))
    return mask.reshape(maps.shape)


def choose(
    candidates: Iterable[Choice], quality: Callable[[Choice], float]
) -> tuple[Choice, dict[str, float]]:
    """Return the candidate of highest quality, the first one on ties, and all qualities.

    A quality that is not a number is none: its candidate is not chosen.

    Raises
    ------
    ValueError
        If no candidate has a quality.
    """
    qualities = [(candidate, quality(candidate)) for candidate in candidates]
    measured = [pair for pair in qualities if not math.isnan(pair[1])]
    if not measured:
        raise ValueError(
            f"no quality of {[candidate for candidate, _ in qualities]} is a number, so none of "
            "them can be chosen: look for broken volumes or masks in the validation part, or "
            "state the setting instead of having it searched"
        )
    best, _ = max(measured, key=lambda pair: pair[1])
    return best, {str(candidate): round(value, 3) for candidate, value in qualities}


class Validation:
    """The validation volumes that have a mask, and how well masks of them score.

    Parameters
    ----------
    masks, particles, split
        Ground truth, particle table, split.
    predictions
        Table of predicted classes; None for rules that predict no class.

    Attributes
    ----------
    indices
        (v,) positions in the stack.
    """

    def __init__(
        self, masks: Path, particles: Path, split: Path, predictions: Path | None = None
    ) -> None:
        data = ParticleSet(particles, split)
        truth = read_stack(masks)
        part = data.parts["validation"]
        self.indices = part[is_annotated(truth[part])]
        self._truth = truth[self.indices] > BACKGROUND
        self._labels = data.labels[self.indices]
        self._predicted: NDArray = self._labels
        if predictions is not None:
            self._predicted = read_guides(predictions)[self.indices]

    @property
    def is_possible(self) -> bool:
        """False where no validation volume has a mask: defaults must do."""
        return len(self.indices) > 0

    def miou(self, found: NDArray[np.bool_], rows: NDArray | slice = slice(None)) -> float:
        """Strict mean IoU, in per cent, of masks (v, d, h, w) of the validation volumes.

        A misclassified image scores 0.  ``rows`` picks some of the validation volumes.
        """
        right = self._predicted[rows] == self._labels[rows]
        return 100 * float(np.mean(iou(found, self._truth[rows]) * right))

    def miou_of_voxels(self, found: NDArray[np.bool_], classes: NDArray) -> float:
        """Strict mean IoU, in per cent, of masks (v, d, h, w) whose voxels name their class.

        Voxels of a wrong class are errors.
        """
        right = found & (classes == self._labels[:, None, None, None])
        return 100 * float(np.mean(iou(right, self._truth, claimed=found)))

    def subset(self, size: int) -> NDArray[np.int64]:
        """Return up to ``size`` evenly spaced rows of the validation volumes."""
        rows = np.linspace(0, len(self.indices) - 1, min(size, len(self.indices)))
        return np.unique(rows.round().astype(np.int64))
