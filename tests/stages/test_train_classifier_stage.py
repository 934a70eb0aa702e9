"""train-classifier by its verb: accuracies by hand, and what the test part cannot change."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_set import VOLUMES, TinySet
from torch import Tensor, nn

from civa.data.volume import standardize
from civa.stages import train_classifier

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
PARTS = ["train"] * 4 + ["validation"] * 3 + ["test"] * 5
LABELS = [1, 1, 2, 2, 1, 1, 2, 1, 1, 1, 2, 2]
TESTED = np.array(PARTS) == "test"
FILES = {
    **VOLUMES,
    **{"weights": "c.safetensors", "metrics": "c.json", "curve": "c.csv"},
}


class Brighter(nn.Module):
    """A network that takes volumes whose first half is the brighter one for class 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, volume: Tensor) -> Tensor:
        first, second = volume[:, 0, :4].mean(dim=(1, 2, 3)), volume[:, 0, 4:].mean(dim=(1, 2, 3))
        return torch.stack([second - first, first - second], dim=1) + 0 * self.weight


def boxes(seed: int = 0, answers: list[int] | None = None) -> NDArray[np.float32]:
    """Volumes of which the first half is bright where `Brighter` is to answer 2."""
    volumes = np.random.default_rng(seed).normal(size=(len(PARTS), *(EDGE,) * 3))
    for volume, answer in zip(volumes, answers or LABELS, strict=True):
        volume[:4] += 3 * (answer == 2)
        volume[4:] += 3 * (answer == 1)
    return standardize(volumes)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_stack("volumes.mrcs", boxes())
    return made


def test_accuracies_by_hand(data: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_classifier, "build_classifier", lambda *_, **__: Brighter())
    # validation 1 1 2 is answered 1 2 2; test 1 1 1 2 2 is answered 1 1 1 1 2
    data.write_stack("volumes.mrcs", boxes(answers=[1, 1, 2, 2, 1, 2, 2, 1, 1, 1, 1, 2]))
    data.run("train-classifier", FILES, epochs=2, flips=False)
    record = data.record("c.json")
    accuracies = {name: value for name, value in record.items() if name.endswith("accuracy")}
    assert accuracies == pytest.approx(
        {
            **{"validation_accuracy": 2 / 3, "validation_class_accuracy": (1 / 2 + 1) / 2},
            **{"test_accuracy": 4 / 5, "test_class_accuracy": (1 + 1 / 2) / 2},
        }
    )
    assert record["chance"] == pytest.approx(7 / 12)  # seven of all are of class 1
    assert (record["epoch"], record["epochs"], record["parameters"]) == (2, 2, 1)
    # the loss is the mean cross-entropy of the four training volumes
    halves = boxes(answers=[1, 1, 2, 2, 1, 2, 2, 1, 1, 1, 1, 2])[:4].astype(np.float64)
    margins = [2 * abs(box[:4].mean() - box[4:].mean()) for box in halves]
    expected = np.mean(np.log1p(np.exp(-np.array(margins))))
    assert data.table("c.csv")["loss"].to_numpy() == pytest.approx([expected] * 2, rel=1e-5)


def test_test_volumes_and_their_classes_change_nothing_but_the_figures_on_test(
    data: TinySet,
) -> None:
    data.run("train-classifier", FILES, epochs=3)
    weights, curve = data.path("c.safetensors").read_bytes(), data.table("c.csv")
    record = data.record("c.json")
    data.write_stack("volumes.mrcs", np.where(TESTED[:, None, None, None], boxes(seed=1), boxes()))
    data.write_tables(np.where(TESTED, 3 - np.array(LABELS), LABELS), PARTS)
    data.run("train-classifier", FILES, epochs=3)
    assert data.path("c.safetensors").read_bytes() == weights
    assert data.table("c.csv").drop(columns="seconds").equals(curve.drop(columns="seconds"))
    changed = {name for name, value in data.record("c.json").items() if value != record[name]}
    # chance is the share of the largest class of all parts; it is only reported
    assert changed <= {"test_accuracy", "test_class_accuracy", "chance"}
    assert changed


def test_a_single_class_teaches_nothing(data: TinySet, caplog: pytest.LogCaptureFixture) -> None:
    data.write_tables([1] * len(LABELS), PARTS)
    assert data.status("train-classifier", FILES) == 1
    assert "particles.csv has one class, ['a']: a classifier learns from two or more" in caplog.text
