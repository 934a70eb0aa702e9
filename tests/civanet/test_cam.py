"""Eqs. (1) and (2) against loops, Respond-CAM's identity, and the cubic-spline resize."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from civa.civanet.cam import (
    channel_weights,
    gradients,
    localization_map,
    resize_spline,
    respond_weights,
    spline_matrix,
)
from civa.civanet.classifier import LAYERS, build_classifier

GRID = (2, 3, 4)  # t, u, v


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_channel_weights_by_hand() -> None:
    # Channel 0 holds 0 .. 7, mean 3.5; channel 1 holds a single 2 in 8 voxels, mean 1/4.
    gradient = torch.zeros(1, 2, 2, 2, 2)
    gradient[0, 0] = torch.arange(8.0).reshape(2, 2, 2)
    gradient[0, 1, 1, 0, 1] = 2
    assert channel_weights(gradient).tolist() == [[3.5, 0.25]]


def test_channel_weights_equal_equation_1() -> None:
    gradient = tensor(2, 3, *GRID)
    weights = channel_weights(gradient)
    for b in range(2):
        for m in range(3):
            total = sum(gradient[b, m][voxel].item() for voxel in np.ndindex(GRID))
            assert weights[b, m].item() == pytest.approx(total / np.prod(GRID))


def test_localization_map_equals_equation_2() -> None:
    features, weights = tensor(2, 3, *GRID), tensor(2, 3, seed=1)
    rectified = localization_map(features, weights)
    signed = localization_map(features, weights, rectify=False)
    assert (signed < 0).any()
    for b in range(2):
        for voxel in np.ndindex(GRID):
            total = sum((weights[b, m] * features[b, m][voxel]).item() for m in range(3))
            assert signed[b][voxel].item() == pytest.approx(total)
            assert rectified[b][voxel].item() == pytest.approx(max(total, 0))


def test_respond_weights_by_hand() -> None:
    # A = (1, 3), dA = (2, 4): (1 * 2 + 3 * 4) / (1 + 3) = 3.5, where Eq. (1) gives 3.
    features = torch.tensor([1.0, 3.0]).reshape(1, 1, 1, 1, 2)
    gradient = torch.tensor([2.0, 4.0]).reshape(1, 1, 1, 1, 2)
    assert respond_weights(features, gradient).item() == pytest.approx(3.5)
    assert channel_weights(gradient).item() == pytest.approx(3)


def test_the_sum_of_respond_cam_is_the_response() -> None:
    # sum over the grid of sum_m w_m A^m, with w_m = sum(A^m dA^m) / sum(A^m), is sum(A dA).
    features, gradient = tensor(2, 5, *GRID).abs(), tensor(2, 5, *GRID, seed=1)
    cam = localization_map(features, respond_weights(features, gradient), rectify=False)
    response = (features * gradient).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(cam.sum(dim=(1, 2, 3)), response)


def test_the_sum_of_respond_cam_is_the_response_for_features_below_zero_too() -> None:
    features, gradient = -tensor(2, 5, *GRID).abs(), tensor(2, 5, *GRID, seed=1)
    cam = localization_map(features, respond_weights(features, gradient), rectify=False)
    response = (features * gradient).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(cam.sum(dim=(1, 2, 3)), response)


def test_a_silent_feature_map_has_no_weight() -> None:
    features = tensor(1, 2, *GRID).abs()
    features[:, 0] = 0
    weights = respond_weights(features, tensor(1, 2, *GRID, seed=1))
    assert weights[0, 0] == 0
    assert weights[0, 1] != 0


def test_respond_cam_and_grad_cam_agree_behind_a_pooled_linear_head() -> None:
    # y = sum_m w_m mean(A^m) + b: the gradient is w_m / Z everywhere, so both averages give it.
    model = build_classifier("gap", classes=3, box_voxels=16)
    volume = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 2])
    features, gradient = gradients(model, volume, target, layer="cam")
    grad_cam = localization_map(features, channel_weights(gradient), rectify=False)
    respond_cam = localization_map(features, respond_weights(features, gradient), rectify=False)
    torch.testing.assert_close(respond_cam, grad_cam)
    # Both add up to the score less the bias of the last layer.
    score = model(volume).gather(1, target[:, None])[:, 0].detach()
    bias = dict(model.head.named_parameters())["3.bias"][target].detach()
    torch.testing.assert_close(grad_cam.sum(dim=(1, 2, 3)), score - bias, atol=1e-5, rtol=1e-4)


def test_respond_cam_and_grad_cam_differ_behind_fully_connected_layers() -> None:
    model = build_classifier("cnn1_bn", classes=3, box_voxels=16)
    volume = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    features, gradient = gradients(model, volume, torch.tensor([0, 2]), layer="cam")
    over_grid = gradient.std(dim=(2, 3, 4))
    assert (over_grid > 0.1 * gradient.abs().mean(dim=(2, 3, 4))).any()
    different = (channel_weights(gradient) - respond_weights(features, gradient)).abs()
    assert (different > 0.1 * channel_weights(gradient).abs()).any()


@pytest.mark.parametrize("layer", LAYERS)
def test_gradient_is_that_of_the_score_before_the_softmax(layer: str) -> None:
    model = build_classifier("cnn1_bn", classes=3, box_voxels=8).double()
    volume = tensor(2, 1, 8, 8, 8)
    features, gradient = gradients(model, volume, torch.tensor([1, 2]), layer=layer)
    assert features.shape == gradient.shape
    assert not features.requires_grad
    # A relative step: it leaves the zeros of the ReLU, where the max-pool has ties, untouched.
    step = 1e-6 * features * tensor(*features.shape, seed=3)
    with torch.no_grad():
        change = (model.score(features + step, layer) - model.score(features - step, layer)) / 2
    slope = (gradient * step).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(slope, change[[0, 1], [1, 2]], rtol=1e-4, atol=1e-12)


def test_a_volume_s_map_does_not_depend_on_its_batch() -> None:
    model = build_classifier("gap", classes=3, box_voxels=8)
    volume = torch.randn(3, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2])
    _, together = gradients(model, volume, target, layer="fine")
    _, alone = gradients(model, volume[1:2], target[1:2], layer="fine")
    torch.testing.assert_close(together[1:2], alone)


def test_gradients_leave_no_trace_in_the_network() -> None:
    model = build_classifier("gap", classes=3, box_voxels=8)
    with torch.no_grad():  # as stages call it; gradients must be on all the same
        gradients(model, torch.ones(1, 1, 8, 8, 8), torch.tensor([0]), layer="cam")
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("coarse", "fine"), [(8, 32), (16, 32), (8, 8), (5, 20), (1, 4)])
def test_spline_rows_sum_to_one(coarse: int, fine: int) -> None:
    matrix = spline_matrix(coarse, fine)
    assert matrix.shape == (fine, coarse)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-10)


def test_spline_of_equal_grids_changes_nothing() -> None:
    np.testing.assert_allclose(spline_matrix(8, 8), np.eye(8), atol=1e-10)


def test_constant_maps_stay_constant() -> None:
    flat = torch.full((1, 4, 4, 4), 2.5, dtype=torch.float64)
    resized = resize_spline(flat, (16, 16, 16))
    torch.testing.assert_close(resized, torch.full((1, 16, 16, 16), 2.5, dtype=torch.float64))


def test_cells_stay_aligned_on_a_ramp() -> None:
    # Fine cell j has its centre at (j + 1/2) / 4 - 1/2 coarse cells; a ramp takes that value
    # away from the border.  Corner alignment would be off by up to half a coarse cell.
    ramp = spline_matrix(16, 64) @ np.arange(16.0)
    centres = (np.arange(64) + 0.5) / 4 - 0.5
    inner = slice(20, 44)
    np.testing.assert_allclose(ramp[inner], centres[inner], atol=0.01)


def test_a_centred_bump_stays_centred() -> None:
    coarse = torch.zeros(1, 8, 8, 8, dtype=torch.float64)
    coarse[0, 3:5, 3:5, 3:5] = 1
    resized = resize_spline(coarse, (32, 32, 32))
    torch.testing.assert_close(resized, resized.flip((1, 2, 3)))


def test_resize_equals_scipy_s_zoom() -> None:
    maps = tensor(2, 4, 5, 8)
    resized = resize_spline(maps, (16, 20, 32))
    for one, coarse in zip(resized.numpy(), maps.numpy(), strict=True):
        expected = ndimage.zoom(coarse, (4, 4, 4), order=3, grid_mode=True, mode="nearest")
        np.testing.assert_allclose(one, expected, atol=1e-10)


def test_resize_commutes_with_a_quarter_turn() -> None:
    maps = tensor(1, 4, 4, 4)
    turned = resize_spline(maps.rot90(1, (2, 3)), (16, 16, 16))
    torch.testing.assert_close(turned, resize_spline(maps, (16, 16, 16)).rot90(1, (2, 3)))


def test_resize_keeps_the_type() -> None:
    assert resize_spline(torch.ones(1, 2, 2, 2), (4, 4, 4)).dtype == torch.float32
