"""Inter-voxel affinity: pairs, their paths, and the loss on them (Sec. 4.4, Eqs. 5-8, L_O).

A pair is stored at its anchor, the corner of the pair's bounding box nearest to the origin;
the path between the two voxels is then a fixed set of offsets from the anchor.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from civa.data.particles import BACKGROUND

Offset = tuple[int, int, int]


def pair_offsets(radius: float) -> list[Offset]:
    """List the displacements q - p of all pairs within a radius, each direction once.

    Eq. (5), Sec. 4.4.  The inequality is strict: radius 2 gives the 26-neighbourhood, 13
    unordered offsets.

    Parameters
    ----------
    radius
        gamma in voxels; the paper uses 2.

    Returns
    -------
    Offsets (z, y, x), the first non-zero component positive.

    Raises
    ------
    ValueError
        If no pair qualifies.
    """
    if radius <= 1:
        raise ValueError(
            f'radius must exceed 1 voxel (got {radius}): with the strict "<" of Eq. (5) no pair '
            "would qualify; the paper uses 2"
        )
    reach = range(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    return [
        (z, y, x)
        for z, y, x in product(reach, repeat=3)
        if (z, y, x) > (0, 0, 0) and z**2 + y**2 + x**2 < radius**2
    ]


def pair_path(offset: Offset) -> tuple[Offset, ...]:
    """List the voxels on the path Pi_pq of a pair, as offsets from its anchor.

    # ASSUME: the grid points of the pair's bounding box whose distance to the line through
    both voxels is below 1, the end points included.
    """
    anchor = np.minimum(0, offset)
    direction = np.array(offset) / np.linalg.norm(offset)
    points = [np.array(point) for point in product(*(range(abs(step) + 1) for step in offset))]
    near = [p for p in points if np.linalg.norm(np.cross(p + anchor, direction)) < 1 - 1e-9]
    return tuple((int(z), int(y), int(x)) for z, y, x in near)


def _extent(offset: Offset, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the anchors from which a pair fits into a volume."""
    return tuple(edge - abs(step) for edge, step in zip(shape, offset, strict=True))


def _ends(volume: NDArray, offset: Offset) -> tuple[NDArray, NDArray]:
    """Return views of both ends of all pairs of one offset, indexed by anchor."""
    extent = _extent(offset, volume.shape)
    starts = [max(0, -step) for step in offset], [max(0, step) for step in offset]
    p, q = (tuple(slice(a, a + n) for a, n in zip(s, extent, strict=True)) for s in starts)
    return volume[p], volume[q]


def boundary_pairs(labels: NDArray, offset: Offset) -> NDArray[np.bool_]:
    """Mark the pairs whose voxels have different classes: S^-.

    Eq. (6), Sec. 4.4.

    Parameters
    ----------
    labels
        (d, h, w) pseudo class-map M-hat.
    offset
        Displacement q - p.

    Returns
    -------
    Booleans, indexed by the anchor of every pair that fits into the volume.
    """
    p, q = _ends(labels, offset)
    return p != q


def background_pairs(labels: NDArray, offset: Offset) -> NDArray[np.bool_]:
    """Mark the pairs whose voxels are both background: S^+_bg.

    Eq. (7), Sec. 4.4.

    Parameters
    ----------
    labels
        (d, h, w) pseudo class-map M-hat.
    offset
        Displacement q - p.

    Returns
    -------
    Booleans, indexed by the anchor of every pair that fits into the volume.
    """
    p, q = _ends(labels, offset)
    return (p == BACKGROUND) & (q == BACKGROUND)


@dataclass(frozen=True)
class PathGroup:
    """All offsets that share one path, and hence one maximum in Eq. (8).

    The two diagonals of a square, for example, run over the same four voxels.
    """

    path: tuple[Offset, ...]
    offsets: tuple[int, ...]  # positions in the list of offsets
    extent: tuple[int, ...]  # shape of the anchors


