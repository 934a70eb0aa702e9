"""The quality ledger: verdicts and advice."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.evaluation.ledger import (
    COLUMNS,
    STAGES,
    alignment_class_line,
    class_line,
    classifier_lines,
    consensus_lines,
    data_lines,
    diameter_lines,
    line,
    mask_lines,
    proposal_lines,
    read_ledger,
    score_lines,
    trivial_line,
)
from civa.evaluation.thresholds import LIMITS, config_keys


def scores(*iou: float, classes: str = "abababab", first: int = 0) -> pd.DataFrame:
    ids = [f"{first + i:03d}" for i in range(len(iou))]
    return pd.DataFrame({"id": ids, "class": list(classes[: len(iou)]), "iou": iou})


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_can_give_every_verdict(name: str) -> None:
    limit = LIMITS[name]
    step = 0.1 if limit.higher_is_better else -0.1
    assert line("stage", name, limit.green)["verdict"] == "green"
    assert line("stage", name, limit.green - step)["verdict"] == "amber"
    assert line("stage", name, limit.red - step)["verdict"] == "red"
    assert line("stage", name, np.nan)["verdict"] == "n/a"


@pytest.mark.parametrize("name", LIMITS)
def test_advice_stands_only_where_something_is_to_be_done(name: str) -> None:
    limit = LIMITS[name]
    bad = limit.red - (1 if limit.higher_is_better else -1)
    assert line("stage", name, bad)["advice"] == limit.advice != ""
    assert line("stage", name, limit.green)["advice"] == ""
    assert line("stage", name, np.nan)["advice"] == ""


def test_a_value_is_judged_as_it_is_printed() -> None:
    found = line("stage", "crf", LIMITS["crf"].green - 0.04)
    assert (found["value"], found["verdict"]) == (LIMITS["crf"].green, "green")


def test_guessing_is_red_whatever_the_number_of_classes() -> None:
    for k in (2, 3, 10):
        found = line("classifier", "accuracy", 100 / k, floor=100 / k)
        assert found["verdict"] == "red"
        assert f"guessing: {100 / k:.3g}" in str(found["expected"])


# --- lines ------------------------------------------------------------------------------------


def test_balance_and_smallest_class() -> None:
    classes = ["a"] * 40 + ["b"] * 4
    balance, smallest, annotated = data_lines(classes, np.arange(41), 0)
    assert (balance["value"], balance["verdict"]) == (10, "amber")
    assert (smallest["value"], smallest["verdict"]) == (1, "red")
    assert "(b)" in str(smallest["check"])
    assert annotated["verdict"] == "n/a"


def test_a_class_without_training_volumes_counts_as_none() -> None:
    _, smallest, _ = data_lines(["a", "a", "b"], np.array([0, 1]), 1)
    assert (smallest["value"], smallest["verdict"]) == (0, "red")


def test_the_worst_class_is_named() -> None:
    right = np.array([True, True, True, False])
    mean, worst = classifier_lines(0.75, ["a", "a", "b", "b"], right)
    assert mean["value"] == 75  # guessing 50, so half of the way: amber
    assert mean["verdict"] == "amber"
    assert (worst["value"], worst["verdict"]) == (50, "red")
    assert "(b)" in str(worst["check"])


def test_gain_is_over_the_stage_before_and_over_the_same_images() -> None:
    tables = {
        "gradcam": scores(0.2, 0.2, np.nan),
        "cooccurrence": scores(0.3, 0.5, 0.9),
        "crf": scores(0.2, 0.3, 0.9),
    }
    assert [found["value"] for found in score_lines("gradcam", tables)] == [20]
    quality, gain = score_lines("cooccurrence", tables)
    assert quality["value"] == 56.7
    assert (gain["value"], gain["verdict"]) == (20, "green")  # +10 and +30
    quality, gain = score_lines("crf", tables)  # there is no iva
    assert "co-occurrence" in str(gain["check"])
    assert (gain["value"], gain["verdict"]) == (-10, "red")  # -10, -20 and 0
    assert config_keys(str(gain["advice"]))[:1] == ["crf.search"]


@pytest.mark.parametrize("method", STAGES)
def test_without_scores_quality_and_gain_are_not_available(method: str) -> None:
    unknown = scores(np.nan, np.nan)
    for tables in ({}, dict.fromkeys(STAGES, unknown)):
        for found in score_lines(method, tables):
            assert found["verdict"] == "n/a"
            assert np.isnan(float(str(found["value"])))


def test_the_class_segmented_worst_is_that_of_the_last_stage() -> None:
    tables = {"iva": scores(0.1, 0.9), "crf": scores(0.9, 0.2, np.nan, np.nan)}
    found = class_line(tables)
    assert (found["value"], found["verdict"]) == (20, "amber")
    assert "(b)" in str(found["check"])
    assert class_line({})["verdict"] == "n/a"
    assert class_line({"crf": scores(np.nan)})["verdict"] == "n/a"


def test_a_missing_prediction_is_no_mask() -> None:
    empty, full = mask_lines("CRF", np.array([0.0, np.nan, 10.0, 40.0]), box=100)
    assert (empty["value"], empty["verdict"]) == (50, "red")
    assert (full["value"], full["verdict"]) == (25, "red")  # 40 of 100 voxels, over a quarter


def test_a_quarter_of_the_box_is_not_yet_full() -> None:
    _, full = mask_lines("CRF", np.array([25.0]), box=100)
    assert full["verdict"] == "green"


def test_proposals_that_miss_the_cam_are_counted() -> None:
    mean, apart = proposal_lines(np.array([0.0, 0.4, np.nan]))
    assert (mean["value"], mean["verdict"]) == (20, "green")
    assert (apart["value"], apart["verdict"]) == (50, "red")
    assert [x["verdict"] for x in proposal_lines(np.array([np.nan]))] == ["n/a", "n/a"]


def test_diameter_is_that_of_the_ball() -> None:
    # a ball of radius 5 voxels has 523.6 of them: 10 voxels of 8 Å across.
    (found,) = diameter_lines(np.array([523.6, 523.6, 0, np.nan]), ["a"] * 4, 8.0)
    assert (found["value"], found["unit"], found["verdict"]) == (80, "Å", "n/a")
    assert diameter_lines(np.array([0.0]), ["a"], 8.0) == []


@pytest.mark.parametrize(("ours", "verdict"), [(0.63, "green"), (0.61, "amber"), (0.5, "red")])
def test_the_last_stage_has_to_beat_the_best_rule(ours: float, verdict: str) -> None:
    rules = {"ball": scores(0.1, 0.1), "blob": scores(0.6, 0.6), "none": scores(np.nan, np.nan)}
    found = trivial_line({"gradcam": scores(0.9, 0.9), "crf": scores(ours, ours)}, rules)
    assert found["verdict"] == verdict
    assert found["value"] == round(100 * ours - 60, 1)
    assert "blob: 60.0" in str(found["check"])


@pytest.mark.parametrize("rules", [{}, {"ball": scores(np.nan)}])
def test_without_a_scored_rule_there_is_nothing_to_beat(rules: dict) -> None:
    assert trivial_line({"crf": scores(0.5)}, rules)["verdict"] == "n/a"
    assert trivial_line({}, {"ball": scores(0.5)})["verdict"] == "n/a"


# --- the file ---------------------------------------------------------------------------------


def written(folder: Path, *lines: dict, columns: list[str] | None = None) -> Path:
    path = folder / "ledger.csv"
    pd.DataFrame(lines, columns=columns or list(COLUMNS)).to_csv(path, index=False)
    return path


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [line("CRF", "crf", 50.0), line("CRF", "crf", np.nan), line("007", "crf", 1)]
    table = read_ledger(written(tmp_path, *lines))
    assert table["verdict"].tolist() == ["green", "n/a", "red"]
    assert table["stage"].tolist() == ["CRF", "CRF", "007"]
    assert table["advice"].tolist()[:2] == ["", ""]
    np.testing.assert_array_equal(table["value"], [50, np.nan, 1])


def test_a_ledger_of_unknown_values_only(tmp_path: Path) -> None:
    table = read_ledger(written(tmp_path, line("CRF", "crf", np.nan)))
    assert table["value"].dtype == float


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("also has ['verdict', 'advice']; rerun")):
        read_ledger(written(tmp_path, columns=list(COLUMNS[:5])))
    with pytest.raises(ValueError, match=r"verdicts \['blue'\]: expected .*green"):
        read_ledger(written(tmp_path, {**line("CRF", "crf", 1), "verdict": "blue"}))
    (tmp_path / "ledger.csv").write_text("")
    with pytest.raises(ValueError, match=r"ledger.csv is not a readable CSV table"):
        read_ledger(tmp_path / "ledger.csv")


@pytest.mark.parametrize("key", ["half_sets", "agreement_of_starts"])
def test_what_was_not_measured_of_an_average_does_not_hide_the_worst_of_the_others(
    key: str,
) -> None:
    good = {"of_volumes": 50, "volumes": 50, "half_sets": 0.9, "agreement_of_starts": 0.99}
    reports = [{**good, "title": name, "class": name} for name in ("one", "two", "three")]
    reports[0][key], reports[2][key] = np.nan, 0.1
    which = ["half_sets", "agreement_of_starts"].index(key)
    found = consensus_lines(reports, [0], [9], [0.8])[which]
    assert (found["value"], found["verdict"]) == (10, "red")
    assert "(three)" in str(found["check"])
    for report in reports:
        report[key] = np.nan
    assert consensus_lines(reports, [0], [9], [0.8])[which]["verdict"] == "n/a"


def test_alignment_is_judged_by_the_classes_that_it_finds_untold() -> None:
    classes = np.array(["one"] * 6 + ["two"] * 6)
    found, told = classes.copy(), np.tile([True, True, False], 4)
    assert alignment_class_line(classes, found, told)["verdict"] == "green"
    found[[6, 7, 9]] = "one"  # three of four that were not told
    worst = alignment_class_line(classes, found, told)
    assert (worst["value"], worst["verdict"]) == (25, "red")
    assert "(two)" in str(worst["check"])
    assert "guessing: 50" in str(worst["expected"])
    found[:] = classes
    found[8] = "one"  # its class was told
    assert alignment_class_line(classes, found, told)["verdict"] == "green"
    nobody = np.zeros(12, dtype=bool)
    assert alignment_class_line(classes, found, nobody)["verdict"] == "n/a"


def test_averages_are_judged_by_their_worst_class_and_misfits_are_counted() -> None:
    one = {"class": "one", "of_volumes": 50, "half_sets": 0.99, "agreement_of_starts": 0.99}
    two = {"class": "two", "of_volumes": 40, "half_sets": 0.2, "agreement_of_starts": 0.98}
    reports = [
        {**one, "title": "one 1", "volumes": 30},
        {**one, "title": "one 2", "volumes": 20},
        {**two, "title": "two", "volumes": 40},
    ]
    lines = consensus_lines(reports, [0, 0, 0, 1], [9, 30, -2, 0], [0.8, 0.6, 0.2, 0])
    half_sets, starts, split, misfits, decoys, expected = lines
    assert (expected["value"], expected["verdict"]) == (40, "red")
    assert (half_sets["value"], half_sets["verdict"]) == (20, "red")
    assert "(two)" in str(half_sets["check"])
    assert starts["verdict"] == "green"
    assert (split["value"], split["verdict"]) == (40, "red")  # 20 of 50 are in the smaller one
    assert "(one)" in str(split["check"])
    assert (misfits["value"], misfits["verdict"]) == (25, "red")
    assert (decoys["value"], decoys["verdict"]) == (50, "red")
