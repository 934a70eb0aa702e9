"""Does a class show one structure?  Its particles are averaged into two, and the two compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.alignment import Particles
from civa.expectation import Maximum, Search, maximise
from civa.fitting import superpose

STARTS = 4  # random halves to begin with
ALIKE = 0.97  # correlation of two averages above which they show the same
STABLE = 0.7  # correlation of two partitions above which they are no accident
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


def split(
    clouds: Sequence[Particles],
    used: Tensor,
    reference: Tensor,
    levels: Sequence[Search],
    generator: np.random.Generator,
) -> Split:
    """Average particles into two, from random halves of them at their poses in one average.

    Of several starts the likeliest counts.

    Parameters
    ----------
    clouds
        All particles of the class, centred, prepared for each level.
    used
        (m,) which of them the averages are made of.
    reference
        (e, e, e) their average.
    levels
        How to look for poses, from coarse to fine.
    """
    some = [cloud[used] for cloud in clouds]
    coarse = levels[0]
    scores, turns, places = coarse.best(some[0], reference)
    weights = (scores / coarse.temperature).softmax(dim=1)

    def divide() -> Maximum:
        half = torch.from_numpy(generator.permutation(len(used)) % 2).to(weights.device)
        references = [
            coarse.weighted(some[0], weights * (half == which)[:, None], turns, places)
            for which in (0, 1)
        ]
        for cloud, how in zip(some, levels, strict=True):
            end = maximise(cloud, references, how)
            references = end.references
        return end

    likeliest, *others = sorted((divide() for _ in range(STARTS)), key=lambda end: -end.likelihood)
    cloud, how = clouds[-1], levels[-1]
    first, second = likeliest.references
    fits = [how.best(cloud, one, keep=1)[0][:, 0] for one in (first, second)]
    is_second = (fits[1] > fits[0]).cpu().numpy()
    if is_second.mean() > 0.5:
        is_second = ~is_second
    return Split(
        superpose(first, second, how.picked)[2],
        max(stability(_partition(likeliest), _partition(other)) for other in others),
        is_second,
    )


def _partition(end: Maximum) -> NDArray[np.bool_]:
    return (end.shares[:, 1] > 0.5).cpu().numpy()


def stability(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Correlation of two partitions into two, whichever part is called the first; 0 for none."""
    if first.all() or second.all() or not first.any() or not second.any():
        return 0.0
    return float(abs(np.corrcoef(first, second)[0, 1]))
