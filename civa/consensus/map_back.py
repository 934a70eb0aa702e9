"""From an average and poses to masks: turn the average into every volume and cut it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

PEAK_VOXELS = 20  # the brightest voxels, whose mean stands for a density's maximum
CONTOUR = 0.25  # of the peak: the ground truth's own convention (`simulation.mask_fraction`)
CONTOURS = tuple(round(0.10 + 0.02 * step, 2) for step in range(16))


def peak(density: NDArray) -> float:
    """Mean of the brightest voxels of a density."""
    return float(np.sort(density, axis=None)[-PEAK_VOXELS:].mean())


def relative_to_peak(density: NDArray) -> NDArray[np.float32]:
    """Scale a density (e, e, e) so that its brightest voxels have a mean of 1.

    Raises
    ------
    ValueError
        If nothing in it is positive.
    """
    brightest = peak(density)
    if not brightest > 0:
        raise ValueError("the average holds no positive density: there is nothing to map back")
    return (density / brightest).astype(np.float32)


def map_back(
    density: NDArray,
    matrices: NDArray,
    centres: NDArray,
    shape: tuple[int, ...],
    *,
    device: torch.device,
    chunk: int = 64,
) -> NDArray[np.float16]:
    """Turn a density into volumes, at a pose each; 0 outside its box.

    Parameters
    ----------
    density
        (e, e, e), middle at e // 2.
    matrices, centres
        (n, 3, 3) and (n, 3), z, y, x, in voxels of the volumes.
    shape
        Of the volumes.

    Returns
    -------
    (n, d, h, w).
    """
    edge = density.shape[0]
    source = torch.from_numpy(np.asarray(density, dtype=np.float32)).to(device)[None, None]
    axes = [torch.arange(extent, device=device).float() for extent in shape]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    turns = torch.from_numpy(np.asarray(matrices)).float().to(device)
    places = torch.from_numpy(np.asarray(centres)).float().to(device)
    mapped_back = np.empty((len(turns), *shape), dtype=np.float16)
    for start in range(0, len(turns), chunk):
        part = slice(start, start + chunk)
        back = (voxels - places[part, None]) @ turns[part]  # R^T (x - centre), (b, p, 3)
        grid = (2 * (back + edge // 2) / (edge - 1) - 1).flip(-1)[:, None, None]  # x, y, z
        found = functional.grid_sample(
            source.expand(len(grid), -1, -1, -1, -1), grid, align_corners=True
        )
        mapped_back[part] = found.reshape(-1, *shape).cpu().numpy()
    return mapped_back
