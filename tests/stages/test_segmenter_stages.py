"""train-segmenter, apply-segmenter and score on a tiny data set of bright balls and bars."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from civa.data.files import read_json, write_csv
from civa.data.particles import PARTS, UNANNOTATED
from civa.data.stack import Stack, read_stack, write_stack
from civa.data.volume import standardize
from civa.evaluation import supervised
from civa.evaluation.supervised import CUTS, IGNORED
from civa.stages import apply_segmenter, score, train_segmenter
from civa.training.weights import load_network

pytestmark = pytest.mark.usefixtures("settings_restored")

EDGE = 16
SIZES = {"train": 8, "validation": 4, "test": 4}


def targets() -> np.ndarray:
    """Label volumes (n, d, h, w): a ball is class 1, a bar along z is class 2."""
    generator = np.random.default_rng(0)
    z, y, x = np.indices((EDGE,) * 3)
    masks = []
    for row in range(sum(SIZES.values())):
        centre = generator.integers(5, 11, size=3)
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 16
        bar = (abs(z - centre[0]) <= 4) & (abs(y - centre[1]) <= 2) & (abs(x - centre[2]) <= 2)
        masks.append(2 * bar if row % 2 else 1 * ball)
    return np.stack(masks).astype(np.int8)


@dataclass(frozen=True)
class Data:
    """The files of a data set, and where its products go."""

    folder: Path

    @property
    def given(self) -> dict[str, Path]:
        names = ("volumes.mrcs", "masks.mrcs", "particles.csv", "split.csv")
        return {name.split(".")[0]: self.folder / name for name in names}

    def product(self, name: str) -> Path:
        return self.folder / "out" / name

    def hide(self, *parts: str) -> None:
        """Take the ground truth of these parts away."""
        masks = np.array(read_stack(self.given["masks"]))
        masks[np.isin(self.parts(), parts)] = UNANNOTATED
        write_stack(self.given["masks"], masks, voxel_size_angstrom=20)

    def parts(self) -> np.ndarray:
        return pd.read_csv(self.given["split"])["part"].to_numpy()

    def train(self, annotations: Path | None = None, **settings: Any) -> dict[str, Any]:
        """Train; return the metrics."""
        defaults = {"network": "voxresnet", "supervision": "full", "width": 4, "epochs": 2}
        train_segmenter.run(
            **self.given,
            annotations=annotations or self.given["masks"],
            weights=self.product("weights.safetensors"),
            metrics=self.product("metrics.json"),
            curve=self.product("curve.csv"),
            **{**defaults, **settings},
        )
        return read_json(self.product("metrics.json"))

    def apply(self, **settings: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Segment; return the masks and what was chosen."""
        apply_segmenter.run(
            **self.given,
            weights=self.product("weights.safetensors"),
            metrics=self.product("metrics.json"),
            out=self.product("masks.mrcs"),
            choice=self.product("choice.json"),
            **settings,
        )
        return read_stack(self.product("masks.mrcs")), read_json(self.product("choice.json"))

    def score(self) -> pd.DataFrame:
        tables = {name: path for name, path in self.given.items() if name != "volumes"}
        score.run(self.product("masks.mrcs"), **tables, out=self.product("scores.csv"))
        return pd.read_csv(self.product("scores.csv"))

    def curve(self) -> pd.DataFrame:
        return pd.read_csv(self.product("curve.csv"))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    made = Data(tmp_path)
    masks = targets()
    noise = np.random.default_rng(1).normal(size=masks.shape)
    brightness = np.array([0.0, 4.0, 9.0])[masks]
    stacks = {"volumes": standardize(brightness + noise), "masks": masks}
    for name, stack in stacks.items():
        write_stack(made.given[name], stack, voxel_size_angstrom=20)
    labels = masks.max(axis=(1, 2, 3))
    table = pd.DataFrame({"id": [f"v{row}" for row in range(len(masks))]})
    classes = np.array(["", "ball", "bar"])[labels]
    write_csv(made.given["particles"], table.assign(**{"class": classes, "label": labels}))
    parts = np.repeat(PARTS, [SIZES[part] for part in PARTS])
    write_csv(made.given["split"], table.assign(**{"class": classes, "part": parts}))
    return made


