"""Whether protein is bright or dark, told from the mean of boxes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING_VOXELS = 1.5  # of the mean box: particles are some voxels wide
# Confidence below which nothing is said.  Boxes of noise alone have up to 3.5, those of particles
# near their middle 4.6 and more (50 of one class at SNR 0.03; tests/inspection/test_contrast.py).
TELLING = 4.5


@dataclass(frozen=True)
class Contrast:
    """The contrast of protein in boxes.

    Attributes
    ----------
    is_dark
        Whether protein is darker than what is around it.
    confidence
        How far the mean box departs from its median where it does so most, in robust standard
        deviations of its voxels.
    """

    is_dark: bool
    confidence: float

    @property
    def is_told(self) -> bool:
        """Whether the confidence is that of a particle."""
        return self.confidence >= TELLING


def contrast_of(mean_box: NDArray) -> Contrast:
    """Tell the contrast of particles near the middle of boxes from their mean (d, h, w).

    The mean box shows what all have in common; it is judged within the middle half, which
    particles reach into and most neighbours do not.
    """
    mean = ndimage.gaussian_filter(mean_box.astype(np.float64), SMOOTHING_VOXELS)
    edge = mean.shape[0]
    middle = (slice(edge // 4, edge - edge // 4),) * 3
    apart = mean - np.median(mean)
    spread = 1.4826 * float(np.median(np.abs(apart)))
    brightest, darkest = float(apart[middle].max()), float(-apart[middle].min())
    return Contrast(darkest > brightest, max(brightest, darkest) / max(spread, 1e-12))
