"""Fourier coefficients of boxes, and of a reference at any rotation.

Positions are z, y, x in voxels from the middle of the box (index n // 2), frequencies in cycles
per voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from civa.optics import TiltRange, missing_wedge

WINDOW_SHARE = 11 / 32  # radius of the window around a particle, of the box's edge
PADDING = 2  # references are padded, so that trilinear interpolation of their transform is exact


@dataclass(frozen=True)
class Band:
    """The Fourier coefficients that alignment looks at: one of every pair of Friedel mates.

    Attributes
    ----------
    indices
        (k,) position in the flattened transform of a box, FFT order.
    frequencies
        (k, 3) z, y, x in cycles per voxel.
    shells
        (k,) |k| in whole steps of 1 / box.
    edge
        Of the box, in voxels.
    """

    indices: Tensor
    frequencies: Tensor
    shells: Tensor
    edge: int

    @property
    def largest(self) -> int:
        """The outermost shell."""
        return int(self.shells.max())


def select_band(
    edge: int, *, highest_shell: float, tilts: Sequence[TiltRange] = (), device: torch.device
) -> Band:
    """Pick the coefficients up to a shell that any of several tilt series reaches.

    None are left out where ``tilts`` is empty.
    """
    steps = torch.fft.fftfreq(edge, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    flat = grid.reshape(-1, 3)
    radius = flat.norm(dim=1) * edge
    z, y, x = flat.T
    is_first = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))  # of two mates
    is_first &= (flat > -0.5).all(dim=1)  # the Nyquist planes have no mate in the box
    is_first &= radius <= highest_shell + 1e-9
    if tilts:
        is_first &= torch.from_numpy(np.any([missing_wedge(edge, one) for one in tilts], 0).ravel())
    indices = torch.nonzero(is_first).ravel()
    shells = radius[indices].round().long()
    return Band(indices.to(device), flat[indices].float().to(device), shells.to(device), edge)


def soft_ball(edge: int, radius: float, *, width: float = 3.0) -> NDArray[np.float32]:
    """A ball around the middle of the box with a raised-cosine edge, (d, h, w) in [0, 1]."""
    axes = np.indices((edge,) * 3, sparse=True)
    distance = np.sqrt(sum((axis - edge // 2) ** 2.0 for axis in axes))
    along = np.clip((distance - radius) / width + 0.5, 0, 1)
    return (0.5 * (1 + np.cos(np.pi * along))).astype(np.float32)


def window_for(edge: int, radius_voxels: float | None = None) -> NDArray[np.float32]:
    """Return the window around a particle: `soft_ball`, of `WINDOW_SHARE` of the box by default.

    Raises
    ------
    ValueError
        If the radius leaves nothing, or the box.
    """
    radius = WINDOW_SHARE * edge if radius_voxels is None else radius_voxels
    if not 2 <= radius <= edge / 2:
        raise ValueError(
            f"radius_voxels is {radius:g}: expected 2 to {edge / 2:g}, half of the box of {edge} "
            "voxels; the particle should just fit"
        )
    return soft_ball(edge, radius)


def cut_out(volumes: NDArray, centres: NDArray[np.int64], window: NDArray) -> NDArray[np.float32]:
    """Cut a box around every centre, nothing where it leaves the volume, under a window.

    Parameters
    ----------
    volumes
        (n, d, h, w) with mean 0.
    centres
        (n, 3) voxel indices z, y, x that come to lie on the middle.
    window
        (e, e, e), see `soft_ball`.

    Returns
    -------
    (n, e, e, e).
    """
    edge = window.shape[0]
    cut = np.zeros((len(volumes), edge, edge, edge), dtype=np.float32)
    for row, start in enumerate(np.asarray(centres) - edge // 2):
        low = np.clip(start, 0, volumes.shape[1:])
        high = np.clip(start + edge, 0, volumes.shape[1:])
        inside = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        cut[row][inside] = volumes[row][part]
    return cut * window


def coefficients(boxes: Tensor, band: Band) -> Tensor:
    """Transform boxes (n, e, e, e), their middle at the origin, and select a band: (n, k)."""
    axes = (-3, -2, -1)
    transform = torch.fft.fftn(torch.fft.ifftshift(boxes, dim=axes), dim=axes)
    return transform.flatten(1)[:, band.indices]  # (n, k)


def interpolator(reference: Tensor) -> Tensor:
    """Prepare a reference (e, e, e) for `slices`: its padded transform, (2, m, m, m).

    The reference is divided by the transform of the trilinear kernel first.
    """
    edge = reference.shape[-1]
    size = PADDING * edge  # m
    along = torch.sinc((torch.arange(edge, device=reference.device) - edge // 2) / size) ** 2
    corrected = reference / (along[:, None, None] * along[:, None] * along)
    pad = size // 2 - edge // 2
    padded = functional.pad(corrected, (pad, size - edge - pad) * 3)  # (m, m, m)
    axes = (-3, -2, -1)
    transform = torch.fft.fftshift(
        torch.fft.fftn(torch.fft.ifftshift(padded, dim=axes), dim=axes), dim=axes
    )
    return torch.view_as_real(transform).movedim(-1, 0).contiguous()  # (2, m, m, m)


def slices(transform: Tensor, rotations: Tensor, frequencies: Tensor) -> Tensor:
    """Values of a reference turned by each rotation: T(R^T k).

    Parameters
    ----------
    transform
        (2, m, m, m) from `interpolator`.
    rotations
        (..., 3, 3), z, y, x.
    frequencies
        (k, 3) cycles per voxel.

    Returns
    -------
    (..., k) complex.
    """
    size = transform.shape[-1]
    turned = frequencies @ rotations  # k^T R = (R^T k)^T, (..., k, 3)
    index = turned * size + size // 2
    grid = (2 * index / (size - 1) - 1).flip(-1).reshape(1, 1, 1, -1, 3)  # (..., 3) x, y, z
    sampled = functional.grid_sample(transform[None], grid, align_corners=True)
    real, imaginary = sampled.reshape(2, *turned.shape[:-1])  # (..., k) each
    return torch.complex(real, imaginary)


def phases(frequencies: Tensor, shifts: Tensor) -> Tensor:
    """exp(2 pi i k s), which undoes a displacement s: (..., k) for shifts (..., 3)."""
    angle = 2 * torch.pi * (shifts @ frequencies.T)
    return torch.complex(angle.cos(), angle.sin())
