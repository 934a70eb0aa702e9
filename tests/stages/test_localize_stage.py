"""localize on tiny boxes: whose class is shown, and the maps of a network with a pooled head."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from tiny_set import VOLUMES, TinySet

from civa.civanet.classifier import Classifier, build_classifier
from civa.data.volume import standardize
from civa.training.weights import save_weights

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE, CLASSES = 8, 3
PARTS = ("train", "train", "train", "validation", "test", "test")
PRODUCTS = {name: f"{name}.mrcs" for name in ("gradcam", "respondcam")}
FILES = {**VOLUMES, "weights": "c.safetensors", **PRODUCTS, "predictions": "predictions.csv"}


def network() -> Classifier:
    torch.manual_seed(3)
    return build_classifier("gap", classes=CLASSES, box_voxels=EDGE).eval()


def boxes() -> NDArray[np.float32]:
    """Volumes as they are stored: standardised."""
    noise = np.random.default_rng(0).normal(size=(len(PARTS), *(EDGE,) * 3))
    return standardize(noise + 3 * ndimage.gaussian_filter(noise, (0, 1, 1, 1)))


@torch.no_grad()
def answers() -> NDArray[np.float64]:
    """Probabilities (n, k) that the network gives."""
    return network()(torch.from_numpy(boxes())[:, None]).softmax(dim=1).numpy()


@torch.no_grad()
def class_map(row: int, label: int, *, rectify: bool) -> NDArray[np.float64]:
    """Return the map of one class behind a pooled linear head (Zhou et al. 2016).

    The score is y = sum_m w_m mean(A_m) + b, so dy / dA_m = w_m / p in all p cells: both kinds of
    channel weights are w_m / p, and the factor drops out where the maximum becomes 1.
    """
    features = network().features(torch.from_numpy(boxes()[row, None, None]), "cam")[0].numpy()
    weights = network().head[-1].weight.numpy()[label - 1]
    coarse = sum(w * feature for w, feature in zip(weights, features, strict=True))
    if rectify:
        coarse = np.maximum(coarse, 0)
    factor = EDGE // coarse.shape[0]
    fine = ndimage.zoom(coarse, factor, order=3, mode="nearest", grid_mode=True)
    return fine / max(np.abs(fine).max(), 1e-20)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    """Every volume is said to show the class after the one that the network gives it."""
    made = TinySet(tmp_path)
    made.write_stack("volumes.mrcs", boxes())
    made.write_tables(said(), PARTS)
    shape = {"architecture": "gap", "classes": CLASSES, "box_voxels": EDGE}
    save_weights(made.path("c.safetensors"), network(), shape)
    return made


def said() -> NDArray[np.int64]:
    labels = (answers().argmax(axis=1) + 1) % CLASSES + 1
    # every class needs a name in the table, also those that the network does not give
    labels[1], labels[2] = (label for label in range(1, CLASSES + 1) if label != labels[0])
    return labels


def shown() -> list[int]:
    """Class of every map: the label in training, what the network says elsewhere."""
    predicted = answers().argmax(axis=1) + 1
    return [*said()[:3], *predicted[3:]]


def test_predictions_are_the_network_s_and_guide_held_out_volumes_alone(data: TinySet) -> None:
    data.run("localize", FILES, batch_size=4)
    table = data.table("predictions.csv")
    assert table["id"].tolist() == [f"v{row}" for row in range(len(PARTS))]
    assert table["predicted"].tolist() == (answers().argmax(axis=1) + 1).tolist()
    assert table["confidence"].to_numpy() == pytest.approx(answers().max(axis=1), abs=1e-6)
    assert table["label"].tolist() == said().tolist()
    assert table["guide"].tolist() == shown()
    assert (table["label"] != table["guide"])[3:].all(), "else the test would tell nothing"


def test_maps_are_those_of_the_label_in_training_and_of_the_prediction_elsewhere(
    data: TinySet,
) -> None:
    data.run("localize", FILES, batch_size=4)
    for name, rectify in (("gradcam", True), ("respondcam", False)):
        maps = data.stack(f"{name}.mrcs")
        assert maps.dtype == np.float16
        for row, label in enumerate(shown()):
            expected = class_map(row, label, rectify=rectify)
            np.testing.assert_allclose(maps[row], expected, atol=2e-3, err_msg=f"{name} {row}")
    largest = data.stack("gradcam.mrcs").max(axis=(1, 2, 3))
    assert set(largest) <= {0, 1}  # 0 where no feature map speaks for the class
    assert (largest == 1).sum() >= len(PARTS) / 2
    assert data.stack("respondcam.mrcs").min() < -0.1, "Respond-CAM keeps what speaks against"


def test_labels_of_held_out_volumes_change_no_map(data: TinySet) -> None:
    data.run("localize", FILES)
    before = data.contents(*PRODUCTS.values())
    table = data.table("predictions.csv").drop(columns="label")
    labels = said()
    labels[3:] = labels[3:] % CLASSES + 1
    data.write_tables(labels, PARTS)
    data.run("localize", FILES)
    assert data.contents(*PRODUCTS.values()) == before
    after = data.table("predictions.csv")
    assert after["label"].tolist() == labels.tolist()
    assert after.drop(columns="label").equals(table)
