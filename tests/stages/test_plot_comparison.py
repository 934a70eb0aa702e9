"""Figure 4 shows the best, the median and the worst image, whatever there is to rank by."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.stack import write_stack
from civa.report.plots.slices import Example
from civa.stages import plot_comparison
from civa.stages.plot_comparison import representatives
from civa.stages.score import run as score

SHAPE = (6, 7, 8)


def table(ious: list[float], voxels: list[float] | None = None) -> pd.DataFrame:
    ids = [f"i{number}" for number in range(len(ious))]
    return pd.DataFrame({"id": ids, "iou": ious, "voxels": voxels or [10.0] * len(ious)})


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (table([0.5, 0.9, 0.1, 0.4, 0.6]), {"best": "i1", "median": "i0", "worst": "i2"}),
        (table([0.5, 0.9, 0.1, 0.6]), {"best": "i1", "median": "i3", "worst": "i2"}),
        (table([0.5, NAN, 0.1, 0.6]), {"best": "i3", "median": "i0", "worst": "i2"}),
        (table([0.2, 0.7]), {"best": "i1", "worst": "i0"}),
        (table([0.7, 0.7, 0.7]), {"best": "i2", "median": "i1", "worst": "i0"}),
        (table([NAN, 0.7]), {"only image": "i1"}),
        (
            table([NAN] * 4, [3, 9, 0, NAN]),
            {"largest mask": "i1", "median mask": "i0", "smallest mask": "i2"},
        ),
        (table([NAN, NAN], [9, 3]), {"largest mask": "i0", "smallest mask": "i1"}),
        (table([NAN, NAN], [NAN, NAN]), {"first image": "i0"}),
        (table([]), {}),
    ],
)
def test_representatives(scores: pd.DataFrame, expected: dict[str, str]) -> None:
    picked = representatives(scores)
    assert dict(zip(picked["rank"], picked["id"], strict=True)) == expected
    assert picked["rank"].tolist() == list(expected)  # best first


# id, class, part, how far the mask lies from the truth, label that the mask claims
ROWS = [
    ("a0", "NA", "test", 0, 1),
    ("a1", "NA", "test", 1, 1),
    ("a2", "NA", "test", 2, 1),
    ("a3", "NA", "train", 0, 1),
    ("b0", "spike", "test", 0, 1),  # taken for the other class
    ("b1", "spike", "test", 0, 2),
    ("c0", "ring", "validation", 0, 3),
]


class Run:
    """The files of a small run, and what the stage draws of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = pd.DataFrame(ROWS, columns=["id", "class", "part", "away", "claimed"])
        rows["label"] = pd.factorize(rows["class"])[0] + 1
        rows[["id", "class", "label"]].to_csv(folder / "particles.csv", index=False)
        rows[["id", "class", "part"]].to_csv(folder / "split.csv", index=False)
        target = np.zeros(SHAPE, dtype=bool)
        target[1:4, 2:5, 1:5] = True
        self.truth = np.stack([target * label for label in rows["label"]]).astype(np.int8)
        self.ours = np.stack(
            [np.roll(target, row.away, axis=2) * row.claimed for row in rows.itertuples()]
        ).astype(np.int8)
        self.baseline = self.truth.copy()
        self.volumes = np.random.default_rng(0).normal(size=self.truth.shape).astype(np.float32)

    def draw(self, monkeypatch: pytest.MonkeyPatch | None = None) -> dict[str, list[Example]]:
        """Run the stage; return the blocks that it hands to the figure."""
        paths = {name: self.folder / f"{name}.mrcs" for name in ("volumes", "truth", "baseline")}
        paths["ours"] = self.folder / "crf.mrcs"
        for name, path in paths.items():
            write_stack(path, getattr(self, name), voxel_size_angstrom=10)
        tables = {name: self.folder / f"{name}.csv" for name in ("particles", "split")}
        scores = self.folder / "scores.csv"
        if not scores.is_file():
            score(paths["ours"], paths["truth"], **tables, out=scores)
        seen: list[dict[str, list[Example]]] = []
        if monkeypatch is not None:
            draw = plot_comparison.comparison
            monkeypatch.setattr(plot_comparison, "comparison", lambda b: seen.append(b) or draw({}))
        plot_comparison.run(
            **paths, scores=scores, **tables, out=self.folder / "figures/compare.png"
        )
        return seen[0] if seen else {}


