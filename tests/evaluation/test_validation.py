"""Thresholds as shares of voxels, and choices on the validation part."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.files import write_csv
from civa.data.stack import write_stack
from civa.evaluation.validation import (
    FRACTIONS,
    Validation,
    as_record,
    best,
    logit_steps,
    top_fraction,
)

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


def miou(validation: Validation, *sizes: int, rows: np.ndarray | None = None) -> float:
    """Strict mean IoU of masks of these sizes."""
    (found,) = validation.mious(lambda _: [np.stack([corner(n) for n in sizes])], rows=rows)
    return found


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
    said = table[["id", "label"]].assign(predicted=table["guide"], guide=table["guide"])
    write_csv(paths["predictions"], said.assign(confidence=1.0))
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


def test_the_best_is_the_first_of_highest_quality_and_never_nan() -> None:
    assert best(["one", "two", "three"], [0.0, 1.0, 1.0]) == "two"
    assert best(["one", "two"], [np.nan, -3.0]) == "two"
    with pytest.raises(ValueError, match=r"no quality of \['one'\] is a number"):
        best(["one"], [np.nan])


def test_the_record_of_a_choice_holds_all_qualities() -> None:
    assert as_record([1, 2], [-1.44444, -0.04]) == {"1": -1.444, "2": -0.04}


def test_the_choice_is_the_candidate_whose_masks_score_best(files: dict[str, Path]) -> None:
    def masks(rows: np.ndarray) -> Iterator[np.ndarray]:
        asked.append(rows.tolist())
        for size in (4, 8, 16, 8):
            yield np.stack([corner(size)] * len(rows))

    asked: list[list[int]] = []
    choice, tried = Validation(**files).choose("abcd", masks, default="none")
    # b and c score: 4 / 8 and 4 / 16; 8 / 8 and 8 / 16; 8 / 16 and 16 / 16; d is misclassified
    assert tried == pytest.approx({"a": 25, "b": 50, "c": 50, "d": 50})
    assert choice == "b"
    assert asked == [[1, 2, 3]]  # each volume is looked at once for all candidates


def test_validation_holds_annotated_volumes_of_its_part_only(files: dict[str, Path]) -> None:
    validation = Validation(**files)
    assert validation.indices.tolist() == [1, 2, 3]
    assert validation.is_possible


def test_a_misclassified_volume_scores_zero(files: dict[str, Path]) -> None:
    # All masks are right: volumes b and c score 1, d has the wrong class.
    assert miou(Validation(**files), 8, 16, 8) == pytest.approx(200 / 3)


def test_rules_without_a_class_are_never_misclassified(files: dict[str, Path]) -> None:
    del files["predictions"]
    assert miou(Validation(**files), 8, 16, 8) == pytest.approx(100)


def test_mean_over_volumes_by_hand(files: dict[str, Path]) -> None:
    # 8 voxels found: 8 / 8 for b, 8 / 16 for c, 0 for d.
    validation = Validation(**files)
    assert miou(validation, 8, 8, 8) == pytest.approx(50)
    assert miou(validation, 8, rows=np.array([2])) == pytest.approx(50)
    assert miou(validation, 8, 8, rows=np.array([1, 2])) == pytest.approx(75)


def test_voxels_of_a_wrong_class_are_errors(files: dict[str, Path]) -> None:
    del files["predictions"]
    # volumes b, c, d are of the classes 1, 2, 2; all masks are right but for half of c's class
    labels = np.stack([1 * corner(8), 2 * corner(16), 2 * corner(8)])
    labels[1][corner(8)] = 1
    (found,) = Validation(**files).mious(lambda rows: [labels])
    assert found == pytest.approx((100 + 50 + 100) / 3)


def test_test_volumes_do_not_count(files: dict[str, Path]) -> None:
    before = miou(Validation(**files), 8, 8, 8)
    split = pd.read_csv(files["split"], dtype=str)
    table = pd.read_csv(files["predictions"])
    table.loc[split["part"] != "validation", "guide"] = 2
    write_csv(files["predictions"], table)
    assert miou(Validation(**files), 8, 8, 8) == before


def test_predictions_of_other_volumes_are_refused(files: dict[str, Path]) -> None:
    table = pd.read_csv(files["predictions"], dtype={"id": str})
    write_csv(files["predictions"], table.iloc[::-1])
    with pytest.raises(ValueError, match=r"predictions\.csv .* rerun 'localize'"):
        Validation(**files)


def test_without_masks_no_choice_is_possible(files: dict[str, Path]) -> None:
    write_stack(files["masks"], np.full((6, *SHAPE), -1, dtype=np.int8), voxel_size_angstrom=10)
    validation = Validation(**files)
    assert not validation.is_possible
    assert validation.choose([1, 2], lambda rows: [], default=7) == (7, {})


def test_subset_is_spread_over_all_volumes(files: dict[str, Path]) -> None:
    validation = Validation(**files)
    assert validation.subset(2).tolist() == [1, 3]
    assert validation.subset(3).tolist() == [1, 2, 3]
    assert validation.subset(60).tolist() == [1, 2, 3]


def test_steps_of_the_logit_are_even_and_hold_both_ends() -> None:
    steps = np.array(logit_steps(-1, 2))
    np.testing.assert_allclose(np.log(steps / (1 - steps)), np.arange(-1, 2.1, 0.5), atol=1e-3)
    assert 0.5 in steps
