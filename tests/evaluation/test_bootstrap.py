"""Bootstrap intervals over test images."""

import numpy as np
import pandas as pd
import pytest

from civa.evaluation.bootstrap import bootstrap


def scores(ious: list[float], classes: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"class": classes, "iou": ious, "iou_agnostic": ious})


def test_constant_scores_have_an_interval_of_no_width() -> None:
    intervals = bootstrap(scores([0.5] * 8, ["a"] * 4 + ["b"] * 4))
    assert intervals["miou"] == pytest.approx((50, 50))
    assert intervals["a"] == pytest.approx((50, 50))


def test_interval_of_the_mean_is_close_to_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.1, 400)
    low, high = bootstrap(scores(values.tolist(), ["a"] * 400))["miou"]
    expected = 1.96 * 100 * values.std(ddof=1) / 20
    assert (high - low) / 2 == pytest.approx(expected, rel=0.08)
    assert (high + low) / 2 == pytest.approx(100 * values.mean(), abs=0.1)


def test_classes_are_resampled_each_by_itself() -> None:
    intervals = bootstrap(scores([0.0] * 9 + [1.0], ["a"] * 9 + ["b"]))
    assert intervals["miou"] == pytest.approx((10, 10))  # never a draw without class b
    assert intervals["class_miou"] == pytest.approx((50, 50))


def test_unbalanced_classes_weigh_by_their_images_in_the_mean() -> None:
    generator = np.random.default_rng(2)
    frame = scores(generator.random(40).tolist(), ["a"] * 30 + ["b"] * 10)
    low, high = bootstrap(frame)["miou"]
    assert low < 100 * frame["iou"].mean() < high
    low, high = bootstrap(frame)["class_miou"]
    assert low < 100 * frame.groupby("class")["iou"].mean().mean() < high


def test_the_same_scores_give_the_same_interval_and_none_gives_none() -> None:
    frame = scores(np.random.default_rng(3).random(20).tolist(), ["a"] * 10 + ["b"] * 10)
    assert bootstrap(frame) == bootstrap(frame)
    assert bootstrap(frame.iloc[:0]) == {}
