"""Rivals: what else a volume might show, and how far its pose is ahead of that."""

import numpy as np
import pytest
from numpy.typing import NDArray

from civa.consensus.poses import Poses
from civa.consensus.rivals import Rivals, Scorer, find_rivals

LABEL_OF = np.array([0, 1, 2, 2])  # the second class has two averages
AVERAGES, SCORES = np.array([1, 2, 3, 1]), np.array([40.0, 30, 20, 8])
OF_AVERAGE = np.array([[0, 0, 0], [40, 35, 20], [10, 30, 28], [2, 3, 20], [8, 9, 7]])[1:]
OF_BLOB = np.array([20.0, 31, 5, 3])


def poses() -> Poses:
    found = Poses.empty(4)
    found.averages, found.scores = AVERAGES.copy(), SCORES.copy()
    found.centres = np.arange(12.0).reshape(4, 3)
    return found


def table(scores: NDArray) -> Scorer:
    def score(number: int, rows: NDArray, centres: NDArray) -> NDArray[np.float64]:
        np.testing.assert_array_equal(centres, np.arange(12.0).reshape(4, 3)[rows])
        some = scores[rows, number - 1] if scores.ndim == 2 else scores[rows]
        return some.astype(float)

    return score


def found(label_of: NDArray = LABEL_OF) -> Rivals:
    decoys = [table(OF_BLOB), table(np.full(4, 4.0))]
    return find_rivals(poses(), np.arange(4), label_of, table(OF_AVERAGE), decoys)


def test_the_averages_of_other_classes_count_together() -> None:
    rivals = found()
    assert rivals.labels.tolist() == [2, 1, 1, 2]
    np.testing.assert_allclose(rivals.class_margin[1:3], [30 - 10, 20 - 2])
    assert rivals.class_margin[0] == pytest.approx(40 - np.logaddexp(35, 20))
    assert rivals.class_margin[3] == pytest.approx(8 - np.logaddexp(9, 7))
    assert rivals.class_probability[0] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)
    assert rivals.class_probability[3] < 0.5


def test_the_better_decoy_counts() -> None:
    rivals = found()
    assert rivals.decoy_margin.tolist() == [20, -1, 15, 4]
    assert rivals.fit_decoys.tolist() == [False, True, False, False]


def test_one_class_has_no_rival() -> None:
    rivals = found(np.array([0, 1, 1, 1]))
    assert rivals.labels.tolist() == [0] * 4
    assert (rivals.class_probability > 0.999).all()


def test_some_volumes_can_be_looked_at_alone() -> None:
    decoys = [table(OF_BLOB), table(np.full(4, 4.0))]
    rows = np.array([3, 1])
    some = find_rivals(poses(), rows, LABEL_OF, table(OF_AVERAGE), decoys)
    every = found()
    assert some.labels.tolist() == every.labels[rows].tolist()
    assert some.decoy_margin.tolist() == every.decoy_margin[rows].tolist()
    np.testing.assert_allclose(some.class_margin, every.class_margin[rows])
    every.update(np.array([0, 2]), some)
    assert every.class_margin[0] == some.class_margin[0]
    assert every.labels.tolist() == [2, 1, 1, 2]


def test_the_probability_counts_classes_and_decoys() -> None:
    rivals = Rivals(np.array([2, 2]), np.array([3.0, np.inf]), np.array([2.0, 0.0]))
    expected = [1 / (1 + np.exp(-3) + np.exp(-2)), 0.5]
    np.testing.assert_allclose(rivals.probability, expected)
