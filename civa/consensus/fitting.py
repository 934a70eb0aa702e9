"""Fitting densities: an average into volumes, and one average onto another."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.alignment import Images, Optics, Particles, best_poses, prepare, refine
from civa.consensus.fourier import Band, band, coefficients, interpolator, phases, slices
from civa.consensus.poses import Matrices, grid_spacing_deg, rotation_grid, shift_grid

MIDDLE_ANGSTROM = 40.0  # of the search over all poses


class Aligner:
    """Aligns volumes with the average of their class.

    Parameters
    ----------
    density
        (e, e, e) the average.
    noise
        (shells,) noise power from shell 1 on.
    """

    def __init__(
        self,
        density: NDArray,
        noise: NDArray[np.float64],
        optics: Optics,
        window: NDArray[np.float32],
        *,
        device: torch.device,
        rotations: int = 1152,
        shift_voxels: float = 3.0,
        finest_angstrom: float = 28.0,
    ) -> None:
        edge = window.shape[0]
        self.optics, self.window = optics, window
        self.transform = interpolator(torch.from_numpy(np.array(density)).float().to(device))
        self.noise = torch.from_numpy(np.concatenate([[1.0], noise])).float().to(device)
        self.bands = [
            band(edge, highest_shell=shell, max_tilt_deg=optics.max_tilt_deg, device=device)
            for shell in (
                optics.shell(MIDDLE_ANGSTROM, edge),
                min(optics.shell(finest_angstrom, edge), len(noise)),
            )
        ]
        self.grid = torch.from_numpy(rotation_grid(rotations)).float().to(device)
        self.shifts = torch.from_numpy(shift_grid(shift_voxels)).float().to(device)
        self.turn = grid_spacing_deg(rotations) / 2

    def align(self, images: Images) -> tuple[NDArray, NDArray, NDArray]:
        """Search from the rough centres, then refine around what was found.

        Returns
        -------
        Scores (n,), matrices (n, 3, 3) and centres (n, 3).
        """
        _, rotations, moves = best_poses(
            self._particles(images, self.bands[0]),
            self.transform,
            self.bands[0],
            self.grid,
            self.shifts,
            keep=3,
            turn_deg=self.turn,
        )
        images = images.moved(moves)
        moves = torch.from_numpy(images.centres - images.cut_centres()).to(moves)
        scores, rotations, moves = refine(
            self._particles(images, self.bands[1]),
            self.transform,
            self.bands[1],
            rotations,
            moves,
            first_turn_deg=self.turn / 4,
            first_shift=0.5,
            levels=3,
        )
        return (
            scores.double().cpu().numpy(),
            rotations.double().cpu().numpy(),
            images.moved(moves).centres,
        )

    def _particles(self, images: Images, picked: Band) -> Particles:
        return prepare(images, picked, self.optics, self.window, self.noise)[0]


def superpose(
    moving: Tensor, fixed: Tensor, picked: Band, *, rotations: int = 1152
) -> tuple[Matrices, NDArray[np.float64], float]:
    """Find the pose of one density (e, e, e) in another.

    Returns
    -------
    Matrix (3, 3) and offset (3,) from the middle of the box, z, y, x, that bring ``moving`` onto
    ``fixed``, and the correlation of the two there, in the band.
    """
    found = coefficients((fixed / fixed.norm())[None], picked)
    transform = interpolator(moving / moving.norm())
    grid = torch.from_numpy(rotation_grid(rotations)).float().to(found.device)
    shifts = torch.from_numpy(shift_grid(3)).float().to(found.device)
    _, turns, moves = best_poses(
        Particles(found, torch.ones_like(found.real)),
        transform,
        picked,
        grid,
        shifts,
        keep=8,
        turn_deg=grid_spacing_deg(rotations) / 2,
    )
    turned = slices(transform, turns, picked.frequencies)
    moved = found * phases(picked.frequencies, moves)
    cross = (turned.conj() * moved).sum().real
    correlation = float(cross / (turned.norm() * moved.norm()).clamp_min(1e-20))
    return turns[0].double().cpu().numpy(), moves[0].double().cpu().numpy(), correlation
