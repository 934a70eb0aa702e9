"""Proposals are 26-connected, and the CAM chooses among them (Sec. 4.6)."""

import numpy as np
import pytest

from civa.civanet.proposals import choose_proposal, proposals, segment

SHAPE = (6, 7, 8)


def boxes(*corners: tuple[int, int, int], edge: int = 2) -> np.ndarray:
    volume = np.zeros(SHAPE, dtype=np.float32)
    for z, y, x in corners:
        volume[z : z + edge, y : y + edge, x : x + edge] = 0.9
    return volume


@pytest.mark.parametrize(
    ("other", "count"),
    [
        ((2, 2, 3), 1),  # shares a face
        ((2, 3, 3), 1),  # an edge
        ((3, 3, 3), 1),  # a corner
        ((2, 2, 4), 2),  # one voxel between
    ],
)
def test_voxels_that_touch_at_all_belong_together(other: tuple[int, int, int], count: int) -> None:
    o = np.zeros(SHAPE)
    o[2, 2, 2] = o[other] = 1
    components, found = proposals(o, 0.5)
    assert found == count
    assert (components[2, 2, 2] == components[other]) == (count == 1)


def test_threshold_itself_is_background() -> None:
    components, count = proposals(np.full(SHAPE, 0.5), 0.5)
    assert count == 0
    assert not components.any()


def test_choice_is_the_highest_iou_with_the_cam() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        o = generator.random(SHAPE)
        cam = generator.random(SHAPE) < 0.2
        components, count = proposals(o, 0.9)
        assert count > 1
        overlaps = []
        for number in range(1, count + 1):
            proposal = components == number
            overlaps.append((proposal & cam).sum() / (proposal | cam).sum())
        best = int(np.argmax(overlaps)) + 1
        np.testing.assert_array_equal(choose_proposal(components, count, cam), components == best)


def test_choice_by_hand() -> None:
    # The CAM covers 2 of the 8 voxels of the small box: IoU 2 / 8, and 3 of the 27 of the large
    # one besides: the CAM has 5 voxels, so the IoUs are 2 / (8 + 5 - 2) and 3 / (27 + 5 - 3).
    small, large = boxes((0, 0, 0)), boxes((3, 3, 3), edge=3)
    cam = np.zeros(SHAPE, dtype=bool)
    cam[0, 0, :2] = True
    cam[3, 3, 3:6] = True
    chosen = choose_proposal(*proposals(small + large, 0.5), cam)
    np.testing.assert_array_equal(chosen, small > 0)
    assert 2 / 11 > 3 / 29


@pytest.mark.parametrize("cam_is_empty", [True, False])
def test_largest_proposal_where_none_meets_the_cam(cam_is_empty: bool) -> None:
    small, large = boxes((0, 0, 0)), boxes((3, 3, 3), edge=3)
    cam = np.zeros(SHAPE, dtype=bool)
    cam[0, 6, 7] = not cam_is_empty
    chosen = choose_proposal(*proposals(small + large, 0.5), cam)
    np.testing.assert_array_equal(chosen, large > 0)


def test_nothing_above_the_threshold_gives_an_empty_mask() -> None:
    cam = np.ones((1, *SHAPE), dtype=bool)
    found = segment(np.full((1, *SHAPE), 0.1), cam, 0.5)
    assert found.shape == cam.shape
    assert not found.any()


def test_volumes_are_segmented_by_themselves() -> None:
    o = np.stack([boxes((0, 0, 0), (3, 3, 3)), np.zeros(SHAPE), boxes((0, 0, 0), (3, 3, 3))])
    cams = np.stack([boxes((0, 0, 0)), boxes((0, 0, 0)), boxes((3, 3, 3))]) > 0
    found = segment(o, cams, 0.5)
    np.testing.assert_array_equal(found[[0, 2]], cams[[0, 2]])
    assert not found[1].any()


def test_a_stack_of_no_volumes_stays_one() -> None:
    found = segment(np.zeros((0, *SHAPE)), np.zeros((0, *SHAPE), dtype=bool), 0.5)
    assert found.shape == (0, *SHAPE)
    assert found.dtype == bool


def test_every_volume_needs_its_cam() -> None:
    with pytest.raises(ValueError, match="shorter"):
        segment(np.zeros((2, *SHAPE)), np.zeros((1, *SHAPE), dtype=bool), 0.5)
