"""The affinity network: size, shapes, and O as a logit."""

import pytest
import torch
from torch.nn import functional

from civa.civanet.affinity_network import AffinityNetwork


def volumes(edge: int = 16) -> torch.Tensor:
    return torch.randn(2, 1, edge, edge, edge, generator=torch.Generator().manual_seed(0))


def test_size_at_the_published_width() -> None:
    count = sum(parameter.numel() for parameter in AffinityNetwork(32).parameters())
    assert count == pytest.approx(1.2e6, rel=0.03)


@pytest.mark.parametrize("edge", [8, 12, 16])
def test_every_voxel_gets_one_logit(edge: int) -> None:
    network = AffinityNetwork(4, head_channels=4)
    with torch.no_grad():
        assert network(volumes(edge)).shape == (2, edge, edge, edge)


def test_output_is_a_logit_not_a_probability() -> None:
    network = AffinityNetwork(4, head_channels=4).eval()
    (bias,) = [last.bias for last in network.last if last.bias is not None]
    with torch.no_grad():
        bias.fill_(-5)
        low = network(volumes())
        bias.fill_(7)
        torch.testing.assert_close(network(volumes()), low + 12)
    assert low.min() < 0


def test_output_is_one_convolution_over_the_concatenated_stages() -> None:
    # Sec. 4.4 to the letter: reduce, resize, concatenate, convolve.
    network = AffinityNetwork(4, head_channels=4).eval()
    with torch.no_grad():
        resized = [
            functional.interpolate(head(stage), size=(16, 16, 16), mode="trilinear")
            for head, stage in zip(network.heads, network.backbone(volumes()), strict=True)
        ]
        weight = torch.cat([last.weight for last in network.last], dim=1)
        expected = functional.conv3d(torch.cat(resized, dim=1), weight, network.last[0].bias)
        torch.testing.assert_close(network(volumes()), expected[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", range(4))
def test_every_stage_reaches_the_output(stage: int) -> None:
    network = AffinityNetwork(4, head_channels=4).eval()
    with torch.no_grad():
        whole = network(volumes())
        network.last[stage].weight.zero_()
        assert not torch.allclose(network(volumes()), whole)


def test_training_reaches_every_weight() -> None:
    network = AffinityNetwork(4, head_channels=4)
    network(volumes()).square().sum().backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    ]
    assert silent == []


def test_volumes_of_a_batch_do_not_mix_in_evaluation() -> None:
    network = AffinityNetwork(4, head_channels=4).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(volumes())[1:], network(volumes()[1:]))
