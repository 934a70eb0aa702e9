"""Expectation-maximisation over the poses of particles."""

from dataclasses import dataclass

from torch import Tensor

from civa.consensus.alignment import search_grid
from civa.consensus.fourier import Band, interpolator
from civa.consensus.reconstruction import insert, recentred, reconstruct
from civa.consensus.subtomograms import Spectra

# Rotations of a particle that share its weight: those beyond have next to none at the
# temperature of the search.
KEPT = 8
SETTLED = 0.02  # of the particles still change their best rotation: the end


@dataclass(frozen=True)
class PoseSearch:
    """Where and how poses are looked for.

    Attributes
    ----------
    band
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

    band: Band
    rotations: Tensor
    shifts: Tensor
    ball: Tensor
    temperature: float
    iterations: int

    def average(self, spectra: Spectra, rotations: Tensor, shifts: Tensor) -> Tensor:
        """Average particles at their poses, (n, 3, 3) and (n, 3), under the window: (e, e, e)."""
        total = insert(spectra, self.band, rotations, shifts)
        return reconstruct(total, self.band.edge) * self.ball

    def best(
        self, spectra: Spectra, reference: Tensor, *, keep: int = KEPT
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, rotations and shifts (n, m), as numbers on the grids; see `search_grid`."""
        grids = (self.band, self.rotations, self.shifts)
        return search_grid(spectra, interpolator(reference), *grids, keep=keep)

    def weighted(self, spectra: Spectra, weights: Tensor, turns: Tensor, places: Tensor) -> Tensor:
        """Average particles at several poses each, by weight (n, m), and centre the result."""
        return recentred(
            self.average(
                spectra.repeated(weights),
                self.rotations[turns.flatten()],  # (n m, 3, 3)
                self.shifts[places.flatten()],  # (n m, 3)
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


def maximise(spectra: Spectra, reference: Tensor, search: PoseSearch) -> Maximum:
    """Improve an average until the particles keep their poses (Dempster et al. 1977).

    Every particle gives its weight to the rotations that fit it best, and the average is made
    again from what it was given.

    Parameters
    ----------
    spectra
        Of the particles (n).
    reference
        (e, e, e), where to start.
    """
    previous: Tensor | None = None
    for _ in range(search.iterations):
        scores, turns, places = search.best(spectra, reference)  # (n, m)
        weights = (scores / search.temperature).softmax(dim=1)
        reference = search.weighted(spectra, weights, turns, places)
        best = turns[:, 0]
        if previous is not None and (best != previous).float().mean() < SETTLED:
            break
        previous = best
    return Maximum(float(scores[:, 0].mean()), reference)
