"""cooccur on tiny boxes: the group is of training volumes, the maps are Eq. (3) and its matches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import softmax
from tiny_set import VOLUMES, TinySet

from civa.civanet.classifier import Classifier, build_classifier
from civa.data.volume import standardize
from civa.training.weights import save_weights

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
LABELS = [1, 2, 1, 2, 1, 2, 2, 1]
PARTS = ["train"] * 4 + ["validation", "validation", "test", "test"]
GUIDES = [1, 2, 1, 2, 2, 2, 1, 1]  # volumes 4 and 6 are misclassified
FILES = {**VOLUMES, "weights": "c.safetensors", "predictions": "predictions.csv", "out": "co.mrcs"}


def network() -> Classifier:
    torch.manual_seed(5)
    return build_classifier("gap", classes=2, box_voxels=EDGE).eval()


def boxes(seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(len(LABELS), *(EDGE,) * 3))
    return standardize(noise + 3 * ndimage.gaussian_filter(noise, (0, 1, 1, 1)))


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_stack("volumes.mrcs", boxes())
    made.write_tables(LABELS, PARTS)
    made.write_predictions(GUIDES)
    shape = {"architecture": "gap", "classes": 2, "box_voxels": EDGE}
    save_weights(made.path("c.safetensors"), network(), shape)
    return made


@torch.no_grad()
def features(row: int, layer: str) -> NDArray[np.float32]:
    """Return e (c, t, u, v) of one volume."""
    return network().features(torch.from_numpy(boxes()[row, None, None]), layer)[0].numpy()


def expected_map(row: int, layer: str) -> NDArray[np.float64]:
    """P^c of one volume with the whole training part of its class as the group, in slow loops."""
    group = [r for r, part in enumerate(PARTS) if part == "train" and LABELS[r] == GUIDES[row]]
    consensus = softmax(np.mean([features(r, layer) for r in group], axis=0), axis=0)
    own = features(row, layer)
    coarse = np.empty(own.shape[1:])
    for at in np.ndindex(coarse.shape):
        matches = [own[:, *at] @ consensus[:, *other] for other in np.ndindex(coarse.shape)]
        coarse[at] = max(matches)
    factor = EDGE // coarse.shape[0]
    fine = ndimage.zoom(coarse, factor, order=3, mode="nearest", grid_mode=True)
    return fine / np.abs(fine).max()


@pytest.mark.parametrize("layer", ["fine", "cam"])
def test_maps_match_the_consensus_of_the_training_volumes(data: TinySet, layer: str) -> None:
    data.run("cooccur", FILES, layer=layer, batch_size=2)
    maps = data.stack("co.mrcs")
    assert maps.dtype == np.float16
    for row in range(len(LABELS)):
        np.testing.assert_allclose(maps[row], expected_map(row, layer), atol=2e-3, err_msg=row)


@pytest.mark.parametrize("group_size", [1, 16])
def test_held_out_volumes_and_their_labels_never_enter_a_group(
    data: TinySet, group_size: int
) -> None:
    # A class has two training volumes and two others: a group of all parts would hold one of
    # those with a chance of 1 - 0.5^(2 groups x 4 seeds), even where it is of a single volume.
    held_out = np.array(PARTS) != "train"
    before = {}
    for seed in range(4):
        data.run("cooccur", FILES, group_size=group_size, seed=seed)
        before[seed] = data.stack("co.mrcs")
    changed = np.where(held_out[:, None, None, None], 4 * boxes(seed=1), boxes())
    data.write_stack("volumes.mrcs", changed)
    data.write_tables(np.where(held_out, 3 - np.array(LABELS), LABELS), PARTS)
    for seed, maps in before.items():
        data.run("cooccur", FILES, group_size=group_size, seed=seed)
        found = data.stack("co.mrcs")
        np.testing.assert_array_equal(found[~held_out], maps[~held_out])
        assert (found[held_out] != maps[held_out]).any(axis=(1, 2, 3)).all(), "they did change"


def test_the_seed_draws_the_group(data: TinySet) -> None:
    found = set()
    for seed in range(6):
        data.run("cooccur", FILES, group_size=1, seed=seed)
        found.update(data.contents("co.mrcs"))
    assert 1 < len(found) <= 4  # two choices for each of two classes
