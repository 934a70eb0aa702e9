"""merge on tiny maps: w1 is chosen on validation, and the ranks of both maps are added."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata
from tiny_set import TRUTH, TinySet

SHAPE = (4, 4, 4)  # 64 voxels
PARTS = ["train", "validation", "validation", "test", "test"]
LABELS = [1, 1, 2, 1, 2]
FILES = {
    **{"gradcam": "gradcam.mrcs", "cooccurrence": "cooccurrence.mrcs", **TRUTH},
    **{"out": "merged.mrcs", "choice": "merged.json"},
}
EIGHTH = {"fractions": (0.125,)}  # 8 of 64 voxels
BOTTOM, TOP = slice(0, 8), slice(56, 64)


def ramp(high: slice) -> NDArray[np.float16]:
    """Return a map in which the slice holds the 8 highest values, the rest falls with distance."""
    values = np.arange(64.0)
    if high == BOTTOM:
        values = values[::-1]
    return values.reshape(SHAPE).astype(np.float16)


def masks(*where: slice) -> NDArray[np.int8]:
    found = np.zeros((len(PARTS), 64), dtype=np.int8)
    for row, part in enumerate(where):
        found[row, part] = LABELS[row]
    return found.reshape(len(PARTS), *SHAPE)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    """Grad-CAM is right on validation, co-occurrence on test."""
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_predictions(LABELS)
    made.write_stack("gradcam.mrcs", np.stack([ramp(TOP)] * len(PARTS)))
    made.write_stack("cooccurrence.mrcs", np.stack([ramp(BOTTOM)] * len(PARTS)))
    made.write_stack("masks.mrcs", masks(TOP, TOP, TOP, BOTTOM, BOTTOM))
    return made


def test_the_weight_is_the_best_on_validation(data: TinySet) -> None:
    data.run("merge", FILES, **EIGHTH)
    # Of two opposite ramps the steeper one decides: above 1/2 Grad-CAM, below co-occurrence; at
    # 1/2 their sum is constant, nothing lies above the minimum, and the mask is empty.
    tried = {"0.1": 0.0, "0.25": 0.0, "0.5": 0.0, "0.75": 100.0}
    assert data.record("merged.json") == {"w1": 0.75, "validation_miou": tried}
    ranks = np.arange(64) / 63
    expected = (0.75 * ranks + 0.25 * ranks[::-1]).reshape(SHAPE)
    maps = data.stack("merged.mrcs")
    assert maps.dtype == np.float16
    np.testing.assert_allclose(maps, np.stack([expected] * len(PARTS)), atol=1e-3)


def test_a_weight_is_as_good_as_its_best_fraction(data: TinySet) -> None:
    # 4, 8 and 16 voxels are cut of 8 true ones: IoU 1/2, 1 and 1/2; one of two volumes is found.
    data.write_stack("masks.mrcs", masks(TOP, TOP, BOTTOM, TOP, TOP))
    data.run("merge", FILES, fractions=(0.0625, 0.125, 0.25), weights=(0.9,))
    assert data.record("merged.json")["validation_miou"] == {"0.9": 50.0}
    data.run("merge", FILES, fractions=(0.0625, 0.25), weights=(0.9,))
    assert data.record("merged.json")["validation_miou"] == {"0.9": 25.0}


def test_ranks_are_those_of_the_volume_and_ties_take_the_lowest(data: TinySet) -> None:
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 9, size=(2, len(PARTS), *SHAPE)).astype(np.float16)
    for name, stack in zip(("gradcam", "cooccurrence"), maps, strict=True):
        data.write_stack(f"{name}.mrcs", stack)
    data.run("merge", FILES, weights=(0.25,))
    for row, merged in enumerate(data.stack("merged.mrcs")):
        ranked = [(rankdata(stack[row].ravel(), "min") - 1) / 63 for stack in maps]
        expected = (0.25 * ranked[0] + 0.75 * ranked[1]).reshape(SHAPE)
        np.testing.assert_allclose(merged, expected, atol=1e-3)


def test_masks_and_classes_of_other_parts_change_nothing(data: TinySet) -> None:
    data.run("merge", FILES)
    before = data.contents("merged.mrcs", "merged.json")
    noise = np.random.default_rng(1).integers(0, 3, size=(len(PARTS), *SHAPE)).astype(np.int8)
    noise[1:3] = masks(TOP, TOP, TOP)[1:3]
    data.write_stack("masks.mrcs", noise)
    data.write_tables([2, 1, 2, 2, 1], PARTS)
    data.run("merge", FILES)
    assert data.contents("merged.mrcs", "merged.json") == before


def test_without_validation_masks_the_default_weighs(data: TinySet) -> None:
    truth = masks(TOP, TOP, TOP, TOP, TOP)
    truth[1:3] = -1
    data.write_stack("masks.mrcs", truth)
    data.run("merge", FILES, default_weight=0.25)
    assert data.record("merged.json") == {"w1": 0.25, "validation_miou": {}}
    ranks = np.arange(64) / 63
    expected = (0.25 * ranks + 0.75 * ranks[::-1]).reshape(SHAPE)
    np.testing.assert_allclose(data.stack("merged.mrcs")[0], expected, atol=1e-3)


@pytest.mark.parametrize("name", ["gradcam.mrcs", "cooccurrence.mrcs"])
def test_maps_of_other_volumes_are_refused(
    data: TinySet, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    data.write_stack(name, np.stack([ramp(TOP)] * (len(PARTS) + 1)))
    assert data.status("merge", FILES) == 1
    assert f"{name} holds 6 volumes: expected one for each of the 5 rows" in caplog.text
