"""Sizes and agreement of masks."""

from pathlib import Path

import numpy as np
import pytest
from stored import stored

from civa.evaluation.mask_statistics import agreement, sizes, spread, supervision_miou

SHAPE = (2, 3, 4)


def masks(*counts: int, label: int = 1) -> np.ndarray:
    """Volumes with this many foreground voxels each; -1 for no prediction."""
    stack = np.zeros((len(counts), *SHAPE), dtype=np.int8)
    for volume, count in zip(stack, counts, strict=True):
        if count < 0:
            volume[:] = -1
        else:
            volume.ravel()[:count] = label
    return stack


def test_sizes_know_empty_masks_from_missing_ones(tmp_path: Path) -> None:
    np.testing.assert_array_equal(sizes(stored(tmp_path, masks(3, 0, -1))), [3, 0, np.nan])


def test_sizes_of_more_volumes_than_fit_a_chunk(tmp_path: Path) -> None:
    assert sizes(stored(tmp_path, masks(*[5] * 150))).tolist() == [5] * 150


def test_agreement_by_hand(tmp_path: Path) -> None:
    # 2 of 4 voxels shared; the same; nothing where either is empty or missing.
    found = agreement(
        stored(tmp_path, masks(2, 3, 0, -1, 4), "a"), stored(tmp_path, masks(4, 3, 3, 3, -1), "b")
    )
    np.testing.assert_array_equal(found, [0.5, 1, np.nan, np.nan, np.nan])


def test_agreement_does_not_look_at_labels(tmp_path: Path) -> None:
    first = stored(tmp_path, masks(4, label=1), "a")
    second = stored(tmp_path, masks(4, label=2), "b")
    assert agreement(first, second).tolist() == [1]


def test_supervision_is_scored_on_training_volumes_that_have_both(tmp_path: Path) -> None:
    truth = stored(tmp_path, masks(4, 4, -1, 4, 4), "truth")
    found = stored(tmp_path, masks(2, 4, 4, -1, 0), "found")
    assert supervision_miou(found, truth, np.array([0, 2, 3])) == pytest.approx(50)
    assert supervision_miou(found, truth, np.array([0, 1])) == pytest.approx(75)
    assert np.isnan(supervision_miou(found, truth, np.array([2, 3])))
    assert np.isnan(supervision_miou(found, truth, np.array([], dtype=int)))


def test_spread_names_the_class_that_varies_most() -> None:
    # b: mean 20, standard deviation sqrt(200) = 14.142; a does not vary; 0 and NaN do not count.
    voxels = np.array([10, 10, 10, 30, 0, np.nan])
    name, ratio = spread(voxels, ["a", "a", "b", "b", "a", "a"])
    assert (name, ratio) == ("b", pytest.approx(70.71, abs=0.01))


def test_spread_needs_two_masks_of_a_class() -> None:
    name, ratio = spread(np.array([10.0, 20.0, np.nan]), ["a", "b", "b"])
    assert name == ""
    assert np.isnan(ratio)
