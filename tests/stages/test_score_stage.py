"""score by its verb: values by hand, and no score of what changed since it was made."""

from pathlib import Path

import numpy as np
import pytest
from tiny_set import DATA, TRUTH, TinySet

PARTS = ["train", "validation", "test", "test", "test"]
LABELS = [1, 2, 1, 2, 2]
GUIDES = [1, 2, 1, 2, 1]  # the last volume is misclassified
SHAPE = (4, 4, 4)
CUT = {"maps": "maps.mrcs", **TRUTH, "out": "cut.mrcs", "choice": "cut.json"}
SCORED = {"prediction": "cut.mrcs", "masks": "masks.mrcs", **DATA, "out": "scores.csv"}


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    """Maps that rise along their voxels, cut at 8 of 64; the targets have 8, 4, 16 and 8."""
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_predictions(GUIDES)
    maps = np.tile(np.arange(64, dtype=np.float32), (len(PARTS), 1))
    made.write_stack("maps.mrcs", maps.reshape(-1, *SHAPE))
    masks = np.zeros((len(PARTS), 64), dtype=np.int8)
    for mask, label, voxels in zip(masks, LABELS, (64, 8, 4, 16, 8), strict=True):
        mask[-voxels:] = label
    made.write_stack("masks.mrcs", masks.reshape(-1, *SHAPE))
    made.run("binarize", CUT, fractions=(0.125,))
    return made


def test_scores_of_the_test_part_by_hand(data: TinySet) -> None:
    data.run("score", SCORED)
    scores = data.table("scores.csv")
    assert scores["id"].tolist() == ["v2", "v3", "v4"]
    assert scores["class"].tolist() == ["a", "b", "b"]
    # 4 true of 8 voxels; 8 of 16 true ones; the right voxels of the wrong class
    assert scores["iou"].tolist() == [0.5, 0.5, 0.0]
    assert scores["iou_agnostic"].tolist() == [0.5, 0.5, 1.0]
    assert scores["voxels"].tolist() == [8, 8, 8]
    assert scores["true_voxels"].tolist() == [4, 16, 8]


def test_masks_of_other_parts_change_no_score(data: TinySet) -> None:
    data.run("score", SCORED)
    before = data.path("scores.csv").read_bytes()
    masks = data.stack("masks.mrcs")
    masks[:2] = 0
    data.write_stack("other.mrcs", masks)
    data.run("score", {**SCORED, "masks": "other.mrcs"})
    assert data.path("scores.csv").read_bytes() == before


@pytest.mark.parametrize("changed", ["maps.mrcs", "masks.mrcs", "cut.mrcs"])
def test_masks_whose_source_changed_are_not_scored(
    data: TinySet, caplog: pytest.LogCaptureFixture, changed: str
) -> None:
    content = data.path(changed).read_bytes()
    data.path(changed).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert data.status("score", SCORED) == 1
    assert f"{changed} is not the file that stage 'binarize' recorded" in caplog.text
    assert not data.path("scores.csv").exists()
