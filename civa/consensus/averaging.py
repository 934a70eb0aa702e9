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
from civa.consensus.half_sets import half_sets
from civa.consensus.heterogeneity import UNDIVIDED, Split, split
from civa.consensus.picks import LEAST_REACH
from civa.consensus.poses import grid_spacing_deg, search_shifts, shift_grid
from civa.consensus.reconstruction import (
    band_correlation,
    empty_total,
    fourier_shell_correlation,
    insert,
    last_resolved_shell,
    low_passed,
    reconstruct,
)
from civa.consensus.subtomograms import (
    Aligned,
    Optics,
    Setup,
    Spectra,
    Subtomograms,
    WhitenedSubtomograms,
)

logger = logging.getLogger(__name__)

# Where averaging from scratch begins: 53 Å, or half of Nyquist where voxels are so large that too
# few shells would be left beyond it to compare half-sets by.
COARSE_ANGSTROM, COARSE_VOXELS = 53.0, 4.0
MIDDLE_VOXELS = 3.0  # nor is the search over all poses finer than this, whatever 40 Å are
# Half-sets are judged by twice as many shells as the window makes dependent: one such width alone
# takes up a little of what they share where a class has thousands of volumes.
JUDGED_WIDTHS = 2
# Their correlation there below which an average shows nothing (docs/log.md, 28 November).
# White noise has -0.12 to 0.07 (10 to 150 volumes), 20 phantoms have 0.4 and more.
AGREEING = 0.3
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
        From scratch at the coarse scale, and of the half-sets at full resolution.
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
    reach_voxels: float = LEAST_REACH
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
        (2, e, e, e) averages of the two half-sets, each aligned by itself beyond `shared_shell`.
    fsc
        (shells,) correlation of the half-sets in shells of 1 / box.
    noise
        (shells,) noise power of the particles.
    shared_shell
        The last shell in which the half-sets are not independent. Both begin with one average of
        particles of both at the coarse scale: up to there, and as far as the window spreads it,
        noise correlates as well as a particle does.
    spread
        Shells over which the window spreads a coefficient.
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
    shared_shell: int
    spread: int
    score: float
    movement_deg: float
    agreement: float = float("nan")
    members: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    split: Split = UNDIVIDED
    apart: Split | None = None

    def told(self, first: "Average") -> "Average":
        """Take over what an earlier average of the same structure says of its class."""
        return replace(self, agreement=first.agreement, split=first.split, apart=first.apart)

    @property
    def judged_shells(self) -> NDArray[np.int64]:
        """The first shells beyond the shared ones; empty where the box holds none."""
        first = self.shared_shell + 1
        return np.arange(first, min(first + JUDGED_WIDTHS * self.spread, len(self.fsc) - 1))

    @property
    def half_set_correlation(self) -> float:
        """Correlation of the half-sets, band-passed to `judged_shells`; NaN where there are none.

        All that they have in common there was found by either half-set for itself.
        """
        if not len(self.judged_shells):
            return float("nan")
        first, second = self.halves
        return band_correlation(first, second, self.judged_shells)

    def resolution(self, optics: Optics) -> tuple[float, bool]:
        """Resolution in ångström by the half-sets, and whether it was measured.

        Where they disagree, or fall below 0.143 in the first shell that is their own, nothing is
        known beyond the shells that they share: the last of these is returned, as not measured.
        """
        shell = last_resolved_shell(self.fsc[:-1], first=self.shared_shell + 1, level=RESOLVED)
        is_measured = self.half_set_correlation >= AGREEING and shell > self.shared_shell
        extent = len(self.density) * optics.voxel_size_angstrom
        return extent / (shell if is_measured else self.shared_shell), is_measured


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


def average_again(
    subtomograms: Subtomograms, setup: Setup, density: NDArray[np.float32], *, plan: Plan
) -> Average:
    """Average volumes of one structure that other volumes showed: two half-sets to the end.

    Parameters
    ----------
    subtomograms
        The volumes (n), centred.
    density
        (e, e, e) what is known of the structure; only 53 Å of it is kept, so that half-sets stay
        independent of each other.
    """
    shell = _coarse_shell(setup)
    reference = setup.tensor(low_passed(density, shell)) * setup.ball
    average, _ = _to_full_resolution(reference, subtomograms, setup, plan)
    return replace(average, members=np.arange(len(subtomograms)))


def into_two(
    aligned: Aligned, setup: Setup, *, plan: Plan, generator: np.random.Generator
) -> Split:
    """Average into two at 40 Å, from the poses in the one average."""
    search = replace(
        _search(setup, plan),
        band=setup.band(_middle_shell(setup)),
        rotations=setup.grid(plan.split_rotations),
        shifts=setup.tensor(shift_grid(1)),
    )
    particles = setup.whiten(aligned.subtomograms, search.band)
    used = _some(len(particles), plan.split_particles, generator)
    shifts = setup.tensor(aligned.subtomograms.remainders())
    return split(particles, used, (aligned.rotations, shifts), search, generator)


def _coarse_shell(setup: Setup) -> int:
    """The last shell of averages from scratch."""
    return setup.shell(COARSE_ANGSTROM, least_voxels=COARSE_VOXELS)


def _middle_shell(setup: Setup) -> int:
    """The last shell of searches over all poses."""
    return setup.shell(MIDDLE_ANGSTROM, least_voxels=MIDDLE_VOXELS)


def _search(setup: Setup, plan: Plan) -> PoseSearch:
    """How poses are looked for at the coarse scale, from scratch."""
    return PoseSearch(
        setup.band(_coarse_shell(setup)),
        setup.grid(plan.coarse_rotations),
        setup.tensor(search_shifts(plan.reach_voxels)),
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
    """Average at the coarse scale from several random starts.

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
        "at %.0f Å: log-likelihood %.1f per particle, starts agree at %.2f",
        *(setup.extent_angstrom / _coarse_shell(setup), best.likelihood, agreement),
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
    """Align two half-sets by themselves, from an average (e, e, e) at the coarse scale."""
    members = half_sets(len(subtomograms), subtomograms.imaging.tomogram)
    ends = [HalfSet(subtomograms[half], reference) for half in members]
    spacing = grid_spacing_deg(plan.fine_rotations) / 2
    for _ in range(2):  # the second search begins with a reference of its own half-set
        ends = [_searched(half, setup, plan, spacing) for half in ends]
    average, ends = _refined(ends, setup, plan, spacing)
    centres = np.empty_like(subtomograms.centres)
    rotations = torch.empty(len(subtomograms), 3, 3, device=setup.device)
    for numbers, half in zip(members, ends, strict=True):
        centres[numbers] = half.subtomograms.centres
        rotations[numbers] = half.rotations
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
    band = setup.band(_middle_shell(setup))
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
        shared_shell=_coarse_shell(setup) + setup.spread,
        spread=setup.spread,
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
