"""Tables: means over seeds, intervals, footnotes for everything that is missing."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.pipeline.runs import Row, rows
from civa.report.paper_results import TABLES
from civa.report.results import collect, read_results
from civa.report.tables import layouts, paper_lines, to_latex, to_markdown
from civa.stages import localize, train_classifier

CONFIG = {
    "seeds": [1, 2],
    "datasets": {"snr005": {"stands_for": "snr005", "simulation": {}}},
    "baselines": ["voxresnet_full", "unet_slice", "voxresnet_pseudo"],
    "variants": {"cut-half": {"segment": {"threshold": 0.5}}},
}
CLASSES = {"snr005": ["1bxn", "covid"]}


def scores(
    *ious: float, classes: tuple[str, ...] = ("1bxn", "1bxn", "covid", "covid")
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"v{i}" for i in range(len(classes))],
            "class": classes,
            "iou": ious,
            "iou_agnostic": ious,
            "voxels": 10.0,
            "true_voxels": 12.0,
        }
    )


def everything(table: pd.DataFrame, config: Mapping = CONFIG) -> dict[str, pd.DataFrame]:
    return {row.scores: table for row in rows(config)}


def line(results: pd.DataFrame, method: str, score: str, variant: str = "civa-net") -> pd.Series:
    found = results[
        (results["method"] == method)
        & (results["score"] == score)
        & (results["variant"] == variant)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_mean_and_spread_over_seeds_by_hand() -> None:
    runs = [Row("snr005", seed, "civa-net", "crf") for seed in (1, 2)]
    tables = {
        runs[0].scores: scores(0.2, 0.4, 0.6, 0.8),
        runs[1].scores: scores(0.4, 0.6, 0.8, 1.0),
    }
    results = collect(runs, tables, CLASSES)
    miou = line(results, "crf", "miou")
    assert miou["mean"] == pytest.approx(60)  # of 50 and 70
    assert miou["sd"] == pytest.approx(14.14, abs=0.01)
    assert miou["by_seed"] == "50.00 70.00"
    assert (miou["n"], miou["of"], miou["seeds"]) == (4, 4, 2)
    assert miou["low"] < 60 < miou["high"]
    assert line(results, "crf", "covid")["mean"] == pytest.approx(80)
    assert miou["files"].split() == [row.scores for row in runs]
    assert miou["notes"] == ""


def test_class_mean_weighs_classes_alike() -> None:
    row = Row("snr005", 1, "civa-net", "crf")
    table = scores(0.9, 0.9, 0.9, 0.1, classes=("1bxn", "1bxn", "1bxn", "covid"))
    results = collect([row], {row.scores: table}, CLASSES)
    assert line(results, "crf", "miou")["mean"] == pytest.approx(70)
    assert line(results, "crf", "class_miou")["mean"] == pytest.approx(50)


def test_a_seed_that_failed_is_named_and_the_others_stand() -> None:
    runs = [Row("snr005", seed, "civa-net", "crf") for seed in (1, 2)]
    results = collect(runs, {runs[0].scores: scores(0.2, 0.4, 0.6, 0.8)}, CLASSES)
    miou = line(results, "crf", "miou")
    assert miou["mean"] == pytest.approx(50)
    assert np.isnan(miou["sd"])
    assert "seed 2 failed" in miou["notes"]
    assert miou["seeds"] == 1


def test_a_row_without_any_run_is_not_available() -> None:
    results = collect([Row("snr005", 1, "civa-net", "crf")], {}, CLASSES)
    miou = line(results, "crf", "miou")
    assert np.isnan(miou["mean"])
    assert miou["n"] == 0
    (first,) = (part for part in layouts(results, CONFIG) if part.name == "summary")
    assert first.table["mIoU"].tolist() == ["n/a [a]"]
    assert first.notes[0] == "[a] seed 1 failed, or is not finished"


def test_without_ground_truth_nothing_is_zero() -> None:
    row = Row("snr005", 1, "civa-net", "crf")
    blind = scores(*[np.nan] * 4).assign(true_voxels=np.nan)
    miou = line(collect([row], {row.scores: blind}, CLASSES), "crf", "miou")
    assert np.isnan(miou["mean"])
    assert (miou["n"], miou["of"]) == (0, 4)
    assert miou["notes"] == "no ground truth for any test image"


def test_a_network_that_was_not_trained_says_so() -> None:
    row = Row("snr005", 1, "civa-net", "voxresnet_full")
    none = scores(*[np.nan] * 4).assign(voxels=np.nan)
    miou = line(collect([row], {row.scores: none}, CLASSES), "voxresnet_full", "miou")
    assert "not trained" in miou["notes"]


def test_masks_for_some_volumes_are_counted() -> None:
    row = Row("snr005", 1, "civa-net", "crf")
    miou = line(
        collect([row], {row.scores: scores(0.5, np.nan, 0.7, np.nan)}, CLASSES), "crf", "miou"
    )
    assert miou["mean"] == pytest.approx(60)
    assert (miou["n"], miou["of"]) == (2, 4)
    assert miou["notes"] == "2 of 4 test images have a ground truth"


def test_a_class_without_test_image_is_not_available() -> None:
    row = Row("snr005", 1, "civa-net", "crf")
    table = scores(0.5, 0.7, classes=("1bxn", "1bxn"))
    results = collect([row], {row.scores: table}, CLASSES)
    covid = line(results, "crf", "covid")
    assert np.isnan(covid["mean"])
    assert covid["notes"] == "class covid has no test image with a ground truth"
    assert line(results, "crf", "class_miou")["mean"] == pytest.approx(60)


def test_a_prediction_that_is_empty_for_a_class_has_a_footnote() -> None:
    row = Row("snr005", 1, "civa-net", "crf")
    table = scores(0.5, 0.7, 0.0, 0.0)
    table.loc[2:, "voxels"] = 0
    results = collect([row], {row.scores: table}, CLASSES)
    covid = line(results, "crf", "covid")
    assert covid["mean"] == 0
    assert covid["notes"] == "the prediction is empty for every test image of class covid"
    assert line(results, "crf", "1bxn")["notes"] == ""


def all_layouts(table: pd.DataFrame | None = None, config: Mapping = CONFIG) -> dict[str, list]:
    given = {} if table is None else everything(table, config)
    classes = {name: CLASSES["snr005"] for name in config["datasets"]}
    results = collect(list(rows(config)), given, classes)
    found: dict[str, list] = {}
    for part in layouts(results, config):
        found.setdefault(part.name, []).append(part)
    return found


def test_the_paper_s_scores_stand_beside_ours() -> None:
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8))
    (_, second) = parts["table1"]  # the paper's SNR 0.03 has no data set here
    cells = second.table.set_index("method")
    assert cells.loc["CIVA-Net (3D-CRF)", "mIoU"] == "50.0 ± 0.0"
    assert cells.loc["CIVA-Net (3D-CRF)", "1bxn"] == "46.4 / 30.0"
    assert cells.loc["Respond-CAM", "paper"] == "9.9"
    assert cells.loc["Grad-CAM", "paper"].startswith("9.7 [")
    assert any("average 15.0" in note for note in second.notes)
    assert cells.loc["trivial: centred ball", "paper"] == ""


def test_every_table_is_made_and_holds_the_trivial_rows() -> None:
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8))
    assert list(parts) == [*(table.name for table in TABLES), "summary"]
    for name in parts:
        for part in parts[name]:
            assert part.table["method"].str.contains("low-pass").sum() == 3, name


def test_a_place_without_data_set_keeps_its_layout() -> None:
    (real,) = all_layouts(scores(0.2, 0.4, 0.6, 0.8))["table2"]
    cells = real.table.set_index("method")
    assert cells.loc["CIVA-Net (3D-CRF)", "ribosome"] == "74.2 / n/a"
    assert cells.loc["CIVA-Net (3D-CRF)", "mIoU"] == "n/a"
    assert any("stands_for: real" in note for note in real.notes)


def test_a_simulated_stand_in_is_called_so() -> None:
    config = {**CONFIG, "datasets": {"polyga": {"stands_for": "real", "simulation": {}}}}
    (real,) = all_layouts(scores(0.2, 0.4, 0.6, 0.8), config)["table2"]
    assert any("simulated stand-in" in note for note in real.notes)


def test_weak_over_full_is_the_ratio_of_the_rows() -> None:
    (part,) = all_layouts(scores(0.2, 0.4, 0.6, 0.8))["table3"]
    ratio = part.table.set_index("method").loc["weak / full"]
    assert ratio["snr005: ours"] == "1.00"
    assert ratio["snr005: paper"] == "0.49"  # 38.8 / 78.5
    assert ratio["real: ours"] == "n/a"


def test_the_new_method_has_rows_in_every_table_which_the_paper_has_not() -> None:
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8))
    for table in TABLES:
        for part in parts[table.name]:
            cells = part.table.set_index("method")
            for title in ("CIVA-Consensus", "CIVA-Consensus, tuned contour"):
                row = cells.loc[f"beyond: {title}"]
                assert all(row[column] == "" for column in row.index if "paper" in column)
            assert "beyond: seg. on consensus masks" not in cells.index  # nobody asked for it
    ratio = parts["table3"][0].table.set_index("method").loc["CIVA-Consensus / full"]
    assert ratio["snr005: ours"] == "1.00"
    assert ratio["snr005: paper"] == ""


def test_ablations_have_rows_of_their_own_without_the_paper_s_scores() -> None:
    (part,) = all_layouts(scores(0.2, 0.4, 0.6, 0.8))["table4"]
    cells = part.table.set_index("method")
    assert cells.loc["+ IVA (CIVA-Net) [cut-half]", "snr005: paper"] == ""
    assert cells.loc["+ IVA (CIVA-Net) [cut-half]", "snr005: ours"] == "50.0 ± 0.0"
    assert "Grad-CAM [cut-half]" not in cells.index  # shared with the method itself


@pytest.mark.parametrize(
    ("changed", "coincides"),
    [
        ({}, True),
        ({"classifier": {"architecture": "gap"}, "localize": {"layer": "cam"}}, True),
        ({"classifier": {"architecture": "cnn1_bn"}}, False),
        ({"localize": {"layer": "fine"}}, False),  # the head pools over the grid of the CAM layer
    ],
)
def test_respond_cam_has_a_footnote_where_it_is_grad_cam(changed: dict, coincides: bool) -> None:
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8), {**CONFIG, **changed})
    for part in (parts["table1"][1], parts["summary"][0]):
        cells = part.table.set_index("method")["mIoU"]
        assert cells["Respond-CAM"] == ("50.0 ± 0.0 [a]" if coincides else "50.0 ± 0.0")
        assert cells["Grad-CAM"] == "50.0 ± 0.0"
        assert any("equals Grad-CAM up to the ReLU" in note for note in part.notes) == coincides


def test_a_head_that_tells_the_baselines_apart_has_rows_without_footnote_and_paper() -> None:
    variants = {"bn": {"classifier": {"architecture": "cnn1_bn"}, "without": ["iva", "crf"]}}
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8), {**CONFIG, "variants": variants})
    cells = parts["table1"][1].table.set_index("method")
    assert cells.loc["Respond-CAM", "mIoU"] == "50.0 ± 0.0 [a]"
    for title in ("Respond-CAM [bn]", "Grad-CAM [bn]"):
        assert cells.loc[title, "mIoU"] == "50.0 ± 0.0"
        assert cells.loc[title, "paper"] == ""
        assert cells.loc[title, "1bxn"] == "30.0"  # ours alone: the paper has no variants
    assert "+ CO [bn]" not in cells.index


def test_the_footnote_knows_the_defaults_of_the_stages() -> None:
    defaults = [
        inspect.signature(stage.run).parameters[name].default
        for stage, name in ((train_classifier, "architecture"), (localize, "layer"))
    ]
    assert defaults == ["gap", "cam"]


def test_own_data_sets_have_tables_without_the_paper() -> None:
    config = {"seeds": [1], "datasets": {"mine": {"import": {"table": "x"}}}}
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8), config)
    (first,) = parts["table1"]
    assert "paper" not in first.table
    assert list(parts["table3"][0].table) == ["method", "mine: ours", "mine: 95 %"]
    (second,) = parts["table2"]
    assert second.table.set_index("method").loc["Grad-CAM", "paper"] == "19.0"


def test_lines_of_a_table_hold_the_paper_s_score_and_the_files() -> None:
    results = collect(list(rows(CONFIG)), everything(scores(0.2, 0.4, 0.6, 0.8)), CLASSES)
    lines = paper_lines(TABLES[0], results, CONFIG)
    ours = lines[(lines["dataset"] == "snr005") & (lines["method"] == "crf")].set_index("score")
    assert ours.loc["miou", "paper"] == 38.8
    assert ours.loc["covid", "paper"] == 28.7
    assert ours.loc["miou", "mean"] == 50
    assert "lowers covid" in ours.loc["miou", "slip"]
    assert ours.loc["miou", "files"].startswith("results/snr005/seed1/civa-net/scores/crf.csv")
    absent = lines[(lines["place"] == "snr003") & (lines["method"] == "crf")].set_index("score")
    assert absent.loc["miou", "paper"] == 39.9
    assert np.isnan(absent.loc["miou", "mean"])


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = collect(list(rows(CONFIG)), everything(scores(0.2, 0.4, 0.6, 0.8)), CLASSES)
    results.to_csv(tmp_path / "results.csv", index=False)
    pd.testing.assert_frame_equal(read_results(tmp_path / "results.csv"), results)


def test_a_name_that_looks_like_a_gap_is_a_name(tmp_path: Path) -> None:
    results = collect(list(rows(CONFIG)), everything(scores(0.2, 0.4, 0.6, 0.8)), CLASSES)
    results.assign(dataset="NA", score="None").to_csv(tmp_path / "results.csv", index=False)
    found = read_results(tmp_path / "results.csv")
    assert set(found["dataset"]) == {"NA"}
    assert set(found["score"]) == {"None"}


def test_a_table_without_scores_is_no_table_of_results(tmp_path: Path) -> None:
    (tmp_path / "figures.csv").write_text("dataset,variant,method,figure,mean\n")
    with pytest.raises(ValueError, match=r"figures.csv .* also have \['score'\]; rerun 'tabulate'"):
        read_results(tmp_path / "figures.csv")


def test_markdown_and_latex_hold_caption_cells_and_notes() -> None:
    parts = all_layouts(scores(0.2, 0.4, 0.6, 0.8))["table3"]
    markdown, latex = to_markdown(parts), to_latex(parts)
    assert markdown.startswith("**Table 3: against stronger supervision**")
    assert "| VoxResNet_f" in markdown
    assert r"VoxResNet\_f" in latex
    assert r"$\pm$" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert "–" not in latex


def test_footnotes_beyond_the_alphabet_have_marks() -> None:
    from civa.report.tables import _Footnotes

    notes = _Footnotes()
    marks = [notes.mark(f"note {i}") for i in range(30)]
    assert len(set(marks)) == 30
    assert notes.mark("note 0") == marks[0]
