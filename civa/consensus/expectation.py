"""Expectation-maximisation over the poses of particles."""

from dataclasses import dataclass

from torch import Tensor

from civa.consensus.alignment import Particles, search
from civa.consensus.fourier import Band, interpolator
from civa.consensus.reconstruction import insert, recentred, reconstruct

KEPT = 8  # rotations of a particle that share its weight
SETTLED = 0.02  # of the particles still change their best rotation: the end


@dataclass(frozen=True)
class Search:
    """Where and how poses are looked for.

    Attributes
    ----------
    picked
        Coefficients of the particles.
    rotations, shifts
        (r, 3, 3) and (s, 3) grids.
    ball
        (e, e, e) window that averages are kept in.
    temperature
        Of the posterior over poses; at 1 an average from scratch sticks in a ball.
    iterations
        At most.
    """

    picked: Band
    rotations: Tensor
    shifts: Tensor
    ball: Tensor
    temperature: float
    iterations: int

    def average(self, cloud: Particles, rotations: Tensor, shifts: Tensor) -> Tensor:
        """Average particles at their poses, (n, 3, 3) and (n, 3), under the window: (e, e, e)."""
        total = insert(cloud, self.picked, rotations, shifts)
        return reconstruct(total, self.picked.edge) * self.ball

    def best(
        self, cloud: Particles, reference: Tensor, *, keep: int = KEPT
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, rotations and shifts (n, m), as numbers on the grids; see `search`."""
        grids = (self.picked, self.rotations, self.shifts)
        return search(cloud, interpolator(reference), *grids, keep=keep)

    def weighted(self, cloud: Particles, weights: Tensor, turns: Tensor, places: Tensor) -> Tensor:
        """Average particles at several poses each, by weight (n, m), and centre the result."""
        return recentred(
            self.average(
                cloud.shared(weights),
                self.rotations[turns.flatten()],
                self.shifts[places.flatten()],
            )
        )


@dataclass(frozen=True)
class Maximum:
    """Where expectation-maximisation ended.

    Attributes
    ----------
    likelihood
        Log-likelihood per particle, of its best pose.
    reference
        The average (e, e, e).
    """

    likelihood: float
    reference: Tensor


def maximise(cloud: Particles, reference: Tensor, how: Search) -> Maximum:
    """Improve an average until the particles keep their poses (Dempster et al. 1977).

    Every particle gives its weight to the rotations that fit it best, and the average is made
    again from what it was given.
    """
    previous: Tensor | None = None
    for _ in range(how.iterations):
        scores, turns, places = how.best(cloud, reference)
        weights = (scores / how.temperature).softmax(dim=1)
        reference = how.weighted(cloud, weights, turns, places)
        best = turns[:, 0]
        if previous is not None and (best != previous).float().mean() < SETTLED:
            break
        previous = best
    return Maximum(float(scores[:, 0].mean()), reference)
