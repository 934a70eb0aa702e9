"""Mirrors in the three trainings: what is seen and what it is compared with turn together.

Random mirrors are drawn batch by batch.  The affinity network answers a mirrored volume, and its
answer is mirrored back onto the pairs; a segmenter is compared with the mirrored target; a
classifier's mirrored volume keeps its own class.
"""

from collections.abc import Callable
from functools import cache
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_set import DATA, VOLUMES, TinySet
from torch import Tensor, nn

from civa.civanet.affinity import affinity_loss
from civa.civanet.classifier import classification_loss
from civa.data.volume import standardize
from civa.evaluation.supervised import segmentation_loss
from civa.stages import train_classifier, train_iva, train_segmenter

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
PARTS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
LABELS = [1, 2] * 5
TRAIN = 6
EPOCHS = 12
SPACE = (-3, -2, -1)
MIRRORS = [*chain.from_iterable(combinations(SPACE, n) for n in range(4))]  # all 8
PRODUCTS = {"weights": "w.safetensors", "curve": "curve.csv"}
PAIRS = {"class_maps": "masks.mrcs", **DATA, "out": "pairs.npz"}


class Watched(nn.Module):
    """A network that keeps what it sees and whose answer is the volume itself, or a part of it."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.answer, self.weight = answer, nn.Parameter(torch.zeros(1))

    def forward(self, volume: Tensor) -> Tensor:
        if self.training:
            self.seen.append(volume[:, 0].clone())
        return self.answer(volume[:, 0]) + 0 * self.weight


def boxes() -> NDArray[np.float32]:
    return standardize(np.random.default_rng(0).normal(size=(len(PARTS), *(EDGE,) * 3)))


def masks() -> NDArray[np.int8]:
    """The bright voxels of the volumes: no mirror of any volume has the mask of another."""
    return ((boxes() > 1) * np.reshape(LABELS, (-1, 1, 1, 1))).astype(np.int8)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_stack("volumes.mrcs", boxes())
    made.write_stack("masks.mrcs", masks())
    return made


@cache
def mirrored() -> tuple[list[tuple[int, tuple[int, ...]]], Tensor]:
    """List every training volume and mirror, and the volumes (n, d, h, w) that they give."""
    named = [(row, axes) for row in range(TRAIN) for axes in MIRRORS]
    return named, torch.stack([torch.from_numpy(boxes()[row]).flip(axes) for row, axes in named])


def origin(volume: Tensor) -> tuple[int, tuple[int, ...]]:
    """Return the training volume of which this is a mirror, and the mirrored axes."""
    named, volumes = mirrored()
    (found,) = torch.nonzero((volumes - volume).abs().amax(dim=SPACE) < 1e-4)
    return named[int(found)]


def assert_mirrors(batches: list[Tensor], *, flips: bool) -> None:
    """Every epoch shows every training volume once, in mirrors of all kinds or in none."""
    found = [origin(volume) for volume in torch.cat(batches)]
    assert sorted(row for row, _ in found) == sorted([*range(TRAIN)] * EPOCHS)
    mirrors = {axes for _, axes in found}
    if not flips:
        assert mirrors == {()}
        return
    assert len(mirrors) > 3
    assert {axis for axes in mirrors for axis in axes} == set(SPACE)


@pytest.mark.parametrize("flips", [True, False])
def test_the_affinity_network_s_answer_is_mirrored_back_onto_the_pairs(
    data: TinySet, monkeypatch: pytest.MonkeyPatch, flips: bool
) -> None:
    network = Watched(lambda volume: volume)
    monkeypatch.setattr(train_iva, "AffinityNetwork", lambda *_, **__: network)
    compared: list[Tensor] = []

    def loss(logits: Tensor, boundary: Tensor, background: Tensor, groups: list) -> Tensor:
        compared.append(logits.detach().clone())
        for volume, pairs in zip(logits.detach(), background, strict=True):
            row, axes = origin(volume)  # the answer to the volume as it lies in the stack
            assert axes == ()
            lone = torch.from_numpy(masks()[row] == 0)  # the pairs are those of its mask
            along_x = lone[..., :-1] & lone[..., 1:]
            assert torch.equal(pairs[0, ..., :-1].bool(), along_x)  # offset (0, 0, 1) is the first
        return affinity_loss(logits, boundary, background, groups)

    monkeypatch.setattr(train_iva, "affinity_loss", loss)
    data.run("mine-pairs", PAIRS)
    files = {"volumes": "volumes.mrcs", "pairs": "pairs.npz", **PRODUCTS}
    data.run("train-iva", files, epochs=EPOCHS, flips=flips)
    assert len(compared) == len(network.seen) == EPOCHS  # six volumes are one batch
    assert_mirrors(network.seen, flips=flips)


@pytest.mark.parametrize("flips", [True, False])
def test_a_segmenter_is_compared_with_the_mirrored_target(
    data: TinySet, monkeypatch: pytest.MonkeyPatch, flips: bool
) -> None:
    network = Watched(lambda volume: torch.stack([-volume, volume, volume], dim=1))
    monkeypatch.setattr(train_segmenter, "build_segmenter", lambda *_: network)
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda volume: [forward(volume)])  # one head
    wanted: list[Tensor] = []

    def loss(scores: list[Tensor], targets: Tensor) -> Tensor:
        wanted.append(targets.clone())
        return segmentation_loss(scores, targets)

    monkeypatch.setattr(train_segmenter, "segmentation_loss", loss)
    masks_of_training = masks()
    masks_of_training[TRAIN:] = -1  # no epoch is chosen
    data.write_stack("masks.mrcs", masks_of_training)
    files = {**VOLUMES, "annotations": "masks.mrcs", "masks": "masks.mrcs", **PRODUCTS}
    settings = {"network": "unet", "supervision": "full", "epochs": EPOCHS, "flips": flips}
    data.run("train-segmenter", {**files, "metrics": "m.json"}, **settings)
    assert_mirrors(network.seen, flips=flips)
    for volumes, targets in zip(network.seen, wanted, strict=True):
        for volume, target in zip(volumes, targets, strict=True):
            row, axes = origin(volume)
            assert torch.equal(target, torch.from_numpy(masks()[row]).long().flip(axes))


@pytest.mark.parametrize("flips", [True, False])
def test_a_classifier_s_mirrored_volume_keeps_its_own_class(
    data: TinySet, monkeypatch: pytest.MonkeyPatch, flips: bool
) -> None:
    network = Watched(lambda volume: volume[:, 0, 0, :2])  # two scores
    monkeypatch.setattr(train_classifier, "build_classifier", lambda *_, **__: network)
    wanted: list[Tensor] = []

    def loss(scores: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        wanted.append(targets.clone())
        return classification_loss(scores, targets, weights)

    monkeypatch.setattr(train_classifier, "classification_loss", loss)
    files = {**VOLUMES, **PRODUCTS, "metrics": "m.json"}
    data.run("train-classifier", files, epochs=EPOCHS, flips=flips)
    assert_mirrors(network.seen, flips=flips)
    for volume, target in zip(torch.cat(network.seen), torch.cat(wanted), strict=True):
        row, _ = origin(volume)
        assert target == LABELS[row] - 1
