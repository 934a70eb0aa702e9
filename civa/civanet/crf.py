"""The 3-D fully connected CRF that refines a segmentation (Sec. 4.6, ref. [29])."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pydensecrf.densecrf as densecrf
from numpy.typing import NDArray
from pydensecrf.utils import create_pairwise_bilateral, create_pairwise_gaussian

SEARCH: dict[str, tuple[Any, ...]] = {  # tried one parameter at a time, on validation
    "bilateral_weight": (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0),
    "bilateral_spatial": (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0),
    "bilateral_intensity": (0.25, 0.5, 1.0, 1.5),
    "smooth_weight": (0.0, 0.3, 1.0, 3.0, 10.0),
    "smooth_spatial": (1.0, 2.0, 3.0),
    "confidence": (0.25, 0.5, 1.0, 2.0, 4.0),
    "iterations": (2, 5, 10),
}


@dataclass(frozen=True)
class CrfParameters:
    """Energies of the CRF.

    Attributes
    ----------
    smooth_weight, smooth_spatial
        Weight and standard deviation (voxels) of the smoothness term.
    bilateral_weight, bilateral_spatial, bilateral_intensity
        Weight of the appearance term, its standard deviation in space (voxels) and in
        intensity (standard deviations of the guide).
    confidence
        Factor on the logit of the unary term.
    iterations
        Mean-field iterations.
    """

    smooth_weight: float = 0.3
    smooth_spatial: float = 1.0
    bilateral_weight: float = 3.0
    bilateral_spatial: float = 2.0
    bilateral_intensity: float = 1.0
    confidence: float = 1.0
    iterations: int = 5


def refine(foreground: NDArray, guide: NDArray, parameters: CrfParameters) -> NDArray[np.float32]:
    """Mean-field inference of the foreground in one volume.

    Parameters
    ----------
    foreground
        (d, h, w) probability of the foreground, from the network.
    guide
        (d, h, w) low-passed volume, standard deviation 1; raw noise misleads the appearance
        term.
    parameters
        Weights and widths of the terms.

    Returns
    -------
    (d, h, w) refined probability.
    """
    model = densecrf.DenseCRF(foreground.size, 2)
    model.setUnaryEnergy(_unary(foreground, parameters.confidence))
    shape = foreground.shape
    if parameters.smooth_weight > 0:
        features = create_pairwise_gaussian((parameters.smooth_spatial,) * 3, shape)
        model.addPairwiseEnergy(features, compat=parameters.smooth_weight)
    if parameters.bilateral_weight > 0:
        features = create_pairwise_bilateral(
            (parameters.bilateral_spatial,) * 3,
            (parameters.bilateral_intensity,),
            np.ascontiguousarray(guide, dtype=np.float32)[..., None],
            chdim=3,
        )
        model.addPairwiseEnergy(features, compat=parameters.bilateral_weight)
    posterior = np.asarray(model.inference(parameters.iterations))
    return posterior[1].reshape(shape).astype(np.float32)


def _unary(foreground: NDArray, confidence: float) -> NDArray[np.float32]:
    """Return the energies (2, p) of background and foreground."""
    clipped = np.clip(foreground.astype(np.float64), 1e-4, 1 - 1e-4).ravel()
    logit = confidence * (np.log(clipped) - np.log1p(-clipped))
    energies = np.logaddexp(0, np.stack([logit, -logit]))  # -log of the probabilities
    return np.ascontiguousarray(energies, dtype=np.float32)


def foreground_probability(
    segmentation: NDArray, mask: NDArray[np.bool_], threshold: float
) -> NDArray[np.float32]:
    """Turn O and the chosen proposal into the CRF's unary probability.

    The logit of O is shifted so that the threshold becomes 0.5.  Voxels of other proposals,
    which the CAM did not choose, are made background as sure as they were foreground.

    Parameters
    ----------
    segmentation
        (..., d, h, w) O in [0, 1].
    mask
        Same shape: the chosen proposal.
    threshold
        Threshold on O that made the proposals.
    """
    o = np.clip(segmentation.astype(np.float64), 1e-4, 1 - 1e-4)
    logit = np.log(o / (1 - o)) - np.log(threshold / (1 - threshold))
    logit = np.where(~mask & (logit > 0), -logit, logit)
    return (1 / (1 + np.exp(-logit))).astype(np.float32)
