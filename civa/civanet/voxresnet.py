"""VoxResNet (ref. [11]), the backbone of the affinity network (Sec. 4.4)."""

from torch import Tensor, nn


class VoxRes(nn.Module):
    """Pre-activated residual block: BN-ReLU-conv-BN-ReLU-conv plus identity."""

    def __init__(self, channels: int, *, flat_kernels: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            _first_convolution(channels, flat_kernels),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(b, c, d, h, w) -> the same shape."""
        return features + self.layers(features)


def _first_convolution(channels: int, flat: bool) -> nn.Conv3d:
    kernel, padding = ((1, 3, 3), (0, 1, 1)) if flat else ((3, 3, 3), (1, 1, 1))
    return nn.Conv3d(channels, channels, kernel, padding=padding)


class VoxResNet(nn.Module):
    """Four stages at full, 1/2, 1/4 and 1/8 resolution.

    Parameters
    ----------
    width
        Channels of the first stage; the later ones have twice as many.  The paper's is 32
        (1.2 M parameters).
    flat_kernels
        True: every first convolution of a block is (1, 3, 3), as in the code that the paper
        builds on; False: 3 x 3 x 3, as in the figure of ref. [11].
    """

    def __init__(self, width: int = 32, *, flat_kernels: bool = True) -> None:
        super().__init__()
        double = 2 * width
        self.channels = (width, double, double, double)
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, 3, padding=1),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            _first_convolution(width, flat_kernels),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm3d(inputs),
                nn.ReLU(),
                nn.Conv3d(inputs, double, 3, stride=2, padding=1),
                VoxRes(double, flat_kernels=flat_kernels),
                VoxRes(double, flat_kernels=flat_kernels),
            )
            for inputs in self.channels[:-1]
        )

    def forward(self, volume: Tensor) -> list[Tensor]:
        """(b, 1, d, h, w) -> features of the four stages, finest first."""
        features = [self.stem(volume)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features
