"""Trivial rules that learn nothing: the rows that keep every table honest."""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Settings = dict[str, float]

SIGMAS = (1.0, 1.5, 2.0)  # voxels; low-pass
WINDOWS = (3.0, 5.0, 8.0)  # voxels; Gaussian window
RADII = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)  # voxels; ball

GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "ball": {"radius": RADII},
    "lowpass": {"sigma": SIGMAS},
    "centre": {"sigma": SIGMAS, "window": WINDOWS},
    "blob": {"sigma": SIGMAS, "window": WINDOWS},
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
        ``blob``: the same under a window at the brightest spot of the volume at that scale.
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
    centres = brightest_blobs(volumes, window) if rule == "blob" else [centre] * len(volumes)
    distances = np.stack([_distance(shape, c) for c in centres])
    above = smooth - smooth.min(axis=(-3, -2, -1), keepdims=True)
    return (above * np.exp(-0.5 * (distances / window) ** 2)).astype(np.float32)


def lowpass(volumes: NDArray, sigma_voxels: float) -> NDArray[np.float32]:
    """Smooth every volume of a stack (n, d, h, w) with a Gaussian."""
    sigma = (0, sigma_voxels, sigma_voxels, sigma_voxels)
    return ndimage.gaussian_filter(volumes, sigma, output=np.float32)


def brightest_blobs(volumes: NDArray, window_voxels: float) -> list[tuple[int, ...]]:
    """Find the brightest spot of every volume at the scale of a window: z, y, x."""
    smooth = lowpass(volumes, window_voxels)
    return [np.unravel_index(volume.argmax(), volume.shape) for volume in smooth]


def _distance(shape: tuple[int, ...], centre: tuple[float, ...]) -> NDArray[np.float64]:
    axes = np.indices(shape, sparse=True)
    return np.sqrt(sum((axis - c) ** 2.0 for axis, c in zip(axes, centre, strict=True)))
