"""The backbone: resolutions, residual blocks and the two readings of its kernels."""

import pytest
import torch

from civa.civanet.voxresnet import VoxRes, VoxResNet


def volumes(edge: int = 16) -> torch.Tensor:
    return torch.randn(2, 1, edge, edge, edge, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("flat_kernels", [True, False])
def test_stages_stand_at_full_half_quarter_and_eighth_resolution(flat_kernels: bool) -> None:
    backbone = VoxResNet(4, flat_kernels=flat_kernels)
    with torch.no_grad():
        shapes = [tuple(stage.shape) for stage in backbone(volumes())]
    assert shapes == [(2, 4, 16, 16, 16), (2, 8, 8, 8, 8), (2, 8, 4, 4, 4), (2, 8, 2, 2, 2)]
    assert [shape[1] for shape in shapes] == list(backbone.channels)


def test_parameters_of_the_published_width() -> None:
    def convolution(inputs: int, outputs: int, taps: int) -> int:
        return inputs * outputs * taps + outputs

    # A norm has two parameters per channel; the flat kernels have 9 taps, the others 27.
    block = 4 * 64 + convolution(64, 64, 9) + convolution(64, 64, 27)
    stem = convolution(1, 32, 27) + 2 * 32 + convolution(32, 32, 9)
    stages = 2 * 32 + convolution(32, 64, 27) + 2 * (2 * 64 + convolution(64, 64, 27)) + 6 * block
    count = sum(parameter.numel() for parameter in VoxResNet(32).parameters())
    assert count == stem + stages
    assert count == pytest.approx(1.2e6, rel=0.03)


def test_a_block_is_the_identity_where_its_last_convolution_is_zero() -> None:
    block = VoxRes(4, flat_kernels=True)
    for parameter in block.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)
    features = torch.randn(1, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(features), features)


@pytest.mark.parametrize(("flat_kernels", "reach"), [(True, 1), (False, 2)])
def test_reach_of_a_block_along_z(flat_kernels: bool, reach: int) -> None:
    # 3 x 3 x 3 reaches 1 voxel, (1, 3, 3) none along z: 1 + 0 against 1 + 1.  Along x both 2.
    block = VoxRes(2, flat_kernels=flat_kernels).eval()
    for parameter in block.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    features = torch.ones(1, 2, 9, 9, 9)
    touched = features.clone()
    touched[0, 0, 4, 4, 4] += 1
    with torch.no_grad():
        changed = (block(touched) != block(features))[0].any(dim=0)
    z, _, x = torch.nonzero(changed, as_tuple=True)
    assert (z - 4).abs().max() == reach
    assert (x - 4).abs().max() == 2
