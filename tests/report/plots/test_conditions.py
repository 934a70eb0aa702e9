"""Scores over conditions: the right rows, in the right places, and gaps where there are none."""

import pandas as pd
import pytest

from civa.report.plots import conditions
from civa.report.results import read_results
from civa.stages import plot_conditions

CONDITIONS = {"little": "a", "much": "b"}


def results() -> pd.DataFrame:
    def line(
        dataset: str, method: str, mean: float, variant: str = "civa-net"
    ) -> dict[str, object]:
        known = {"dataset": dataset, "method": method, "variant": variant, "score": "miou"}
        return {**known, "mean": mean, "low": mean - 2, "high": mean + 1}

    lines = [
        *(line("a", "ball", 10), line("a", "blob", 60), line("a", "lowpass", 30)),
        *(line("a", "consensus", 90), line("a", "crf", 65), line("a", "crf", 1, "other")),
        *(line("b", "ball", 20), line("b", "blob", 15), line("b", "consensus", 80)),
        line("b", "voxresnet_full", float("nan")),
        {**line("b", "crf", 99), "score": "class_miou"},
    ]
    return pd.DataFrame(lines)


def test_rows_stand_at_the_place_of_their_condition_and_the_best_rule_stands_for_all() -> None:
    points = conditions.over_conditions(results(), CONDITIONS).set_index(["row", "place"])["mean"]
    assert points.to_dict() == {
        ("trivial", 0): 60,
        ("consensus", 0): 90,
        ("crf", 0): 65,
        ("trivial", 1): 20,
        ("consensus", 1): 80,
    }


def test_every_axis_has_a_panel_with_its_conditions() -> None:
    order = {"x": "b", "y": "a", "z": "c"}
    figure = conditions.chart(results(), {"noise": CONDITIONS, "order": order})
    noise, ordered = (panel for panel in figure.axes if panel.axison)
    assert noise.get_title() == "noise"
    assert [label.get_text() for label in ordered.get_xticklabels()] == ["x", "y", "z"]
    (legend,) = figure.legends
    titles = {text.get_text() for text in legend.get_texts()}
    assert titles == {"CIVA-Consensus", "CIVA-Net (3D-CRF)", "best trivial rule"}
    consensus = next(line for line in ordered.lines if line.get_marker() == "o")
    assert consensus.get_ydata() == pytest.approx([80, 90])


def test_the_stage_draws_what_the_configuration_names(tmp_path) -> None:
    results().to_csv(tmp_path / "results.csv", index=False)
    assert len(read_results(tmp_path / "results.csv")) == 11
    plot_conditions.run(
        tmp_path / "results.csv",
        out=tmp_path / "stress_tests.png",
        config="stress_tests: {noise: {x: a, y: b}}",
    )
    assert (tmp_path / "stress_tests.png").read_bytes().startswith(b"\x89PNG")
