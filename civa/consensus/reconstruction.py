"""From aligned particles to a density: Fourier insertion, Wiener filter, FSC (Harauz 1986)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.fourier import PADDING, Band, phases
from civa.consensus.subtomograms import Spectra

BOOST_ANGSTROM = 200.0  # below this frequency an unknown contrast transfer is not undone
FIRST_PEAK_ANGSTROM = 47.0  # of the contrast transfer at 5.5 um and 300 kV


def empty_total(edge: int, device: torch.device) -> Tensor:
    """A padded transform (3, m, m, m) that nothing was added to; see `insert`."""
    size = PADDING * edge
    return torch.zeros(3, size, size, size, device=device, dtype=torch.float64)


def insert(
    spectra: Spectra,
    band: Band,
    rotations: Tensor,
    shifts: Tensor,
    *,
    into: Tensor | None = None,
) -> Tensor:
    """Add particles, turned back by their poses, into a padded transform.

    Parameters
    ----------
    rotations, shifts
        (n, 3, 3) and (n, 3).
    into
        What other particles gave; it is added to, in place.

    Returns
    -------
    (3, m, m, m): real and imaginary part of the sum of C V / P, and the sum of C^2 / P.
    """
    size = PADDING * band.edge  # m
    moved = spectra.weighted * phases(band.frequencies, shifts)  # (n, k)
    index = (band.frequencies @ rotations) * size  # (n, k, 3)
    into = empty_total(band.edge, moved.device) if into is None else into
    total = into.view(3, size**3)
    for sign in (1, -1):  # a coefficient and its Friedel mate
        values = torch.stack([moved.real, sign * moved.imag, spectra.power.expand_as(moved.real)])
        at = (sign * index + size // 2).reshape(-1, 3)  # (n k, 3)
        corner = at.floor()
        fraction = at - corner
        for offset in np.ndindex(2, 2, 2):
            step = torch.tensor(offset, device=at.device)
            share = torch.where(step.bool(), fraction, 1 - fraction).prod(dim=1)  # (n k,)
            z, y, x = (corner.long() + step).T
            total.index_add_(1, (z * size + y) * size + x, (values.flatten(1) * share).double())
    return into


def shell_numbers(size: int, device: torch.device) -> Tensor:
    """Number of the shell, in steps of 1 / box, of every voxel of a padded transform."""
    along = torch.arange(size, device=device) - size // 2
    radius = (along[:, None, None] ** 2 + along[:, None] ** 2 + along**2).double().sqrt()
    return (radius / PADDING).round().long()


def shell_means(values: Tensor, shells: Tensor, count: int) -> Tensor:
    """Mean of a padded map in every shell 0 .. count - 1."""
    flat, numbers = values.flatten(), shells.flatten()
    inside = numbers < count
    sums = torch.zeros(count, dtype=torch.float64, device=values.device)
    sizes = torch.zeros_like(sums)
    sums.index_add_(0, numbers[inside], flat[inside].double())
    sizes.index_add_(0, numbers[inside], torch.ones_like(flat[inside], dtype=torch.float64))
    return sums / sizes.clamp_min(1)


def reconstruct(total: Tensor, edge: int, reliability: Tensor | None = None) -> Tensor:
    """Divide what `insert` added up, as a Wiener filter, and transform back.

    Parameters
    ----------
    total
        (3, m, m, m).
    reliability
        (shells,) FSC of this average with the truth; None: all shells are trusted alike.

    Returns
    -------
    (e, e, e) average, middle at e // 2.
    """
    size = total.shape[-1]
    shells = shell_numbers(size, total.device)
    count = edge // 2 + 1
    level = shell_means(total[2], shells, count)
    noise = torch.full_like(level, 0.1)
    if reliability is not None:
        known = reliability.to(level).clamp(1e-3, 1 - 1e-3)
        noise = torch.ones_like(level) * 1e3
        noise[: len(known)] = (1 - known) / known
    penalty = torch.cat([level * noise, level.new_zeros(int(shells.max()) + 1)])[shells]
    weight = (total[2] + penalty).clamp_min(1e-12)
    transform = torch.complex(total[0] / weight, total[1] / weight)
    transform = torch.where(total[2] > 1e-9 * total[2].max(), transform, 0)
    axes = (-3, -2, -1)
    padded = torch.fft.fftshift(
        torch.fft.ifftn(torch.fft.ifftshift(transform, dim=axes), dim=axes).real, dim=axes
    )
    start = size // 2 - edge // 2
    part = slice(start, start + edge)
    along = torch.sinc((torch.arange(edge, device=total.device) - edge // 2) / size) ** 2
    return (padded[part, part, part] / (along[:, None, None] * along[:, None] * along)).float()


def fourier_shell_correlation(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Correlation of two maps (e, e, e) shell by shell of 1 / box, from shell 0 to e / 2."""
    cross, *powers = shell_sums(first, second)
    return cross / np.maximum(np.sqrt(np.prod(powers, axis=0)), 1e-20)


