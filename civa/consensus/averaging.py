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

from civa.consensus.alignment import MIDDLE_ANGSTROM, best_poses, refine, superpose
from civa.consensus.expectation import Maximum, PoseSearch, maximise
from civa.consensus.fourier import interpolator
from civa.consensus.heterogeneity import UNDIVIDED, Split, split
from civa.consensus.poses import grid_spacing_deg, shift_grid
from civa.consensus.reconstruction import (
    empty_total,
    fourier_shell_correlation,
    insert,
    reconstruct,
    resolution_angstrom,
)
from civa.consensus.subtomograms import (
    Optics,
    Setup,
    Spectra,
    Subtomograms,
    WhitenedSubtomograms,
)

logger = logging.getLogger(__name__)

COARSE_ANGSTROM = 53.0  # where averaging from scratch begins
WINDOW_SHELLS = 1  # by which the soft window spreads what lies in a shell
JUDGED_SHELLS = 2  # over which the half-sets are compared: one has few independent coefficients
RESOLVED = 0.143  # of the FSC of half-sets (Rosenthal and Henderson 2003)
EMPTY = torch.empty(0)


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

    def independent_shells(self, optics: Optics) -> NDArray[np.int64]:
        """The first shells beyond those that both half-sets took from one reference.

        Both begin with the average of all particles up to 53 Å, which the window spreads by a
        shell: there noise correlates as well as a particle does.  Empty where the box holds none.
        """
        shared = optics.shell(COARSE_ANGSTROM, len(self.density)) + WINDOW_SHELLS
        return np.arange(shared + 1, min(shared + 1 + JUDGED_SHELLS, len(self.fsc) - 1))

    def halves_agree(self, optics: Optics) -> float:
        """Correlation of the half-sets over `independent_shells`; NaN where there are none."""
        shells = self.independent_shells(optics)
        if not len(shells):
            return float("nan")
        return float(np.average(self.fsc[shells], weights=shells.astype(float) ** 2))

    def resolution(self, optics: Optics) -> tuple[float, bool]:
        """Resolution in ångström by the half-sets, and whether it was measured.

        Where they disagree in the first shell that is their own, nothing is known beyond the 53 Å
        of the reference that they share: this is what is returned then, as not measured.
        """
        edge, shells = len(self.density), self.independent_shells(optics)
        shared = optics.shell(COARSE_ANGSTROM, edge)
        extent = edge * optics.voxel_size_angstrom
        if not len(shells) or self.fsc[shells[0]] < RESOLVED:
            return extent / max(shared, 1), False
        return resolution_angstrom(self.fsc, optics, edge, beyond=int(shells[0])), True


@dataclass(frozen=True)
class Aligned:
    """Sub-tomograms centred by an average, and their rotations (n, 3, 3) in it."""

    subtomograms: Subtomograms
    rotations: Tensor


def average_structure(
    subtomograms: Subtomograms, setup: Setup, *, plan: Plan, generator: np.random.Generator
) -> tuple[Average, Aligned]:
    """Average volumes of one structure: from scratch at 53 Å, then two half-sets to the end.

    Parameters
    ----------
    subtomograms
        The volumes (n) and their rough centres.
    generator
        Of the random starts.
    """
    count = len(subtomograms)
    if count == 1:  # its own other half-set; `civa.consensus.diagnostics` says what that is worth
        subtomograms = subtomograms[np.array([0, 0])]
    reference, subtomograms, agreement = _from_scratch(subtomograms, setup, plan, generator)
    average, aligned = _to_full_resolution(reference, subtomograms, setup, plan)
    return replace(average, agreement=agreement, members=np.arange(count)), aligned


def into_two(
    aligned: Aligned, setup: Setup, *, plan: Plan, generator: np.random.Generator
) -> Split:
    """Average into two at 40 Å, from the poses in the one average."""
    search = replace(
        _search(setup, plan),
        band=setup.band(setup.shell(MIDDLE_ANGSTROM)),
        rotations=setup.grid(plan.split_rotations),
        shifts=setup.tensor(shift_grid(1)),
    )
    particles = setup.whiten(aligned.subtomograms, search.band)
    used = _some(len(particles), plan.split_particles, generator)
    shifts = setup.tensor(aligned.subtomograms.remainders())
    return split(particles, used, (aligned.rotations, shifts), search, generator)


