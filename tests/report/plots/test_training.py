"""Drawings of training and of choices mark what was kept, and say so where there was none."""

import pandas as pd
import pytest
from drawn import png, words
from matplotlib.figure import Figure

from civa.report.plots import training as history
from civa.report.plots.slices import FOUND_COLOUR
from civa.report.plots.training import Sweep

NAN = float("nan")


def marked(figure: Figure) -> list[tuple[float, float]]:
    """Places of the marks of what was chosen."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for axis in figure.axes
        for line in axis.lines
        if line.get_marker() == "o" and line.get_color() == FOUND_COLOUR
    ]


def curve(**columns: list[float]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"epoch": range(1, n + 1), "loss": [1.0] * n, "seconds": 60.0, **columns})


# --- training


def test_the_kept_epoch_is_marked_the_last_of_the_best() -> None:
    figure = history.training([("classifier", curve(validation_accuracy=[0.2, 0.9, 0.9, 0.5]))])
    assert marked(figure) == [(3, 90)]
    assert "best accuracy: 90.0 % in epoch 3 of 4" in words(figure)
    assert "epoch (4 min in all)" in words(figure)


def test_miou_is_in_per_cent_already() -> None:
    figure = history.training([("voxresnet_full", curve(validation_miou=[40.0, 71.5, 70.0]))])
    assert marked(figure) == [(2, 71.5)]
    assert "VoxResNet_f\nbest mIoU: 71.5 % in epoch 2 of 3" in words(figure)


def test_without_validation_the_last_epoch_is_kept() -> None:
    figure = history.training([("iva", curve(loss=[0.5, 0.2, 0.25]))])
    assert marked(figure) == [(3, 0.25)]
    assert "inter-voxel affinity network\nepoch 3, the last, was kept: loss 0.25" in words(figure)
    unscored = history.training([("iva", curve(loss=[0.5, 0.2], validation_miou=[NAN, NAN]))])
    assert marked(unscored) == [(2, 0.2)]


def test_accuracies_that_agree_are_drawn_once() -> None:
    shares = [0.25, 0.5]
    same = curve(validation_accuracy=shares, validation_class_accuracy=shares)
    assert list(history.validation_scores(same)) == ["accuracy"]
    other = curve(validation_accuracy=shares, validation_class_accuracy=[0.6, 0.4])
    assert list(history.validation_scores(other)) == ["accuracy", "class accuracy"]
    figure = history.training([("classifier", other)])
    assert marked(figure) == [(2, 50), (1, 60)]
    assert "best class accuracy, dashed: 60.0 % in epoch 1 of 2" in words(figure)


def test_a_network_that_was_not_trained_has_a_panel_that_says_so() -> None:
    header = pd.DataFrame(columns=["epoch", "loss", "seconds"])
    figure = history.training([("iva", curve(loss=[0.5])), ("unet_slice", header)])
    assert "3D U-Net_s" in words(figure)
    assert "not trained" in words(figure)
    assert png(figure).startswith(b"\x89PNG")
    assert "no network was trained" in words(history.training([]))


# --- sweeps


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        (
            "gradcam",
            {"fraction": 0.02, "validation_miou": {"0.05": 20.0, "0.02": 30.0}},
            [Sweep("Grad-CAM", "share of voxels kept", 0.02, {0.02: 30, 0.05: 20})],
        ),
        (
            "merged",
            {"w1": 0.5, "validation_miou": {"0.5": NAN}},
            [Sweep("merged map", "weight of Grad-CAM, w1", 0.5, {})],
        ),
        (
            "iva",
            {"threshold": 0.9, "validation_miou": {}, "empty": 0},
            [Sweep("+ IVA (CIVA-Net)", "threshold", 0.9, {})],
        ),
        (
            "crf",
            {
                "parameters": {"confidence": 2.0, "iterations": 5},
                "validation_miou": {"iterations": {"5": 60, "2": 59}, "confidence": {"2.0": 60}},
            },
            [
                Sweep("+ CRF (CIVA-Net, 3D-CRF)", "iterations", 5, {2: 59, 5: 60}),
                Sweep("+ CRF (CIVA-Net, 3D-CRF)", "confidence", 2, {2: 60}),
            ],
        ),
        (
            "unet_slice",
            {"skipped": "no mask"},
            [Sweep("3D U-Net_s", "", None, {}, "not trained: no mask")],
        ),
    ],
)
def test_records_of_choices(name: str, record: dict, expected: list[Sweep]) -> None:
    assert history.read_sweeps(name, record) == expected


def test_the_chosen_value_is_marked() -> None:
    record = {"fraction": 0.03, "validation_miou": {"0.08": 21.0, "0.01": 20.0, "0.03": 30.5}}
    figure = history.sweeps(history.read_sweeps("gradcam", record))
    assert marked(figure) == [(1, 30.5)]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0.01", "0.03", "0.08"]
    assert "Grad-CAM\nchosen: 0.03 (30.5 %)" in words(figure)


def test_a_value_that_was_not_tried_is_named_but_not_marked() -> None:
    figure = history.sweeps([Sweep("iva", "threshold", 0.7, {0.5: 10, 0.9: 20})])
    assert marked(figure) == []
    assert "chosen: 0.7, not among those tried" in words(figure)


def test_noise_does_not_look_like_a_trend() -> None:
    low, high = history.sweeps([Sweep("crf", "std", 1, {1: 65.0, 2: 65.1})]).axes[0].get_ylim()
    assert high - low >= history.SMALLEST_SPAN
    assert low < 65.0 < 65.1 < high


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"threshold": 0.9, "validation_miou": {}}, "threshold: 0.9"),
        ({"skipped": "no mask"}, "not trained: no mask"),
        ({"parameters": {"confidence": 1}, "validation_miou": {}}, "parameters as configured"),
        ({"threshold": 0.9, "validation_miou": {"0.9": NAN}}, "threshold: 0.9"),
        ({}, "nothing was searched"),
    ],
)
def test_where_nothing_was_searched_the_panel_says_so(record: dict, reason: str) -> None:
    figure = history.sweeps(history.read_sweeps("iva", record))
    assert "nothing was searched" in words(figure)
    assert reason in words(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_no_choice_at_all() -> None:
    assert "nothing was chosen" in words(history.sweeps([]))


def test_settings_that_are_no_numbers_are_refused() -> None:
    record = {"fraction": 0.02, "validation_miou": {"{'sigma': 1.0}": 60.0}}
    with pytest.raises(ValueError, match=r"'ball.json' .* expected numbers"):
        history.read_sweeps("ball", record)
