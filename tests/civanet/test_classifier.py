"""The classifier's networks, and Eq. (9) against hand-derived numbers."""

import numpy as np
import pytest
import torch

from civa.civanet.classifier import LAYERS, build_classifier, classification_loss, predict

ARCHITECTURES = ("gap", "cnn1", "cnn1_bn")


def volumes(n: int = 2, edge: int = 8) -> torch.Tensor:
    return torch.randn(n, 1, edge, edge, edge, generator=torch.Generator().manual_seed(0))


def test_the_paper_s_network_has_17_million_parameters() -> None:
    # Convolutions 896 + 27,680 + 55,360 + 110,656; dense 16,777,728 + 262,656 + 2,052.
    model = build_classifier("cnn1", classes=4, box_voxels=32)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 896 + 27_680 + 55_360 + 110_656 + 16_777_728 + 262_656 + 2_052
    assert count == pytest.approx(17.2e6, rel=0.01)


@pytest.mark.parametrize(
    ("architecture", "fine_channels", "cam_channels"),
    [("gap", 24, 48), ("cnn1", 64, 64), ("cnn1_bn", 64, 64)],
)
def test_shapes_of_features_and_scores(
    architecture: str, fine_channels: int, cam_channels: int
) -> None:
    model = build_classifier(architecture, classes=3, box_voxels=16).eval()
    with torch.no_grad():
        assert model(volumes(edge=16)).shape == (2, 3)
        assert model.features(volumes(edge=16), "fine").shape == (2, fine_channels, 8, 8, 8)
        assert model.features(volumes(edge=16), "cam").shape == (2, cam_channels, 4, 4, 4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_leads_to_the_same_score(architecture: str, layer: str) -> None:
    model = build_classifier(architecture, classes=3, box_voxels=8).eval()
    with torch.no_grad():
        through_layer = model.score(model.features(volumes(), layer), layer)
        torch.testing.assert_close(through_layer, model(volumes()))


def test_features_are_rectified() -> None:
    # Grad-CAM and Respond-CAM take activations; both layers stand behind a ReLU.
    for architecture in ARCHITECTURES:
        model = build_classifier(architecture, classes=3, box_voxels=8).eval()
        for layer in LAYERS:
            assert model.features(volumes(), layer).min() >= 0


def test_the_published_network_has_no_normalisation_and_no_dropout() -> None:
    plain = build_classifier("cnn1", classes=3, box_voxels=8)
    normalised = build_classifier("cnn1_bn", classes=3, box_voxels=8)
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in plain.modules())
    assert all(m.p == 0 for m in plain.modules() if isinstance(m, torch.nn.Dropout))
    assert sum(isinstance(m, torch.nn.BatchNorm3d) for m in normalised.modules()) == 4
    assert [m.p for m in normalised.modules() if isinstance(m, torch.nn.Dropout)] == [0.4, 0.4]


def test_layer_must_be_known() -> None:
    model = build_classifier("gap", classes=3, box_voxels=8)
    with pytest.raises(ValueError, match=r"layer must be one of .*got 'fourth'"):
        model.features(volumes(), "fourth")


def test_architecture_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"architecture must be one of .*got 'resnet'"):
        build_classifier("resnet", classes=3, box_voxels=8)


@pytest.mark.parametrize("box_voxels", [30, 33])
def test_box_must_divide_by_four(box_voxels: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 4 voxels .got {box_voxels}."):
        build_classifier("gap", classes=3, box_voxels=box_voxels)


def test_loss_by_hand() -> None:
    # Softmax of (ln 1, ln 2, ln 5) is (1, 2, 5) / 8; of (0, 0, 0) it is 1/3 each.  With the
    # classes 2 and 0 the loss is the mean of -ln(5 / 8) and -ln(1 / 3).
    scores = torch.tensor([[0.0, np.log(2), np.log(5)], [0.0, 0.0, 0.0]])
    expected = (np.log(8 / 5) + np.log(3)) / 2
    loss = classification_loss(scores, torch.tensor([2, 0]))
    assert loss.item() == pytest.approx(expected)


def test_loss_equals_the_definition_of_cross_entropy() -> None:
    scores = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 3, 1, 1, 2])
    total = 0.0
    for row, target in zip(scores.numpy(), targets.tolist(), strict=True):
        total -= np.log(np.exp(row[target]) / sum(np.exp(y) for y in row))
    assert classification_loss(scores, targets).item() == pytest.approx(total / 5)


def test_loss_ignores_a_common_shift_of_the_scores() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 3, 1, 1, 2])
    torch.testing.assert_close(
        classification_loss(scores + 7, targets), classification_loss(scores, targets)
    )


def test_gradient_of_the_loss() -> None:
    scores = torch.randn(
        3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    targets = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(lambda y: classification_loss(y, targets), scores)


def test_predictions_are_the_softmax_of_the_scores_without_dropout() -> None:
    model = build_classifier("gap", classes=3, box_voxels=8).train()
    probabilities = predict(model, volumes())
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(probabilities, predict(model, volumes()))
    with torch.no_grad():
        torch.testing.assert_close(probabilities, model.eval()(volumes()).softmax(dim=1))
    assert not probabilities.requires_grad
