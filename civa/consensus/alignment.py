"""Rigid alignment of sub-tomograms to a reference in Fourier space, missing wedge left out.

The model of a sub-tomogram's coefficient at frequency k is

    V(k) = C(k) exp(-2 pi i k c) T(R^T k) + noise of power P(|k|),   k outside the wedge,

with the reference T, the contrast transfer C, rotation R and centre c.  The score of a pose is
its log-likelihood against no particle at all, a matrix product over coefficients.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.fourier import Band, coefficients, cut_out, phases, slices
from civa.consensus.poses import small_turns
from civa.optics import Microscope, contrast_transfer


@dataclass(frozen=True)
class Optics:
    """How the volumes were imaged.

    Attributes
    ----------
    voxel_size_angstrom
        Of the volumes.
    max_tilt_deg
        The tilt series about y reaches from minus to plus this.
    microscope
        For the contrast transfer; it is used where the defocus is known.
    """

    voxel_size_angstrom: float
    max_tilt_deg: float = 60.0
    microscope: Microscope = field(default_factory=Microscope)

    def shell(self, resolution_angstrom: float, edge: int) -> int:
        """Shell of a resolution in a box of an edge, within what the box can hold."""
        return min(edge // 2 - 1, round(edge * self.voxel_size_angstrom / resolution_angstrom))

    def transfer(self, picked: Band, defocus_um: NDArray | None) -> Tensor:
        """Contrast transfer C of a band: (n, k); (1, k) ones where the defocus is unknown."""
        frequency = picked.frequencies.norm(dim=1).cpu().numpy() / self.voxel_size_angstrom
        if defocus_um is None:
            return torch.ones(1, len(frequency), device=picked.frequencies.device)
        rows = [
            contrast_transfer(frequency, defocus_um=float(d), microscope=self.microscope)
            for d in defocus_um
        ]
        return torch.from_numpy(np.stack(rows)).float().to(picked.frequencies.device)


@dataclass(frozen=True)
class Images:
    """Volumes and where their particles lie, roughly.

    Attributes
    ----------
    volumes
        (n, d, h, w), mean 0, protein bright.
    centres
        (n, 3) z, y, x in voxels.
    defocus_um
        (n,), or None where the contrast transfer is not known.
    """

    volumes: NDArray
    centres: NDArray[np.float64]
    defocus_um: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, rows: NDArray | slice) -> "Images":
        defocus = None if self.defocus_um is None else self.defocus_um[rows]
        return Images(self.volumes[rows], self.centres[rows], defocus)

    def cut_centres(self) -> NDArray[np.int64]:
        """The voxels (n, 3) on which boxes are cut out."""
        return np.round(self.centres).astype(np.int64)

    def moved(self, moves: Tensor) -> "Images":
        """Images whose centres lie ``moves`` (n, 3) from where their boxes were cut out."""
        return replace(self, centres=self.cut_centres() + moves.double().cpu().numpy())

    def coefficients(self, picked: Band, window: NDArray, *, chunk: int = 128) -> Tensor:
        """Coefficients (n, k) of a band of the boxes cut out around the centres."""
        centres, device = self.cut_centres(), picked.indices.device
        parts = []
        for start in range(0, len(self), chunk):
            rows = slice(start, start + chunk)
            boxes = torch.from_numpy(cut_out(self.volumes[rows], centres[rows], window))
            parts.append(coefficients(boxes.to(device), picked))
        return torch.cat(parts)


def noise_spectrum(found: Tensor, picked: Band) -> Tensor:
    """Mean power of coefficients (n, k) in every shell: noise, as the signal is far below it."""
    power = (found.abs() ** 2).mean(dim=0)
    sums = torch.zeros(picked.largest + 1, device=power.device)
    sizes = torch.zeros_like(sums)
    sums.index_add_(0, picked.shells, power)
    sizes.index_add_(0, picked.shells, torch.ones_like(power))
    return sums / sizes.clamp_min(1)


@dataclass(frozen=True)
class Particles:
    """Coefficients of particles, prepared for scoring.

    Attributes
    ----------
    weighted
        (n, k) complex, C V / P times the share of independent coefficients.
    power
        (n, k) C^2 / P times the same share: what a reference costs.
    """

    weighted: Tensor
    power: Tensor

    def __len__(self) -> int:
        return len(self.weighted)

    def __getitem__(self, rows: Tensor | slice) -> "Particles":
        return Particles(self.weighted[rows], self.power[rows])

    def shared(self, weights: Tensor) -> "Particles":
        """Every particle (n) m times, with the weights (n, m) of its poses: n m particles."""
        return Particles(
            (self.weighted[:, None] * weights[..., None]).flatten(0, 1),
            (self.power[:, None] * weights[..., None]).flatten(0, 1),
        )


def prepare(
    images: Images,
    picked: Band,
    optics: Optics,
    window: NDArray,
    noise: Tensor | None = None,
) -> tuple[Particles, Tensor]:
    """Cut particles out and weigh their coefficients by contrast transfer and noise.

    A window leaves fewer independent coefficients than there are, by the mean of its square.

    Parameters
    ----------
    noise
        (shells,) power; None measures it.

    Returns
    -------
    The particles, and the noise.
    """
    found = images.coefficients(picked, window)
    level = noise_spectrum(found, picked) if noise is None else noise
    transfer = optics.transfer(picked, images.defocus_um)
    weight = float(np.mean(np.square(window))) * transfer / level[picked.shells]
    power = (transfer * weight).expand(found.shape).contiguous()
    return Particles(found * weight, power), level


def search(
    particles: Particles,
    transform: Tensor,
    picked: Band,
    rotations: Tensor,
    shifts: Tensor,
    *,
    keep: int,
    chunk: int = 8,
) -> tuple[Tensor, Tensor, Tensor]:
    """Score every rotation and shift of a grid, and keep the best rotations of each particle.

    Returns
    -------
    Scores (n, m) of the best, their rotations (n, m) and shifts (n, m) as numbers on the grids.
    """
    views = slices(transform, rotations, picked.frequencies)  # (r, k)
    flat_views = torch.cat([views.real, views.imag], dim=1)  # (r, 2 k)
    squared = views.abs() ** 2
    undo = phases(picked.frequencies, shifts)  # (s, k)
    found = []
    for start in range(0, len(particles), chunk):
        part = particles[start : start + chunk]
        moved = (part.weighted[:, None] * undo).flatten(0, 1)  # (b s, k)
        flat = torch.cat([moved.real, moved.imag], dim=1)
        match = (flat @ flat_views.T).reshape(len(part), len(shifts), -1)  # (b, s, r)
        best, at = match.max(dim=1)  # (b, r)
        score = 2 * best - part.power @ squared.T
        top, rows = score.topk(min(keep, len(rotations)), dim=1)
        found.append((top, rows, at.gather(1, rows)))
    scores, turns, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    return scores, turns, places


def pose_scores(
    particles: Particles, transform: Tensor, picked: Band, rotations: Tensor, shifts: Tensor
) -> Tensor:
    """Score poses (n, m, 3, 3) and (n, m, 3) of every particle: (n, m)."""
    views = slices(transform, rotations, picked.frequencies)  # (n, m, k)
    moved = particles.weighted[:, None] * phases(picked.frequencies, shifts)
    match = (views.real * moved.real + views.imag * moved.imag).sum(-1)
    return 2 * match - (views.abs() ** 2 * particles.power[:, None]).sum(-1)


def refine(
    particles: Particles,
    transform: Tensor,
    picked: Band,
    rotations: Tensor,
    shifts: Tensor,
    *,
    first_turn_deg: float,
    first_shift: float = 1.0,
    levels: int = 4,
    rounds: int = 3,
    chunk: int = 256,
) -> tuple[Tensor, Tensor, Tensor]:
    """Climb from given poses by compass search, steps halved at every level.

    Parameters
    ----------
    rotations, shifts
        (n, 3, 3) and (n, 3), where to start.
    first_turn_deg, first_shift
        First steps, in degrees and voxels.

    Returns
    -------
    Scores (n,), rotations (n, 3, 3) and shifts (n, 3) reached.
    """
    parts = [
        _climb(
            particles[start : start + chunk],
            transform,
            picked,
            rotations[start : start + chunk],
            shifts[start : start + chunk],
            [(first_turn_deg / 2**level, first_shift / 2**level) for level in range(levels)],
            rounds,
        )
        for start in range(0, len(particles), chunk)
    ]
    scores, turns, places = (torch.cat(column) for column in zip(*parts, strict=True))
    return scores, turns, places


def _climb(
    particles: Particles,
    transform: Tensor,
    picked: Band,
    rotations: Tensor,
    shifts: Tensor,
    steps: list[tuple[float, float]],
    rounds: int,
) -> tuple[Tensor, Tensor, Tensor]:
    device = rotations.device
    rows = torch.arange(len(particles), device=device)
    scores = pose_scores(particles, transform, picked, rotations[:, None], shifts[:, None])[:, 0]
    axes = torch.cat([torch.eye(3, device=device), -torch.eye(3, device=device)])  # (6, 3)
    for angle, step in steps:
        turns = torch.from_numpy(small_turns(angle)).float().to(device)  # (6, 3, 3)
        for _ in range(rounds):
            turned = turns @ rotations[:, None]  # (n, 6, 3, 3)
            tried = pose_scores(particles, transform, picked, turned, shifts[:, None])
            best, at = tried.max(dim=1)
            better = best > scores
            scores = torch.where(better, best, scores)
            rotations = torch.where(better[:, None, None], turned[rows, at], rotations)
            moved = shifts[:, None] + step * axes  # (n, 6, 3)
            tried = pose_scores(particles, transform, picked, rotations[:, None], moved)
            best, at = tried.max(dim=1)
            better = best > scores
            scores = torch.where(better, best, scores)
            shifts = torch.where(better[:, None], moved[rows, at], shifts)
    return scores, rotations, shifts


def best_poses(
    particles: Particles,
    transform: Tensor,
    picked: Band,
    rotations: Tensor,
    shifts: Tensor,
    *,
    keep: int,
    turn_deg: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Search a grid, climb from the best few rotations, and return the best pose reached.

    Returns
    -------
    Scores (n,), rotations (n, 3, 3) and shifts (n, 3).
    """
    _, turns, places = search(particles, transform, picked, rotations, shifts, keep=keep)
    n, m = turns.shape
    each = torch.arange(n, device=turns.device).repeat_interleave(m)
    scores, reached, moved = refine(
        particles[each],
        transform,
        picked,
        rotations[turns.flatten()],
        shifts[places.flatten()],
        first_turn_deg=turn_deg,
        levels=3,
    )
    best, column = scores.reshape(n, m).max(dim=1)
    rows = torch.arange(n, device=turns.device) * m + column
    return best, reached[rows], moved[rows]
