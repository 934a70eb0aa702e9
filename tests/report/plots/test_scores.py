"""Charts mark what was chosen, count right, and say so where there is nothing to draw."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drawn import png, words
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from civa.evaluation.scores import read_scores
from civa.report.plots import scores as charts
from civa.report.plots.slices import FOUND_COLOUR, TRUTH_COLOUR

NAN = float("nan")
CLASSES = ["cage", "spike", "ring"]


# --- styles


def test_classes_look_different_and_leave_truth_and_choice_their_colours() -> None:
    styles = [charts.class_style(number) for number in range(24)]
    assert len(set(styles)) == 24
    assert not {TRUTH_COLOUR, FOUND_COLOUR}.intersection(colour for colour, _ in styles)


def test_a_class_has_one_colour_in_every_chart() -> None:
    table = scores([("ring", 0.5), ("ring", 0.6)])
    expected = to_hex(charts.class_style(2)[0])
    figures = (
        charts.refinement(table, table, CLASSES),
        charts.distributions([("crf", table)], CLASSES),
    )
    for figure in figures:
        drawn = [c for c in figure.axes[0].collections if len(c.get_offsets())]
        assert [to_hex(c.get_facecolor()[0]) for c in drawn] == [expected]


# --- confusion


def test_rows_are_true_classes_and_columns_predicted_ones() -> None:
    counts = charts.count_predictions([1, 1, 1, 2, 2], [1, 2, 2, 2, 2], 3)
    assert counts.tolist() == [[1, 2, 0], [0, 2, 0], [0, 0, 0]]


def test_confusion_shows_counts_shares_and_accuracy() -> None:
    counts = np.array([[1, 3, 0], [0, 2, 0], [0, 0, 0]])
    figure = charts.confusion(counts, CLASSES)
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, [[25, 75, 0], [0, 100, 0], [0, 0, 0]])
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["1", "3", "0", "0", "2", "0", "0", "0", "0"]
    assert "accuracy 50.0 % (3 of 6)" in words(figure)
    assert "ring (0)" in words(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_confusion_of_one_class_and_of_no_image() -> None:
    assert "100.0 % (2 of 2)" in words(charts.confusion(np.array([[2]]), ["cage"]))
    assert "accuracy n/a" in words(charts.confusion(np.zeros((2, 2), dtype=int), CLASSES[:2]))


# --- scores


def scores(rows: list[tuple[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["class", "iou"])
    return table.assign(id=[f"i{number}" for number in range(len(rows))])


def test_refinement_counts_what_improves_and_what_worsens() -> None:
    before = scores([("cage", 0.5), ("cage", 0.5), ("spike", 0.5), ("spike", 0.2), ("ring", NAN)])
    after = scores([("cage", 0.7), ("cage", 0.6), ("spike", 0.4), ("spike", 0.2), ("ring", 0.9)])
    figure = charts.refinement(before, after.sample(frac=1, random_state=0), CLASSES)
    assert "2 better, 1 worse, 1 the same of 4" in words(figure)
    assert "mean 42.5 % before, 47.5 % after" in words(figure)
    assert "cage: 2 better, 0 worse" in words(figure)
    assert "ring:" not in words(figure)
    points = {tuple(p) for c in figure.axes[0].collections for p in c.get_offsets().round(6)}
    assert points == {(50, 70), (50, 60), (50, 40), (20, 20)}
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("classes", [1, 4, 10])
def test_legend_and_title_of_refinement_leave_the_axes_free(classes: int) -> None:
    names = [f"a_long_class_name_{number}" for number in range(classes)]
    table = scores([(name, 0.5) for name in names])
    for shown in (names, names[-1:]):
        figure = charts.refinement(table[table["class"].isin(shown)], table, names)
        FigureCanvasAgg(figure).draw()
        (axis,), (legend,) = figure.axes, figure.legends
        assert legend.get_window_extent().y1 < axis.get_tightbbox().y0
        assert legend.get_window_extent().x1 <= figure.bbox.x1
        assert axis.get_tightbbox().y1 < figure._suptitle.get_window_extent().y0


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, scores([("cage", 0.5)]), "no scores before the CRF"),
        (scores([("cage", 0.5)]), None, "no scores after the CRF"),
        (None, None, "no scores before and after the CRF"),
        (scores([("cage", NAN)]), scores([("cage", NAN)]), "no test image has an IoU"),
    ],
)
def test_refinement_without_scores_says_so(
    before: pd.DataFrame | None, after: pd.DataFrame | None, reason: str
) -> None:
    figure = charts.refinement(before, after, CLASSES)
    assert reason in words(figure)
    assert png(figure).startswith(b"\x89PNG")


def points(axis: Axes) -> np.ndarray:
    """Points of all classes, (n, 2)."""
    return np.concatenate([c.get_offsets() for c in axis.collections if len(c.get_offsets())])


def test_distributions_keep_the_order_of_the_methods_and_leave_out_nan() -> None:
    some = scores([("cage", 0.2), ("spike", 0.4), ("spike", NAN)])
    none = scores([("cage", NAN)])
    figure = charts.distributions([("crf", some), ("unet_slice", none), ("mine", some)], CLASSES)
    axis = figure.axes[0]
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert ticks == ["+ CRF (CIVA-Net, 3D-CRF)", "3D U-Net_s", "mine"]
    assert axis.get_ylim() == (2.5, -0.5)  # the first method on top
    assert sorted(np.round(points(axis)[:, 0], 6)) == [20, 20, 40, 40]
    assert set(np.round(points(axis)[:, 1])) == {0, 2}
    texts = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert texts["n/a"] == 1
    assert "30.0\n(2 of 3)" in texts
    assert png(figure).startswith(b"\x89PNG")


def test_distributions_show_mean_median_and_quartiles() -> None:
    table = scores([("cage", iou) for iou in (0.0, 0.1, 0.2, 0.3, 0.9)])
    axis = charts.distributions([("crf", table)], ["cage"]).axes[0]
    box = axis.patches[0]
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx((10, 30))
    drawn = [line.get_xdata()[0] for line in axis.lines if len(line.get_xdata())]
    assert drawn == pytest.approx([20, 30])  # median, mean


def test_no_scores_at_all() -> None:
    assert "no method has scores" in words(charts.distributions([], CLASSES))


def test_points_of_a_class_keep_to_its_lane() -> None:
    table = scores([(name, 0.5) for name in CLASSES for _ in range(50)])
    heights = points(charts.distributions([("crf", table)], CLASSES).axes[0])[:, 1].reshape(3, 50)
    assert (heights.max(axis=1)[:-1] < heights.min(axis=1)[1:]).all()
    assert np.abs(heights).max() < 0.4


# --- files


def test_scores_keep_names_that_look_like_missing_ones(tmp_path: Path) -> None:
    path = tmp_path / "crf.csv"
    path.write_text("id,class,iou,iou_agnostic,voxels,true_voxels\n007,NA,,,12,\nnan,x,0.5,1,2,3\n")
    table = read_scores(path)
    assert table["id"].tolist() == ["007", "nan"]
    assert table["class"].tolist() == ["NA", "x"]
    assert table["iou"].isna().tolist() == [True, False]
    assert table["voxels"].tolist() == [12, 2]


def test_a_table_without_scores_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "crf.csv"
    path.write_text("id,class\na,x\n")
    with pytest.raises(ValueError, match=r"crf.csv has no column \['iou'.*rerun 'score'"):
        read_scores(path)
