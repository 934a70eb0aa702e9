"""Eqs. (5) to (8) and L_O against golden counts, hand-derived cases and slow loops."""

from itertools import combinations, product

import numpy as np
import pytest
import torch

from civa.civanet.affinity import (
    Offset,
    affinity_loss,
    background_pairs,
    boundary_pairs,
    pair_affinity,
    pair_offsets,
    pair_path,
    path_groups,
    path_maximum,
    sample_pairs,
)

Voxel = tuple[int, ...]
BOX = (4, 4, 4)


def count_in_box(offsets: list[Offset], edge: int) -> int:
    return sum(int(np.prod([edge - abs(step) for step in offset])) for offset in offsets)


def ends(anchor: Voxel, offset: Offset) -> tuple[Voxel, Voxel]:
    """Return both voxels of a pair; its anchor is the lower corner of their bounding box."""
    p = tuple(a + max(0, -step) for a, step in zip(anchor, offset, strict=True))
    return p, tuple(c + step for c, step in zip(p, offset, strict=True))


def pairs_by_definition(labels: np.ndarray, radius: float) -> tuple[set, set]:
    """Eqs. (5) to (7), over all pairs of voxels."""
    unlike, both_background = set(), set()
    for p, q in combinations(np.ndindex(labels.shape), 2):
        if sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) >= radius**2:
            continue
        if labels[p] != labels[q]:
            unlike.add(frozenset((p, q)))
        elif labels[p] == 0:
            both_background.add(frozenset((p, q)))
    return unlike, both_background


def path_by_definition(p: Voxel, q: Voxel) -> list[Voxel]:
    """Voxels of the bounding box less than 1 from the line, by projection onto it."""
    start, along = np.array(p), np.array(q) - np.array(p)
    found = []
    for voxel in product(*(range(min(a, b), max(a, b) + 1) for a, b in zip(p, q, strict=True))):
        offset = np.array(voxel) - start
        foot = (offset @ along) / (along @ along) * along
        if np.linalg.norm(offset - foot) < 1 - 1e-9:
            found.append(voxel)
    return found


def as_pairs(marked: np.ndarray, offsets: list[Offset]) -> set:
    return {
        frozenset(ends(tuple(int(i) for i in anchor), offset))
        for row, offset in zip(marked, offsets, strict=True)
        for anchor in np.argwhere(row)
    }


def class_map(seed: int, shape: tuple[int, ...] = BOX) -> np.ndarray:
    return np.random.default_rng(seed).choice(4, size=shape, p=(0.6, 0.2, 0.1, 0.1))


@pytest.mark.parametrize(
    ("radius", "offsets", "pairs"), [(2, 13, 398_908), (3, 46, 1_366_948), (5, 242, 6_642_268)]
)
def test_number_of_offsets_and_of_pairs_in_a_box_of_32(
    radius: int, offsets: int, pairs: int
) -> None:
    # Half of the grid points strictly inside the sphere: (27 - 1) / 2, (93 - 1) / 2, (485 - 1) / 2.
    found = pair_offsets(radius)
    assert len(found) == offsets
    assert count_in_box(found, 32) == pairs


def test_background_of_32_gives_every_pair_of_radius_2() -> None:
    empty = np.zeros((32, 32, 32), dtype=np.int8)
    unlike, both_background = sample_pairs(empty, pair_offsets(2))
    assert not unlike.any()
    assert np.count_nonzero(both_background) == 398_908


def test_radius_is_a_strict_bound() -> None:
    assert (0, 0, 2) not in pair_offsets(2)
    assert (0, 0, 2) in pair_offsets(2.01)
    # sqrt 2 excludes the face diagonals, sqrt 3 the body diagonals.
    assert len(pair_offsets(np.sqrt(2) - 1e-6)) == 3
    assert len(pair_offsets(np.sqrt(3) - 1e-6)) == 9


def test_each_direction_is_listed_once() -> None:
    offsets = pair_offsets(3)
    opposite = {tuple(-step for step in offset) for offset in offsets}
    assert not opposite & set(offsets)
    assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize("radius", [1, 0.5, 0, -2])
def test_radius_of_one_voxel_or_less_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match=r"radius must exceed 1 voxel .*the paper uses 2"):
        pair_offsets(radius)


def test_paths_of_radius_2_are_edges_squares_and_cubes() -> None:
    sizes: dict[int, list[int]] = {1: [], 2: [], 3: []}
    for offset in pair_offsets(2):
        sizes[np.count_nonzero(offset)].append(len(pair_path(offset)))
    assert sizes == {1: [2] * 3, 2: [4] * 6, 3: [8] * 4}


