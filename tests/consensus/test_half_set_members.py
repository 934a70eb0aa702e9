"""Half-sets keep the volumes of a tomogram together, where that can be."""

import logging

import numpy as np
import pytest

from civa.consensus.half_sets import half_sets


def test_without_tomograms_every_other_particle_is_taken() -> None:
    first, second = half_sets(5)
    assert (first.tolist(), second.tolist()) == ([0, 2, 4], [1, 3])
    first, second = half_sets(5, np.arange(5))  # each from a tomogram of its own
    assert sorted([len(first), len(second)]) == [2, 3]


@pytest.mark.parametrize("sizes", [[10, 10], [30, 20, 10, 5], [7, 7, 7], [40, 20, 20]])
def test_no_tomogram_lies_in_both(sizes: list[int]) -> None:
    tomograms = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    first, second = half_sets(len(tomograms), tomograms)
    assert not set(tomograms[first]) & set(tomograms[second])
    assert sorted([*first, *second]) == list(range(sum(sizes)))
    assert min(len(first), len(second)) >= sum(sizes) / 3
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("sizes", [[12], [30, 5]])
def test_too_few_tomograms_are_shared_with_a_word(
    sizes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    tomograms = np.repeat(np.arange(len(sizes)), sizes)
    with caplog.at_level(logging.INFO):
        first, second = half_sets(len(tomograms), tomograms)
    assert (first % 2 == 0).all()
    assert (second % 2 == 1).all()
    told = f"of {sum(sizes)} particles hold some of the same tomogram"
    assert told in caplog.text
    assert f"of {len(sizes)} tomograms, one has {max(sizes)}" in caplog.text
