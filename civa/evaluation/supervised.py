"""Baselines with stronger supervision (Sec. 5.3, 5.4): VoxResNet_f and 3D U-Net_s.

Networks with an output for the background and one for every class, trained with cross-entropy
on full masks, on one annotated slice, or on the pseudo labels ("seg. w/o IVA" of Table 5).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from civa.civanet.voxresnet import VoxResNet
from civa.data.stack import Stack
from civa.evaluation.validation import Validation, logit_steps
from civa.training.loop import Schedule, autocast

IGNORED = -1  # target of voxels without an annotation

CUTS = logit_steps(-6, 4)  # of the foreground's probability

NETWORKS = ("voxresnet", "unet")
SUPERVISIONS = ("full", "slice", "pseudo")

# ASSUME: patience; the paper's networks converge after about 200 and 50 epochs.
SEGMENTER_SCHEDULES = {
    "voxresnet": Schedule("adam", 1e-3, "exponential", batch_size=16, epochs=200, patience=20),
    "unet": Schedule(
        "adam", 2e-4, "constant", batch_size=1, epochs=50, weight_decay=1e-5, patience=10
    ),
    "one_cycle": Schedule("adam", 2e-3, "one_cycle", batch_size=8, epochs=12, patience=6),
}


class VoxResNetSegmenter(nn.Module):
    """VoxResNet (ref. [11]) with a classifier on each of its four stages.

    Parameters
    ----------
    classes
        Number of classes k, background not counted.
    width, flat_kernels
        See `VoxResNet`.
    """

    def __init__(self, classes: int, width: int = 32, *, flat_kernels: bool = True) -> None:
        super().__init__()
        self.backbone = VoxResNet(width, flat_kernels=flat_kernels)
        self.heads = nn.ModuleList(
            nn.Conv3d(channels, classes + 1, 1) for channels in self.backbone.channels
        )

    def forward(self, volume: Tensor) -> list[Tensor]:
        """(b, 1, d, h, w) -> scores (b, k + 1, d, h, w): of all stages together, then of each."""
        shape = volume.shape[2:]
        stages = [
            functional.interpolate(head(stage), size=shape, mode="trilinear")
            for stage, head in zip(self.backbone(volume), self.heads, strict=True)
        ]
        return [torch.stack(stages).sum(0), *stages]


class UNetSegmenter(nn.Module):
    """3D U-Net (ref. [13]): two convolutions with group normalisation per level.

    Parameters
    ----------
    classes
        Number of classes k, background not counted.
    width
        Channels of the finest level; they double on each of the three levels below.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        from monai.networks.nets import DynUNet  # slow to import: only where it is used

        self.network = DynUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=classes + 1,
            kernel_size=[3] * 4,
            strides=[1, 2, 2, 2],
            upsample_kernel_size=[2] * 3,
            filters=[width * 2**level for level in range(4)],
            norm_name=("group", {"num_groups": math.gcd(8, width)}),
            act_name=("relu", {"inplace": True}),
        )
        for twice in ("input_block", "downsamples", "bottleneck", "upsamples"):
            delattr(self.network, twice)  # listed again, and used, as its skip_layers

    def forward(self, volume: Tensor) -> list[Tensor]:
        """(b, 1, d, h, w) -> one element, scores (b, k + 1, d, h, w)."""
        return [self.network(volume)]


def build_segmenter(network: str, classes: int, width: int) -> VoxResNetSegmenter | UNetSegmenter:
    """Build a network with an output for the background and one for each of ``classes``.

    Raises
    ------
    ValueError
        If the network is unknown.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {NETWORKS} (got '{network}')")
    return (
        VoxResNetSegmenter(classes, width)
        if network == "voxresnet"
        else UNetSegmenter(classes, width)
    )


def segmentation_loss(
    scores: Sequence[Tensor], targets: Tensor, *, auxiliary_weight: float = 0.25
) -> Tensor:
    """Cross-entropy of the annotated voxels, and of the auxiliary outputs.

    A mean over annotated voxels: one slice of 32 must not shrink the gradient 32-fold.

    Parameters
    ----------
    scores
        Scores (b, k + 1, d, h, w): the network's, then the auxiliary ones.
    targets
        (b, d, h, w) labels, 0 for the background, ``IGNORED`` where nobody annotated.
    auxiliary_weight
        Weight of every auxiliary output; # ASSUME: the paper states none.

    Returns
    -------
    Scalar.
    """
    terms = [functional.cross_entropy(s, targets, ignore_index=IGNORED) for s in scores]
    return torch.stack([terms[0], *(auxiliary_weight * term for term in terms[1:])]).sum()


def central_slice(masks: Tensor) -> Tensor:
    """Keep the annotation of one z-slice per volume, the one through the target's middle.

    Parameters
    ----------
    masks
        (n, d, h, w) labels, 0 for the background.

    Returns
    -------
    (n, d, h, w) labels of the slice that holds most of the target, ``IGNORED`` elsewhere.
    """
    best = (masks > 0).sum(dim=(2, 3)).argmax(dim=1)  # (n,)
    rows = torch.arange(len(masks))
    kept = torch.full_like(masks, IGNORED)
    kept[rows, best] = masks[rows, best]
    return kept


@torch.no_grad()
def predict_voxels(
    model: nn.Module, volumes: NDArray, device: torch.device, *, batch_size: int = 32
) -> tuple[NDArray[np.float16], NDArray[np.int8]]:
    """Predict every voxel of some volumes.

    Parameters
    ----------
    volumes
        (b, d, h, w), standardised.

    Returns
    -------
    (b, d, h, w) probability of the foreground, and (b, d, h, w) the likeliest class 1 .. k.
    """
    model.eval()
    foreground = np.empty(volumes.shape, dtype=np.float16)
    classes = np.empty(volumes.shape, dtype=np.int8)
    for start in range(0, len(volumes), batch_size):
        part = slice(start, start + batch_size)
        boxes = torch.from_numpy(volumes[part]).unsqueeze(1).to(device)  # (b, 1, d, h, w)
        with autocast(device):
            scores = model(boxes)[0].float()
        probabilities = scores.softmax(dim=1)  # (b, k + 1, d, h, w)
        foreground[part] = (1 - probabilities[:, 0]).cpu().numpy()
        classes[part] = (probabilities[:, 1:].argmax(dim=1) + 1).cpu().numpy()
    return foreground, classes


def choose_cut(
    model: nn.Module,
    volumes: Stack,
    validation: Validation,
    device: torch.device,
    *,
    default: float = 0.5,
    batch_size: int = 32,
) -> tuple[float, dict[str, float]]:
    """Choose the cut of the foreground's probability of highest strict mean IoU.

    Parameters
    ----------
    volumes
        All volumes of the data set.
    validation
        The ground truth of some of them.
    default
        The cut where there is none.

    Returns
    -------
    The cut, the one nearest to 0.5 on ties, and the quality of all.
    """
    cuts = sorted(CUTS, key=lambda cut: abs(cut - 0.5))

    def masks(rows: NDArray[np.int64]) -> Iterator[NDArray]:
        foreground, classes = predict_voxels(model, volumes[rows], device, batch_size=batch_size)
        return ((foreground > cut) * classes for cut in cuts)

    return validation.choose(cuts, masks, default=default)
