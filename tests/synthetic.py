"""Shapes, and particles and averages of them, that tests of CIVA-Consensus share."""

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from civa.consensus.averaging import Average
from civa.consensus.fourier import Band, coefficients, window_for
from civa.consensus.heterogeneity import Split
from civa.consensus.subtomograms import Imaging, Optics, Setup, Spectra
from civa.data.imaging import Acquisition
from civa.optics import TiltRange

CPU = torch.device("cpu")
EDGE, VOXEL = 24, 20.0
OPTICS = Optics(VOXEL, (Acquisition(TiltRange(-90, 90)),))
WINDOW = window_for(EDGE)
SETUP = Setup(OPTICS, WINDOW, CPU)


def shape() -> np.ndarray:
    """Three blobs without any symmetry, around the middle of a box."""
    axes = np.indices((EDGE,) * 3, sparse=True)

    def blob(z: float, y: float, x: float, sigma: float) -> np.ndarray:
        centre = np.array([z, y, x]) + EDGE // 2
        squared = sum((axis - c) ** 2.0 for axis, c in zip(axes, centre, strict=True))
        return np.exp(-0.5 * squared / sigma**2)

    parts = blob(0, 0, 4, 1.6) + 0.8 * blob(3, -2, -3, 1.8) + 0.6 * blob(-3, 3, 0, 1.5)
    return parts.astype(np.float32)


def blobs(*parts: tuple[float, float, float, float]) -> np.ndarray:
    axes = np.indices((EDGE,) * 3, sparse=True)
    total = np.zeros((EDGE,) * 3)
    for z, y, x, sigma in parts:
        centre = np.array([z, y, x]) + EDGE // 2
        squared = sum((axis - c) ** 2.0 for axis, c in zip(axes, centre, strict=True))
        total = np.maximum(total, np.exp(-0.5 * squared / sigma**2))
    return total.astype(np.float32)


SHAPES = (
    blobs((0, 0, 5, 1.8), (0, 4, -2, 1.8), (-4, -2, -2, 2.2)),
    blobs((0, 0, -4, 1.6), (0, 0, 0, 1.6), (0, 0, 4, 2.0), (2.5, 0, 4, 1.4)),
)


def turned(volume: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The volume at a pose, by spline interpolation in real space: the oracle."""
    middle = np.full(3, EDGE // 2)
    offset = middle - matrix.T @ (middle + shift)
    return ndimage.affine_transform(volume, matrix.T, offset=offset, order=3).astype(np.float32)


def particles(boxes: np.ndarray, band: Band) -> Spectra:
    found = coefficients(torch.from_numpy(boxes), band)
    return Spectra(found, torch.ones(found.shape))


def alike(count: int, defocus_um: np.ndarray | None = None) -> Imaging:
    """So many volumes, all tilted alike."""
    return Imaging(np.zeros(count, dtype=np.int64), defocus_um)


def disagreeing() -> np.ndarray:
    """Half-sets (2, e, e, e) that have nothing in common."""
    return np.random.default_rng(8).standard_normal((2, EDGE, EDGE, EDGE)).astype(np.float32)


def average(**changes: object) -> Average:
    """An average that nothing speaks against."""
    good = Average(
        density=shape(),
        halves=np.stack([shape(), shape()]),
        fsc=np.ones(EDGE // 2 + 1),
        noise=np.ones(EDGE // 2),
        shared_shell=7,
        spread=1,
        score=60.0,
        movement_deg=0.5,
        agreement=0.99,
        members=np.arange(50),
        split=Split(0.99, 0.3, np.arange(50) < 20),
    )
    return replace(good, **changes)
