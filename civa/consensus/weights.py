"""Weights of Fourier voxels, measured per tomogram: how much signal each holds, and how much noise.

Tilts reach some frequencies often and others late in the exposure, at their ends or hardly at all.
With averages of all classes at hand, the transfer of a tomogram is what fits its boxes to them,

    V(k) = H(k) C(k) exp(-2 pi i k c) T(R^T k) + noise of power N(k),

the same H and N for all boxes of a tomogram, smooth in k.  What H has in common with its shell is
the average's own fall-off, and is left to that: H is 1 in the mean of every shell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from civa.consensus.fourier import Band, coefficients, interpolator, phases, slices
from civa.consensus.reconstruction import fourier_shells
from civa.consensus.subtomograms import Aligned, FourierWeights, Imaging, Setup
from civa.data.stack import Stack, write_stack

SMOOTHING = 1.5  # sigma in Fourier voxels: a window spreads a coefficient over as many
# Precision of H = 1 before anything was measured: it is 1 within a half.
PRIOR_PRECISION = 4.0
MOST_TRANSFER = 3.0
# Noise is at least this share of a voxel's power: signal explains no more of a single box.
LEAST_NOISE = 0.1
LEAST_VOLUMES = 30  # of a tomogram, below which it shares the weights of others taken like it


def weight_groups(
    tomogram: NDArray[np.int64] | None, acquisition: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Say which volumes share their weights: those of a tomogram, if it has enough of them.

    Parameters
    ----------
    tomogram
        (n,) number of each volume's tomogram; None where they are not known.
    acquisition
        (n,) number of how it was taken.

    Returns
    -------
    (n,) numbers from 0 on.
    """
    if tomogram is None:
        return np.unique(acquisition, return_inverse=True)[1]
    has_own = np.bincount(tomogram)[tomogram] >= LEAST_VOLUMES
    key = np.where(has_own, tomogram, tomogram.max() + 1 + acquisition)
    return np.unique(key, return_inverse=True)[1]


@dataclass
class Sums:
    """What boxes and the average of their class have in common, added up by groups.

    Attributes
    ----------
    cross, model, power
        (g, k): products of both, and the power of either.
    counts
        (g,) boxes.
    """

    cross: Tensor
    model: Tensor
    power: Tensor
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, groups: int, band: Band) -> "Sums":
        """Sums of no boxes."""
        zeros = torch.zeros(3, groups, len(band.indices), device=band.frequencies.device)
        return cls(zeros[0], zeros[1], zeros[2], np.zeros(groups, np.int64))

    def add(self, found: Tensor, model: Tensor, groups: NDArray[np.int64]) -> None:
        """Add boxes: coefficients (n, k), what the average says of them, and their groups (n,)."""
        at = torch.from_numpy(groups).to(found.device)
        self.cross.index_add_(0, at, (found * model.conj()).real)
        self.model.index_add_(0, at, model.abs() ** 2)
        self.power.index_add_(0, at, found.abs() ** 2)
        self.counts += np.bincount(groups, minlength=len(self.counts))


