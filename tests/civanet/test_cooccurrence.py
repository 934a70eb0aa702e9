"""Eqs. (3) and (4), the co-occurrence maximum and the rank normalisation."""

import numpy as np
import pytest
import torch
from scipy import stats

from civa.civanet.cooccurrence import cooccurrence_map, group_consensus, merge_maps, rank_normalize

GRID = (2, 3, 4)  # t, u, v
POSITIONS = 24


def features(n: int = 4, channels: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        n, channels, *GRID, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def test_consensus_by_hand() -> None:
    # Two images, two channels, one voxel: the means are (0, ln 3), their softmax (1/4, 3/4).
    group = torch.tensor([[1.0, 0.0], [-1.0, 2 * np.log(3)]]).reshape(2, 2, 1, 1, 1)
    assert group_consensus(group).ravel().tolist() == pytest.approx([0.25, 0.75])


def test_consensus_equals_equation_3_with_the_mean() -> None:
    group = features()
    consensus = group_consensus(group)
    assert consensus.shape == (5, POSITIONS)
    for position, voxel in enumerate(np.ndindex(GRID)):
        means = [np.mean([e[channel][voxel].item() for e in group]) for channel in range(5)]
        total = sum(np.exp(mean) for mean in means)
        for channel in range(5):
            expected = np.exp(means[channel]) / total
            assert consensus[channel, position].item() == pytest.approx(expected)


def test_consensus_columns_sum_to_one() -> None:
    columns = group_consensus(features()).sum(dim=0)
    torch.testing.assert_close(columns, torch.ones(POSITIONS, dtype=torch.float64))


def test_consensus_ignores_the_order_and_the_size_of_the_group() -> None:
    group = features()
    consensus = group_consensus(group)
    torch.testing.assert_close(group_consensus(group[[2, 0, 3, 1]]), consensus)
    torch.testing.assert_close(group_consensus(torch.cat([group, group])), consensus)


@pytest.mark.parametrize("pairs", [1, 3 * POSITIONS, 15 * POSITIONS + 1, 2**20])
def test_map_is_the_row_maximum_of_the_whole_matrix(pairs: int) -> None:
    images, consensus = features(3, seed=1), group_consensus(features())
    matches = cooccurrence_map(images, consensus, pairs=pairs)
    assert matches.shape == (3, *GRID)
    for e, found in zip(images, matches, strict=True):
        matrix = e.flatten(1).T @ consensus  # (p, p)
        torch.testing.assert_close(found.flatten(), matrix.max(dim=1).values)


def test_map_of_one_voxel_by_hand() -> None:
    # e = (1, 2) against the columns (1/4, 3/4) and (1, 0): 7/4 and 1, the maximum is 7/4.
    image = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1, 1)
    consensus = torch.tensor([[0.25, 1.0], [0.75, 0.0]])
    assert cooccurrence_map(image, consensus).item() == pytest.approx(1.75)


def test_map_turns_with_the_image() -> None:
    image, consensus = features(1, seed=2), group_consensus(features())
    turned = cooccurrence_map(image.rot90(1, (3, 4)), consensus)
    torch.testing.assert_close(turned, cooccurrence_map(image, consensus).rot90(1, (2, 3)))


def test_ranks_by_hand() -> None:
    # Ranks from below: 3 is third and last (3), 1 second (2); the two zeros share the lowest, 0.
    maps = torch.tensor([0.0, 3.0, 0.0, 1.0]).reshape(1, 1, 1, 4)
    assert rank_normalize(maps).ravel().tolist() == pytest.approx([0, 1, 0, 2 / 3])


def test_ranks_equal_scipy_s_lowest_ranks() -> None:
    values = torch.randint(0, 9, (2, *GRID), generator=torch.Generator().manual_seed(0)).float()
    for one, ranked in zip(values.numpy(), rank_normalize(values).numpy(), strict=True):
        lowest = stats.rankdata(one, method="min").reshape(GRID)
        np.testing.assert_allclose(ranked, (lowest - 1) / (POSITIONS - 1), rtol=1e-6)


def test_ranks_ignore_monotone_changes() -> None:
    maps = features()[0]
    torch.testing.assert_close(rank_normalize(maps.exp() * 3 - 1), rank_normalize(maps))


def test_the_plateau_of_a_rectified_map_stays_at_zero() -> None:
    maps = features()[0].relu()
    ranked = rank_normalize(maps)
    assert (maps == 0).any()
    assert not ranked[maps == 0].any()
    assert ranked.amax() == 1


def test_volumes_are_ranked_by_themselves() -> None:
    maps = features()[0]
    maps[1] += 100
    ranked = rank_normalize(maps)
    torch.testing.assert_close(ranked[:1], rank_normalize(maps[:1]))
    assert ranked[1].min() == 0


def test_a_view_is_ranked_like_its_copy_and_without_a_warning() -> None:
    view = features()[:, 0]
    assert not view.is_contiguous()
    torch.testing.assert_close(rank_normalize(view), rank_normalize(view.contiguous()))


def test_a_constant_map_has_rank_zero() -> None:
    assert not rank_normalize(torch.full((1, 2, 2, 2), 5.0)).any()
    assert not rank_normalize(torch.ones(1, 1, 1, 1)).any()


def test_merged_map_by_hand() -> None:
    # 0.25 * 0.4 + 0.75 * 0.8 = 0.7
    cam, matches = torch.full((1, 1, 1, 1), 0.4), torch.full((1, 1, 1, 1), 0.8)
    assert merge_maps(cam, matches, weight=0.25).item() == pytest.approx(0.7)


@pytest.mark.parametrize("weight", [0, 0.3, 1])
def test_merged_map_lies_between_both_maps(weight: float) -> None:
    cam, matches = (rank_normalize(features(2, seed=seed)[0]) for seed in (1, 2))
    merged = merge_maps(cam, matches, weight=weight)
    assert (merged <= torch.maximum(cam, matches) + 1e-6).all()
    assert (merged >= torch.minimum(cam, matches) - 1e-6).all()


def test_the_ends_of_the_weight_are_the_maps_themselves() -> None:
    cam, matches = features(2, seed=1)[0], features(2, seed=2)[0]
    torch.testing.assert_close(merge_maps(cam, matches, weight=1), cam)
    torch.testing.assert_close(merge_maps(cam, matches, weight=0), matches)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_weight_must_be_a_share(weight: float) -> None:
    maps = torch.zeros(1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"w1 must lie in \[0, 1\].*w2 is 1 - w1"):
        merge_maps(maps, maps, weight=weight)
