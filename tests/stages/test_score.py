"""The score stage: one row per test image, and what cannot be scored."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.files import write_csv
from civa.data.particles import UNANNOTATED
from civa.data.stack import write_stack
from civa.stages import score

SHAPE = (2, 2, 4)
CLASSES = "xyxyx"
PARTS = ["train", "test", "test", "validation", "test"]


def stack(*volumes: tuple[int, int]) -> np.ndarray:
    """Return volumes of (label, number of voxels)."""
    found = np.zeros((len(volumes), *SHAPE), dtype=np.int8)
    for volume, (label, voxels) in zip(found, volumes, strict=True):
        volume.ravel()[:voxels] = label
    return found


TRUTH = stack((1, 8), (2, 8), (1, 4), (2, 4), (1, 16))


def scored(folder: Path, prediction: np.ndarray, truth: np.ndarray = TRUTH) -> pd.DataFrame:
    """Score; return the table as the next stages read it."""
    ids = [f"{row:03d}" for row in range(len(CLASSES))]
    labels = [1 if name == "x" else 2 for name in CLASSES]
    table = pd.DataFrame({"id": ids, "class": list(CLASSES), "label": labels})
    write_csv(folder / "particles.csv", table)
    write_csv(folder / "split.csv", table[["id", "class"]].assign(part=PARTS))
    for name, values in (("found", prediction), ("masks", truth)):
        write_stack(folder / f"{name}.mrcs", values, voxel_size_angstrom=10)
    score.run(
        folder / "found.mrcs",
        folder / "masks.mrcs",
        folder / "particles.csv",
        folder / "split.csv",
        out=folder / "scores.csv",
    )
    return pd.read_csv(folder / "scores.csv", dtype={"id": str})


def test_every_test_image_has_its_row(tmp_path: Path) -> None:
    # 4 of 8 voxels; all 4 of them; the right voxels of the wrong class
    scores = scored(tmp_path, stack((1, 1), (2, 4), (1, 4), (2, 1), (2, 16)))
    assert scores["id"].tolist() == ["001", "002", "004"]
    assert scores["class"].tolist() == ["y", "x", "x"]
    assert scores["iou"].tolist() == [0.5, 1, 0]
    assert scores["iou_agnostic"].tolist() == [0.5, 1, 1]
    assert scores["voxels"].tolist() == [4, 4, 16]
    assert scores["true_voxels"].tolist() == [8, 4, 16]


def test_an_empty_mask_scores_zero_and_not_nothing(tmp_path: Path) -> None:
    scores = scored(tmp_path, np.zeros_like(TRUTH))
    assert scores["iou"].tolist() == scores["voxels"].tolist() == [0, 0, 0]


def test_an_image_without_a_ground_truth_has_no_score(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = TRUTH.copy()
    truth[2] = UNANNOTATED
    scores = scored(tmp_path, TRUTH, truth)
    assert scores["iou"].isna().tolist() == [False, True, False]
    assert scores["iou_agnostic"].isna().tolist() == [False, True, False]
    assert scores["true_voxels"].isna().tolist() == [False, True, False]
    assert scores["voxels"].tolist() == [8, 4, 16]  # there is a prediction
    assert scores["iou"].mean() == 1
    assert "nothing to score" not in caplog.text


def test_an_image_without_a_prediction_has_no_score(tmp_path: Path) -> None:
    prediction = TRUTH.copy()
    prediction[2] = UNANNOTATED
    scores = scored(tmp_path, prediction)
    assert scores["iou"].isna().tolist() == [False, True, False]
    assert scores["voxels"].isna().tolist() == [False, True, False]
    assert scores["true_voxels"].tolist() == [8, 4, 16]


@pytest.mark.parametrize("missing", ["prediction", "truth"])
def test_where_nothing_can_be_scored_all_rows_are_not_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    nothing = np.full_like(TRUTH, UNANNOTATED)
    scores = scored(tmp_path, *((nothing, TRUTH) if missing == "prediction" else (TRUTH, nothing)))
    assert len(scores) == 3
    assert scores[["iou", "iou_agnostic"]].isna().all(axis=None)
    assert "no test volume has both a mask and a prediction" in caplog.text
    assert math.isnan(scores["iou"].mean())