def band_correlation(first: NDArray, second: NDArray, shells: NDArray[np.int64]) -> float:
    """Correlation of two maps (e, e, e) that are band-passed to some shells (s,)."""
    cross, *powers = shell_sums(first, second)[:, shells].sum(axis=1)
    return float(cross / max(np.sqrt(np.prod(powers)), 1e-20))


def fourier_shells(edge: int) -> NDArray[np.int64]:
    """Number of the shell of 1 / box of every coefficient (e, e, e), FFT order."""
    steps = np.fft.fftfreq(edge) * edge
    grid = np.meshgrid(steps, steps, steps, indexing="ij", sparse=True)
    return np.sqrt(sum(np.square(axis) for axis in grid)).round().astype(np.int64)


def filtered(density: NDArray, transfer: NDArray) -> NDArray[np.float64]:
    """Multiply the transform of a density (e, e, e) by a real transfer (e, e, e), FFT order."""
    return np.asarray(np.fft.ifftn(np.fft.fftn(density) * transfer).real)


def low_passed(density: NDArray, shell: int) -> NDArray[np.float32]:
    """Keep a density (e, e, e) up to a shell of 1 / box."""
    kept = fourier_shells(density.shape[0]) <= shell
    return filtered(density, kept).astype(np.float32)


def shell_sums(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Sums over the shells of 1 / box of two maps (e, e, e), from shell 0 to e / 2.

    Returns
    -------
    (3, shells): of the cross term, and of the power of either.
    """
    edge = first.shape[0]
    shells = fourier_shells(edge)
    a, b = np.fft.fftn(first), np.fft.fftn(second)
    values = ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    return np.stack([np.bincount(shells.ravel(), v.ravel())[: edge // 2 + 1] for v in values])


def last_resolved_shell(fsc: NDArray, *, first: int, level: float) -> int:
    """The last shell before the FSC of half-sets (shells,) falls below a level for the first time.

    Shells before ``first`` do not count; it is ``first - 1`` if the FSC is below the level at once.
    """
    below = np.flatnonzero(np.asarray(fsc)[first:] < level)
    return first - 1 + (int(below[0]) if len(below) else max(len(fsc) - first, 0))


def shape_share(density: NDArray, window: NDArray) -> float:
    """Share of a density's power under a window that its radial mean does not explain.

    0 for a ball or a shell, whatever its profile.
    """
    along = np.arange(density.shape[0]) - density.shape[0] // 2.0
    squared = along[:, None, None] ** 2 + along[:, None] ** 2 + along**2
    radius = np.sqrt(squared).round().astype(int)
    weights = window.ravel()
    sums = np.bincount(radius.ravel(), density.ravel() * weights)
    profile = sums / np.maximum(np.bincount(radius.ravel(), weights), 1e-12)
    rest = (density - profile[radius]) ** 2 * window
    return float(rest.sum() / max((density**2 * window).sum(), 1e-20))


def boosted(density: NDArray, voxel_size_angstrom: float) -> NDArray[np.float32]:
    """Undo a contrast transfer that is not known, roughly: low frequencies are raised.

    The weight is 1 / (k^2 + k0^2), the inverse of a weak phase object's transfer near focus zero,
    held constant beyond the first peak of a usual defocus.
    """
    along = np.fft.fftfreq(density.shape[0]) / voxel_size_angstrom
    squared = sum(np.square(g) for g in np.meshgrid(along, along, along, sparse=True))
    weight = 1 / (np.minimum(squared, FIRST_PEAK_ANGSTROM**-2) + BOOST_ANGSTROM**-2)
    return np.fft.ifftn(np.fft.fftn(density) * weight / weight.min()).real.astype(np.float32)


def recentred(density: Tensor) -> Tensor:
    """Roll a density (e, e, e) so that its bright part is centred, to a whole voxel."""
    bright = (density - 0.15 * density.max()).clamp_min(0)
    axis = torch.arange(density.shape[0], device=density.device) - density.shape[0] // 2
    total = bright.sum().clamp_min(1e-20)
    sums = [bright.sum(dim=tuple(d for d in range(3) if d != axis_)) for axis_ in range(3)]
    moves = [-int(((s * axis).sum() / total).round()) for s in sums]
    return density.roll(moves, dims=(0, 1, 2))
