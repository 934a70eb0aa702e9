"""Does a class show one structure?  Its particles are averaged into two, and the two compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.alignment import pose_scores, superpose
from civa.consensus.expectation import PoseSearch
from civa.consensus.fourier import interpolator
from civa.consensus.subtomograms import Spectra, WhitenedSubtomograms

IN_PLACE_STARTS = 32  # random halves to begin with, whose poses stay
STARTS = 4  # the likeliest of them, whose poses are looked for again
ALIKE = 0.975  # correlation of two averages above which they show the same
STABLE = 0.8  # correlation of two partitions above which they are no accident
SMALLEST_SHARE = 0.05  # of a second structure that is worth a word


@dataclass(frozen=True)
class Split:
    """What averaging a class into two gives, at 40 Å.

    Attributes
    ----------
    correlation
        Of the two averages, superposed: close to 1 if there is one structure.
    stability
        Correlation of its partition of the particles with the likest one of another random start,
        from 0 to 1: noise is divided in another way every time, two structures are not.
    is_second
        (n,) which particles belong to the smaller average.
    """

    correlation: float
    stability: float
    is_second: NDArray[np.bool_]

    @property
    def smaller_share(self) -> float:
        """Share of the particles in the smaller average."""
        return float(self.is_second.mean()) if len(self.is_second) else 0.0

    @property
    def is_real(self) -> bool:
        """Whether the class holds two structures or conformations."""
        return (
            self.correlation < ALIKE
            and self.stability > STABLE
            and self.smaller_share >= SMALLEST_SHARE
        )


UNDIVIDED = Split(1.0, 0.0, np.zeros(0, dtype=bool))


@dataclass(frozen=True)
class Halves:
    """Particles averaged into two.

    Attributes
    ----------
    is_second
        (n,) which particles belong to the second average.
    rotations, shifts
        (n, 3, 3) and (n, 3) in either average.
    references
        The averages (e, e, e).
    likelihood
        Log-likelihood per particle, in its own average.
    """

    is_second: Tensor
    rotations: tuple[Tensor, Tensor]
    shifts: tuple[Tensor, Tensor]
    references: tuple[Tensor, ...] = ()
    likelihood: float = -np.inf

    @property
    def partition(self) -> NDArray[np.bool_]:
        """(n,) which particles belong to the second average."""
        return self.is_second.cpu().numpy()


def split(
    particles: WhitenedSubtomograms,
    used: NDArray[np.int64],
    poses: tuple[Tensor, Tensor],
    search: PoseSearch,
    generator: np.random.Generator,
) -> Split:
    """Average particles into two, from random halves of them.

    As long as the poses in one average stay, nothing is searched, and many starts cost little; in
    the likeliest of them, every particle is then aligned with either average.

    Parameters
    ----------
    particles
        All particles (n) of the class, centred.
    used
        (m,) which of them the averages are made of; their spectra are held in memory.
    poses
        Rotations (n, 3, 3) and shifts (n, 3) in one average of all.
    """
    some = particles[used]
    rotations, shifts = (pose[used] for pose in poses)

    def begin() -> Halves:
        half = torch.from_numpy(generator.permutation(len(used)) % 2 == 1)
        halves = Halves(half.to(rotations.device), (rotations, rotations), (shifts, shifts))
        return two_means(some, halves, search, poses_stay=True)

    starts = sorted((begin() for _ in range(IN_PLACE_STARTS)), key=lambda h: -h.likelihood)
    ends = [two_means(some, start, search, poses_stay=False) for start in starts[:STARTS]]
    likeliest, *others = sorted(ends, key=lambda h: -h.likelihood)
    first, second = likeliest.references
    (fits,) = particles.map(
        lambda _, spectra: (_fits(spectra, (first, second), search),)  # (n, 2)
    )
    is_second = (fits[:, 1] > fits[:, 0]).cpu().numpy()
    if is_second.mean() > 0.5:
        is_second = ~is_second
    return Split(
        superpose(first, second, search.band)[2],
        max(stability(likeliest.partition, other.partition) for other in others),
        is_second,
    )


def two_means(spectra: Spectra, halves: Halves, search: PoseSearch, *, poses_stay: bool) -> Halves:
    """Give every particle to the average that it fits better, until all keep theirs.

    Unless ``poses_stay``, every particle is aligned with both averages each time.
    """
    for _ in range(search.iterations):
        second = halves.is_second
        poses = tuple(zip(halves.rotations, halves.shifts, strict=True))
        references = tuple(
            search.average(spectra[side], rotations[side], shifts[side])
            for side, (rotations, shifts) in zip((~second, second), poses, strict=True)
        )
        if poses_stay:
            one, two = (
                placed(spectra, reference, search, *pose)
                for reference, pose in zip(references, poses, strict=True)
            )
        else:
            one, two = (aligned(spectra, reference, search) for reference in references)
        scores, rotations, shifts = zip(one, two, strict=True)
        likelihood = float(torch.maximum(*scores).mean())
        halves = Halves(scores[1] > scores[0], rotations, shifts, references, likelihood)
        if (halves.is_second == second).all() or len(halves.is_second.unique()) == 1:
            break
    return halves


def placed(
    spectra: Spectra, reference: Tensor, search: PoseSearch, rotations: Tensor, shifts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (n,) at poses (n, 3, 3) and (n, 3), and these."""
    poses = rotations[:, None], shifts[:, None]
    return (
        pose_scores(spectra, interpolator(reference), search.band, *poses)[:, 0],
        rotations,
        shifts,
    )


def aligned(
    spectra: Spectra, reference: Tensor, search: PoseSearch
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (n,), rotations (n, 3, 3) and shifts (n, 3) of the best poses on the grids."""
    scores, turns, places = search.best(spectra, reference, keep=1)
    return scores[:, 0], search.rotations[turns[:, 0]], search.shifts[places[:, 0]]


def _fits(spectra: Spectra, references: Sequence[Tensor], search: PoseSearch) -> Tensor:
    """Score (n, a) of the best pose in each of several averages (e, e, e)."""
    return torch.stack([aligned(spectra, one, search)[0] for one in references], dim=1)


def stability(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Correlation of two partitions into two, whichever part is called the first; 0 for none."""
    if first.all() or second.all() or not first.any() or not second.any():
        return 0.0
    return float(abs(np.corrcoef(first, second)[0, 1]))