def seen_targets(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Collect what the loss is asked to reproduce."""
    seen: list[torch.Tensor] = []

    def watched(scores: Any, wanted: torch.Tensor) -> torch.Tensor:
        seen.append(wanted.cpu().clone())
        return supervised.segmentation_loss(scores, wanted)

    monkeypatch.setattr(train_segmenter, "segmentation_loss", watched)
    return seen


def test_full_supervision_learns_the_masks(data: Data) -> None:
    metrics = data.train(width=8, schedule="one_cycle", epochs=40, patience=40)
    found, choice = data.apply()
    assert (found.shape, found.dtype) == (targets().shape, np.int8)
    assert Stack.open(data.product("masks.mrcs")).voxel_size_angstrom == 20
    assert choice["threshold"] in CUTS
    assert choice["validation_miou"][str(choice["threshold"])] == pytest.approx(
        metrics["validation_miou"], abs=0.01
    )
    scores = data.score()
    assert scores["class"].tolist() == ["ball", "bar"] * 2
    assert scores["iou"].mean() > 0.5  # 0.05 of the voxels are the target's
    assert set(np.unique(found)) == {0, 1, 2}
    assert choice["empty"] == 0


def test_metrics_name_the_best_epoch_and_its_cut(data: Data) -> None:
    metrics = data.train(epochs=4)
    curve = data.curve()
    assert curve["epoch"].tolist() == [1, 2, 3, 4]
    best = curve[curve["validation_miou"] == curve["validation_miou"].max()].iloc[-1]
    assert metrics["epoch"] == best["epoch"]
    assert metrics["validation_miou"] == best["validation_miou"]
    assert metrics["cut"] == best["cut"]
    assert metrics["epochs"] == 4
    assert metrics["volumes"] == SIZES["train"]
    assert metrics["supervision"] == "full"
    assert metrics["parameters"] > 1000
    assert "seconds" not in metrics  # equal seeds give equal metrics
    # the weights are those of that epoch: the same figure comes out of them
    _, choice = data.apply()
    assert max(choice["validation_miou"].values()) == pytest.approx(
        metrics["validation_miou"], abs=0.01
    )
    assert choice["threshold"] == metrics["cut"]


def test_only_training_volumes_are_looked_at(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_targets(monkeypatch)
    data.train(epochs=1, flips=False)
    (wanted,) = seen  # one batch of 8
    ground_truth = torch.from_numpy(targets()[: SIZES["train"]]).long()
    as_sets = [{tuple(v.flatten().tolist()) for v in stack} for stack in (wanted, ground_truth)]
    assert as_sets[0] == as_sets[1]


def test_training_volumes_without_a_mask_are_left_out(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = np.array(read_stack(data.given["masks"]))
    masks[[0, 3]] = UNANNOTATED
    write_stack(data.given["masks"], masks, voxel_size_angstrom=20)
    seen = seen_targets(monkeypatch)
    assert data.train(epochs=1)["volumes"] == SIZES["train"] - 2
    assert all((wanted >= 0).all() for wanted in seen)


@pytest.mark.parametrize("flips", [False, True])
def test_slice_supervision_sees_one_slice_of_every_volume(
    data: Data, monkeypatch: pytest.MonkeyPatch, flips: bool
) -> None:
    seen = seen_targets(monkeypatch)
    metrics = data.train(network="unet", supervision="slice", epochs=1, flips=flips)
    wanted = torch.cat(seen)
    assert len(seen) == len(wanted) == SIZES["train"]  # the published batch is 1
    annotated = (wanted != IGNORED).any(dim=(2, 3))  # (n, d)
    assert annotated.sum(dim=1).tolist() == [1] * len(wanted)
    assert (wanted != IGNORED).sum(dim=(1, 2, 3)).tolist() == [EDGE**2] * len(wanted)
    assert (wanted > 0).any(dim=(1, 2, 3)).all(), "the slice meets the target"
    share = (wanted > 0).sum() / (targets()[: SIZES["train"]] > 0).sum()
    assert metrics["annotated_target_voxels"] == pytest.approx(share.item(), abs=1e-4)
    assert 0.05 < share < 0.5


def test_one_slice_teaches_to_segment_the_volume(data: Data) -> None:
    one_cycle = {"schedule": "one_cycle", "epochs": 20, "patience": 20}
    data.train(network="unet", supervision="slice", width=8, **one_cycle)
    data.apply()
    assert data.score()["iou_agnostic"].mean() > 0.4


def test_flips_mirror_volumes_and_targets_alike(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(1))

        def forward(self, volume: torch.Tensor) -> list[torch.Tensor]:
            pairs.append(volume[:, 0].clone())
            return [self.bias.expand(len(volume), 3, EDGE, EDGE, EDGE)]

    monkeypatch.setattr(train_segmenter, "build_segmenter", lambda *_: Watched())
    seen = seen_targets(monkeypatch)
    data.hide("validation")
    data.train(epochs=6, schedule="unet")
    assert len(pairs) == len(seen) == 6 * SIZES["train"]
    originals = targets()[: SIZES["train"]]
    mirrored = 0
    for volume, wanted in zip(pairs, seen, strict=True):
        # the brightest voxels lie inside the mask, wherever both were mirrored to
        assert volume[wanted > 0].mean() > 1.5
        mirrored += not (originals == wanted.numpy()).all(axis=(1, 2, 3)).any()
    assert 0.5 < mirrored / len(seen) < 1


def test_pseudo_supervision_looks_at_the_pseudo_labels(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    pseudo = np.zeros_like(targets())
    pseudo[:, :3] = targets().max(axis=(1, 2, 3))[:, None, None, None]
    path = data.folder / "pseudo.mrcs"
    write_stack(path, pseudo, voxel_size_angstrom=20)
    data.hide("train")  # they are all that there is
    seen = seen_targets(monkeypatch)
    metrics = data.train(path, supervision="pseudo", epochs=1, flips=False)
    assert metrics["volumes"] == SIZES["train"]
    for wanted in torch.cat(seen):
        assert (wanted[:3] == wanted.max()).all()
        assert (wanted[3:] == 0).all()
        assert wanted.max() in (1, 2)
    _, choice = data.apply()
    assert choice["validation_miou"], "the cut is still chosen on the ground truth of validation"


def test_without_a_training_mask_nothing_is_trained_and_nothing_scored(data: Data) -> None:
    data.hide("train")
    metrics = data.train()
    assert metrics["skipped"] == "no training volume has a mask"
    assert "validation_miou" not in metrics
    assert data.product("weights.safetensors").is_file()
    curve = data.curve()
    assert list(curve.columns) == ["epoch", "loss", "seconds"]
    assert curve.empty
    found, choice = data.apply()
    assert (found == UNANNOTATED).all()
    assert Stack.open(data.product("masks.mrcs")).voxel_size_angstrom == 20
    assert choice == {"skipped": "no training volume has a mask"}
    scores = data.score()
    assert len(scores) == SIZES["test"]
    assert scores[["iou", "iou_agnostic", "voxels"]].isna().all(axis=None)
    assert scores["true_voxels"].gt(0).all()


def test_without_a_validation_mask_all_epochs_are_trained_and_the_default_cuts(data: Data) -> None:
    data.hide("validation")
    metrics = data.train(epochs=3, patience=1)
    assert (metrics["epoch"], metrics["epochs"]) == (3, 3)
    assert "validation_miou" not in metrics
    assert "cut" not in metrics
    assert data.curve()["epoch"].tolist() == [1, 2, 3]
    found, choice = data.apply()
    assert choice == {"threshold": 0.5, "validation_miou": {}, "empty": choice["empty"]}
    model = load_network(data.product("weights.safetensors"), supervised.build_segmenter)
    volumes = read_stack(data.given["volumes"])
    foreground, classes = supervised.predict_voxels(model, volumes, torch.device("cpu"))
    np.testing.assert_array_equal(found, np.where(foreground > 0.5, classes, 0))
    found, choice = data.apply(default_cut=0.0)
    assert choice["threshold"] == 0
    np.testing.assert_array_equal(found, classes)


def test_patience_ends_the_training(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([3.0, 2.0, 2.0, 9.0])
    monkeypatch.setattr(
        train_segmenter, "choose_cut", lambda *_: (0.5, {"0.5": next(figures), "0.6": 1.0})
    )
    metrics = data.train(epochs=4, patience=2)
    assert metrics["epochs"] == 3  # epochs 2 and 3 are no better than 1
    assert metrics["epoch"] == 1
    assert metrics["validation_miou"] == 3


@pytest.mark.parametrize(("patience", "epochs"), [(None, 2), (0, 4), (3, 4), (1, 2)])
def test_patience_0_switches_off_that_of_the_schedule(
    data: Data, monkeypatch: pytest.MonkeyPatch, patience: int | None, epochs: int
) -> None:
    impatient = replace(supervised.SEGMENTER_SCHEDULES["voxresnet"], patience=1)
    monkeypatch.setitem(supervised.SEGMENTER_SCHEDULES, "voxresnet", impatient)
    figures = iter([3.0, 2.0, 2.0, 2.0])  # no epoch is better than the first
    monkeypatch.setattr(train_segmenter, "choose_cut", lambda *_: (0.5, {"0.5": next(figures)}))
    assert data.train(epochs=4, patience=patience)["epochs"] == epochs


@pytest.mark.parametrize("network", ["voxresnet", "unet"])
def test_the_same_seed_gives_the_same_bytes(data: Data, network: str) -> None:
    files = ("weights.safetensors", "metrics.json")
    found = []
    for seed in (1, 1, 2):
        data.train(network=network, epochs=1, seed=seed)
        found.append([data.product(name).read_bytes() for name in files])
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_segments_do_not_depend_on_the_batch(data: Data) -> None:
    data.train()
    masks = [data.apply(batch_size=size)[0].copy() for size in (3, 32)]
    assert (masks[0] != masks[1]).mean() < 1e-3


def test_an_empty_segmentation_is_counted(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    data.hide("validation")
    data.train(epochs=1)
    found, choice = data.apply(default_cut=1.0)
    assert not found.any()
    assert choice["empty"] == len(found)
    assert "16 of 16 masks are empty (cut at 1)" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"supervision": "points"}, r"supervision must be one of .*got 'points'"),
        ({"network": "vnet"}, r"network must be one of .*got 'vnet'"),
        ({"schedule": "paper"}, r"schedule must be one of .*got 'paper'"),
        ({"epochs": 0}, r"epochs must be at least 1 \(got 0\)"),
    ],
)
def test_unknown_settings_are_refused(data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.train(**settings)
    assert not data.product("weights.safetensors").exists()
