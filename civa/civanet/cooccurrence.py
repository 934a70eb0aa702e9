"""Cross-image co-occurrence and the merged localization map (Sec. 4.3, Eqs. 3 and 4)."""

import torch
from torch import Tensor

# Of the co-occurrence matrix, elements and consensus positions that are held at a time: 512 MB,
# which 8 images of 32^3 fill with 512 positions.
MOST_PAIRS, MOST_POSITIONS = 2**27, 512


def group_consensus(features: Tensor) -> Tensor:
    """Consensus embedding of an image group of one class: e-hat.

    Eq. (3), Sec. 4.3.  The softmax runs over channels.  # ASSUME: the group's mean, not its
    sum, so that the temperature of the softmax does not grow with the group.

    Parameters
    ----------
    features
        (g, c, t, u, v) e_n = F(I_n).

    Returns
    -------
    (c, p) consensus, p = t u v; every column sums to 1.
    """
    return features.mean(dim=0).flatten(1).softmax(dim=0)


def cooccurrence_map(features: Tensor, consensus: Tensor, *, pairs: int = MOST_PAIRS) -> Tensor:
    """Match every voxel of an image with the consensus: P^c on the feature grid (Sec. 4.3).

    The (p, p) co-occurrence matrix e^T e-hat is never held whole: its maximum over consensus
    positions is taken chunk by chunk.

    Parameters
    ----------
    features
        (b, c, t, u, v) e of the images.
    consensus
        (c, p) e-hat of their class.
    pairs
        Elements of the matrix that are held at a time, at most; of 512 consensus positions at most.

    Returns
    -------
    (b, t, u, v) P^c.
    """
    b, _, t, u, v = features.shape
    voxels = features.flatten(2).transpose(1, 2)  # (b, p, c)
    best = voxels.new_full((b, t * u * v), -torch.inf)
    chunk = min(MOST_POSITIONS, max(1, pairs // best.numel()))
    for part in consensus.split(chunk, dim=1):
        best = torch.maximum(best, (voxels @ part).amax(dim=-1))
    return best.reshape(b, t, u, v)


def rank_normalize(maps: Tensor) -> Tensor:
    """Replace every voxel by its rank within its own volume, scaled to [0, 1] (ref. [49]).

    Ties take the lowest rank: the zero plateau that the ReLU leaves stays at 0.

    Parameters
    ----------
    maps
        (b, d, h, w).

    Returns
    -------
    (b, d, h, w) in [0, 1].
    """
    values = maps.flatten(1).contiguous()
    ordered = values.sort(dim=1).values
    ranks = torch.searchsorted(ordered, values)  # the first position: the lowest rank
    return (ranks.to(torch.float32) / max(values.shape[1] - 1, 1)).reshape(maps.shape)


def merge_maps(localization: Tensor, cooccurrence: Tensor, *, weight: float) -> Tensor:
    """Merge the ranked maps: M^c = w1 G^c + w2 P^c.

    Eq. (4), Sec. 4.3.  # ASSUME: w1 + w2 = 1; a common factor would not change the result.

    Parameters
    ----------
    localization, cooccurrence
        (b, d, h, w) rank-normalised G^c and P^c.
    weight
        w1, in [0, 1].

    Returns
    -------
    (b, d, h, w) M^c in [0, 1].

    Raises
    ------
    ValueError
        If the weight is not in [0, 1].
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"w1 must lie in [0, 1] (got {weight}): w2 is 1 - w1")
    return weight * localization + (1 - weight) * cooccurrence
