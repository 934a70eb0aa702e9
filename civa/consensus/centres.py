"""Where the target lies: centres from localization maps and density (class labels only)."""

import logging

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from civa.consensus.picks import Picks
from civa.data.stack import Stack

logger = logging.getLogger(__name__)

MEAN_SHIFT_STEPS = 5
GUIDE_SIGMA = 1.5  # voxels: low-pass in which single particles of 10 to 20 voxels stand out
CAM_SHARE = 0.10  # of the voxels of a map: its peak
LEAST_WEIGHT = 1e-12  # of density under a window: less counts as none (volumes are standardised)


def mean_shift(
    density: NDArray, starts: NDArray[np.float64], *, window: float
) -> NDArray[np.float64]:
    """Move positions to the centre of the density within a Gaussian window, a few times.

    A position without any density within its window stays where it is, with a warning.

    Parameters
    ----------
    density
        (n, d, h, w), not negative.
    starts
        (n, 3) z, y, x in voxels.
    window
        Standard deviation in voxels.

    Returns
    -------
    (n, 3) z, y, x.
    """
    voxels = np.indices(density.shape[1:]).reshape(3, -1).astype(float)  # (3, p)
    centres = np.array(starts, dtype=float)
    stranded = 0
    for row, volume in enumerate(density):
        for _ in range(MEAN_SHIFT_STEPS):
            squared = ((voxels - centres[row][:, None]) ** 2).sum(axis=0)  # (p,)
            weights = volume.ravel() * np.exp(-0.5 * squared / window**2)
            if weights.sum() <= LEAST_WEIGHT:
                stranded += 1
                break
            centres[row] = voxels @ weights / weights.sum()
    if stranded:
        logger.warning(
            "%d of %d volumes have no density within %g voxels of where the search for their "
            "target begins, and are centred there: look for boxes that are empty or padded",
            *(stranded, len(density), window),
        )
    return centres


def lowpass(volumes: NDArray, sigma_voxels: float) -> NDArray[np.float32]:
    """Smooth every volume of a stack (n, d, h, w) with a Gaussian."""
    sigma = (0, sigma_voxels, sigma_voxels, sigma_voxels)
    return ndimage.gaussian_filter(volumes, sigma, output=np.float32)


def above_mean(smooth: NDArray) -> NDArray[np.float32]:
    """Keep what of low-passed volumes (n, d, h, w) lies above their mean; 0 elsewhere."""
    return np.clip(smooth - smooth.mean(axis=(-3, -2, -1), keepdims=True), 0, None)


def seed_centres(smooth: NDArray, cams: NDArray, *, window: float = 3.0) -> NDArray[np.float64]:
    """Find the target that a localization map points at.

    The start is the centroid of the map's best tenth of the voxels; mean-shift steps then move
    it to the centre of the density there.

    Parameters
    ----------
    smooth
        (n, d, h, w) low-passed volumes, protein bright.
    cams
        (n, d, h, w) localization maps, such as Grad-CAM; an empty one starts in the middle.
    window
        Standard deviation in voxels.

    Returns
    -------
    (n, 3) z, y, x in voxels.
    """
    flat = np.asarray(cams, dtype=np.float32).reshape(len(cams), -1)
    keep = max(1, round(CAM_SHARE * flat.shape[1]))
    peak = (flat >= np.partition(flat, -keep, axis=1)[:, -keep, None]) & (flat > 0)
    voxels = np.indices(cams.shape[1:]).reshape(3, -1)
    counts = peak.sum(axis=1)
    middle = np.array(cams.shape[1:]) // 2
    starts = np.where(counts[:, None] > 0, peak @ voxels.T / np.maximum(counts, 1)[:, None], middle)
    return mean_shift(above_mean(smooth), starts, window=window)


def blob_centres(
    smooth: NDArray, count: int, *, scale: float = 3.0, window: float = 3.0
) -> NDArray[np.float64]:
    """Find the brightest blobs of every volume, whatever a map says.

    Parameters
    ----------
    smooth
        (n, d, h, w) low-passed volumes, protein bright.
    count
        How many; a volume with fewer repeats its brightest.
    scale, window
        Standard deviations in voxels: of the blobs, and of the window of the mean shift.

    Returns
    -------
    (n, count, 3) z, y, x in voxels.
    """
    density = above_mean(smooth)
    starts = np.empty((len(density), count, 3))
    for row, volume in enumerate(density):
        spots = ndimage.gaussian_filter(volume, scale, mode="constant")
        peaks = np.argwhere(spots == ndimage.maximum_filter(spots, size=round(2 * scale) + 1))
        order = np.argsort(-spots[tuple(peaks.T)])[:count]
        starts[row] = peaks[order[0]]
        starts[row, : len(order)] = peaks[order]
    moved = [mean_shift(density, starts[:, k], window=window) for k in range(count)]
    return np.stack(moved, axis=1)


def centres_of(
    volumes: Stack, cams: Stack, rows: NDArray[np.int64], *, what: str, picks: Picks | None = None
) -> NDArray[np.float64]:
    """Find the targets of volumes on disk, and warn of those whose localization map is empty.

    Where targets were picked, they are where they were picked.

    Parameters
    ----------
    volumes, cams
        Standardised volumes and localization maps, of all volumes of the data set.
    rows
        (m,) positions of the volumes that are asked for.
    what
        Which these are, for the warning.
    picks
        Of all volumes of the data set, or None.

    Returns
    -------
    (m, 3) z, y, x in voxels.
    """
    if picks is not None:
        return picks[rows].places
    centres, done, empty = np.empty((len(rows), 3)), 0, 0
    for part in volumes.batches(rows):
        maps = cams[part]
        empty += int((maps.max(axis=(-3, -2, -1)) <= 0).sum())
        found = seed_centres(lowpass(volumes[part], GUIDE_SIGMA), maps)
        centres[done : done + len(part)] = found
        done += len(part)
    if empty:
        logger.warning(
            "%s: %d of %d localization maps are empty, and the search for their targets begins in "
            "the middle; train the classifier longer (classifier.epochs)",
            *(what, empty, len(rows)),
        )
    return centres


def blobs_of(volumes: Stack, rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Find the brightest blobs (m, count, 3) of volumes on disk; see `blob_centres`."""
    found = [
        blob_centres(lowpass(volumes[part], GUIDE_SIGMA), count) for part in volumes.batches(rows)
    ]
    return np.concatenate([np.zeros((0, count, 3)), *found])
