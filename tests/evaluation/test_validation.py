"""Thresholds as shares of voxels, and choices on the validation part."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.files import write_csv
from civa.data.volume import write_stack
from civa.evaluation.validation import FRACTIONS, Validation, choose, logit_steps, top_fraction

SHAPE = (4, 4, 4)
# id, class, label, part, predicted class, voxels of the mask (None: no ground truth).
ROWS = [
    ("a", "x", 1, "train", 1, 8),
    ("b", "x", 1, "validation", 1, 8),
    ("c", "y", 2, "validation", 2, 16),
    ("d", "y", 2, "validation", 1, 8),  # misclassified
    ("e", "y", 2, "validation", 2, None),
    ("f", "x", 1, "test", 1, 8),
]


def corner(voxels: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask.ravel()[:voxels] = True
    return mask


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.csv" for name in ("particles", "split", "predictions")}
    paths["masks"] = tmp_path / "masks.mrcs"
    masks = np.full((len(ROWS), *SHAPE), -1, dtype=np.int8)
    for row, (_, _, label, _, _, voxels) in enumerate(ROWS):
        if voxels is not None:
            masks[row] = label * corner(voxels)
    write_stack(paths["masks"], masks, voxel_size_angstrom=10)
    table = pd.DataFrame(ROWS, columns=["id", "class", "label", "part", "guide", "voxels"])
    write_csv(paths["particles"], table[["id", "class", "label"]])
    write_csv(paths["split"], table[["id", "class", "part"]])
    write_csv(paths["predictions"], table[["id", "label", "guide"]])
    return paths


@pytest.mark.parametrize("fraction", [*FRACTIONS, 0.5])
def test_share_of_distinct_values_is_exact(fraction: float) -> None:
    maps = np.random.default_rng(0).permuted(np.arange(3000.0).reshape(3, 1000), axis=1)
    mask = top_fraction(maps.reshape(3, 10, 10, 10), fraction)
    assert mask.sum(axis=(1, 2, 3)).tolist() == [round(fraction * 1000)] * 3


def test_what_is_kept_lies_above_what_is_not() -> None:
    maps = np.random.default_rng(1).normal(size=(1, *SHAPE)).astype(np.float16)
    mask = top_fraction(maps, 0.1)
    assert maps[mask].min() > maps[~mask].max()


def test_every_map_is_cut_by_itself() -> None:
    maps = np.random.default_rng(2).normal(size=(2, *SHAPE))
    maps[1] += 100
    np.testing.assert_array_equal(top_fraction(maps, 0.1)[0], top_fraction(maps[:1], 0.1)[0])
    assert top_fraction(maps, 0.1)[1].sum() == 6


def test_a_map_without_activation_gives_an_empty_mask() -> None:
    for value in (0.0, 1.0, -3.0):
        assert not top_fraction(np.full((1, *SHAPE), value), 0.1).any()


def test_a_plateau_at_the_minimum_is_never_kept() -> None:
    # 3 of 64 voxels are active; the asked half would have to take 29 zeros.
    maps = corner(3)[None].astype(float)
    np.testing.assert_array_equal(top_fraction(maps, 0.5), maps > 0)


def test_voxels_at_the_threshold_stay_together() -> None:
    # The 4 best voxels are equal, 2 are asked for: no rule could prefer one of them.
    assert top_fraction(corner(4)[None] + 0.0, 2 / 64).sum() == 4


def test_a_tiny_share_keeps_the_best_voxel() -> None:
    maps = np.arange(64.0).reshape(1, *SHAPE)
    assert np.argwhere(top_fraction(maps, 1e-6)[0]).tolist() == [[3, 3, 3]]


def test_choice_is_the_best_candidate_and_all_qualities_are_kept() -> None:
    best, qualities = choose([1, 2, 3], lambda candidate: -((candidate - 2.2) ** 2))
    assert best == 2
    assert qualities == {"1": -1.44, "2": -0.04, "3": -0.64}


def test_ties_take_the_first_candidate() -> None:
    assert choose(["one", "two", "three"], lambda name: float(name != "one"))[0] == "two"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_quality_that_is_not_a_number_never_wins(place: int) -> None:
    # the second best of three candidates is chosen where the best has no quality
    values = [1.0, 2.0, 3.0]
    values[place] = np.nan
    best, qualities = choose(["a", "b", "c"], lambda name: values["abc".index(name)])
    assert best == {0: "c", 1: "c", 2: "b"}[place]
    assert np.isnan(qualities["abc"[place]])
    assert len(qualities) == 3


def test_without_any_quality_nothing_is_chosen() -> None:
    with pytest.raises(ValueError, match=r"no quality of \[0\.1, 0\.2\] is a number.*validation"):
        choose([0.1, 0.2], lambda candidate: float("nan"))


def test_quality_is_measured_once_per_candidate() -> None:
    measured: list[int] = []
    choose(iter([1, 2]), lambda candidate: measured.append(candidate) or 0.0)
    assert measured == [1, 2]


def test_validation_holds_annotated_volumes_of_its_part_only(files: dict[str, Path]) -> None:
    validation = Validation(**files)
    assert validation.indices.tolist() == [1, 2, 3]
    assert validation.is_possible


def test_a_misclassified_volume_scores_zero(files: dict[str, Path]) -> None:
    # All masks are right: volumes b and c score 1, d has the wrong class.
    found = np.stack([corner(8), corner(16), corner(8)])
    assert Validation(**files).miou(found) == pytest.approx(200 / 3)


def test_rules_without_a_class_are_never_misclassified(files: dict[str, Path]) -> None:
    del files["predictions"]
    found = np.stack([corner(8), corner(16), corner(8)])
    assert Validation(**files).miou(found) == pytest.approx(100)


def test_mean_over_volumes_by_hand(files: dict[str, Path]) -> None:
    # 8 voxels found: 8 / 8 for b, 8 / 16 for c, 0 for d.
    found = np.stack([corner(8)] * 3)
    assert Validation(**files).miou(found) == pytest.approx(50)
    assert Validation(**files).miou(found[1:2], np.array([1])) == pytest.approx(50)
    assert Validation(**files).miou(found[:2], np.array([0, 1])) == pytest.approx(75)


def test_test_volumes_do_not_count(files: dict[str, Path]) -> None:
    found = np.stack([corner(8)] * 3)
    before = Validation(**files).miou(found)
    split = pd.read_csv(files["split"], dtype=str)
    table = pd.read_csv(files["predictions"])
    table.loc[split["part"] != "validation", "guide"] = 2
    write_csv(files["predictions"], table)
    assert Validation(**files).miou(found) == before


def test_without_masks_no_choice_is_possible(files: dict[str, Path]) -> None:
    write_stack(files["masks"], np.full((6, *SHAPE), -1, dtype=np.int8), voxel_size_angstrom=10)
    assert not Validation(**files).is_possible


def test_subset_is_spread_over_all_volumes(files: dict[str, Path]) -> None:
    validation = Validation(**files)
    assert validation.subset(2).tolist() == [0, 2]
    assert validation.subset(3).tolist() == [0, 1, 2]
    assert validation.subset(60).tolist() == [0, 1, 2]


def test_steps_of_the_logit_are_even_and_hold_both_ends() -> None:
    steps = np.array(logit_steps(-1, 2))
    np.testing.assert_allclose(np.log(steps / (1 - steps)), np.arange(-1, 2.1, 0.5), atol=1e-3)
    assert 0.5 in steps
