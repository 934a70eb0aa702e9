"""The image-level classifier whose trunk is also the encoder F (Sec. 4.2, Eq. 9)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS = ("fine", "cam")  # 16^3 block, and the 8^3 CAM layer after it, for a 32^3 box


class Classifier(nn.Module):
    """A trunk of two feature blocks and a head on the last of them.

    Parameters
    ----------
    fine
        (b, 1, d, h, w) -> features at half resolution.
    cam
        Features at half resolution -> features at a quarter, the CAM layer.
    head
        CAM features -> (b, k) scores, before the softmax.
    """

    def __init__(self, fine: nn.Module, cam: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.fine, self.cam, self.head = fine, cam, head

    def features(self, volume: Tensor, layer: str) -> Tensor:
        """Return e = F(I), Sec. 4.3: activations (b, c, t, u, v) of ``layer``.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer must be one of {LAYERS} (got '{layer}')")
        features = self.fine(volume)
        return features if layer == "fine" else self.cam(features)

    def score(self, features: Tensor, layer: str) -> Tensor:
        """Return the scores y (b, k), before the softmax, from the features of ``layer``."""
        return self.head(self.cam(features) if layer == "fine" else features)

    def forward(self, volume: Tensor) -> Tensor:
        """Return the scores y (b, k) of volumes (b, 1, d, h, w)."""
        return self.score(self.features(volume, "cam"), "cam")


def build_classifier(architecture: str, *, classes: int, box_voxels: int) -> Classifier:
    """Build a classifier.

    Parameters
    ----------
    architecture
        ``cnn1``: the paper's network (CNN-1 of Respond-CAM): plain convolutions and three
        fully connected layers.  ``cnn1_bn``: the same with batch normalisation and dropout.
        ``gap``: a small batch-normalised trunk with global average pooling; DEVIATION: the
        default, because ``cnn1`` stays at chance at low SNR on a few hundred volumes.
    classes
        Number of classes k.
    box_voxels
        Edge of the volumes; a multiple of 4.

    Raises
    ------
    ValueError
        If the architecture is unknown or the box does not divide by 4.
    """
    if box_voxels % 4:
        raise ValueError(f"the box must be a multiple of 4 voxels (got {box_voxels})")
    builders = {"gap": _gap, "cnn1": _cnn1, "cnn1_bn": _cnn1_bn}
    if architecture not in builders:
        raise ValueError(f"architecture must be one of {tuple(builders)} (got '{architecture}')")
    return builders[architecture](classes, box_voxels)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, norm: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)
    ]
    if norm:
        layers.append(nn.BatchNorm3d(outputs))
    return nn.Sequential(*layers, nn.ReLU())


def _gap(classes: int, box_voxels: int) -> Classifier:
    fine = nn.Sequential(
        _convolution(1, 8, kernel=5),
        nn.MaxPool3d(2),
        _convolution(8, 24),
        _convolution(24, 24),
    )
    cam = nn.Sequential(nn.MaxPool3d(2), _convolution(24, 48), _convolution(48, 48))
    head = nn.Sequential(
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48, classes)
    )
    return Classifier(fine, cam, head)


def _cnn1(classes: int, box_voxels: int, *, norm: bool = False) -> Classifier:
    fine = nn.Sequential(
        _convolution(1, 32, norm=norm),
        _convolution(32, 32, norm=norm),
        nn.MaxPool3d(2),
        _convolution(32, 64, norm=norm),
        _convolution(64, 64, norm=norm),
    )
    dropout = 0.4 if norm else 0.0
    inputs = 64 * (box_voxels // 4) ** 3
    head = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Sequential(nn.Linear(inputs, 512), nn.ReLU(), nn.Dropout(dropout)),
            fc2=nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(dropout)),
            fc3=nn.Linear(512, classes),
        )
    )
    return Classifier(fine, nn.MaxPool3d(2), head)


def _cnn1_bn(classes: int, box_voxels: int) -> Classifier:
    return _cnn1(classes, box_voxels, norm=True)


def classification_loss(scores: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the predicted class.

    Eq. (9), Sec. 4.5.  # ASSUME: the mean over the batch, where the paper writes a sum; the
    rate of Adam does not see the difference.

    Parameters
    ----------
    scores
        (b, k) before the softmax.
    targets
        (b,) class index 0 .. k - 1.
    weights
        (k,) weight of every class, for data sets of unequal classes; None: all alike.

    Returns
    -------
    Scalar L_B.
    """
    return functional.cross_entropy(scores, targets, weight=weights)


@torch.no_grad()
def predict(model: Classifier, volumes: Tensor) -> Tensor:
    """Return class probabilities (b, k) of volumes (b, 1, d, h, w)."""
    return model.eval()(volumes).softmax(dim=1)
