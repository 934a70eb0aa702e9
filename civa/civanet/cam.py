"""Initial seeds: Grad-CAM and Respond-CAM localization maps (Sec. 4.2, Eqs. 1 and 2)."""

from functools import cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from civa.civanet.classifier import Classifier


def gradients(
    model: Classifier, volume: Tensor, target: Tensor, *, layer: str
) -> tuple[Tensor, Tensor]:
    """Return activations A and the gradients dy^c / dA of one layer.

    Parameters
    ----------
    model
        Classifier; its score is taken before the softmax.
    volume
        (b, 1, d, h, w).
    target
        (b,) class index c of every volume.
    layer
        ``cam`` (the paper's) or ``fine``.

    Returns
    -------
    A and dy^c / dA, both (b, c, t, u, v), detached.
    """
    model.eval()
    with torch.enable_grad():
        features = model.features(volume, layer).detach().requires_grad_()
        score = model.score(features, layer).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, features)
    return features.detach(), gradient


def channel_weights(gradient: Tensor) -> Tensor:
    """Average the gradients over the grid: alpha_m^c.

    Eq. (1), Sec. 4.2.

    Parameters
    ----------
    gradient
        (b, c, t, u, v) dy^c / dA.

    Returns
    -------
    (b, c) weight of every feature map.
    """
    return gradient.mean(dim=(-3, -2, -1))


def respond_weights(features: Tensor, gradient: Tensor) -> Tensor:
    """Weights of Respond-CAM: gradients averaged by their activations (Zhao et al. 2018).

    Parameters
    ----------
    features, gradient
        (b, c, t, u, v) A and dy^c / dA.

    Returns
    -------
    (b, c) sum(A dA) / sum(A); 0 for a feature map that is silent.
    """
    grid = (-3, -2, -1)
    total = features.sum(dim=grid)
    weighted = (features * gradient).sum(dim=grid)
    speaks = total.abs() > 1e-12
    return torch.where(speaks, weighted / torch.where(speaks, total, 1.0), 0.0)


def localization_map(features: Tensor, weights: Tensor, *, rectify: bool = True) -> Tensor:
    """Weigh the feature maps together: G^c on the coarse grid.

    Eq. (2), Sec. 4.2.

    Parameters
    ----------
    features
        (b, c, t, u, v) activations A.
    weights
        (b, c) alpha.
    rectify
        ReLU, as in Grad-CAM; Respond-CAM keeps negative values.

    Returns
    -------
    (b, t, u, v) G^c.
    """
    combined = torch.einsum("bc,bctuv->btuv", weights, features)
    return combined.relu() if rectify else combined


@cache
def spline_matrix(coarse: int, fine: int) -> np.ndarray:
    """Cubic-spline interpolation along one axis, (fine, coarse), cells aligned.

    Cell centres, not corners, coincide: coarse cell i covers fine cells i f .. (i + 1) f - 1.
    """
    positions = (np.arange(fine) + 0.5) * coarse / fine - 0.5
    columns = [
        ndimage.map_coordinates(e, [positions], order=3, mode="nearest") for e in np.eye(coarse)
    ]
    return np.stack(columns, axis=1)


def full_size(maps: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Resize maps (b, t, u, v) to (b, d, h, w), each scaled to a largest magnitude of 1."""
    resized = resize_spline(maps, shape)
    return resized / resized.abs().amax(dim=(-3, -2, -1), keepdim=True).clamp_min(1e-20)


def resize_spline(maps: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Resize maps (b, t, u, v) to (b, d, h, w) by cubic splines (Sec. 4.2)."""
    _, t, u, v = maps.shape
    z, y, x = (
        torch.from_numpy(spline_matrix(coarse, fine)).to(maps)
        for coarse, fine in zip((t, u, v), shape, strict=True)
    )
    # One axis after another: einsum of all four at once multiplies the matrices with each other
    # first, (dt)(hu)(wv) numbers, which is 34 GB at 64^3.
    maps = torch.einsum("wv,btuv->btuw", x, maps)
    maps = torch.einsum("hu,btuw->bthw", y, maps)
    return torch.einsum("dt,bthw->bdhw", z, maps)
