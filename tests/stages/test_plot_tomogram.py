"""A slice of a tomogram with masks: boxes are painted where they were cut."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.files import write_csv
from civa.data.stack import Stack, write_stack
from civa.data.volume import write_volume
from civa.stages import plot_tomogram
from civa.stages.plot_tomogram import Boxes

SHAPE, EDGE, VOXEL = (40, 60, 70), 16, 10.0
CENTRES = np.array([[20, 20, 20], [22, 40, 50], [10, 30, 8]])  # z, y, x; the last leaves the edge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tomogram with balls of two classes, their boxes' masks, and tables."""
    generator = np.random.default_rng(0)
    axes = np.indices(SHAPE)
    balls = [np.square(axes - c[:, None, None, None]).sum(axis=0) < 25 for c in CENTRES]
    volume = -sum(balls).astype(np.float32) + 0.3 * generator.standard_normal(SHAPE)
    write_volume(tmp_path / "t1.mrc", volume.astype(np.float32), voxel_size_angstrom=VOXEL)
    box = np.square(np.indices((EDGE,) * 3) - EDGE // 2).sum(axis=0) < 25
    masks = np.stack([box * label for label in (1, 2, 1)]).astype(np.int8)
    for name in ("truth", "found"):
        write_stack(tmp_path / f"{name}.mrcs", masks, voxel_size_angstrom=VOXEL)
    table = pd.DataFrame({"id": ["a", "b", "c"], "class": ["one", "two", "one"]})
    places = dict(zip(("z_angstrom", "y_angstrom", "x_angstrom"), VOXEL * CENTRES.T, strict=True))
    write_csv(tmp_path / "particles.csv", table.assign(label=[1, 2, 1], tomogram="t1", **places))
    write_csv(tmp_path / "split.csv", table.assign(part=["train", "test", "validation"]))
    confidence = table.assign(misfit=[0, 0, 1], expected_iou=[0.8, 0.3, 0.0])
    write_csv(tmp_path / "confidence.csv", confidence)
    known = {"contrast": "dark", "tilt_min_deg": -60, "tilt_max_deg": 60, "tilt_axis_deg": 0}
    known |= {"voxel_size_angstrom": VOXEL}
    lines = pd.DataFrame({"quantity": known.keys(), "value": known.values()})
    write_csv(tmp_path / "known.csv", lines.assign(tomogram="t1", source="stated", confidence=""))
    return tmp_path


def test_masks_are_painted_where_their_boxes_were_cut(folder: Path) -> None:
    masks = Stack.open(folder / "found.mrcs")
    boxes = Boxes(CENTRES.astype(float), 1.0, SHAPE)
    rows = np.arange(3)
    assert boxes.fullest(masks, rows) in (20, 21, 22)
    painted = boxes.painted(masks, rows, 21)
    y, x = np.indices(SHAPE[1:])
    for (cz, cy, cx), label in zip(CENTRES, (1, 2, 1), strict=True):
        own = (21 - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 25
        assert (painted[own] == label).all()
    assert (painted > 0).sum() == sum(
        ((21 - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 25).sum() for cz, cy, cx in CENTRES
    )
    near_the_edge = boxes.painted(masks, rows, 10)
    assert near_the_edge[30, :13].tolist() == [0] * 4 + [1] * 9


def test_boxes_of_larger_voxels_cover_as_much_of_the_tomogram(folder: Path) -> None:
    masks = Stack.open(folder / "found.mrcs")
    boxes = Boxes(CENTRES[:1].astype(float), 2.0, SHAPE)
    painted = boxes.painted(masks, np.arange(1), 20)
    inside = int((masks[0][EDGE // 2] > 0).sum())
    assert abs((painted > 0).sum() / (4 * inside) - 1) < 0.1


def test_the_picture_shows_truth_masks_and_what_was_rejected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    original = plot_tomogram.draw
    monkeypatch.setattr(plot_tomogram, "draw", lambda plane: drawn.append(plane) or original(plane))
    plot_tomogram.run(
        (folder / "t1.mrc",),
        folder / "known.csv",
        *(folder / name for name in ("truth.mrcs", "found.mrcs", "confidence.csv")),
        *(folder / name for name in ("particles.csv", "split.csv")),
        out=folder / "slice.png",
    )
    assert (folder / "slice.png").read_bytes().startswith(b"\x89PNG")
    (plane,) = drawn
    assert plane.title.startswith("t1, z = 2")
    assert plane.truth is not None
    assert (plane.truth == plane.found).all()
    assert plane.rejected[plane.found == 2].all()  # an IoU of 0.3 is expected
    assert not plane.rejected[plane.found == 1].any()
    assert plane.image[plane.found > 0].mean() > plane.image[plane.found == 0].mean()  # bright
    assert list(plane.classes) == ["one", "two"]
