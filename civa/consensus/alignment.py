"""Rigid alignment of sub-tomograms to a reference in Fourier space, missing wedge left out.

The score of a pose is its log-likelihood against no particle at all, a matrix product over
coefficients; `civa.consensus.subtomograms` states the model.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.fourier import Band, coefficients, interpolator, phases, slices
from civa.consensus.picks import LEAST_REACH
from civa.consensus.poses import (
    Matrices,
    grid_spacing_deg,
    rotation_grid,
    search_shifts,
    shift_grid,
    small_turns,
)
from civa.consensus.subtomograms import Setup, Spectra, Subtomograms

MIDDLE_ANGSTROM = 40.0  # of the search over all poses
FINEST_ANGSTROM = 28.0  # of the last refinement: contrast transfer and wedge leave little beyond


def search_grid(
    spectra: Spectra,
    transform: Tensor,
    band: Band,
    rotations: Tensor,
    shifts: Tensor,
    *,
    keep: int,
    chunk: int = 8,
) -> tuple[Tensor, Tensor, Tensor]:
    """Score every rotation and shift of a grid, and keep the best rotations of each particle.

    Parameters
    ----------
    transform
        (2, m, m, m) of the reference, from `civa.consensus.fourier.interpolator`.
    rotations, shifts
        (r, 3, 3) and (s, 3) grids, z, y, x.
    keep
        Rotations that are kept of every particle.
    chunk
        Particles at a time.

    Returns
    -------
    Scores (n, m) of the best, their rotations (n, m) and shifts (n, m) as numbers on the grids.
    """
    views = slices(transform, rotations, band.frequencies)  # (r, k)
    flat_views = torch.cat([views.real, views.imag], dim=1)  # (r, 2 k)
    squared = views.abs() ** 2
    undo = phases(band.frequencies, shifts)  # (s, k)
    found = []
    for start in range(0, len(spectra), chunk):
        part = spectra[start : start + chunk]
        moved = (part.weighted[:, None] * undo).flatten(0, 1)  # (b s, k)
        flat = torch.cat([moved.real, moved.imag], dim=1)
        match = (flat @ flat_views.T).reshape(len(part), len(shifts), -1)  # (b, s, r)
        if part.prior is not None:
            match += part.prior.log(shifts[None])[:, :, None] / 2  # the score counts matches twice
        best, at = match.max(dim=1)  # (b, r)
        score = 2 * best - part.power @ squared.T
        top, rows = score.topk(min(keep, len(rotations)), dim=1)
        found.append((top, rows, at.gather(1, rows)))
    scores, turns, places = (torch.cat(parts) for parts in zip(*found, strict=True))
    return scores, turns, places


def pose_scores(
    spectra: Spectra, transform: Tensor, band: Band, rotations: Tensor, shifts: Tensor
) -> Tensor:
    """Score poses (n, m, 3, 3) and (n, m, 3) of every particle: (n, m)."""
    views = slices(transform, rotations, band.frequencies)  # (n, m, k)
    moved = spectra.weighted[:, None] * phases(band.frequencies, shifts)
    match = (views.real * moved.real + views.imag * moved.imag).sum(-1)
    scores = 2 * match - (views.abs() ** 2 * spectra.power[:, None]).sum(-1)
    return scores if spectra.prior is None else scores + spectra.prior.log(shifts)


def refine(
    spectra: Spectra,
    transform: Tensor,
    band: Band,
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
            spectra[start : start + chunk],
            transform,
            band,
            rotations[start : start + chunk],
            shifts[start : start + chunk],
            [(first_turn_deg / 2**level, first_shift / 2**level) for level in range(levels)],
            rounds,
        )
        for start in range(0, len(spectra), chunk)
    ]
    scores, turns, places = (torch.cat(column) for column in zip(*parts, strict=True))
    return scores, turns, places


def _climb(
    spectra: Spectra,
    transform: Tensor,
    band: Band,
    rotations: Tensor,
    shifts: Tensor,
    steps: list[tuple[float, float]],
    rounds: int,
) -> tuple[Tensor, Tensor, Tensor]:
    device = rotations.device
    rows = torch.arange(len(spectra), device=device)
    scores = pose_scores(spectra, transform, band, rotations[:, None], shifts[:, None])[:, 0]
    axes = torch.cat([torch.eye(3, device=device), -torch.eye(3, device=device)])  # (6, 3)
    for angle, step in steps:
        turns = torch.from_numpy(small_turns(angle)).float().to(device)  # (6, 3, 3)
        for _ in range(rounds):
            turned = turns @ rotations[:, None]  # (n, 6, 3, 3)
            tried = pose_scores(spectra, transform, band, turned, shifts[:, None])
            best, at = tried.max(dim=1)
            better = best > scores
            scores = torch.where(better, best, scores)
            rotations = torch.where(better[:, None, None], turned[rows, at], rotations)
            moved = shifts[:, None] + step * axes  # (n, 6, 3)
            tried = pose_scores(spectra, transform, band, rotations[:, None], moved)
            best, at = tried.max(dim=1)
            better = best > scores
            scores = torch.where(better, best, scores)
            shifts = torch.where(better[:, None], moved[rows, at], shifts)
    return scores, rotations, shifts


def best_poses(
    spectra: Spectra,
    transform: Tensor,
    band: Band,
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
    _, turns, places = search_grid(spectra, transform, band, rotations, shifts, keep=keep)
    n, m = turns.shape
    each = torch.arange(n, device=turns.device).repeat_interleave(m)
    scores, reached, moved = refine(
        spectra[each],
        transform,
        band,
        rotations[turns.flatten()],
        shifts[places.flatten()],
        first_turn_deg=turn_deg,
        levels=3,
    )
    best, column = scores.reshape(n, m).max(dim=1)
    rows = torch.arange(n, device=turns.device) * m + column
    return best, reached[rows], moved[rows]


class Aligner:
    """Aligns sub-tomograms with the average of their class.

    Parameters
    ----------
    density
        (e, e, e) the average.
    noise
        (shells,) noise power from shell 1 on.
    rotations
        Size of the even grid that is searched.
    reach_voxels
        Radius of the shifts that are searched.
    """

    def __init__(
        self,
        density: NDArray,
        noise: NDArray[np.float64],
        setup: Setup,
        *,
        rotations: int = 1152,
        reach_voxels: float = LEAST_REACH,
    ) -> None:
        self.setup = setup
        self.transform = interpolator(setup.tensor(np.array(density)))
        self.noise = setup.tensor(np.concatenate([[1.0], noise]))
        finest = min(setup.shell(FINEST_ANGSTROM), len(noise))
        self.bands = [setup.band(shell) for shell in (setup.shell(MIDDLE_ANGSTROM), finest)]
        self.grid = setup.grid(rotations)
        self.shifts = setup.tensor(search_shifts(reach_voxels))
        self.turn = grid_spacing_deg(rotations) / 2

    def align(self, subtomograms: Subtomograms) -> tuple[NDArray, NDArray, NDArray]:
        """Search from the rough centres, then refine around what was found.

        Returns
        -------
        Scores (n,), matrices (n, 3, 3) and centres (n, 3).
        """
        searched = self.setup.whiten(subtomograms, self.bands[0], self.noise)
        rotations, moves = searched.map(lambda _, spectra: self._search(spectra))
        subtomograms = subtomograms.moved(moves)
        start = self.setup.tensor(subtomograms.remainders())
        refined = self.setup.whiten(subtomograms, self.bands[1], self.noise)
        scores, rotations, moves = refined.map(
            lambda part, spectra: self._refine(spectra, rotations[part], start[part])
        )
        return (
            scores.double().cpu().numpy(),
            rotations.double().cpu().numpy(),
            subtomograms.moved(moves).centres,
        )

    def _search(self, spectra: Spectra) -> tuple[Tensor, Tensor]:
        """Rotations (n, 3, 3) and shifts (n, 3) of the best poses."""
        _, rotations, moves = best_poses(
            spectra,
            self.transform,
            self.bands[0],
            self.grid,
            self.shifts,
            keep=3,  # rotations from which to climb: the best of a grid is often a neighbour
            turn_deg=self.turn,
        )
        return rotations, moves

    def _refine(
        self, spectra: Spectra, rotations: Tensor, moves: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return refine(
            spectra,
            self.transform,
            self.bands[1],
            rotations,
            moves,
            first_turn_deg=self.turn / 4,
            first_shift=0.5,
            levels=3,
        )


def superpose(
    moving: Tensor, fixed: Tensor, band: Band, *, rotations: int = 1152
) -> tuple[Matrices, NDArray[np.float64], float]:
    """Find the pose of one density (e, e, e) in another.

    Returns
    -------
    Matrix (3, 3) and offset (3,) from the middle of the box, z, y, x, that bring ``moving`` onto
    ``fixed``, and the correlation of the two there, in the band.
    """
    found = coefficients((fixed / fixed.norm())[None], band)  # (1, k)
    transform = interpolator(moving / moving.norm())
    grid = torch.from_numpy(rotation_grid(rotations)).float().to(found.device)
    shifts = torch.from_numpy(shift_grid(3)).float().to(found.device)
    _, turns, moves = best_poses(
        Spectra(found, torch.ones_like(found.real)),
        transform,
        band,
        grid,
        shifts,
        keep=8,  # one volume: trying more rotations costs nothing
        turn_deg=grid_spacing_deg(rotations) / 2,
    )
    turned = slices(transform, turns, band.frequencies)
    moved = found * phases(band.frequencies, moves)
    cross = (turned.conj() * moved).sum().real
    correlation = float(cross / (turned.norm() * moved.norm()).clamp_min(1e-20))
    return turns[0].double().cpu().numpy(), moves[0].double().cpu().numpy(), correlation
