"""train-iva on tiny boxes: which volumes are seen, what the loss is, and what is written."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from tiny_set import DATA, TinySet
from torch import Tensor, nn

from civa.civanet.affinity_network import AffinityNetwork
from civa.data.volume import standardize
from civa.stages import train_iva
from civa.training.weights import load_network

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
PARTS = ["test", "train", "train", "validation", "train"]
TRAIN = [1, 2, 4]
PAIRS = {"class_maps": "maps.mrcs", **DATA, "out": "pairs.npz"}
FILES = {
    **{"volumes": "volumes.mrcs", "pairs": "pairs.npz"},
    **{"weights": "iva.safetensors", "curve": "iva_curve.csv"},
}


class Identity(nn.Module):
    """A network whose logit of O is the volume itself; its one weight stays at 0."""

    seen: list[Tensor]

    def __init__(self, width: int = 4, *, flat_kernels: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, volume: Tensor) -> Tensor:
        self.seen.append(volume[:, 0].clone())
        return volume[:, 0] + 0 * self.weight


def class_maps() -> NDArray[np.int8]:
    """Cubes of 3^3 voxels, at another place in every volume."""
    maps = np.zeros((len(PARTS), *(EDGE,) * 3), dtype=np.int8)
    for row, volume in enumerate(maps):
        volume[row % 3 : row % 3 + 3, 1:4, row : row + 3] = 1
    return maps


def boxes(seed: int = 0) -> NDArray[np.float32]:
    """Volumes as they are stored: standardised; the cubes are bright."""
    noise = np.random.default_rng(seed).normal(size=(len(PARTS), *(EDGE,) * 3))
    return standardize(noise + 4 * class_maps())


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_tables([1] * len(PARTS), PARTS)
    made.write_stack("maps.mrcs", class_maps())
    made.write_stack("volumes.mrcs", boxes())
    made.run("mine-pairs", PAIRS)
    return made


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> type[Identity]:
    monkeypatch.setattr(Identity, "seen", [], raising=False)
    monkeypatch.setattr(train_iva, "AffinityNetwork", Identity)
    return Identity


def loss_by_definition(o: NDArray, labels: NDArray) -> float:
    """L_O of one volume at radius 2, summed over all pairs of voxels.

    Both voxels of a pair are corners of a box of at most 2^3 voxels, and those are its path.
    """
    terms: dict[str, list[float]] = {"unlike": [], "background": []}
    for p, step in product(np.ndindex(labels.shape), product((-1, 0, 1), repeat=3)):
        q = tuple(a + b for a, b in zip(p, step, strict=True))
        if q <= p or min(q) < 0 or max(q) >= EDGE:
            continue
        path = product(*(sorted({a, b}) for a, b in zip(p, q, strict=True)))
        highest = max(o[voxel] for voxel in path)
        if labels[p] != labels[q]:
            terms["unlike"].append(-np.log(highest))
        elif labels[p] == 0:
            terms["background"].append(-np.log(1 - highest))
    return sum(np.mean(half) / 2 for half in terms.values())


def test_the_loss_is_that_of_the_training_volumes_by_definition(
    data: TinySet, identity: type[Identity]
) -> None:
    data.run("train-iva", FILES, epochs=1, flips=False)
    losses = [
        loss_by_definition(expit(boxes()[row].astype(np.float64)), class_maps()[row])
        for row in TRAIN
    ]
    curve = data.table("iva_curve.csv")
    assert curve["epoch"].tolist() == [1]
    assert curve["loss"].to_numpy() == pytest.approx(np.mean(losses), rel=1e-5)


def test_only_training_volumes_are_seen(data: TinySet, identity: type[Identity]) -> None:
    data.run("train-iva", FILES, epochs=1, flips=False)
    (batch,) = identity.seen
    distances = [abs(boxes() - volume.numpy()).max(axis=(1, 2, 3)) for volume in batch]
    assert sorted(int(found.argmin()) for found in distances) == TRAIN
    assert max(found.min() for found in distances) < 1e-4


def test_held_out_volumes_change_no_weight(data: TinySet) -> None:
    settings = {"width": 4, "epochs": 1}
    data.run("train-iva", FILES, **settings)
    before = data.path("iva.safetensors").read_bytes()
    held_out = np.array(PARTS)[:, None, None, None] != "train"
    data.write_stack("volumes.mrcs", np.where(held_out, boxes(seed=1), boxes()))
    data.run("train-iva", FILES, **settings)
    assert data.path("iva.safetensors").read_bytes() == before
    data.run("train-iva", FILES, **settings, seed=2)
    assert data.path("iva.safetensors").read_bytes() != before


def test_the_weights_are_of_a_network_that_tells_targets_from_background(data: TinySet) -> None:
    data.run("train-iva", FILES, width=4, epochs=40, flips=False, flat_kernels=False)
    curve = data.table("iva_curve.csv")
    assert curve["epoch"].tolist() == list(range(1, 41))
    # O = 1/2 everywhere costs log 2
    assert curve["loss"].iloc[0] > 0.9 * np.log(2) > 2 * curve["loss"].iloc[-1]
    described: dict[str, object] = {}

    def build(**description: object) -> AffinityNetwork:
        described.update(description)
        return AffinityNetwork(**description)

    model = load_network(data.path("iva.safetensors"), build)
    assert described == {"width": 4, "flat_kernels": False}
    with torch.no_grad():
        o = model(torch.from_numpy(boxes()[TRAIN])[:, None]).sigmoid().numpy()
    shown = class_maps()[TRAIN] > 0
    assert o[shown].mean() > o[~shown].mean() + 0.3


def test_what_is_no_file_of_pairs_is_refused(
    data: TinySet, caplog: pytest.LogCaptureFixture
) -> None:
    data.path("pairs.npz").write_bytes(b"none")
    assert data.status("train-iva", FILES, epochs=1) == 1
    assert "pairs.npz is not a file of pairs" in caplog.text
    assert not data.path("iva.safetensors").exists()