@pytest.fixture
def files(tmp_path: Path) -> Run:
    return Run(tmp_path)


def titles(blocks: dict[str, list[Example]]) -> list[list[str]]:
    return [[example.title for example in examples] for examples in blocks.values()]


def test_titles_name_image_and_score(files: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    files.baseline[1] = -1  # no prediction
    blocks = files.draw(monkeypatch)
    assert list(blocks)[:2] == [
        "NA: 3 test images, ranked by the IoU of CIVA-Net",
        "spike: 2 test images, ranked by the IoU of CIVA-Net",
    ]
    assert titles(blocks) == [
        [
            "best\na0\nIoU 100.0 %\n(Grad-CAM 100.0 %)",
            "median\na1\nIoU 60.0 %",
            "worst\na2\nIoU 33.3 %\n(Grad-CAM 100.0 %)",
        ],
        [
            "best\nb1\nIoU 100.0 %\n(Grad-CAM 100.0 %)",
            "worst\nb0\nIoU 0.0 %\n(Grad-CAM 100.0 %)\ntaken for NA",
        ],
        [],  # no test image
    ]


def test_examples_are_of_the_image_that_they_name(
    files: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    worst = next(iter(files.draw(monkeypatch).values()))[2]
    np.testing.assert_array_equal(worst.volume, files.volumes[2])
    np.testing.assert_array_equal(worst.truth, files.truth[2] > 0)
    np.testing.assert_array_equal(worst.panels["CIVA-Net"], files.ours[2] > 0)
    np.testing.assert_array_equal(worst.panels["Grad-CAM"], files.baseline[2] > 0)


def test_without_ground_truth_sizes_rank(files: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    files.truth[:] = -1
    files.ours[0, 2:] = 0
    files.ours[4:6] = -1  # no prediction
    blocks = files.draw(monkeypatch)
    assert titles(blocks) == [
        [
            "largest mask\na2\n36 voxels",
            "median mask\na1\n36 voxels",
            "smallest mask\na0\n12 voxels",
        ],
        ["first image\nb0\nno prediction"],
        [],
    ]
    assert list(blocks)[:2] == [
        "NA: 3 test images without ground truth, ranked by the size of the mask of CIVA-Net",
        "spike: 2 test images, no prediction",
    ]
    assert not any(example.truth.any() for examples in blocks.values() for example in examples)


def test_some_ground_truth_is_enough_to_rank_by(
    files: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.truth[0] = -1
    blocks = files.draw(monkeypatch)
    assert next(iter(blocks)).startswith("NA: 3 test images, 2 of them with a ground truth")
    assert [title.split("\n")[1] for title in titles(blocks)[0]] == ["a1", "a2"]


@pytest.mark.parametrize("truth", [True, False])
def test_the_figure_is_written(files: Run, *, truth: bool) -> None:
    if not truth:
        files.truth[:] = -1
    files.draw()
    assert (files.folder / "figures/compare.png").read_bytes().startswith(b"\x89PNG")


def test_only_test_images_are_shown(files: Run) -> None:
    line = {"id": ["a3"], "class": "NA", "iou": 1.0, "iou_agnostic": 1.0}
    pd.DataFrame(line).assign(voxels=1, true_voxels=1).to_csv(
        files.folder / "scores.csv", index=False
    )
    with pytest.raises(ValueError, match=r"scores.csv scores \['a3'\], .*rerun 'score'"):
        files.draw()
