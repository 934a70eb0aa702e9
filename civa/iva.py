"""The inter-voxel affinity network: from a volume straight to O (Sec. 4.4, Fig. 2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from civa.voxresnet import VoxResNet


class AffinityNetwork(nn.Module):
    """VoxResNet; a 1x1x1 convolution on every stage; resized, concatenated, one last 1x1x1.

    Parameters
    ----------
    width
        Channels of the first stage of the backbone; the paper's is 32.
    flat_kernels
        See `VoxResNet`.
    head_channels
        Channels that every stage contributes, as in the 2-D ancestor (ref. [5]).
    """

    def __init__(self, width: int = 32, *, flat_kernels: bool = True, head_channels: int = 32):
        super().__init__()
        self.backbone = VoxResNet(width, flat_kernels=flat_kernels)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(channels, head_channels, 1, bias=False),
                nn.GroupNorm(4, head_channels),
                nn.ReLU(),
            )
            for channels in self.backbone.channels
        )
        self.last = nn.Conv3d(head_channels * len(self.heads), 1, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """(b, 1, d, h, w) -> (b, d, h, w) logit of O."""
        shape = volume.shape[2:]
        stages = self.backbone(volume)
        reduced = [
            functional.interpolate(head(stage), size=shape, mode="trilinear", align_corners=False)
            for head, stage in zip(self.heads, stages, strict=True)
        ]
        return self.last(torch.cat(reduced, dim=1)).squeeze(1)