@pytest.mark.parametrize(
    ("offset", "path"),
    [
        ((0, 0, 2), {(0, 0, 0), (0, 0, 1), (0, 0, 2)}),
        # Off the diagonal of a 3 x 3 square, (0, 2) lies at 2 / sqrt 2 > 1, (0, 1) at 0.71.
        (
            (0, 2, 2),
            {(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 2, 1), (0, 2, 2)},
        ),
        # (0, 0, 2) is the farthest point of the 2 x 3 rectangle: 2 / sqrt 5 = 0.89.
        ((0, 1, 2), {(0, y, x) for y in (0, 1) for x in (0, 1, 2)}),
    ],
)
def test_longer_paths_by_hand(offset: Offset, path: set[Offset]) -> None:
    assert set(pair_path(offset)) == path


@pytest.mark.parametrize("offset", pair_offsets(4))
def test_both_ends_lie_on_the_path_whichever_comes_first(offset: Offset) -> None:
    path = set(pair_path(offset))
    assert set(ends((0, 0, 0), offset)) <= path
    assert set(pair_path(tuple(-step for step in offset))) == path
    assert path == set(path_by_definition(*ends((0, 0, 0), offset)))


@pytest.mark.parametrize("radius", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_pairs_are_those_of_equations_6_and_7(radius: int, seed: int) -> None:
    labels = class_map(seed)
    offsets = pair_offsets(radius)
    unlike, both_background = (as_pairs(side, offsets) for side in sample_pairs(labels, offsets))
    assert (unlike, both_background) == pairs_by_definition(labels, radius)


def test_pairs_of_three_voxels_by_hand() -> None:
    # Classes 0 0 2 3 in a row: the pairs are 0-0, 0-2 and 2-3.  No set takes two equal classes.
    labels = np.array([0, 0, 2, 3])[None, None]
    assert boundary_pairs(labels, (0, 0, 1)).ravel().tolist() == [False, True, True]
    assert background_pairs(labels, (0, 0, 1)).ravel().tolist() == [True, False, False]
    alike = np.array([2, 2])[None, None]
    assert not boundary_pairs(alike, (0, 0, 1)).any()
    assert not background_pairs(alike, (0, 0, 1)).any()


def test_anchors_without_room_for_the_pair_stay_false() -> None:
    labels = np.zeros(BOX, dtype=int)
    labels[-1] = 1
    unlike, _ = sample_pairs(labels, [(1, 0, 0)])
    assert unlike[0, 2].all()
    assert np.count_nonzero(unlike) == 16


def test_radius_2_has_seven_paths() -> None:
    offsets = pair_offsets(2)
    groups = path_groups(offsets, BOX)
    assert sorted((len(g.path), len(g.offsets)) for g in groups) == [
        *[(2, 1)] * 3,
        *[(4, 2)] * 3,
        (8, 4),
    ]
    assert sorted(position for g in groups for position in g.offsets) == list(range(13))
    for group in groups:
        for position in group.offsets:
            fits = tuple(
                edge - abs(step) for edge, step in zip(BOX, offsets[position], strict=True)
            )
            assert group.extent == fits


@pytest.mark.parametrize("radius", [2, 2.5])
def test_affinity_is_one_minus_the_maximum_on_the_path(radius: float) -> None:
    shape = (3, 4, 5)
    o = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    offsets = pair_offsets(radius)
    for group in path_groups(offsets, shape):
        affinity = pair_affinity(o, group)
        assert affinity.shape == (2, *group.extent)
        assert affinity.min() >= 0 and affinity.max() <= 1
        for position, anchor in product(group.offsets, np.ndindex(group.extent)):
            path = path_by_definition(*ends(anchor, offsets[position]))
            for volume in (0, 1):
                expected = 1 - max(o[volume][voxel].item() for voxel in path)
                assert affinity[volume][anchor].item() == pytest.approx(expected)


def test_affinity_does_not_depend_on_the_order_of_the_pair() -> None:
    o = torch.rand(1, *BOX, generator=torch.Generator().manual_seed(1))
    for offset in pair_offsets(2.5):
        reverse = tuple(-step for step in offset)
        (forth,), (back,) = path_groups([offset], BOX), path_groups([reverse], BOX)
        torch.testing.assert_close(pair_affinity(o, forth), pair_affinity(o, back))


def test_affinity_turns_with_the_volume() -> None:
    o = torch.rand(1, *BOX, generator=torch.Generator().manual_seed(2))
    turned = o.rot90(1, (2, 3))  # a turn about z swaps the axes y and x
    square = {(0, y, x) for y in (0, 1) for x in (0, 1)}
    for group in path_groups(pair_offsets(2), BOX):
        if set(group.path) in (square, set(product((0, 1), repeat=3))):
            expected = pair_affinity(o, group).rot90(1, (2, 3))
            torch.testing.assert_close(pair_affinity(turned, group), expected)


def test_maximum_of_the_logit_is_the_logit_of_the_maximum() -> None:
    logits = torch.randn(1, *BOX, generator=torch.Generator().manual_seed(3))
    for group in path_groups(pair_offsets(2), BOX):
        maximum = path_maximum(logits, group).sigmoid()
        torch.testing.assert_close(1 - pair_affinity(logits.sigmoid(), group), maximum)


def sampled(labels: np.ndarray, offsets: list[Offset]) -> tuple[torch.Tensor, torch.Tensor]:
    sides = [sample_pairs(volume, offsets) for volume in labels]
    unlike, both_background = (np.stack([pair[side] for pair in sides]) for side in (0, 1))
    return torch.from_numpy(unlike), torch.from_numpy(both_background)


def loss_by_definition(o: np.ndarray, labels: np.ndarray, radius: float) -> float:
    """L_O of one volume, a sum over all pairs."""
    halves = []
    unlike, both_background = pairs_by_definition(labels, radius)
    for pairs, positive in ((unlike, False), (both_background, True)):
        terms = []
        for p, q in (tuple(pair) for pair in pairs):
            a = 1 - max(o[voxel] for voxel in path_by_definition(p, q))
            terms.append(np.log(a if positive else 1 - a))
        halves.append(-sum(terms) / (2 * len(terms)) if terms else 0.0)
    return sum(halves)


@pytest.mark.parametrize("radius", [2, 2.5])
def test_loss_equals_its_definition(radius: float) -> None:
    labels = np.stack([class_map(0), class_map(1)])
    logits = torch.randn(2, *BOX, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    offsets = pair_offsets(radius)
    loss = affinity_loss(logits, *sampled(labels, offsets), path_groups(offsets, BOX))
    o = logits.sigmoid().numpy()
    expected = [loss_by_definition(o[i], labels[i], radius) for i in (0, 1)]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # O = 1/2 and 3/4 (logits 0 and ln 3): the path's maximum is 3/4, so a = 1/4.
        ([0, 1], -np.log(3 / 4) / 2),  # S^- holds the pair: -log(1 - a) / 2
        ([0, 0], -np.log(1 / 4) / 2),  # S^+_bg holds it: -log(a) / 2
        ([1, 1], 0.0),  # neither does
    ],
)
def test_loss_of_one_pair_by_hand(labels: list[int], expected: float) -> None:
    shape, offsets = (1, 1, 2), [(0, 0, 1)]
    logits = torch.tensor([0, np.log(3)]).reshape(1, *shape)
    pairs = sampled(np.array(labels).reshape(1, *shape), offsets)
    loss = affinity_loss(logits, *pairs, path_groups(offsets, shape))
    assert loss.item() == pytest.approx(expected, abs=1e-7)


