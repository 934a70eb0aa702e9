"""Which average a volume is given: what it was told counts, what it fits decides."""

import numpy as np
from numpy.typing import NDArray

from civa.consensus.assignment import BELIEF_NATS, CHANCE_NATS, Assignment
from civa.consensus.poses import Poses
from civa.consensus.rivals import Rivals

# Averages 1 and 2 are of class 1, average 3 of class 2.
LABELS = np.array([0, 1, 1, 2])
TOLD = np.array([1] * 10 + [2] * 10 + [1, 1])
HELD_OUT = np.arange(22) >= 20
MIDDLE = np.zeros((22, 3))


class Scores:
    """Scores (3, 22) of every volume in every average, and what was asked for."""

    def __init__(self) -> None:
        spread = np.linspace(-3, 3, 10)
        self.table = np.full((3, 22), 20.0)
        self.table[0, :10] = 60 + spread
        self.table[1, :10] = 40 + spread
        self.table[2, 10:20] = 60 + spread
        self.table[0, 20:] = 60
        self.elsewhere = -5.0  # at another centre
        self.asked: list[tuple[int, NDArray, bool]] = []

    def align(self, number: int, rows: NDArray, centres: NDArray) -> Poses:
        moved = (centres != 0).any(axis=1)
        self.asked.append((number, rows, bool(moved.any())))
        scores = np.where(moved, self.elsewhere, self.table[number - 1, rows])
        return Poses.of(number, scores, np.tile(np.eye(3), (len(rows), 1, 1)), centres.copy())

    def assigned(self, *unsure: int) -> tuple[Assignment, int]:
        found = Assignment(
            self.align,
            labels=LABELS,
            given_class=TOLD,
            unsure=np.isin(np.arange(22), unsure),
            trained=~HELD_OUT,
            least_z_score=-3,
        )
        found.try_own_class(MIDDLE)
        found.try_other_classes(MIDDLE)
        return found, found.try_other_centres(lambda rows: np.full((len(rows), 2, 3), 4.0))


def test_the_likeliest_average_of_the_own_class_is_taken() -> None:
    scores = Scores()
    scores.table[1, 3] = 61  # likelier in the other average of its class than 58 in the first
    found, tried = scores.assigned()
    expected = [1] * 10 + [3] * 10 + [1, 1]
    expected[3] = 2
    assert found.poses.averages.tolist() == expected
    assert found.labels.tolist() == TOLD.tolist()
    assert tried == 0
    assert not found.outliers.any()


def test_a_label_counts_against_another_class_and_an_unsure_prediction_does_not() -> None:
    scores = Scores()
    scores.table[0, 20:] = 50  # fits its own class badly: other classes are tried
    scores.table[2, 20:] = 50 + BELIEF_NATS - 1  # the other class fits better, by less than counts
    found, _ = scores.assigned(21)
    assert found.labels[20:].tolist() == [1, 2]
    scores.table[2, 20:] = 50 + BELIEF_NATS + 1
    found, _ = scores.assigned(21)
    assert found.labels[20:].tolist() == [2, 2]
    assert found.poses.scores[20:].tolist() == [61, 61]  # what it fits, without what was believed


def test_a_fit_that_is_too_good_for_another_class_is_not_taken() -> None:
    scores = Scores()
    scores.table[2, 20] = 160
    assert scores.assigned(20)[0].labels[20] == 1
    scores.table[2, 20] = 62
    assert scores.assigned(20)[0].labels[20] == 2


def test_other_centres_are_tried_where_nothing_fits_or_chance_would() -> None:
    scores = Scores()
    scores.table[:, 20] = CHANCE_NATS - 1
    scores.elsewhere = 60.0
    found, tried = scores.assigned()
    assert tried == 1
    assert {tuple(rows) for _, rows, moved in scores.asked if moved} == {(20,)}
    assert found.poses.centres[20].tolist() == [4, 4, 4]
    assert found.poses.scores[20] == 60
    assert not found.outliers.any()
    scores.elsewhere = -5.0  # nothing there either
    found, tried = scores.assigned()
    assert tried == 1
    assert found.poses.centres[20].tolist() == [0, 0, 0]
    assert np.flatnonzero(found.outliers).tolist() == [20]


def rivals(found: Assignment, ahead: float) -> Rivals:
    """The other class, whose log-likelihood lies ahead of the own one by so much."""
    count = len(found.labels)
    return Rivals(3 - found.labels, np.full(count, -ahead), np.full(count, 20.0))


def test_a_volume_is_outdone_where_another_class_makes_up_for_what_it_was_told() -> None:
    found, _ = Scores().assigned(21)
    assert found.outdone(rivals(found, -1)).tolist() == []
    assert found.outdone(rivals(found, 1)).tolist() == [21]  # its prediction does not count
    assert len(found.outdone(rivals(found, BELIEF_NATS + 1))) == 22


def test_a_volume_that_shows_another_class_than_it_was_told_goes_back_if_that_is_likely() -> None:
    scores = Scores()
    found, _ = scores.assigned()
    found.poses.averages[4] = 3  # of the other class, for whatever reason
    assert found.outdone(rivals(found, 0)).tolist() == [4]
    found.try_all_classes(np.array([4]), MIDDLE, scores.align)
    assert found.labels[4] == 1
    assert found.poses.scores[4] == scores.table[0, 4]


def test_all_classes_are_tried_and_the_likeliest_is_kept() -> None:
    scores = Scores()
    found, _ = scores.assigned(21)
    scores.table[2, [5, 6, 21]] = scores.table[0, [5, 6, 21]] + [1, BELIEF_NATS + 1, 1]
    found.try_all_classes(np.array([5, 6, 21]), MIDDLE, scores.align)
    assert found.labels[[5, 6, 21]].tolist() == [1, 2, 2]
    assert found.poses.scores[6] == scores.table[2, 6]
    assert np.isfinite(found.poses.z_scores).all()
