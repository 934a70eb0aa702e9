"""Which average a volume shows, and where: its own class first, others where that fits badly."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from civa.consensus.poses import Poses, robust_level
from civa.consensus.rivals import Rivals

DOUBTFUL_Z_SCORE = -1.0  # below it lies a sixth of good volumes, and most that show something else
CHANCE_NATS = 15.0  # of log-likelihood: what the best of all poses reaches where nothing is
BELIEF_NATS = 10.0  # of log-likelihood: what a label, or a sure prediction, counts


class Assignment:
    """Poses of volumes, improved by one trial after another.

    Parameters
    ----------
    align
        (number of the average, rows (m,), centres (m, 3)) -> `Poses` of these volumes.
    labels
        (averages + 1,) label of the class of every average, by its number; the first is no average.
    given_class
        (n,) label that every volume was given, or the classifier's prediction.
    unsure
        (n,) predictions that do not count.
    trained
        (n,) volumes that the averages are made of; they say what is typical of an average.
    least_z_score
        Z-score below which a volume is an outlier.
    """

    def __init__(
        self,
        align: Callable[[int, NDArray, NDArray], Poses],
        *,
        labels: NDArray[np.int64],
        given_class: NDArray[np.int64],
        unsure: NDArray[np.bool_],
        trained: NDArray[np.bool_],
        least_z_score: float,
    ) -> None:
        self._align, self._label_of, self.given_class = align, labels, given_class
        self.unsure, self._trained, self.least_z_score = unsure, trained, least_z_score
        self._belief = np.where(unsure, 0.0, BELIEF_NATS)
        self._averages = range(1, len(labels))
        self.poses = Poses.empty(len(given_class))
        self._typical: dict[int, tuple[float, float]] = {}

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) label of the class that every volume fits."""
        return self._label_of[self.poses.averages]

    @property
    def outliers(self) -> NDArray[np.bool_]:
        """(n,) volumes that fit badly."""
        return self.poses.z_scores < self.least_z_score

    def try_own_class(self, centres: NDArray) -> None:
        """Align every volume with the averages of its class, and take the likeliest."""
        for number in self._averages:
            members = np.flatnonzero(self.given_class == self._label_of[number])
            if len(members):
                tried = self._align(number, members, centres[members])
                self.poses.improve(members, tried, by="scores")
        for number in self._averages:
            own = self._trained & (self.poses.averages == number)
            self._typical[number] = robust_level(self.poses.scores[own])
        self.poses.judge(self._typical)

    def try_other_classes(self, centres: NDArray) -> None:
        """Try the averages of the other classes where the own one may be wrong; take the likeliest.

        It may be wrong where its label is not sure, or the volume fits worse than five in six, or
        better than any should: the average of a small particle can explain much of a large one.
        """
        z_scores = self.poses.z_scores
        doubtful = np.flatnonzero(
            self.unsure | (z_scores < DOUBTFUL_Z_SCORE) | (z_scores > -self.least_z_score)
        )
        for number in self._averages:
            rows = doubtful[self.given_class[doubtful] != self._label_of[number]]
            if len(rows):
                tried = self._judged(number, rows, centres[rows])
                tried.scores -= self._belief[rows]
                tried.scores[self._contradicts(tried, rows)] = -np.inf
                self.poses.improve(rows, tried, by="scores")
        changed = self.labels != self.given_class
        self.poses.scores[changed] += self._belief[changed]

    def try_other_centres(self, find: Callable[[NDArray], NDArray]) -> int:
        """Try all averages from other centres where none fits; take the pose of highest z-score.

        Parameters
        ----------
        find
            rows (m,) -> centres (m, s, 3) to try.

        Returns
        -------
        The number of volumes that were tried again.
        """
        rows = np.flatnonzero(self.outliers | (self.poses.scores < CHANCE_NATS))
        if len(rows):
            starts = find(rows)
            for number in self._averages:
                for column in range(starts.shape[1]):
                    tried = self._judged(number, rows, starts[:, column])
                    tried.z_scores[self._contradicts(tried, rows)] = -np.inf
                    self.poses.improve(rows, tried)
        return len(rows)

    def outdone(self, rivals: Rivals) -> NDArray[np.int64]:
        """Volumes whose average is less likely than those of other classes, labels considered."""
        belief = np.where(self.labels == self.given_class, self._belief, 0)
        belief -= np.where(rivals.labels == self.given_class, self._belief, 0)
        return np.flatnonzero(rivals.class_margin + belief < 0)

    def try_all_classes(
        self, rows: NDArray, centres: NDArray, align: Callable[[int, NDArray, NDArray], Poses]
    ) -> None:
        """Align some volumes (m,) again with all averages, and take the likeliest.

        What a label, or a sure prediction, counts is added to its class.

        Parameters
        ----------
        centres
            (n, 3) of all volumes.
        align
            As of this class; it may leave places out.
        """
        best = Poses.empty(len(rows))
        every = np.arange(len(rows))
        for number in self._averages:
            tried = align(number, rows, centres[rows])
            tried.judge(self._typical)
            tried.scores -= np.where(
                self._label_of[number] == self.given_class[rows], 0, self._belief[rows]
            )
            best.improve(every, tried, by="scores")
        best.scores += np.where(
            self._label_of[best.averages] == self.given_class[rows], 0, self._belief[rows]
        )
        self.poses.replace(rows, best)

    def _judged(self, number: int, rows: NDArray, centres: NDArray) -> Poses:
        tried = self._align(number, rows, centres)
        tried.judge(self._typical)
        return tried

    def _contradicts(self, tried: Poses, rows: NDArray) -> NDArray[np.bool_]:
        """Of another class than the given one, and not fitting its average as its own do."""
        contradicts = self._label_of[tried.averages] != self.given_class[rows]
        return contradicts & (np.abs(tried.z_scores) > -self.least_z_score)
