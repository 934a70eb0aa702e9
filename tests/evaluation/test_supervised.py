"""Networks with stronger supervision: shapes, the masked loss, one slice, the cut."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from stored import stored
from torch import Tensor, nn

from civa.data.stack import write_stack
from civa.evaluation.supervised import (
    CUTS,
    IGNORED,
    SEGMENTER_SCHEDULES,
    UNetSegmenter,
    VoxResNetSegmenter,
    build_segmenter,
    central_slice,
    choose_cut,
    predict_voxels,
    segmentation_loss,
)
from civa.evaluation.validation import Validation
from civa.training.loop import Schedule

CPU = torch.device("cpu")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_published_schedules() -> None:
    # Sec. 5.4: Adam 0.001, exponential decay, batch 16; Adam 0.0002, batch 1, about 50 epochs.
    paper = Schedule("adam", 1e-3, "exponential", 16, 200, weight_decay=0.0, patience=20)
    assert SEGMENTER_SCHEDULES["voxresnet"] == paper
    unet = SEGMENTER_SCHEDULES["unet"]
    assert replace(unet, weight_decay=0.0, patience=None) == Schedule(
        "adam", 2e-4, "constant", batch_size=1, epochs=50
    )


@pytest.mark.parametrize(("network", "outputs"), [("voxresnet", 5), ("unet", 1)])
def test_every_voxel_gets_a_score_for_the_background_and_every_class(
    network: str, outputs: int
) -> None:
    model = build_segmenter(network, 3, 4)
    scores = model(random(2, 1, 16, 16, 16))
    assert [tuple(s.shape) for s in scores] == [(2, 4, 16, 16, 16)] * outputs


@pytest.mark.parametrize("width", [4, 8, 12, 20])  # the configuration allows multiples of 4
def test_a_unet_can_have_every_width_that_the_configuration_allows(width: int) -> None:
    model = build_segmenter("unet", 2, width)
    groups = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert {m.num_channels for m in groups} == {width * 2**level for level in range(4)}
    assert all(1 < m.num_groups <= 8 for m in groups)


def test_the_output_of_voxresnet_is_the_sum_of_its_stages() -> None:
    model = VoxResNetSegmenter(2, width=4).eval()
    with torch.no_grad():
        together, *stages = model(random(1, 1, 16, 16, 16))
    assert len(stages) == 4
    torch.testing.assert_close(together, sum(stages))
    assert all(stage.std() > 0 for stage in stages)


def test_a_coarse_stage_is_resized_without_a_shift() -> None:
    # Cells aligned: a mirrored volume gives mirrored scores of a head that sees a mirrored stage.
    model = VoxResNetSegmenter(1, width=4)
    coarse = random(1, 8, 2, 2, 2)
    stages = [torch.zeros(1, 4, 16, 16, 16), *(torch.zeros(1, 8, e, e, e) for e in (8, 4)), coarse]

    class Fixed(nn.Module):
        def __init__(self, mirror: bool) -> None:
            super().__init__()
            self.mirror = mirror

        def forward(self, volume: Tensor) -> list[Tensor]:
            return [s.flip(-1) for s in stages] if self.mirror else stages

    found = []
    for mirror in (False, True):
        model.backbone = Fixed(mirror)
        with torch.no_grad():
            found.append(model(random(1, 1, 16, 16, 16))[0])
    torch.testing.assert_close(found[1], found[0].flip(-1))


def test_network_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"network must be one of \('voxresnet', .*got 'vnet'"):
        build_segmenter("vnet", 2, 4)


def test_the_name_picks_the_network_with_its_classes_and_width() -> None:
    # VoxResNet halves the resolution three times by strides and has no skip connections: it has a
    # head per stage, on 1, 2, 2 and 2 times its width.  The U-Net doubles its width per level, and
    # brings every level back by a transposed convolution.
    voxresnet, unet = build_segmenter("voxresnet", 2, 4), build_segmenter("unet", 5, 8)
    assert isinstance(voxresnet, VoxResNetSegmenter)
    heads = [(head.in_channels, head.out_channels) for head in voxresnet.heads]
    assert heads == [(4, 3), (8, 3), (8, 3), (8, 3)]
    assert not any(isinstance(m, nn.ConvTranspose3d) for m in voxresnet.modules())
    assert isinstance(unet, UNetSegmenter)
    back = [m for m in unet.modules() if isinstance(m, nn.ConvTranspose3d)]
    assert {(m.in_channels, m.out_channels) for m in back} == {(64, 32), (32, 16), (16, 8)}
    assert unet(random(1, 1, 16, 16, 16))[0].shape[1] == 6


@pytest.mark.slow
def test_monai_is_imported_only_for_a_unet() -> None:
    program = (
        "import sys, civa.evaluation.supervised as s, civa.stages.train_segmenter\n"
        "s.build_segmenter('voxresnet', 2, 4)\n"
        "assert 'monai' not in sys.modules, 'before'\n"
        "s.build_segmenter('unet', 2, 4)\n"
        "assert 'monai' in sys.modules, 'after'\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_loss_by_hand() -> None:
    # Softmax of (ln 3, ln 1) is (3, 1) / 4.  One voxel is background, one of class 1, and the
    # other two have no annotation: the mean of -ln(3 / 4) and -ln(1 / 4) over two voxels.
    scores = torch.tensor([np.log(3), 0.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, 2, 2)
    targets = torch.tensor([[[[0, 1], [IGNORED, IGNORED]]]])
    expected = (np.log(4 / 3) + np.log(4)) / 2
    assert segmentation_loss([scores], targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [0.25, 0.5])
def test_every_auxiliary_output_has_its_weight(weight: float) -> None:
    scores = [random(1, 3, 4, 4, 4, seed=s) for s in range(3)]
    targets = (random(1, 4, 4, 4, seed=9) > 0).long()
    alone = [segmentation_loss([s], targets).item() for s in scores]
    loss = segmentation_loss(scores, targets, auxiliary_weight=weight)
    assert loss.item() == pytest.approx(alone[0] + weight * (alone[1] + alone[2]), rel=1e-5)
    assert segmentation_loss(scores, targets).item() == pytest.approx(
        alone[0] + 0.25 * (alone[1] + alone[2]), rel=1e-5
    )


def test_auxiliary_outputs_reach_the_gradient_of_their_heads() -> None:
    model = VoxResNetSegmenter(2, width=4)
    volume, targets = random(2, 1, 16, 16, 16), (random(2, 16, 16, 16, seed=1) > 1).long()
    biases = [head.bias for head in model.heads]
    scores = model(volume)
    with_them = torch.autograd.grad(segmentation_loss(scores, targets), biases, retain_graph=True)
    without = torch.autograd.grad(segmentation_loss(scores[:1], targets), biases)
    for one, other in zip(with_them, without, strict=True):
        assert not torch.allclose(one, other, rtol=1e-2)


def test_the_loss_and_its_gradient_do_not_shrink_with_the_share_of_annotated_voxels() -> None:
    # All slices alike, so one of them tells as much as the volume.
    plane, labels = random(1, 2, 1, 8, 8), (random(1, 1, 8, 8, seed=1) > 0).long()
    scores = plane.expand(1, 2, 8, 8, 8).clone().requires_grad_()
    full = labels.expand(1, 8, 8, 8)
    one = torch.full_like(full, IGNORED)
    one[:, 3] = full[:, 3]
    losses, gradients = [], []
    for targets in (full, one):
        losses.append(segmentation_loss([scores], targets))
        gradients.append(torch.autograd.grad(losses[-1], scores)[0])
    torch.testing.assert_close(losses[0], losses[1])
    assert gradients[1][:, :, [0, 1, 2, 4, 5, 6, 7]].abs().max() == 0
    torch.testing.assert_close(gradients[1].sum(), gradients[0].sum(), atol=1e-6, rtol=0)
    torch.testing.assert_close(gradients[1].abs().sum(), gradients[0].abs().sum())


def test_what_is_not_annotated_does_not_matter() -> None:
    targets = torch.full((1, 4, 4, 4), IGNORED)
    targets[:, 2] = 1
    scores = random(1, 3, 4, 4, 4)
    others = scores.clone()
    others[:, :, [0, 1, 3]] = random(1, 3, 3, 4, 4, seed=5)
    torch.testing.assert_close(
        segmentation_loss([scores], targets), segmentation_loss([others], targets)
    )


def test_one_slice_is_the_one_that_holds_most_of_the_target() -> None:
    masks = torch.zeros(2, 6, 4, 4, dtype=torch.int8)
    masks[0, 1, :2, :2] = 1  # 4 voxels
    masks[0, 2, :3, :3] = 1  # 9: this one
    masks[0, 3, 0] = 1  # 4
    masks[1, 4, 0, 0] = 2  # the only one
    kept = central_slice(masks)
    assert kept.dtype == masks.dtype
    assert torch.equal(kept[0, 2], masks[0, 2])
    assert torch.equal(kept[1, 4], masks[1, 4])
    # one slice of 16 voxels each, its background included, and nothing else
    assert (kept != IGNORED).sum(dim=(1, 2, 3)).tolist() == [16, 16]
    assert masks.min() == 0, "the input stays as it was"


def test_a_large_label_does_not_outweigh_a_large_area() -> None:
    masks = torch.zeros(1, 3, 4, 4, dtype=torch.int8)
    masks[0, 0, 0, :2], masks[0, 2, 0, :3] = 100, 1
    assert (central_slice(masks)[0, 2] == masks[0, 2]).all()


class Brightness(nn.Module):
    """Background where a voxel is dark, class 1 where bright, class 2 where very bright."""

    def forward(self, volume: Tensor) -> list[Tensor]:
        v = volume[:, 0]
        return [torch.stack([torch.zeros_like(v), 2 * v, 6 * v - 8], dim=1)]


def test_voxels_have_a_foreground_and_the_likeliest_class() -> None:
    v = np.random.default_rng(0).normal(size=(5, 4, 4, 4)).astype(np.float32)
    foreground, classes = predict_voxels(Brightness(), v, CPU, batch_size=2)
    assert (foreground.dtype, classes.dtype) == (np.float16, np.int8)
    scores = np.exp(np.stack([0 * v, 2 * v, 6 * v - 8]))
    expected = scores[1:].sum(0) / scores.sum(0)
    np.testing.assert_allclose(foreground, expected, atol=2e-3)
    # 2 v = 6 v - 8 at v = 2; class 0, the background, is never named
    np.testing.assert_array_equal(classes, np.where(v > 2, 2, 1))
    assert set(np.unique(classes)) == {1, 2}


def test_prediction_leaves_the_network_in_evaluation_and_without_gradients() -> None:
    model = VoxResNetSegmenter(2, width=4).train()
    volumes = random(3, 8, 8, 8).numpy()
    first = predict_voxels(model, volumes, CPU, batch_size=2)
    again = predict_voxels(model, volumes, CPU, batch_size=3)
    assert not model.training
    # in training, batch normalisation would mix the volumes of a batch
    np.testing.assert_allclose(first[0], again[0], atol=2e-3)
    assert all(p.grad is None for p in model.parameters())


def test_cuts_are_even_steps_of_the_logit_around_one_half() -> None:
    cuts = np.array(CUTS)  # rounded to 4 digits
    np.testing.assert_allclose(np.diff(np.log(cuts / (1 - cuts))), 0.5, atol=0.03)
    assert 0.5 in CUTS
    assert cuts[0] < 0.02
    assert cuts[-1] > 0.98


def test_the_best_cut_counts_only_voxels_of_the_right_class(tmp_path: Path) -> None:
    labels = np.array([1, 2])
    truth = np.zeros((2, 4, 4, 4), dtype=np.int8)
    truth[0, :2], truth[1, 2:] = 1, 2
    write_stack(tmp_path / "masks.mrcs", truth, voxel_size_angstrom=10)
    table = pd.DataFrame({"id": ["a", "b"], "class": ["x", "y"], "label": labels})
    table.to_csv(tmp_path / "particles.csv", index=False)
    table["part"] = "validation"
    table[["id", "class", "part"]].to_csv(tmp_path / "split.csv", index=False)
    paths = [tmp_path / name for name in ("masks.mrcs", "particles.csv", "split.csv")]
    validation = Validation(*paths)
    volumes = stored(tmp_path, np.where(truth > 0, 0.8, 0.6).astype(np.float32), "volumes")
    classes = np.broadcast_to(labels[:, None, None, None], truth.shape)
    cut, tried = choose_cut(Says(classes), volumes, validation, CPU)
    # between 0.6 and 0.8 the cut separates; 0.6225 is the first such step
    assert cut == pytest.approx(0.6225)
    assert tried[str(cut)] == 100
    assert tried["0.5"] == 50  # everything: 32 of 64 voxels
    assert tried["0.8176"] == 0  # nothing
    # the second volume as class 1 scores 0, at any cut
    _, tried = choose_cut(Says(np.ones_like(classes)), volumes, validation, CPU)
    assert max(tried.values()) == 50
    # nothing scores at any cut: the one nearest to one half
    wrong = np.where(classes == 1, 2, 1)
    assert choose_cut(Says(wrong), volumes, validation, CPU)[0] == 0.5


class Says(nn.Module):
    """A network whose foreground is the volume's own value, and whose classes are given."""

    def __init__(self, classes: np.ndarray) -> None:
        super().__init__()
        self.classes = torch.from_numpy(classes.copy())

    def forward(self, volume: Tensor) -> list[Tensor]:
        foreground = volume[:, 0]  # (b, d, h, w)
        parts = [foreground * (self.classes == label) for label in (1, 2)]
        return [torch.stack([1 - foreground, *parts], dim=1).clamp_min(1e-12).log()]
