"""The inter-voxel affinity network: from a volume straight to O (Sec. 4.4, Fig. 2)."""

from torch import Tensor, nn
from torch.nn import functional

from civa.civanet.voxresnet import VoxResNet


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
        self.last = nn.ModuleList(
            nn.Conv3d(head_channels, 1, 1, bias=stage == 0) for stage in range(len(self.heads))
        )

    def forward(self, volume: Tensor) -> Tensor:
        """(b, 1, d, h, w) -> (b, d, h, w) logit of O.

        The last 1x1x1 convolution over the concatenated stages is a sum of one convolution
        per stage, and commutes with resizing: so one channel per stage is resized, not 32.
        """
        shape = volume.shape[2:]
        logit = volume.new_zeros(())
        for stage, head, last in zip(self.backbone(volume), self.heads, self.last, strict=True):
            part = last(head(stage))
            logit = logit + functional.interpolate(part, size=shape, mode="trilinear")
        return logit.squeeze(1)
