"""Averages of wrong labels are dropped; second structures and the largest averages stay."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from synthetic import alike, average

from civa.consensus.averaging import Average
from civa.consensus.mislabelled import Averaged, without_strays
from civa.consensus.subtomograms import Subtomograms

SIZES = {"main": 30, "second": 12, "stray": 10}


def made(kind: str) -> Average:
    """An average of a kind: its noise says which one, for the scores below."""
    noise = np.array([list(SIZES).index(kind)])
    halves = np.stack([np.full((2, 2, 2), half) for half in (1.0, 2.0)])
    return replace(average(), members=np.arange(SIZES[kind]), noise=noise, halves=halves)


def one_class(name: str, label: int, *kinds: str) -> Averaged:
    volumes = np.arange(60, dtype=np.float32)[:, None, None, None] * np.ones((2, 2, 2), np.float32)
    members = Subtomograms(volumes, np.arange(60), np.zeros((60, 3)), alike(60))
    return Averaged(name, label, members, [made(kind) for kind in kinds])


def score(average: Average, members: Subtomograms) -> np.ndarray:
    """Volumes of a stray fit the main averages better than it: three of five in each half-set."""
    levels = {0: np.full(len(members), 50.0), 1: np.full(len(members), 60.0)}
    if int(average.noise[0]) in levels:
        return levels[int(average.noise[0])]
    number = members.volumes[members.rows][:, 0, 0, 0].astype(int)
    assert (number % 2 == (average.density[0, 0, 0] == 1.0)).all()  # of the other half-set
    return np.where(number < 6, 40.0, 70.0)


def test_strays_are_dropped_and_second_structures_stay(caplog: pytest.LogCaptureFixture) -> None:
    classes = [one_class("a", 1, "second", "main"), one_class("b", 2, "main", "stray")]
    with caplog.at_level(logging.WARNING, logger="civa"):
        first, second = without_strays(classes, score)
    assert [len(one.members) for one in first.averages] == [12, 30]
    assert [len(one.members) for one in second.averages] == [30]
    assert "class b: 10 volumes were set apart, and 60 % of them fit the average of" in caplog.text
    assert "class a" not in caplog.text


def test_the_largest_average_and_a_class_alone_are_not_judged() -> None:
    classes = [one_class("a", 1, "stray"), one_class("b", 2, "main")]
    assert [len(one.averages) for one in without_strays(classes, score)] == [1, 1]
    (alone,) = without_strays([one_class("a", 1, "main", "stray")], score)
    assert len(alone.averages) == 2
