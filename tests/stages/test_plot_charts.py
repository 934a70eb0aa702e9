"""The charts of a run, from the files that its stages write."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from civa.data.files import write_csv, write_json
from civa.report.plots import scores as charts
from civa.report.plots import training as history
from civa.stages import plot_charts

CHARTS = ("training", "sweeps", "confusion", "refinement", "distributions")
# id, class, label, part, predicted
ROWS = [
    ("a", "x", 1, "test", 1),
    ("b", "x", 1, "test", 2),
    ("c", "y", 2, "test", 2),
    ("d", "y", 2, "train", 1),
    ("e", "z", 3, "validation", 1),
]


class Run:
    """The files of a small run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        table = pd.DataFrame(ROWS, columns=["id", "class", "label", "part", "predicted"])
        self.particles = self.csv("particles", table[["id", "class", "label"]])
        self.split = self.csv("split", table[["id", "class", "part"]])
        said = table[["id", "label", "predicted"]].assign(guide=table["predicted"], confidence=1.0)
        self.predictions = self.csv("predictions", said)
        self.curves: list[Path] = []
        self.choices: list[Path] = []
        self.scores: list[Path] = []

    def csv(self, name: str, table: pd.DataFrame) -> Path:
        write_csv(self.folder / f"{name}.csv", table)
        return self.folder / f"{name}.csv"

    def add_scores(self, method: str, ious: list[float]) -> None:
        rows = [row[:2] for row in ROWS if row[3] == "test"]
        table = pd.DataFrame(rows, columns=["id", "class"])
        table = table.assign(iou=ious, iou_agnostic=ious, voxels=5, true_voxels=5)
        self.scores.append(self.csv(method, table))

    def add_choice(self, method: str, record: dict[str, Any]) -> None:
        write_json(self.folder / f"{method}.json", record)
        self.choices.append(self.folder / f"{method}.json")

    def draw(self) -> list[Path]:
        out = {name: self.folder / f"figures/{name}.png" for name in CHARTS}
        plot_charts.run(
            tuple(self.curves),
            tuple(self.choices),
            self.predictions,
            tuple(self.scores),
            self.particles,
            self.split,
            **out,
        )
        return list(out.values())


@pytest.fixture
def files(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """What the stage hands to every chart."""
    given: dict[str, tuple[Any, ...]] = {}

    def spy(name: str) -> None:
        module = history if name in ("training", "sweeps") else charts
        draw = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a: (given.__setitem__(name, a), draw(*a))[1])

    for name in CHARTS:
        spy(name)
    return given


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands in every chart when it is saved."""
    read: dict[str, str] = {}
    save = plot_charts._save

    def spy(figure: Figure, path: Path) -> None:
        save(figure, path)
        read[path.stem] = " ".join(" ".join(t.get_text() for t in figure.findobj(Text)).split())

    monkeypatch.setattr(plot_charts, "_save", spy)
    return read


def test_all_charts_of_a_run(files: Run, seen: dict[str, tuple[Any, ...]]) -> None:
    files.curves = [
        files.csv("classifier_curve", pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]})),
        files.csv("unet_slice_curve", pd.DataFrame(columns=["epoch", "loss", "seconds"])),
    ]
    files.add_choice("merged", {"w1": 0.5, "validation_miou": {"0.5": 10.0, "0.9": 5.0}})
    files.add_choice("unet_slice", {"skipped": "no mask"})
    files.add_scores("ball", [0.1, 0.1, 0.1])
    files.add_scores("crf", [0.7, 0.0, float("nan")])
    files.add_scores("iva", [0.5, 0.2, 0.4])
    for path in files.draw():
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [name for name, _ in seen["training"][0]] == ["classifier", "unet_slice"]
    assert [sweep.chosen for sweep in seen["sweeps"][0]] == [0.5, None]
    counts, names = seen["confusion"]
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]  # test images only
    assert names == ["x", "y", "z"]
    before, after, _ = seen["refinement"]
    assert before["iou"].tolist() == [0.5, 0.2, 0.4]
    assert after["iou"].tolist()[:2] == [0.7, 0.0]
    assert [name for name, _ in seen["distributions"][0]] == ["ball", "crf", "iva"]


def test_charts_of_a_run_without_curves_choices_and_scores_say_so(
    files: Run, words: dict[str, str]
) -> None:
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.draw())
    assert words["training"] == "no network was trained in this run"
    assert words["sweeps"] == "nothing was chosen in this run"
    assert "no scores before and after the CRF" in words["refinement"]
    assert words["distributions"] == "no method has scores"
    assert "accuracy 66.7 % (2 of 3)" in words["confusion"]  # that needs no scores: a and c of abc


def test_charts_of_a_run_without_ground_truth_say_so(
    files: Run, words: dict[str, str], seen: dict[str, tuple[Any, ...]]
) -> None:
    for method in ("iva", "crf"):
        files.add_scores(method, [float("nan")] * 3)
    files.add_choice("iva", {"threshold": 0.9, "validation_miou": {}, "empty": 0})
    files.add_choice("crf", {"parameters": {"confidence": 1.0}, "validation_miou": {}})
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.draw())
    assert [(sweep.chosen, sweep.tried) for sweep in seen["sweeps"][0]] == [(0.9, {}), (None, {})]
    assert words["sweeps"].count("nothing was searched") == 2
    assert "threshold: 0.9" in words["sweeps"]
    assert "parameters as configured" in words["sweeps"]
    assert "no test image has an IoU both before and after" in words["refinement"]
    assert words["distributions"].count("n/a") == 2


def test_a_run_without_crf_says_so(files: Run, seen: dict[str, tuple[Any, ...]]) -> None:
    files.add_scores("iva", [0.5, 0.2, 0.4])
    files.draw()
    before, after, _ = seen["refinement"]
    assert before is not None
    assert after is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[::-1], "does not list the same ids .*rerun 'localize'"),
        (
            lambda table: table.assign(predicted=[0, 4, 1, 1, 1]),
            r"labels \[0, 4\]: expected 1 to 3",
        ),
    ],
)
def test_predictions_of_other_images_are_refused(files: Run, change: Any, message: str) -> None:
    files.csv("predictions", change(pd.read_csv(files.predictions)))
    with pytest.raises(ValueError, match=message):
        files.draw()
