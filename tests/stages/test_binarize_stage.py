"""binarize on tiny maps: the share of voxels is chosen on validation; masks carry the class."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_set import TRUTH, TinySet

SHAPE = (4, 4, 4)  # 64 voxels
PARTS = ["train", "validation", "validation", "test", "test"]
LABELS = [1, 1, 2, 1, 2]
GUIDES = [1, 1, 2, 2, 2]  # volume 3 is misclassified
FILES = {"maps": "maps.mrcs", **TRUTH, "out": "cut.mrcs", "choice": "cut.json"}
FRACTIONS = (0.0625, 0.125, 0.25)  # 4, 8 and 16 of 64 voxels


def maps() -> NDArray[np.float16]:
    """Return maps that rise along the voxels of each volume, in another order in each."""
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(64), (len(PARTS), 1)), axis=1)
    return orders.reshape(-1, *SHAPE).astype(np.float16)


def best(row: int, voxels: int) -> NDArray[np.bool_]:
    return maps()[row] >= 64 - voxels


def masks(*voxels: int) -> NDArray[np.int8]:
    stack = [LABELS[row] * best(row, count) for row, count in enumerate(voxels)]
    return np.stack(stack).astype(np.int8)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    """The best 8 voxels are the target on validation, the best 16 elsewhere."""
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_predictions(GUIDES)
    made.write_stack("maps.mrcs", maps())
    made.write_stack("masks.mrcs", masks(16, 8, 8, 16, 16))
    return made


def test_maps_are_cut_at_the_best_share_on_validation(data: TinySet) -> None:
    data.run("binarize", FILES, fractions=FRACTIONS)
    # 4 of 8, 8 of 8, and 8 true ones of 16
    tried = {"0.0625": 50.0, "0.125": 100.0, "0.25": 50.0}
    assert data.record("cut.json") == {"fraction": 0.125, "validation_miou": tried}
    found = data.stack("cut.mrcs")
    assert found.dtype == np.int8
    for row, guide in enumerate(GUIDES):
        np.testing.assert_array_equal(found[row], guide * best(row, 8))


def test_a_misclassified_validation_volume_counts_as_missed(data: TinySet) -> None:
    data.write_predictions([1, 2, 2, 1, 2])
    data.run("binarize", FILES, fractions=FRACTIONS)
    tried = {"0.0625": 25.0, "0.125": 50.0, "0.25": 25.0}
    assert data.record("cut.json")["validation_miou"] == tried


def test_masks_and_classes_of_other_parts_change_nothing(data: TinySet) -> None:
    data.run("binarize", FILES)
    before = data.contents("cut.mrcs", "cut.json")
    noise = np.random.default_rng(1).integers(0, 3, size=(len(PARTS), *SHAPE)).astype(np.int8)
    noise[1:3] = masks(8, 8, 8, 8, 8)[1:3]
    data.write_stack("masks.mrcs", noise)
    data.write_tables([2, 1, 2, 2, 1], PARTS)
    data.run("binarize", FILES)
    assert data.contents("cut.mrcs", "cut.json") == before


def test_without_validation_masks_the_default_share_is_kept(data: TinySet) -> None:
    truth = masks(16, 8, 8, 16, 16)
    truth[1:3] = -1
    data.write_stack("masks.mrcs", truth)
    data.run("binarize", FILES, default_fraction=0.0625)
    assert data.record("cut.json") == {"fraction": 0.0625, "validation_miou": {}}
    np.testing.assert_array_equal(data.stack("cut.mrcs")[4], 2 * best(4, 4))


def test_maps_of_other_volumes_are_refused(data: TinySet, caplog: pytest.LogCaptureFixture) -> None:
    data.write_stack("maps.mrcs", maps()[:4])
    assert data.status("binarize", FILES) == 1
    assert "maps.mrcs holds 4 volumes: expected one for each of the 5 rows" in caplog.text
    assert not data.path("cut.mrcs").exists()