def test_both_sets_have_half_the_weight_whatever_their_sizes() -> None:
    # O = 1/2 everywhere: every pair costs log 2, so each mean is log 2 and the halves add up.
    labels = np.zeros((1, *BOX), dtype=int)
    labels[0, 1, 1, 1] = 1
    offsets = pair_offsets(2)
    unlike, both_background = sampled(labels, offsets)
    assert unlike.sum() < both_background.sum() / 4
    loss = affinity_loss(torch.zeros(1, *BOX), unlike, both_background, path_groups(offsets, BOX))
    assert loss.item() == pytest.approx(np.log(2))


def test_empty_sets_add_nothing_and_no_gradient() -> None:
    offsets = pair_offsets(2)
    pairs = sampled(np.ones((1, *BOX), dtype=int), offsets)
    logits = torch.zeros(1, *BOX, requires_grad=True)
    loss = affinity_loss(logits, *pairs, path_groups(offsets, BOX))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("size", [100.0, -100.0])
def test_loss_and_gradient_stay_finite_where_o_saturates(size: float) -> None:
    offsets = pair_offsets(2)
    pairs = sampled(class_map(0)[None], offsets)
    logits = torch.full((1, *BOX), size, requires_grad=True)
    loss = affinity_loss(logits, *pairs, path_groups(offsets, BOX))
    loss.backward()
    # One set is right and costs nothing; each pair of the other costs 100, and counts half.
    assert loss.item() == pytest.approx(50)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


def test_gradient_of_the_loss() -> None:
    shape = (3, 3, 3)
    offsets = pair_offsets(2)
    pairs = sampled(np.stack([class_map(0, shape), class_map(1, shape)]), offsets)
    groups = path_groups(offsets, shape)
    logits = torch.randn(
        2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: affinity_loss(x, *pairs, groups), logits)
