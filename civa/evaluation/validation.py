"""Choosing thresholds and weights on the validation part (Sec. 5), never on test."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from civa.data.particles import BACKGROUND, ParticleSet, read_predictions
from civa.data.stack import Stack
from civa.evaluation.mask_statistics import annotated
from civa.evaluation.metrics import iou

Choice = TypeVar("Choice")
CandidateMasks = Callable[[NDArray[np.int64]], Iterable[NDArray]]

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


def best(candidates: Sequence[Choice], qualities: Sequence[float]) -> Choice:
    """Return the candidate of highest quality, the first one on ties; NaN is never the highest.

    Raises
    ------
    ValueError
        If no quality is a number.
    """
    known = [pair for pair in zip(candidates, qualities, strict=True) if not np.isnan(pair[1])]
    if not known:
        raise ValueError(
            f"no quality of {list(candidates)} is a number: nothing can be chosen on validation; "
            "look for masks or maps that are not finite"
        )
    return max(known, key=lambda pair: pair[1])[0]


def as_record(candidates: Iterable[Choice], qualities: Iterable[float]) -> dict[str, float]:
    """Return candidate -> quality, for the record of a choice."""
    return {str(c): round(quality, 3) for c, quality in zip(candidates, qualities, strict=True)}


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
    map_class
        (n,) class that guides the maps of every volume, all parts: labelled in training, else
        predicted; the labelled one where nothing was predicted.
    """

    def __init__(
        self, masks: Path, particles: Path, split: Path, predictions: Path | None = None
    ) -> None:
        data = ParticleSet(particles, split)
        self._truth = Stack.open(masks).expect_volumes(len(data.labels))
        part = data.parts["validation"]
        self.indices = part[annotated(self._truth, part)]
        self._labels = data.labels  # (n,)
        classes = data.labels
        if predictions is not None:
            classes = read_predictions(predictions, data.table).map_class
        self.map_class = classes.astype(np.int8)  # as masks are stored

    @property
    def is_possible(self) -> bool:
        """False where no validation volume has a mask: defaults must do."""
        return len(self.indices) > 0

    def choose(
        self, candidates: Iterable[Choice], masks: CandidateMasks, *, default: Choice
    ) -> tuple[Choice, dict[str, float]]:
        """Choose the candidate whose masks score best, the first one on ties.

        Parameters
        ----------
        candidates
            Settings, such as thresholds.
        masks
            See `mious`; one array for every candidate, in their order.
        default
            What is returned where no validation volume has a mask.

        Returns
        -------
        The choice, and the quality of every candidate (none where there is no mask).
        """
        if not self.is_possible:
            return default, {}
        tried, qualities = list(candidates), self.mious(masks)
        return best(tried, qualities), as_record(tried, qualities)

    def mious(self, masks: CandidateMasks, *, rows: NDArray[np.int64] | None = None) -> list[float]:
        """Strict mean IoU, in per cent, of the masks of every candidate.

        Parameters
        ----------
        masks
            Positions in the stack (b,) -> one array (b, d, h, w) for every candidate.  Booleans
            claim the predicted class: a misclassified image scores 0.  Integers name the class
            of every voxel: voxels of a wrong class are errors.
        rows
            (m,) positions of some validation volumes; all by default.
        """
        # (candidates, b) each; small arrays would pin places among the buffers of the maps
        scores: list[list[list[float]]] = []
        for part in self._truth.batches(self.indices if rows is None else rows):
            truth = self._truth[part] > BACKGROUND  # (b, d, h, w)
            scores.append([self._iou(found, truth, part).tolist() for found in masks(part)])
        return [100 * float(np.mean(row)) for row in np.concatenate(scores, axis=1)]

    def _iou(self, found: NDArray, truth: NDArray, part: NDArray) -> NDArray[np.float64]:
        """Strict IoU (b,) of masks of the volumes ``part``."""
        labels = self._labels[part]
        if found.dtype == np.bool_:
            return iou(found, truth) * (self.map_class[part] == labels)
        is_right = found == labels[:, None, None, None]
        return iou(is_right, truth, claimed=found > BACKGROUND)

    def subset(self, size: int) -> NDArray[np.int64]:
        """Return the positions of up to ``size`` evenly spaced validation volumes."""
        rows = np.linspace(0, len(self.indices) - 1, min(size, len(self.indices)))
        return self.indices[np.unique(rows.round().astype(np.int64))]
