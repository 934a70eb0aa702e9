"""Averages that cannot be there: what a volume must fit worse than the average of its class.

A decoy has what a blob of the right size, or noise of the right spectrum, has in common with an
average.  A volume that fits one as well as the average does not show what the average shows.
"""

import numpy as np
from numpy.typing import NDArray

from civa.consensus.reconstruction import filtered, fourier_shells

Density = NDArray[np.float32]


def spherical(density: Density) -> Density:
    """Average a density (e, e, e) over all rotations about its middle, voxel e // 2."""
    edge = density.shape[0]
    grid = np.indices(density.shape) - edge // 2
    radius = np.sqrt(np.square(grid).sum(axis=0))
    # Shells half a voxel apart, between which values are interpolated: rings would be no blob.
    steps = np.arange(0, radius.max() + 1, 0.5)
    near = np.rint(2 * radius).astype(int).ravel()
    counts = np.bincount(near, minlength=len(steps))
    sums = np.bincount(near, density.ravel().astype(float), minlength=len(steps))
    filled = counts > 0
    means = np.interp(steps, steps[filled], sums[filled] / counts[filled])
    return np.interp(radius, steps, means).astype(np.float32)


def scrambled(density: Density, window: Density, generator: np.random.Generator) -> Density:
    """Give a density (e, e, e) random phases under its window, and its own power in every shell."""
    noise = np.fft.fftn(generator.standard_normal(density.shape))
    spectrum = np.abs(np.fft.fftn(density))
    drawn = np.fft.ifftn(spectrum * noise / np.abs(noise)).real * window
    return _with_power_of(drawn, density)


def _with_power_of(drawn: NDArray[np.float64], density: Density) -> Density:
    """Scale every shell of a map (e, e, e) to the power that a density has there."""
    shell = fourier_shells(density.shape[0])
    have, want = (
        np.bincount(shell.ravel(), (np.abs(np.fft.fftn(one)) ** 2).ravel())
        for one in (drawn, density)
    )
    scale = np.sqrt(want / np.maximum(have, 1e-20))
    return filtered(drawn, scale[shell]).astype(np.float32)
