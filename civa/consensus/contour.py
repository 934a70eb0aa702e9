"""Where an average is to be cut, so that its mask is that of the density itself.

An average holds a density at a limited resolution.  Blurred, thin parts lose height and edges move
outwards: a quarter of the blurred peak is no longer the contour that a quarter of the density's own
peak is.  How much an average is blurred is known from its half-sets, and that a density is nowhere
negative tells what it was before.  Contours are judged on that: no mask is asked.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from civa.consensus.map_back import CONTOUR, peak
from civa.consensus.reconstruction import filtered, fourier_shells

# A density is drawn at the finest resolution that voxels carry, twice their size: a Gaussian of
# 0.225 sigma per unit of resolution (`civa.simulation.structures`), in voxels.
DRAWN_SIGMA_VOXELS = 0.45
# More steps fit the noise of an average by spikes (docs/log.md, 1 December: 6 to 25 tried).
STEPS = 10
SHARES = np.arange(0.15, 0.75, 0.01)  # of a blurred peak, at which masks may have to be cut


@dataclass(frozen=True)
class Contour:
    """Where to cut an average.

    Attributes
    ----------
    share
        Of the average's peak.
    agreement
        IoU of the best mask that the blurred density allows with that of the density itself.
    """

    share: float
    agreement: float

    def unblurred_peak(self, density: NDArray) -> float:
        """The peak that an average (e, e, e) would have without its blur, in its own units.

        `CONTOUR` of it is where the average is cut.
        """
        return peak(density) * self.share / CONTOUR


def find_contour(density: NDArray, transfer: NDArray[np.float64]) -> Contour:
    """Find where an average is to be cut.

    The mean of an average means nothing, as volumes have none: the blurred density is compared with
    it but for a constant.

    Parameters
    ----------
    density
        (e, e, e) average, 0 outside its window, with some density above 0.
    transfer
        (shells,) share of the density's amplitude that it holds, in shells of 1 / box from 0 on;
        see `transfer_of`.
    """
    edge = density.shape[0]
    held = np.pad(np.clip(transfer, 0, 1), (0, edge))  # nothing in the corners of a cube
    blur = held[fourier_shells(edge)]
    sharp = unblurred(density, blur)
    own = sharp > CONTOUR * peak(sharp)
    window = density != 0
    blurred = filtered(sharp, blur)
    blurred += (density - blurred).mean(where=window) * window
    reached = [_iou(blurred > share * peak(density), own) for share in SHARES]
    best = int(np.argmax(reached))
    return Contour(float(round(SHARES[best], 2)), float(reached[best]))


def transfer_of(
    reliability: NDArray[np.float64], voxel_size_angstrom: float, tilt_error_angstrom: float
) -> NDArray[np.float64]:
    """Share of a density's amplitude that an average holds, (shells,) of 1 / box from 0 on.

    A Wiener filter leaves the ``reliability`` of its shells.  Tilts that are not quite aligned blur
    all particles of a tomogram alike, which half-sets do not show.

    Parameters
    ----------
    reliability
        (shells,) C_ref^2 of the average, see `civa.consensus.averaging.of_whole`.
    tilt_error_angstrom
        Standard deviation along each axis of what the alignment of tilts leaves.
    """
    extent = 2 * (len(reliability) - 1) * voxel_size_angstrom
    frequency = np.arange(len(reliability)) / extent
    return reliability * np.exp(-2 * (np.pi * tilt_error_angstrom * frequency) ** 2)


def unblurred(density: NDArray, blur: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo a blur, as far as densities that are nowhere negative allow it.

    Projected gradient descent with Nesterov's momentum (Beck and Teboulle 2009) on the squared
    error of the blurred density, whatever its mean; stopped early.

    Parameters
    ----------
    density
        (e, e, e), blurred.
    blur
        (e, e, e) transfer, at most 1, FFT order.

    Returns
    -------
    (e, e, e), as it is drawn at twice the voxel size.
    """
    along = np.fft.fftfreq(density.shape[0])
    squared = sum(np.square(g) for g in np.meshgrid(along, along, along, sparse=True))
    drawn = np.exp(-2 * np.pi**2 * DRAWN_SIGMA_VOXELS**2 * squared)
    backwards = np.where(squared > 0, blur * drawn, 0)
    found = ahead = np.clip(density, 0, None).astype(np.float64)
    momentum = 1.0
    for _ in range(STEPS):
        error = filtered(ahead, blur * drawn) - density
        stepped = np.clip(ahead - filtered(error, backwards), 0, None)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = stepped + (momentum - 1) / following * (stepped - found)
        found, momentum = stepped, following
    return filtered(found, drawn)


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))
