"""Tables of scores: means over seeds, text, Markdown and LaTeX."""

import pandas as pd
import pytest

from civa.tables import formatted, one_per_dataset, run_table, summary_table, to_latex, to_markdown


def scores(**means: float) -> pd.DataFrame:
    """Return two test images per class, 0.1 above and below its mean."""
    rows = [
        {"class": name, "iou": mean + shift, "iou_agnostic": mean + shift}
        for name, mean in means.items()
        for shift in (-0.1, 0.1)
    ]
    return pd.DataFrame(rows, columns=["class", "iou", "iou_agnostic"])


def runs() -> pd.DataFrame:
    tables = [scores(a=0.4, b=0.6), scores(a=0.5, b=0.7), scores(a=0.2, b=0.2), scores(c=0.3)]
    rows = [
        ("set_1", "1", "IVA 50%"),
        ("set_1", "2", "IVA 50%"),
        ("set_1", "1", "Grad-CAM"),
        ("set_2", "1", "IVA 50%"),
    ]
    return run_table(tables, rows)


def test_one_line_per_run() -> None:
    table = runs()
    figures = ["miou", "class_miou", "miou_agnostic"]
    assert list(table) == ["dataset", "seed", "method", *figures, "a", "b", "c", "n"]
    assert table["miou"].tolist() == pytest.approx([50, 60, 20, 30])
    assert table["n"].tolist() == [4, 4, 4, 2]
    assert table["c"].isna().tolist() == [True, True, True, False]


def test_runs_and_rows_must_match() -> None:
    with pytest.raises(ValueError, match="shorter"):
        run_table([scores(a=0.4), scores(a=0.5)], [("set", "1", "IVA")])


def test_mean_and_spread_over_seeds_by_hand() -> None:
    # mIoU of the two seeds: 50 and 60; mean 55, sample deviation 10 / sqrt 2 = 7.07.
    summary = summary_table(runs())
    first = summary.iloc[0]
    assert (first["dataset"], first["method"]) == ("set_1", "IVA 50%")
    assert first["miou"] == pytest.approx(55)
    assert first["sd"] == pytest.approx(7.07)
    assert first["a"] == pytest.approx(45)
    assert (first["seeds"], first["n"]) == (2, 4)
    assert summary["method"].tolist() == ["IVA 50%", "Grad-CAM", "IVA 50%"]
    assert summary["sd"].isna().tolist() == [False, True, True]


def test_text_shows_the_spread_only_where_there_is_one() -> None:
    text = formatted(summary_table(runs()))
    assert text["mIoU"].tolist() == ["55.0 ± 7.1", "20.0", "30.0"]
    assert text["n"].tolist() == ["4", "4", "2"]
    assert text["c"].tolist() == ["n/a", "n/a", "30.0"]
    assert "sd" not in text


def test_datasets_show_their_own_classes_only() -> None:
    tables = one_per_dataset(summary_table(runs()))
    assert list(tables) == ["set_1", "set_2"]
    assert list(tables["set_1"])[-4:] == ["a", "b", "seeds", "n"]
    assert list(tables["set_2"])[-3:] == ["c", "seeds", "n"]


def test_a_data_set_without_ground_truth_reads_not_available() -> None:
    table = run_table([scores(), scores(a=0.4)], [("own", "1", "IVA"), ("set", "1", "IVA")])
    own = one_per_dataset(summary_table(table))["own"]
    assert list(own) == ["method", "mIoU", "class_miou", "miou_agnostic", "seeds", "n"]
    assert own.iloc[0].tolist() == ["IVA", "n/a", "n/a", "n/a", "1", "0"]
    assert "nan" not in to_markdown(summary_table(table)).lower()
    assert "nan" not in to_latex(summary_table(table)).lower()


def test_summary_is_the_same_after_a_csv_file() -> None:
    summary = summary_table(runs())
    copy = pd.DataFrame(summary.to_dict("list"))
    assert to_markdown(copy) == to_markdown(summary)


def test_markdown_is_well_formed() -> None:
    text = to_markdown(summary_table(runs()))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    # Two tables: header, rule, and 2 + 1 rows.
    assert len(lines) == 7
    first, second = lines[:4], lines[4:]
    for table in (first, second):
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("|:-")
    assert "**set_1**" in text
    assert text.endswith("\n")
    assert "| IVA 50%" in first[2]
    assert "| 55.0 ± 7.1" in first[2]


def test_latex_is_well_formed() -> None:
    text = to_latex(summary_table(runs()))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for block in text.split("\n\n"):
        columns = block.split("tabular}{")[1].split("}")[0]
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert all(row.count(" & ") + 1 == len(columns) for row in rows)
        assert block.count(r"\hline") == 3


def test_latex_escapes_what_would_break_a_cell() -> None:
    summary = summary_table(run_table([scores(**{"a&b": 0.4})], [("d", "1", "50%_of #2")]))
    text = to_latex(summary)
    assert r"50\%\_of \#2" in text
    assert r"a\&b" in text
    assert r"class\_miou" in text
    assert "±" not in to_latex(summary_table(runs()))
    assert r"55.0 $\pm$ 7.1" in to_latex(summary_table(runs()))


def test_figures_are_rounded_to_two_decimals() -> None:
    summary = summary_table(run_table([scores(a=0.12346)], [("d", "1", "m")]))
    assert summary["miou"].tolist() == [12.35]
