"""Sub-tomogram averaging, from volumes and rough centres alone.

Expectation-maximisation: every particle is scored against the current average at all poses of a
grid (`civa.consensus.alignment`), turned back by the best of them, and averaged in Fourier space
(`civa.consensus.reconstruction`), each coefficient by what the contrast transfer and the missing
wedge left of it.
"""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.alignment import Images, Optics, Particles, best_poses, prepare, refine
from civa.consensus.expectation import Maximum, Search, maximise
from civa.consensus.fitting import MIDDLE_ANGSTROM, superpose
from civa.consensus.fourier import Band, band, interpolator
from civa.consensus.heterogeneity import UNDIVIDED, Split, split
from civa.consensus.poses import grid_spacing_deg, rotation_grid, shift_grid
from civa.consensus.reconstruction import fourier_shell_correlation, insert, reconstruct

logger = logging.getLogger(__name__)

COARSE_ANGSTROM = 53.0  # where averaging from scratch begins


@dataclass(frozen=True)
class Plan:
    """How hard to try.

    Attributes
    ----------
    starts
        Averages from scratch, from different random particles; the likeliest is kept.
    coarse_rotations, split_rotations, fine_rotations
        Sizes of the even grids of rotations: from scratch, into two, of the half-sets.
    iterations, refinements
        At 53 Å from scratch, and of the half-sets at full resolution.
    temperature
        Of the posterior over poses from scratch; at 1 it sticks in a ball.
    """

    starts: int = 2
    coarse_rotations: int = 576
    split_rotations: int = 1152
    fine_rotations: int = 2304
    iterations: int = 15
    refinements: int = 3
    temperature: float = 0.3
    shift_voxels: float = 3.0
    first_particles: int = 10
    most_particles: int = 300  # from scratch
    split_particles: int = 150


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
    score, movement_deg
        Medians over the particles: log-likelihood, and turn in the last iteration.
    agreement
        Correlation of the averages from different random starts, from 0 to 1; NaN for one start.
    members
        (m,) which of the class's particles went into it.
    split
        What averaging these into two gives.
    apart
        What set it apart from the other particles of the class; None if it is the only average.
    """

    density: NDArray[np.float32]
    halves: NDArray[np.float32]
    fsc: NDArray[np.float64]
    noise: NDArray[np.float64]
    score: float
    movement_deg: float
    agreement: float = float("nan")
    members: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    split: Split = UNDIVIDED
    apart: Split | None = None

    def halves_agree(self, optics: Optics) -> float:
        """Correlation of the half-sets at 53 Å."""
        return float(self.fsc[max(optics.shell(COARSE_ANGSTROM, len(self.density)), 1)])


class Averager:
    """Averages volumes of one structure.

    Parameters
    ----------
    images
        The volumes and their rough centres.
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
        self.count = len(images)
        if self.count == 1:  # its own other half-set; see `diagnostics`
            images = images[np.array([0, 0])]
        self.images, self.optics, self.window, self.plan = images, optics, window, plan
        self.generator = np.random.default_rng(seed)
        self.edge, self.device = window.shape[0], device
        self.ball = torch.from_numpy(window).to(device)

    def run(self) -> tuple[Average, Images, Tensor]:
        """Average: from scratch at 53 Å, then two half-sets by themselves to the end.

        Returns
        -------
        The average, the images centred by it, and their rotations (n, 3, 3).
        """
        reference, images, agreement = self._from_scratch()
        average, images, rotations = self._to_full_resolution(reference, images)
        return (
            replace(average, agreement=agreement, members=np.arange(self.count)),
            images,
            rotations,
        )

    def into_two(self, images: Images, rotations: Tensor) -> Split:
        """Average into two at 40 Å, from where `run` has put its particles."""
        finer = replace(
            self._search(),
            picked=self._band(self.optics.shell(MIDDLE_ANGSTROM, self.edge)),
            rotations=self._grid(self.plan.split_rotations),
            shifts=self._tensor(shift_grid(1)),
        )
        cloud, _ = self._prepare(images, finer.picked)
        used = self._some(self.plan.split_particles)
        shifts = self._tensor(images.centres - images.cut_centres())
        return split(cloud, used, (rotations, shifts), finer, self.generator)

    def _to_full_resolution(
        self, reference: Tensor, images: Images
    ) -> tuple[Average, Images, Tensor]:
        """Align two half-sets by themselves, from an average at 53 Å; returns as `run` does."""
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
        average, halves, rotations = self._refine(halves, references, rotations, turn)
        centres = np.empty_like(images.centres)
        turns = torch.empty(len(images), 3, 3, device=self.device)
        for half in (0, 1):
            centres[half::2], turns[half::2] = halves[half].centres, rotations[half]
        return average, replace(images, centres=centres), turns

    def _refine(
        self,
        halves: list[Images],
        references: list[Tensor],
        rotations: list[Tensor],
        turn: float,
    ) -> tuple[Average, list[Images], list[Tensor]]:
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
        noise = torch.stack([noise for _, noise in prepared]).mean(dim=0)
        average = Average(
            density=density.cpu().numpy(),
            halves=np.stack(raw),
            fsc=fsc,
            noise=noise.double().cpu().numpy(),
            score=float(torch.cat(scores).median()),
            movement_deg=float(torch.cat(turned).median()),
        )
        halves = [part.moved(move) for part, move in zip(halves, moves, strict=True)]
        return average, halves, rotations

    def _search(self) -> Search:
        """How poses are looked for at 53 Å, from scratch."""
        return Search(
            self._band(self.optics.shell(COARSE_ANGSTROM, self.edge)),
            self._grid(self.plan.coarse_rotations),
            self._tensor(shift_grid(self.plan.shift_voxels)),
            self.ball,
            self.plan.temperature,
            self.plan.iterations,
        )

    def _from_scratch(self) -> tuple[Tensor, Images, float]:
        """Average at 53 Å from several random starts.

        Returns
        -------
        The likeliest average, the images centred by it, and the agreement of the starts.
        """
        how = self._search()
        cloud, _ = self._prepare(self.images, how.picked)
        some = cloud[self._some(self.plan.most_particles)]
        ends = [self._one_start(some, how) for _ in range(self.plan.starts)]
        best, *others = sorted(ends, key=lambda end: -end.likelihood)
        agreement = float("nan")
        if others:
            agreement = min(superpose(o.reference, best.reference, how.picked)[2] for o in others)
        logger.info(
            "at %g Å: log-likelihood %.1f per particle, starts agree at %.2f",
            *(COARSE_ANGSTROM, best.likelihood, agreement),
        )
        places = how.best(cloud, best.reference, keep=1)[2][:, 0]
        return best.reference, self.images.moved(how.shifts[places]), agreement

    def _one_start(self, cloud: Particles, how: Search) -> Maximum:
        """Average from a few random particles at random angles."""
        rows = self.generator.permutation(len(cloud))[: self.plan.first_particles]
        turns = self.generator.integers(len(how.rotations), size=len(rows))
        still = torch.zeros(len(rows), 3, device=self.device)
        first = cloud[torch.from_numpy(rows).to(self.device)]
        return maximise(cloud, how.average(first, how.rotations[turns], still), how)

    def _some(self, most: int) -> Tensor:
        """Rows of some particles, at random; of all, if they are not too many."""
        rows = self.generator.permutation(len(self.images))[:most]
        return torch.from_numpy(np.sort(rows)).to(self.device)

    def _density(self, total: Tensor) -> Tensor:
        return reconstruct(total, self.edge) * self.ball

    def _prepare(self, images: Images, picked: Band) -> tuple[Particles, Tensor]:
        return prepare(images, picked, self.optics, self.window)

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


def turns_deg(before: Tensor, after: Tensor) -> Tensor:
    """Angles (n,) between rotations (n, 3, 3), in degrees."""
    trace = (before * after).sum(dim=(1, 2))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
