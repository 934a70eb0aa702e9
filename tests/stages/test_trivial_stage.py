"""trivial by its verb: settings from validation, the same for every volume."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_set import VOLUMES, TinySet

from civa.data.volume import standardize

EDGE = 16
PARTS = ["train", "validation", "validation", "test"]
LABELS = [1, 1, 2, 2]
FILES = {**VOLUMES, "masks": "masks.mrcs", "out": "rule.mrcs", "choice": "rule.json"}
PRODUCTS = ("rule.mrcs", "rule.json")


def ball(radius: float) -> NDArray[np.bool_]:
    grid = np.indices((EDGE,) * 3) - EDGE // 2
    return np.sqrt((grid**2).sum(axis=0)) <= radius


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    """Targets are balls in the middle: of radius 5 on validation, of 3 elsewhere."""
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    noise = np.random.default_rng(0).normal(size=(len(PARTS), *(EDGE,) * 3))
    made.write_stack("volumes.mrcs", standardize(noise + 3 * ball(5)))
    radii = [5 if part == "validation" else 3 for part in PARTS]
    masks = [label * ball(radius) for label, radius in zip(LABELS, radii, strict=True)]
    made.write_stack("masks.mrcs", np.stack(masks).astype(np.int8))
    return made


def test_a_ball_has_the_radius_that_is_best_on_validation(data: TinySet) -> None:
    data.run("trivial", FILES, rule="ball")
    record = data.record("rule.json")
    assert (record["radius"], record["fraction"]) == (5.0, 0.5)
    # Of two concentric balls the IoU is the share of the smaller in the larger.
    sizes = {radius: int(ball(radius).sum()) for radius in (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)}
    for radius, size in sizes.items():
        expected = 100 * min(size, sizes[5.0]) / max(size, sizes[5.0])
        tried = record["validation_miou"][str({"radius": radius})]
        assert tried == pytest.approx(expected, abs=1e-3)
    for label, mask in zip(LABELS, data.stack("rule.mrcs"), strict=True):
        np.testing.assert_array_equal(mask, label * ball(5))


@pytest.mark.parametrize("rule", ["lowpass", "blob"])
def test_the_share_of_bright_voxels_is_the_best_on_validation(data: TinySet, rule: str) -> None:
    shares = (0.02, 0.125, 0.3)  # the target has 515 of 4096 voxels: 0.1257
    assert ball(5).sum() == 515
    data.run("trivial", FILES, rule=rule, fractions=shares)
    assert data.record("rule.json")["fraction"] == 0.125
    found = data.stack("rule.mrcs") > 0
    assert (found.sum(axis=(1, 2, 3)) == round(0.125 * EDGE**3)).all()
    shared = (found & ball(5)).sum(axis=(1, 2, 3))
    assert (shared > 0.8 * 512).all()


def test_masks_of_other_parts_change_nothing_and_classes_only_the_label(data: TinySet) -> None:
    data.run("trivial", FILES, rule="lowpass")
    record, found = data.record("rule.json"), data.stack("rule.mrcs")
    noise = np.random.default_rng(1).integers(0, 3, size=found.shape).astype(np.int8)
    noise[1:3] = data.stack("masks.mrcs")[1:3]
    data.write_stack("masks.mrcs", noise)
    data.write_tables([1, 1, 2, 1], PARTS)  # the test volume's class
    data.run("trivial", FILES, rule="lowpass")
    assert data.record("rule.json") == record
    after = data.stack("rule.mrcs")
    np.testing.assert_array_equal(after > 0, found > 0)
    # a rule predicts no class: its masks carry the true one
    assert [int(mask.max()) for mask in after] == [1, 1, 2, 1]