def _search(setup: Setup, plan: Plan) -> PoseSearch:
    """How poses are looked for at 53 Å, from scratch."""
    return PoseSearch(
        setup.band(setup.shell(COARSE_ANGSTROM)),
        setup.grid(plan.coarse_rotations),
        setup.tensor(shift_grid(plan.shift_voxels)),
        setup.ball,
        plan.temperature,
        plan.iterations,
    )


def _some(count: int, most: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of some particles, at random; of all, if they are not too many."""
    return np.sort(generator.permutation(count)[:most])


def _from_scratch(
    subtomograms: Subtomograms, setup: Setup, plan: Plan, generator: np.random.Generator
) -> tuple[Tensor, Subtomograms, float]:
    """Average at 53 Å from several random starts.

    Returns
    -------
    The likeliest average (e, e, e), the sub-tomograms centred by it, and the agreement of the
    starts.
    """
    search = _search(setup, plan)
    particles = setup.whiten(subtomograms, search.band)
    some = particles[_some(len(particles), plan.most_particles, generator)]
    ends = [_one_start(some, search, plan, generator) for _ in range(plan.starts)]
    best, *others = sorted(ends, key=lambda end: -end.likelihood)
    agreement = float("nan")
    if others:
        agreement = min(superpose(o.reference, best.reference, search.band)[2] for o in others)
    logger.info(
        "at %g Å: log-likelihood %.1f per particle, starts agree at %.2f",
        *(COARSE_ANGSTROM, best.likelihood, agreement),
    )
    (places,) = particles.map(
        lambda _, spectra: (search.best(spectra, best.reference, keep=1)[2][:, 0],)
    )
    return best.reference, subtomograms.moved(search.shifts[places]), agreement


def _one_start(
    spectra: Spectra, search: PoseSearch, plan: Plan, generator: np.random.Generator
) -> Maximum:
    """Average from a few random particles at random angles."""
    rows = generator.permutation(len(spectra))[: plan.first_particles]
    turns = generator.integers(len(search.rotations), size=len(rows))
    still = torch.zeros(len(rows), 3, device=search.ball.device)
    first = spectra[torch.from_numpy(rows).to(search.ball.device)]
    return maximise(spectra, search.average(first, search.rotations[turns], still), search)


def _to_full_resolution(
    reference: Tensor, subtomograms: Subtomograms, setup: Setup, plan: Plan
) -> tuple[Average, Aligned]:
    """Align two half-sets by themselves, from an average (e, e, e) at 53 Å."""
    ends = [HalfSet(subtomograms[half::2], reference) for half in (0, 1)]
    spacing = grid_spacing_deg(plan.fine_rotations) / 2
    for _ in range(2):  # the second search begins with a reference of its own half-set
        ends = [_searched(half, setup, plan, spacing) for half in ends]
    average, ends = _refined(ends, setup, plan, spacing)
    centres = np.empty_like(subtomograms.centres)
    rotations = torch.empty(len(subtomograms), 3, 3, device=setup.device)
    for start, half in enumerate(ends):
        centres[start::2] = half.subtomograms.centres
        rotations[start::2] = half.rotations
    return average, Aligned(replace(subtomograms, centres=centres), rotations)


@dataclass(frozen=True)
class HalfSet:
    """Half of the sub-tomograms, and what they gave so far.

    Attributes
    ----------
    reference
        (e, e, e) that they are aligned to next.
    rotations, moves
        (n, 3, 3), and (n, 3) from where their boxes are cut out.
    scores, turned_deg
        (n,) log-likelihood, and turn in the last iteration.
    total
        (3, m, m, m), see `civa.consensus.reconstruction.insert`.
    """

    subtomograms: Subtomograms
    reference: Tensor
    rotations: Tensor = EMPTY
    moves: Tensor = EMPTY
    scores: Tensor = EMPTY
    turned_deg: Tensor = EMPTY
    total: Tensor = EMPTY


def _searched(half: HalfSet, setup: Setup, plan: Plan, turn_deg: float) -> HalfSet:
    """Search all poses of a half-set at 40 Å, and average it."""
    band = setup.band(setup.shell(MIDDLE_ANGSTROM))
    grid, shifts = setup.grid(plan.fine_rotations), setup.tensor(shift_grid(2))
    transform = interpolator(half.reference)
    total = empty_total(setup.edge, setup.device)

    def work(part: slice, spectra: Spectra) -> tuple[Tensor, ...]:
        _, rotations, moves = best_poses(
            spectra, transform, band, grid, shifts, keep=3, turn_deg=turn_deg
        )
        insert(spectra, band, rotations, moves, into=total)
        return rotations, moves

    rotations, moves = setup.whiten(half.subtomograms, band).map(work)
    reference = reconstruct(total, setup.edge) * setup.ball
    return HalfSet(half.subtomograms.moved(moves), reference, rotations)


def _refined(
    halves: list[HalfSet], setup: Setup, plan: Plan, turn_deg: float
) -> tuple[Average, list[HalfSet]]:
    """Refine the poses of each half-set against its own average, FSC-weighted together."""
    whole = setup.band(setup.edge // 2 - 1)
    particles = [setup.whiten(half.subtomograms, whole) for half in halves]
    starts = [setup.tensor(half.subtomograms.remainders()) for half in halves]
    ends = [replace(half, moves=moves) for half, moves in zip(halves, starts, strict=True)]
    for step in range(plan.refinements):
        ends = [
            _climbed(half, whitened, turn_deg / 2**step)
            for half, whitened in zip(ends, particles, strict=True)
        ]
        raw = [reconstruct(half.total, setup.edge) * setup.ball for half in ends]
        fsc = fourier_shell_correlation(*(density.cpu().numpy() for density in raw))
        weights = setup.tensor(fsc)
        ends = [
            replace(half, reference=reconstruct(half.total, setup.edge, weights) * setup.ball)
            for half in ends
        ]
    total = ends[0].total + ends[1].total
    density = reconstruct(total, setup.edge, setup.tensor(of_whole(fsc))) * setup.ball
    noise = torch.stack([whitened.noise for whitened in particles]).mean(dim=0)
    average = Average(
        density=density.cpu().numpy(),
        halves=np.stack([density.cpu().numpy() for density in raw]),
        fsc=fsc,
        noise=noise.double().cpu().numpy(),
        score=float(torch.cat([half.scores for half in ends]).median()),
        movement_deg=float(torch.cat([half.turned_deg for half in ends]).median()),
    )
    return average, [
        replace(half, subtomograms=half.subtomograms.moved(half.moves)) for half in ends
    ]


def _climbed(half: HalfSet, particles: WhitenedSubtomograms, first_turn_deg: float) -> HalfSet:
    """Refine the poses of a half-set against its reference, and add it up anew."""
    transform, band = interpolator(half.reference), particles.band
    total = empty_total(band.edge, half.reference.device)

    def work(part: slice, spectra: Spectra) -> tuple[Tensor, ...]:
        scores, rotations, moves = refine(
            spectra,
            transform,
            band,
            half.rotations[part],
            half.moves[part],
            first_turn_deg=first_turn_deg,
            first_shift=0.5,
            levels=3,
        )
        insert(spectra, band, rotations, moves, into=total)
        return scores, rotations, moves

    scores, rotations, moves = particles.map(work)
    turned = turns_deg(half.rotations, rotations)
    return replace(
        half, rotations=rotations, moves=moves, scores=scores, turned_deg=turned, total=total
    )


def of_whole(fsc: NDArray[np.float64]) -> NDArray[np.float64]:
    """FSC (shells,) of the average of all with the truth, from that of two halves.

    C_ref^2 of Rosenthal and Henderson (2003): 2 f / (1 + f).
    """
    return np.clip(2 * fsc / (1 + np.clip(fsc, -0.9, 1)), 0, 1)


def turns_deg(before: Tensor, after: Tensor) -> Tensor:
    """Angles (n,) between rotations (n, 3, 3), in degrees."""
    trace = (before * after).sum(dim=(1, 2))
    return ((trace - 1) / 2).clamp(-1, 1).acos().rad2deg()
