"""What tells two structures from one (`test_averaging.py` divides real mixtures)."""

from dataclasses import replace

import numpy as np
import pytest

from civa.consensus.heterogeneity import UNDIVIDED, Split, stability

TWO = Split(correlation=0.9, stability=0.95, is_second=np.arange(20) < 6)


def test_two_structures_differ_keep_their_partition_and_have_a_share() -> None:
    assert TWO.is_real
    assert TWO.smaller_share == pytest.approx(0.3)


@pytest.mark.parametrize(
    "change",
    [
        {"correlation": 0.98},  # two averages that are alike
        {"stability": 0.5},  # noise, divided in another way every time
        {"is_second": np.arange(40) < 1},  # an odd volume
    ],
)
def test_any_of_the_three_may_speak_against_it(change: dict[str, object]) -> None:
    assert not replace(TWO, **change).is_real


def test_what_was_not_divided_is_one_structure() -> None:
    assert not UNDIVIDED.is_real
    assert UNDIVIDED.smaller_share == 0


def test_stability_does_not_ask_which_part_is_called_the_first() -> None:
    first = np.array([True, True, False, False, False, True])
    assert stability(first, first) == pytest.approx(1)
    assert stability(first, ~first) == pytest.approx(1)
    # of three in each part, two stay together: correlation (2 x 2 - 1 x 1) / 9 = 1/3
    moved = np.array([True, False, True, False, False, True])
    assert stability(first, moved) == pytest.approx(1 / 3)
    assert stability(first, np.ones(6, dtype=bool)) == 0
