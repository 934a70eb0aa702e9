import numpy as np
import pytest

from civa.consensus.centres import above_mean, blob_centres, mean_shift, seed_centres


def blob(centre: tuple[float, float, float], *, edge: int = 24, sigma: float = 2.0) -> np.ndarray:
    axes = np.indices((edge,) * 3, sparse=True)
    squared = sum((axis - c) ** 2.0 for axis, c in zip(axes, centre, strict=True))
    return np.exp(-0.5 * squared / sigma**2)


def test_mean_shift_climbs_to_a_blob_within_its_reach():
    density = blob((9.3, 14.0, 11.6))[None]
    (found,) = mean_shift(density, np.array([[11.0, 12.0, 12.0]]), window=3.0)
    assert found == pytest.approx([9.3, 14.0, 11.6], abs=0.15)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_mean_shift_stays_where_there_is_no_density_and_says_so(value, caplog):
    # the first volume has its blob in reach; nothing draws the second one away from its start
    density = np.stack([blob((9.3, 14.0, 11.6)), np.full((24, 24, 24), value)])
    starts = np.array([[11.0, 12.0, 12.0], [4.0, 5.0, 6.5]])
    with caplog.at_level("WARNING", logger="civa"):
        found = mean_shift(density, starts, window=2.0)
    assert found[0] == pytest.approx([9.3, 14.0, 11.6], abs=0.15)
    assert found[1].tolist() == [4.0, 5.0, 6.5]
    assert "1 of 2 volumes have no density within 2 voxels" in caplog.text


def test_mean_shift_stays_where_density_is_out_of_reach():
    # a single voxel 20 windows away: its weight, exp(-200), is 1e-87
    density = np.zeros((1, 24, 24, 24))
    density[0, 2, 12, 12] = 1.0
    assert mean_shift(density, np.array([[22.0, 12.0, 12.0]]), window=1.0).tolist() == [
        [22.0, 12.0, 12.0]
    ]


def test_above_mean_is_never_negative_and_0_below_the_mean():
    values = np.arange(8.0).reshape(1, 2, 2, 2)
    assert above_mean(values).ravel().tolist() == [0, 0, 0, 0, 0.5, 1.5, 2.5, 3.5]


def test_the_map_decides_between_two_equal_blobs():
    first, second = (6.0, 7.0, 6.0), (17.0, 16.0, 18.0)
    smooth = (blob(first) + blob(second))[None]
    for target in (first, second):
        cam = blob(target, sigma=4.0)[None].astype(np.float16)
        (found,) = seed_centres(smooth, cam)
        assert found == pytest.approx(target, abs=0.3)


def test_an_empty_map_starts_in_the_middle():
    smooth = blob((13.0, 12.0, 11.0))[None]
    (found,) = seed_centres(smooth, np.zeros_like(smooth, dtype=np.float16))
    assert found == pytest.approx([13.0, 12.0, 11.0], abs=0.3)


def test_blobs_come_brightest_first_and_repeat_where_there_are_fewer():
    smooth = (blob((6.0, 7.0, 6.0)) + 0.7 * blob((17.0, 16.0, 18.0)))[None]
    (found,) = blob_centres(smooth, 3)
    assert found[0] == pytest.approx([6, 7, 6], abs=0.3)
    assert found[1] == pytest.approx([17, 16, 18], abs=0.3)
    assert np.isfinite(found).all()
    (single,) = blob_centres(blob((12.0, 12.0, 12.0))[None], 2)
    assert single[1] == pytest.approx(single[0], abs=0.5)
