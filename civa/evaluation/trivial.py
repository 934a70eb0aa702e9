"""Trivial rules that learn nothing: the rows that keep every table honest."""

from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from civa.consensus.centres import above_mean, lowpass, mean_shift

Settings = dict[str, float]

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {  # in voxels
    "ball": {"radius": (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)},
    "lowpass": {"sigma": (1.0, 1.5, 2.0)},
    "centre": {"sigma": (1.0, 1.5, 2.0), "window": (3.0, 5.0, 8.0)},
    "blob": {"sigma": (1.0, 1.5, 2.0), "window": (3.0, 4.0, 5.0), "scale": (3.0, 4.0, 5.0)},
}


def candidates(rule: str) -> list[Settings]:
    """List the settings of a rule among which the validation part chooses.

    Raises
    ------
    ValueError
        If there is no such rule.
    """
    if rule not in GRIDS:
        raise ValueError(f"trivial rule must be one of {tuple(GRIDS)} (got '{rule}')")
    grid = GRIDS[rule]
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def rule_map(rule: str, volumes: NDArray, settings: Settings) -> NDArray[np.float32]:
    """Apply a trivial rule: the brighter a voxel of the result, the more likely the target.

    Parameters
    ----------
    rule
        ``ball``: 1 inside a ball at the centre, 0 outside.  ``lowpass``: the volume after a
        Gaussian.  ``centre``: the same under a Gaussian window at the centre of the volume.
        ``blob``: the same under a window at the volume's brightest blob.
    volumes
        (n, d, h, w) standardised, protein bright.
    settings
        One of `candidates`, in voxels.

    Returns
    -------
    (n, d, h, w) map, to be thresholded.
    """
    shape = volumes.shape[1:]
    centre = tuple(edge // 2 for edge in shape)
    if rule == "ball":
        ball = _distance(shape, centre) <= settings["radius"]
        return np.broadcast_to(ball.astype(np.float32), volumes.shape)
    smooth = lowpass(volumes, settings["sigma"])
    if rule == "lowpass":
        return smooth
    window = settings["window"]
    centres = np.tile(np.array(centre, dtype=float), (len(volumes), 1))
    if rule == "blob":
        centres = brightest_blobs(smooth, scale=settings["scale"], window=window)
    distances = np.stack([_distance(shape, c) for c in centres])
    above = smooth - smooth.min(axis=(-3, -2, -1), keepdims=True)
    return (above * np.exp(-0.5 * (distances / window) ** 2)).astype(np.float32)


def brightest_blobs(smooth: NDArray, *, scale: float, window: float) -> NDArray[np.float64]:
    """Find the brightest blob of every volume.

    The start is the brightest spot at the blob's scale; a few mean-shift steps then move it to
    the centre of the density within a Gaussian window.

    Parameters
    ----------
    smooth
        (n, d, h, w) low-passed volumes; only what is above their mean counts.
    scale, window
        Standard deviations in voxels.

    Returns
    -------
    (n, 3) z, y, x.
    """
    density = above_mean(smooth)
    # Nothing lies outside the box: a mirrored border would draw the spots to the faces.
    spots = ndimage.gaussian_filter(density, (0, scale, scale, scale), mode="constant")
    brightest = spots.reshape(len(spots), -1).argmax(axis=1)
    starts = np.stack(np.unravel_index(brightest, smooth.shape[1:]), axis=1)
    return mean_shift(density, starts, window=window)


def _distance(shape: tuple[int, ...], centre: Iterable[float]) -> NDArray[np.float64]:
    axes = np.indices(shape, sparse=True)
    return np.sqrt(sum((axis - c) ** 2.0 for axis, c in zip(axes, centre, strict=True)))
