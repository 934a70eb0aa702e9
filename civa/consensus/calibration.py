"""Probabilities of mapped-back masks, how honest they are, and what they say of a whole mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

BINS = 10
FLATTEST, STEEPEST = 1.0, 200.0  # slopes; the density is 1 at its peak


@dataclass(frozen=True)
class Calibration:
    """Probability that a voxel belongs to the target, from the mapped-back density there.

    Attributes
    ----------
    contour
        Density at which the probability is one half.
    slope
        Of its logit, per unit of density.
    """

    contour: float
    slope: float

    def probability(self, density: NDArray) -> NDArray[np.float32]:
        """Probabilities of densities of any shape, relative to the peak."""
        return expit(self.slope * (np.asarray(density, dtype=np.float32) - self.contour))


def from_half_sets(first: NDArray, second: NDArray, contour: float) -> Calibration:
    """Take the noise of an average, which its half-sets show, for all that is uncertain.

    No mask is needed.  The average of two halves has half of their difference as its noise; a
    logistic curve of slope 1.7 / sigma is close to a normal one.

    Parameters
    ----------
    first, second
        (e, e, e) averages of the half-sets, relative to the peak of the whole.
    """
    sigma = float(np.std((first - second)[first != 0])) / 2
    return Calibration(contour, float(np.clip(1.7 / max(sigma, 1e-6), FLATTEST, STEEPEST)))


def fit(density: NDArray, truth: NDArray[np.bool_], start: Calibration) -> Calibration:
    """Calibrate on voxels of known truth (Platt scaling): least cross-entropy.

    Parameters
    ----------
    density, truth
        (p,) mapped-back densities of validation volumes and whether the target is there.
    """
    values = np.asarray(density, dtype=np.float64)

    def loss(parameters: NDArray) -> float:
        contour, log_slope = parameters
        logits = np.exp(log_slope) * (values - contour)
        return float(np.mean(np.logaddexp(0, logits) - truth * logits))

    found = minimize(loss, [start.contour, np.log(start.slope)], method="Nelder-Mead")
    contour, log_slope = found.x
    return Calibration(float(contour), float(np.clip(np.exp(log_slope), FLATTEST, STEEPEST)))


class Reliability:
    """How often probabilities come true, in ten equal bins; voxels are added a few at a time."""

    def __init__(self) -> None:
        self._sizes, self._expected, self._observed = np.zeros((3, BINS))

    def add(self, probability: NDArray, truth: NDArray[np.bool_]) -> None:
        """Count voxels (p,): probabilities in [0, 1], and what was there."""
        bins = np.minimum((np.asarray(probability) * BINS).astype(int), BINS - 1)
        self._sizes += np.bincount(bins, minlength=BINS)
        self._expected += np.bincount(bins, probability, minlength=BINS)
        self._observed += np.bincount(bins, truth, minlength=BINS)

    def error(self) -> float:
        """Mean gap between probability and frequency over the bins (Naeini et al. 2015).

        In [0, 1]; bins count by their voxels.
        """
        gaps = np.abs(self._expected - self._observed)
        return float(gaps.sum() / max(self._sizes.sum(), 1))


def summary(
    reliability: Reliability, expected: NDArray[np.float64], reached: NDArray[np.float64]
) -> dict[str, float]:
    """How right probabilities of voxels and the IoU expected of masks (n,) are, in per cent.

    ``reached`` is the IoU (n,) that the masks have.
    """
    return {
        "ece_percent": round(100 * reliability.error(), 2),
        "expected_miou": round(100 * float(expected.mean()), 2),
        "mean_gap_of_iou": round(100 * float(np.abs(expected - reached).mean()), 2),
    }
