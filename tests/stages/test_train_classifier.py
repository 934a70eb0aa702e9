"""train-classifier on a tiny, uneven data set: the epoch that is kept, and balanced classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from civa.civanet.classifier import build_classifier, classification_loss
from civa.data.files import read_json, write_csv
from civa.data.particles import PARTS
from civa.data.stack import write_stack
from civa.data.volume import standardize
from civa.stages import train_classifier
from civa.training.weights import load_network

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
# class of every volume, part by part: three times as many of the first
CLASSES = {"train": "aaaaaabb", "validation": "aaab", "test": "aaab"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classes = list("".join(CLASSES[part] for part in PARTS))
    labels = np.where(np.array(classes) == "a", 1, 2)
    volumes = np.random.default_rng(0).normal(size=(len(labels), *(EDGE,) * 3))
    volumes[labels == 2, :4] += 6  # half of the box is bright
    volumes[labels == 1, :, :2] += 6
    write_stack(tmp_path / "volumes.mrcs", standardize(volumes), voxel_size_angstrom=10)
    ids = [f"v{row}" for row in range(len(labels))]
    table = pd.DataFrame({"id": ids, "class": classes, "label": labels})
    write_csv(tmp_path / "particles.csv", table)
    parts = np.repeat(PARTS, [len(CLASSES[part]) for part in PARTS])
    write_csv(tmp_path / "split.csv", table[["id", "class"]].assign(part=parts))
    return tmp_path


def train(folder: Path, **settings: Any) -> dict[str, Any]:
    """Train; return the metrics."""
    train_classifier.run(
        folder / "volumes.mrcs",
        folder / "particles.csv",
        folder / "split.csv",
        weights=folder / "weights.safetensors",
        metrics=folder / "metrics.json",
        curve=folder / "curve.csv",
        **{"epochs": 2, **settings},
    )
    return read_json(folder / "metrics.json")


def seen_weights(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor | None]:
    """Collect the weights of the classes that the loss is given."""
    seen: list[torch.Tensor | None] = []

    def watched(scores: Any, targets: Any, weights: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(weights)
        return classification_loss(scores, targets, weights)

    monkeypatch.setattr(train_classifier, "classification_loss", watched)
    return seen


def answers(monkeypatch: pytest.MonkeyPatch, *epochs: str) -> None:
    """Let the network answer so on validation, epoch by epoch, and all 'a' afterwards."""
    waiting = [*epochs]

    def answer(model: Any, volumes: torch.Tensor) -> torch.Tensor:
        classes = waiting.pop(0) if waiting else "a" * len(volumes)
        found = torch.tensor([0 if name == "a" else 1 for name in classes])
        return torch.eye(2)[found]

    monkeypatch.setattr(train_classifier, "predict", answer)


def test_classes_are_told_apart(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = train(folder, epochs=20)
    assert metrics["validation_accuracy"] == metrics["test_accuracy"] == 1
    assert metrics["validation_class_accuracy"] == metrics["test_class_accuracy"] == 1
    assert metrics["epochs"] == 20
    # chance is 0.75 where 12 of 16 volumes are of one class; 1 is well above
    assert "above chance" not in caplog.text


def test_weighted_loss_by_hand() -> None:
    # Softmax (1, 3) / 4 of a volume of class 0, weight 1, and (1, 1) / 2 of one of class 1,
    # weight 3: the weighted mean of -ln(1 / 4) and -ln(1 / 2).
    scores = torch.tensor([[0.0, float(np.log(3))], [0.0, 0.0]])
    loss = classification_loss(scores, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((1 * np.log(4) + 3 * np.log(2)) / 4)


def test_balanced_classes_weigh_inversely_to_their_training_volumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_weights(monkeypatch)
    train(folder, balance=True)
    # 6 and 2 training volumes: 8 / (2 x 6) and 8 / (2 x 2); held-out volumes do not count
    for weights in seen:
        assert weights is not None
        torch.testing.assert_close(weights.cpu(), torch.tensor([2 / 3, 2.0]))
    assert (torch.tensor([6, 2]) * seen[0].cpu()).tolist() == pytest.approx([4, 4])


def test_without_balance_all_volumes_weigh_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_weights(monkeypatch)
    train(folder)
    assert seen == [None] * len(seen)
    assert seen


@pytest.mark.parametrize(("balance", "epoch"), [(False, 1), (True, 2)])
def test_balanced_classes_choose_the_epoch_by_the_mean_of_class_accuracies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, balance: bool, epoch: int
) -> None:
    # truth a a a b.  Accuracy 3/4, 2/4, 0; of classes (1 + 0) / 2, (1/3 + 1) / 2, 0
    answers(monkeypatch, "aaaa", "abbb", "bbba")
    metrics = train(folder, epochs=3, balance=balance)
    assert metrics["epoch"] == epoch
    curve = pd.read_csv(folder / "curve.csv")
    assert curve["validation_accuracy"].tolist() == [0.75, 0.5, 0]
    assert curve["validation_class_accuracy"].tolist() == pytest.approx([1 / 2, 2 / 3, 0])


def test_the_weights_are_those_of_the_best_epoch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        answers(patch, "aaab", "aaaa", "bbbb")
        metrics = train(folder, epochs=3, schedule="paper")
    assert (metrics["epoch"], metrics["epochs"]) == (1, 3)
    kept = load_network(folder / "weights.safetensors", build_classifier).state_dict()
    train(folder, epochs=1, schedule="paper")  # a constant rate: the first epoch is the same
    alone = load_network(folder / "weights.safetensors", build_classifier).state_dict()
    assert all(torch.equal(kept[name], alone[name]) for name in kept)


def test_equally_good_epochs_keep_the_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "aaaa", "aaab", "aaab", "bbbb")
    assert train(folder, epochs=4)["epoch"] == 3


@pytest.mark.parametrize(("balance", "chance"), [(False, 12 / 16), (True, 1 / 2)])
def test_a_classifier_at_chance_is_warned_of(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    balance: bool,
    chance: float,
) -> None:
    answers(monkeypatch, "aaaa", "aaaa")
    metrics = train(folder, balance=balance)
    assert metrics["chance"] == chance
    assert f"hardly above chance ({chance:.2f})" in caplog.text


def test_the_same_seed_gives_the_same_bytes(folder: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        train(folder, seed=seed)
        names = ("weights.safetensors", "metrics.json")
        found.append([(folder / name).read_bytes() for name in names])
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