def path_groups(offsets: list[Offset], shape: tuple[int, ...]) -> list[PathGroup]:
    """Group offsets by their path in volumes of ``shape``."""
    members: dict[tuple[Offset, ...], list[int]] = {}
    for position, offset in enumerate(offsets):
        members.setdefault(pair_path(offset), []).append(position)
    return [
        PathGroup(path, tuple(positions), _extent(offsets[positions[0]], shape))
        for path, positions in members.items()
    ]


def sample_pairs(
    labels: NDArray, offsets: list[Offset]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Sample the affinity pairs of one pseudo class-map.

    Parameters
    ----------
    labels
        (d, h, w) pseudo class-map M-hat.
    offsets
        Displacements, from `pair_offsets`.

    Returns
    -------
    S^- and S^+_bg, both (offsets, d, h, w) booleans, indexed by anchor; anchors from which a
    pair does not fit into the volume hold False.
    """
    boundary, background = np.zeros((2, len(offsets), *labels.shape), dtype=bool)
    for row, offset in enumerate(offsets):
        fits = tuple(slice(0, edge) for edge in _extent(offset, labels.shape))
        boundary[row][fits] = boundary_pairs(labels, offset)
        background[row][fits] = background_pairs(labels, offset)
    return boundary, background


def path_maximum(segmentation: Tensor, group: PathGroup) -> Tensor:
    """Maximum of O, or of its logit, along a path, for all anchors (b, d', h', w')."""
    views = [
        segmentation[
            (slice(None), *(slice(o, o + n) for o, n in zip(voxel, group.extent, strict=True)))
        ]
        for voxel in group.path
    ]
    best = views[0]
    for view in views[1:]:
        best = torch.maximum(best, view)
    return best


def pair_affinity(segmentation: Tensor, group: PathGroup) -> Tensor:
    """Semantic affinity of the pairs of one path: a_pq = 1 - max over the path of O.

    Eq. (8), Sec. 4.4.

    Parameters
    ----------
    segmentation
        (b, d, h, w) O in [0, 1].
    group
        Path and the offsets that share it.

    Returns
    -------
    (b, d', h', w') affinity in [0, 1], indexed by anchor.
    """
    return 1 - path_maximum(segmentation, group)


def affinity_loss(
    logits: Tensor, boundary: Tensor, background: Tensor, groups: list[PathGroup]
) -> Tensor:
    """Cross-entropy of the affinities: L_O, half the weight on each set of pairs.

    L_O (unnumbered, after Eq. 8), Sec. 4.4.  Written with the logit of O: the sigmoid is
    monotone, so it commutes with the maximum, and log a and log(1 - a) stay finite.

    Parameters
    ----------
    logits
        (b, d, h, w) logit of O.
    boundary, background
        (b, offsets, d, h, w) booleans: S^- and S^+_bg, from `sample_pairs`.
    groups
        The paths of the offsets, from `path_groups`.

    Returns
    -------
    Scalar: the mean over volumes.  An empty set contributes 0.
    """
    negative, positive = logits.new_zeros(2, len(logits))
    for group in groups:
        best = path_maximum(logits, group)  # logit of 1 - a
        unlike, both_background = (_count(pairs, group) for pairs in (boundary, background))
        negative = negative - (functional.logsigmoid(best) * unlike).flatten(1).sum(1)
        positive = positive - (functional.logsigmoid(-best) * both_background).flatten(1).sum(1)
    sizes = [pairs.flatten(1).sum(1).clamp_min(1) for pairs in (boundary, background)]
    return (negative / (2 * sizes[0]) + positive / (2 * sizes[1])).mean()


def _count(pairs: Tensor, group: PathGroup) -> Tensor:
    """Count the sampled pairs that share a path, by anchor: (b, d', h', w')."""
    depth, height, width = group.extent
    return pairs[:, list(group.offsets), :depth, :height, :width].sum(dim=1)
