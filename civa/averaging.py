"""Sub-tomogram averaging of one class, from its volumes and rough centres alone.

Expectation-maximisation: every particle is scored against the current average at all poses of a
grid (`civa.alignment`), turned back by the best of them, and averaged in Fourier space
(`civa.reconstruction`), each coefficient by what the contrast transfer and the missing wedge left
of it.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.alignment import (
    Images,
    Optics,
    Particles,
    best_poses,
    noise_spectrum,
    refine,
    search,
)
from civa.fitting import MIDDLE_ANGSTROM, superpose
from civa.fourier import Band, band, interpolator
from civa.poses import Matrices, grid_spacing_deg, rotation_grid, shift_grid
from civa.reconstruction import (
    fourier_shell_correlation,
    insert,
    recentred,
    reconstruct,
)

logger = logging.getLogger(__name__)

COARSE_ANGSTROM = 53.0  # where averaging from scratch begins


@dataclass(frozen=True)
class Plan:
    """How hard to try.

    Attributes
    ----------
    starts
        Averages from scratch, from different random particles; the likeliest is kept.
    coarse_rotations, fine_rotations
        Sizes of the even grids of rotations.
    iterations, refinements
        At 53 Å from scratch, and of the half-sets at full resolution.
    temperature
        Of the posterior over poses from scratch; at 1 it sticks in a ball.
    """

    starts: int = 2
    coarse_rotations: int = 576
    fine_rotations: int = 2304
    iterations: int = 15
    refinements: int = 3
    temperature: float = 0.3
    shift_voxels: float = 3.0
    first_particles: int = 10
    most_particles: int = 300  # from scratch


@dataclass(frozen=True)
class Split:
    """Two averages of one class, at 53 Å: alike if the class is homogeneous.

    Attributes
    ----------
    correlation
        Of the two, superposed.
    smaller_share
        Of the particles, in the smaller one.
    """

    correlation: float
    smaller_share: float


@dataclass(frozen=True)
class Average:
    """The average of a class, and how it came about.

    Attributes
    ----------
    density
        (e, e, e) average, Wiener-filtered by its FSC, middle of the box at e // 2.
    halves
        (2, e, e, e) averages of the two half-sets, each aligned by itself below 53 Å.
    fsc
        (shells,) correlation of the half-sets in shells of 1 / box.
    noise
        (shells,) noise power of the particles.
    matrices, centres, scores
        (n, 3, 3), (n, 3) and (n,): poses of the particles and their log-likelihoods.
    movement_deg
        Median turn of the particles in the last iteration.
    agreement
        Correlation of the averages from different random starts, from 0 to 1; NaN for one start.
    split
        What averaging into two classes gives.
    """

    density: NDArray[np.float32]
    halves: NDArray[np.float32]
    fsc: NDArray[np.float64]
    noise: NDArray[np.float64]
    matrices: Matrices
    centres: NDArray[np.float64]
    scores: NDArray[np.float64]
    movement_deg: float
    agreement: float = float("nan")
    split: Split = Split(1.0, 0.0)


class Averager:
    """Averages one class.

    Parameters
    ----------
    images
        Its volumes and rough centres.
    optics
        How they were imaged.
    window
        (e, e, e), see `soft_ball`: the particle and little of its neighbours.
    """

    def __init__(
        self,
        images: Images,
        optics: Optics,
        window: NDArray[np.float32],
        *,
        plan: Plan,
        seed: int,
        device: torch.device,
    ) -> None:
        if len(images) == 1:  # it is its own other half-set; `civa.doubts` says what that is worth
            images = images[np.array([0, 0])]
        self.images, self.optics, self.window, self.plan = images, optics, window, plan
        self.generator, self.device = np.random.default_rng(seed), device
        self.edge = window.shape[0]
        self.ball = torch.from_numpy(window).to(device)

    def run(self) -> Average:
        """Average from scratch at 53 Å, then two half-sets by themselves to full resolution."""
        reference, images, agreement, split = self._from_scratch()
        halves = [images[half::2] for half in (0, 1)]
        references = [reference, reference]
        rotations = [torch.empty(0), torch.empty(0)]
        picked = self._band(self.optics.shell(MIDDLE_ANGSTROM, self.edge))
        grid = self._grid(self.plan.fine_rotations)
        shifts = self._tensor(shift_grid(2))
        turn = grid_spacing_deg(self.plan.fine_rotations) / 2
        for _ in range(2):
            for half, part in enumerate(halves):
                cloud, _ = self._prepare(part, picked)
                _, rotations[half], moves = best_poses(
                    cloud,
                    interpolator(references[half]),
                    picked,
                    grid,
                    shifts,
                    keep=3,
                    turn_deg=turn,
                )
                total = insert(cloud, picked, rotations[half], moves)
                references[half] = self._density(total)
                halves[half] = part.moved(moves)
        average = self._refine(halves, references, rotations, turn)
        return replace(average, agreement=agreement, split=split)

    def _refine(
        self,
        halves: list[Images],
        references: list[Tensor],
        rotations: list[Tensor],
        turn: float,
    ) -> Average:
        """Refine the poses of each half-set against its own average, FSC-weighted together."""
        picked = self._band(self.edge // 2 - 1)
        prepared = [self._prepare(part, picked) for part in halves]
        moves = [self._tensor(part.centres - part.cut_centres()) for part in halves]
        scores, totals = [torch.empty(0)] * 2, [torch.empty(0)] * 2
        turned = [torch.empty(0)] * 2
        for step in range(self.plan.refinements):
            for half, (cloud, _) in enumerate(prepared):
                before = rotations[half]
                scores[half], rotations[half], moves[half] = refine(
                    cloud,
                    interpolator(references[half]),
                    picked,
                    before,
                    moves[half],
                    first_turn_deg=turn / 2**step,
                    first_shift=0.5,
                    levels=3,
                )
                turned[half] = turns_deg(before, rotations[half])
                totals[half] = insert(cloud, picked, rotations[half], moves[half])
            raw = [self._density(total).cpu().numpy() for total in totals]
            fsc = fourier_shell_correlation(*raw)
            references = [
                reconstruct(total, self.edge, self._tensor(fsc)) * self.ball for total in totals
            ]
        both = np.clip(2 * fsc / (1 + np.clip(fsc, -0.9, 1)), 0, 1)
        density = reconstruct(totals[0] + totals[1], self.edge, self._tensor(both)) * self.ball
        centres = [p.cut_centres() + m.cpu().numpy() for p, m in zip(halves, moves, strict=True)]
        noise = torch.stack([noise for _, noise in prepared]).mean(dim=0)
        return Average(
            density=density.cpu().numpy(),
            halves=np.stack(raw),
            fsc=fsc,
            noise=noise.double().cpu().numpy(),
            matrices=interleave(*(r.double().cpu().numpy() for r in rotations)),
            centres=interleave(*centres),
            scores=interleave(*(s.double().cpu().numpy() for s in scores)),
            movement_deg=float(torch.cat(turned).median()),
        )

    def _from_scratch(self) -> tuple[Tensor, Images, float, Split]:
        """Average at 53 Å from several random starts, and once into two classes.

        Returns
        -------
        The likeliest average, the images centred by it, the agreement of the starts, the split.
        """
        picked = self._band(self.optics.shell(COARSE_ANGSTROM, self.edge))
        cloud, _ = self._prepare(self.images, picked)
        grid = self._grid(self.plan.coarse_rotations)
        shifts = self._tensor(shift_grid(self.plan.shift_voxels))
        used = cloud
        if len(cloud) > self.plan.most_particles:
            rows = self.generator.permutation(len(cloud))[: self.plan.most_particles]
            used = cloud[torch.from_numpy(np.sort(rows)).to(self.device)]
        starts = [
            self._one_start(used, picked, grid, shifts, classes=1) for _ in range(self.plan.starts)
        ]
        (likelihood, (reference,), _), *others = sorted(starts, key=lambda start: -start[0])
        agreement = float("nan")
        if others:
            agreement = min(superpose(other, reference, picked)[2] for _, (other,), _ in others)
        logger.info(
            "at %g Å: log-likelihood %.1f per particle, starts agree at %.2f",
            *(COARSE_ANGSTROM, likelihood, agreement),
        )
        _, pair, shares = self._one_start(used, picked, grid, shifts, classes=2)
        split = Split(superpose(pair[0], pair[1], picked)[2], float(min(shares)))
        _, _, places = search(cloud, interpolator(reference), picked, grid, shifts, keep=1)
        return reference, self.images.moved(shifts[places[:, 0]]), agreement, split

    def _one_start(
        self, cloud: Particles, picked: Band, grid: Tensor, shifts: Tensor, *, classes: int
    ) -> tuple[float, list[Tensor], list[float]]:
        """Average into some classes, each from a few random particles at random angles.

        Returns
        -------
        Log-likelihood per particle, the averages, and the share of the particles that each has.
        """
        count = self.plan.first_particles
        drawn = self.generator.permutation(len(cloud))[: classes * count]
        references = []
        for rows in np.array_split(drawn, classes):
            turns = grid[torch.from_numpy(self.generator.integers(len(grid), size=len(rows)))]
            still = torch.zeros(len(rows), 3, device=self.device)
            first = cloud[torch.from_numpy(rows).to(self.device)]
            references.append(self._density(insert(first, picked, turns, still)))
        previous = None
        for _ in range(self.plan.iterations):
            found = [
                search(cloud, interpolator(reference), picked, grid, shifts, keep=8)
                for reference in references
            ]
            scores = torch.cat([one for one, _, _ in found], dim=1)  # (n, classes m)
            weights = (scores / self.plan.temperature).softmax(dim=1).chunk(classes, dim=1)
            references = [
                recentred(
                    self._density(
                        insert(
                            cloud.shared(weight),
                            picked,
                            grid[turns.flatten()],
                            shifts[places.flatten()],
                        )
                    )
                )
                for weight, (_, turns, places) in zip(weights, found, strict=True)
            ]
            best = torch.cat([turns for _, turns, _ in found], dim=1)
            best = best.gather(1, scores.argmax(dim=1, keepdim=True))
            if previous is not None and (best != previous).float().mean() < 0.02:
                break
            previous = best
        shares = [float(weight.sum(dim=1).mean()) for weight in weights]
        return float(scores.max(dim=1).values.mean()), references, shares

    def _density(self, total: Tensor) -> Tensor:
        return reconstruct(total, self.edge) * self.ball

    def _prepare(self, images: Images, picked: Band) -> tuple[Particles, Tensor]:
        found = images.coefficients(picked, self.window)
        noise = noise_spectrum(found, picked)
        transfer = self.optics.transfer(picked, images.defocus_um)
        return Particles.prepare(found, transfer, noise, picked, self.window), noise

    def _band(self, shell: int) -> Band:
        return band(
            self.edge,
            highest_shell=shell,
            max_tilt_deg=self.optics.max_tilt_deg,
            device=self.device,
        )

    def _grid(self, count: int) -> Tensor:
        return self._tensor(rotation_grid(count))

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.from_numpy(np.asarray(values)).float().to(self.device)


def interleave(even: NDArray, odd: NDArray) -> NDArray:
    """Bring the rows 0, 2, 4 ... and 1, 3, 5 ... back into their order."""
    whole = np.empty((len(even) + len(odd), *even.shape[1:]), dtype=even.dtype)
    whole[0::2], whole[1::2] = even, odd
    return whole


def turns_deg(before: Tensor, after: Tensor) -> Tensor:
    """Angles (n,) between rotations (n, 3, 3), in degrees."""
    trace = (before * after).sum(dim=(1, 2))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