def measure_weights(
    classes: Mapping[int, Aligned], densities: NDArray[np.float32], setup: Setup, groups: int
) -> FourierWeights:
    """Measure the weights of groups of volumes, from their poses in the averages of their classes.

    Parameters
    ----------
    classes
        Number of an average, from 1 -> the volumes that show it; ``imaging.group`` says to which
        group each belongs.
    densities
        (a, e, e, e) averages.
    groups
        How many there are.
    """
    band = setup.band(setup.edge // 2 - 1)
    sums = Sums.empty(groups, band)
    for number, aligned in classes.items():
        transform = interpolator(setup.tensor(np.array(densities[number - 1])))
        for part in setup.portions(len(aligned.subtomograms)):
            some = aligned.subtomograms[part]
            assert some.imaging.group is not None
            boxes = some.boxes(setup.window).to(setup.device)
            turned = slices(transform, aligned.rotations[part], band.frequencies)
            moved = turned * phases(band.frequencies, setup.tensor(some.remainders())).conj()
            model = moved * setup.optics.transfer(band, some.imaging)
            sums.add(coefficients(boxes, band), model, some.imaging.group)
    return _weights(sums, band, share=float(np.mean(np.square(setup.window))))


def write_weights(
    transfer: Path, noise: Path, weights: FourierWeights, *, voxel_size_angstrom: float
) -> None:
    """Write both as MRC stacks (g, e, e, e), frequency 0 in the middle of each."""
    for path, values in ((transfer, weights.transfer), (noise, weights.noise)):
        shifted = np.fft.fftshift(values, axes=(1, 2, 3))
        write_stack(path, shifted, voxel_size_angstrom=voxel_size_angstrom)


def read_weights(paths: Sequence[Path], imaging: Imaging) -> FourierWeights | None:
    """Read what `write_weights` wrote, transfer first; None if there are no paths.

    Raises
    ------
    ValueError
        If they are not of the groups of volumes that there are.
    """
    if not paths:
        return None
    stacks = [np.fft.ifftshift(Stack.open(path)[:], axes=(1, 2, 3)) for path in paths]
    assert imaging.group is not None
    groups = int(imaging.group.max()) + 1
    if len(stacks) != 2 or any(len(one) != groups for one in stacks):
        raise ValueError(
            f"{', '.join(map(str, paths))}: expected transfer and noise of {groups} groups of "
            f"volumes, found {[len(one) for one in stacks]}: the particle table is another than "
            "theirs; run the stage refine again"
        )
    return FourierWeights(stacks[0], stacks[1])


def _weights(sums: Sums, band: Band, *, share: float) -> FourierWeights:
    """Turn sums into weights; ``share`` of the coefficients are independent of each other."""
    edge = band.edge
    inside = _whole(torch.ones(1, len(band.indices)), band)
    reach = _smoothed(inside).clip(1e-3)
    cross, model, power = (
        _smoothed(_whole(values.cpu(), band)) / reach
        for values in (sums.cross, sums.model, sums.power)
    )  # (g, e, e, e)
    counts = np.maximum(sums.counts, 1)[:, None, None, None]
    level = np.maximum(power / counts, 1e-12 * max(float(power.max()), 1e-12))
    independent = share * (2 * np.sqrt(np.pi) * SMOOTHING) ** 3
    transfer = _shrunk(independent * cross / level, independent * model / level)
    shells = fourier_shells(edge)
    for shell in range(1, edge // 2):
        of_shell = (shells == shell) & (inside[0] > 0)
        for group in range(len(transfer)) if of_shell.any() else ():
            noise = level[group][of_shell].mean()
            common = _shrunk(
                share * cross[group][of_shell].sum() / noise,
                share * model[group][of_shell].sum() / noise,
            )
            transfer[group][shells == shell] /= max(float(common), 0.1)
    transfer = transfer.clip(0, MOST_TRANSFER)
    explained = (2 * transfer * cross - transfer**2 * model) / counts
    noise_power = np.maximum(level - explained, LEAST_NOISE * level)
    return FourierWeights(transfer.astype(np.float32), noise_power.astype(np.float32))


def _shrunk(cross: NDArray, model: NDArray) -> NDArray[np.float64]:
    """Most probable H, its prior being 1: sums in units of the noise."""
    return (cross + PRIOR_PRECISION) / (model + PRIOR_PRECISION)


def _whole(values: Tensor, band: Band) -> NDArray[np.float64]:
    """Fill coefficients (g, k) and their mates into boxes (g, e, e, e), FFT order."""
    edge = band.edge
    flat = torch.zeros(len(values), edge**3, dtype=torch.float64)
    flat[:, band.indices.cpu()] = values.double()
    boxes = flat.reshape(-1, edge, edge, edge).numpy()  # (g, e, e, e)
    axes = (1, 2, 3)
    return boxes + np.roll(np.flip(boxes, axes), 1, axes)  # k and -k


def _smoothed(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth boxes (g, e, e, e) in FFT order."""
    sigma = (0, SMOOTHING, SMOOTHING, SMOOTHING)
    return np.asarray(ndimage.gaussian_filter(boxes, sigma, mode="wrap"))
