"""What else a volume might show: the averages of other classes, and decoys of its own.

All are log-likelihoods of the same volume against no particle at all, so that their differences
are log-odds: of the class, and of there being anything like the average.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from civa.consensus.poses import Poses

# (number of the average, rows (m,), centres (m, 3)) -> log-likelihoods (m,) of the best poses.
Scorer = Callable[[int, NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Rivals:
    """How far every volume's pose is ahead of the best of something else.

    Attributes
    ----------
    labels
        (n,) of the class whose average comes next; 0 where there is no other class.
    class_margin
        (n,) log-likelihood above all other classes together; infinite where there is none.
    decoy_margin
        (n,) log-likelihood above the better decoy of its average.
    """

    labels: NDArray[np.int64]
    class_margin: NDArray[np.float64]
    decoy_margin: NDArray[np.float64]

    def update(self, rows: NDArray[np.int64], others: "Rivals") -> None:
        """Take over what was found anew of some volumes (m,)."""
        for one in fields(self):
            getattr(self, one.name)[rows] = getattr(others, one.name)

    @property
    def class_probability(self) -> NDArray[np.float64]:
        """(n,) that the class is right, all classes being as likely before the volume is seen."""
        return 1 / (1 + np.exp(-np.clip(self.class_margin, -50, 50)))

    @property
    def probability(self) -> NDArray[np.float64]:
        """(n,) that the average is right: against all other classes and the better decoy."""
        against = np.logaddexp(-self.class_margin, -self.decoy_margin)
        return 1 / (1 + np.exp(np.clip(against, -50, 50)))

    @property
    def fit_decoys(self) -> NDArray[np.bool_]:
        """(n,) volumes that a decoy fits as well as their average does."""
        return self.decoy_margin <= 0


def find_rivals(
    poses: Poses,
    rows: NDArray[np.int64],
    label_of: NDArray[np.int64],
    score: Scorer,
    decoys: list[Scorer],
) -> Rivals:
    """Score volumes, from their centres, against the averages of other classes and decoys.

    Parameters
    ----------
    poses
        Of all volumes.
    rows
        (m,) volumes to look at.
    label_of
        (averages + 1,) label of the class of every average, by its number; the first is no average.
    score
        Against averages.
    decoys
        Against decoys of averages, each by the number of its average.
    """
    shown, centres, scores = poses.averages[rows], poses.centres[rows], poses.scores[rows]
    others = np.full((len(rows), len(label_of)), -np.inf)
    best_decoy = np.full(len(rows), -np.inf)
    for number in range(1, len(label_of)):
        at = np.flatnonzero(label_of[shown] != label_of[number])
        if len(at):
            others[at, number] = score(number, rows[at], centres[at])
        at = np.flatnonzero(shown == number)
        for decoy in decoys if len(at) else ():
            best_decoy[at] = np.maximum(best_decoy[at], decoy(number, rows[at], centres[at]))
    together = np.logaddexp.reduce(others, axis=1)  # (m,)
    next_best = label_of[others.argmax(axis=1)]
    is_alone = ~np.isfinite(together)
    return Rivals(
        labels=np.where(is_alone, 0, next_best),
        class_margin=np.where(is_alone, np.inf, scores - together),
        decoy_margin=scores - best_decoy,
    )
