"""segment on tiny boxes: O of every volume, its threshold from validation, the CAM's proposal."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit
from tiny_set import TRUTH, TinySet
from torch import Tensor, nn

from civa.civanet.affinity_network import AffinityNetwork
from civa.data.volume import standardize
from civa.stages import segment
from civa.training.weights import save_weights

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 8
PARTS = ["train", "validation", "validation", "test", "test"]
LABELS = [1, 1, 2, 1, 2]
GUIDES = [1, 1, 2, 2, 2]  # volume 3 is misclassified
FILES = {
    **{"volumes": "volumes.mrcs", "weights": "iva.safetensors", "cam_masks": "cam.mrcs", **TRUTH},
    **{"segmentation": "o.mrcs", "out": "iva.mrcs", "choice": "iva.json"},
}
TARGET = (slice(1, 3), slice(1, 3), slice(1, 3))  # 2^3 voxels
HALO = (slice(0, 4), slice(0, 4), slice(0, 4))  # 4^3 voxels around it
OTHER = (slice(5, 8), slice(5, 8), slice(5, 8))  # 3^3 voxels that are not the target's
LEVELS = {"background": -3.0, "halo": 1.0, "bright": 4.0}  # logits of O


class Levels(nn.Module):
    """A network that knows three levels: the logit of O depends on the brightness alone."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(list(LEVELS.values())))

    def forward(self, volume: Tensor) -> Tensor:
        lowest, highest = volume.amin(dim=(1, 2, 3, 4)), volume.amax(dim=(1, 2, 3, 4))
        share = (volume[:, 0] - lowest.reshape(-1, 1, 1, 1)) / (highest - lowest).reshape(
            -1, 1, 1, 1
        )
        return self.logits[(2 * share).round().long()]  # (b, d, h, w)


def levels() -> NDArray[np.int64]:
    """0 background, 1 the halo, 2 the target and the other blob."""
    found = np.zeros((len(PARTS), *(EDGE,) * 3), dtype=np.int64)
    found[:, *HALO] = 1
    found[:, *TARGET] = found[:, *OTHER] = 2
    return found


def only(*where: slice) -> NDArray[np.bool_]:
    found = np.zeros((EDGE,) * 3, dtype=bool)
    found[where] = True
    return found


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinySet:
    """The CAM meets the target; it is a target without its halo on validation, with it on test."""
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_predictions(GUIDES)
    made.write_stack("volumes.mrcs", standardize(levels()))
    cams = np.stack([guide * only(slice(2, 5), slice(2, 5), slice(2, 5)) for guide in GUIDES])
    made.write_stack("cam.mrcs", cams.astype(np.int8))
    truth = [
        label * (only(*TARGET) if part == "validation" else only(*HALO))
        for label, part in zip(LABELS, PARTS, strict=True)
    ]
    made.write_stack("masks.mrcs", np.stack(truth).astype(np.int8))
    monkeypatch.setattr(segment, "AffinityNetwork", Levels)
    save_weights(made.path("iva.safetensors"), Levels(), {})
    return made


def test_the_threshold_is_the_best_on_validation_and_the_proposal_the_cam_s(data: TinySet) -> None:
    data.run("segment", FILES, batch_size=2)
    choice = data.record("iva.json")
    # Cuts have logits -1, -0.5, ... 5.  Below 1 the proposal is the halo: 8 of 64 voxels; from 1
    # on the target, all of it; from 4 on nothing.  Of equal cuts the first.
    expected = {
        str(round(float(expit(cut)), 4)): 12.5 if cut < 1 else 100.0 * (cut < 4)
        for cut in np.arange(-1, 5.25, 0.5)
    }
    assert choice == {
        "threshold": round(float(expit(1.0)), 4),
        "validation_miou": expected,
        "empty": 0,
    }
    found = data.stack("iva.mrcs")
    assert found.dtype == np.int8
    for row, guide in enumerate(GUIDES):
        np.testing.assert_array_equal(found[row], guide * only(*TARGET))
    o = data.stack("o.mrcs")
    assert o.dtype == np.float16
    logits = np.array(list(LEVELS.values()))[levels()]
    np.testing.assert_allclose(o, expit(logits), atol=1e-3)


def test_a_given_threshold_is_taken_and_validation_not_looked_at(data: TinySet) -> None:
    data.run("segment", FILES, threshold=0.5)
    assert data.record("iva.json") == {"threshold": 0.5, "validation_miou": {}, "empty": 0}
    np.testing.assert_array_equal(data.stack("iva.mrcs")[4], 2 * only(*HALO))


def test_without_validation_masks_the_default_cuts_and_what_is_empty_is_counted(
    data: TinySet, caplog: pytest.LogCaptureFixture
) -> None:
    data.write_stack("masks.mrcs", np.full(levels().shape, -1, dtype=np.int8))
    data.run("segment", FILES, default_threshold=0.99)
    assert data.record("iva.json") == {"threshold": 0.99, "validation_miou": {}, "empty": 5}
    assert not data.stack("iva.mrcs").any()
    assert "5 of 5 masks are empty (O > 0.99)" in caplog.text


def test_where_the_cam_meets_nothing_the_largest_proposal_is_kept(data: TinySet) -> None:
    data.write_stack("cam.mrcs", np.zeros(levels().shape, dtype=np.int8))
    data.run("segment", FILES, threshold=0.9)
    np.testing.assert_array_equal(data.stack("iva.mrcs")[0], only(*OTHER))


def test_masks_and_classes_of_other_parts_change_nothing(data: TinySet) -> None:
    products = ("o.mrcs", "iva.mrcs", "iva.json")
    data.run("segment", FILES)
    before = data.contents(*products)
    noise = np.random.default_rng(1).integers(0, 3, size=levels().shape).astype(np.int8)
    noise[1:3] = data.stack("masks.mrcs")[1:3]
    data.write_stack("masks.mrcs", noise)
    data.write_tables([2, 1, 2, 2, 1], PARTS)
    data.run("segment", FILES)
    assert data.contents(*products) == before


def test_o_is_the_sigmoid_of_the_network_s_answer_volume_by_volume(
    data: TinySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "AffinityNetwork", AffinityNetwork)
    torch.manual_seed(0)
    model = AffinityNetwork(4).eval()
    save_weights(data.path("iva.safetensors"), model, {"width": 4})
    boxes = np.random.default_rng(0).normal(size=levels().shape).astype(np.float32)
    data.write_stack("volumes.mrcs", standardize(boxes))
    data.run("segment", FILES, batch_size=2)
    o = data.stack("o.mrcs")
    for row, box in enumerate(standardize(boxes)):
        with torch.no_grad():
            expected = expit(model(torch.from_numpy(box)[None, None])[0].double().numpy())
        np.testing.assert_allclose(o[row], expected, atol=1e-3)
