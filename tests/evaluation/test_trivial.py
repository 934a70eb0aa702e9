"""The trivial rules find what they can find."""

import numpy as np
import pytest
from scipy import ndimage

from civa.evaluation.trivial import GRIDS, brightest_blobs, candidates, lowpass, rule_map
from civa.evaluation.validation import top_fraction

EDGE = 32
CENTRE = (16, 16, 16)  # EDGE // 2


def blob(*centres: tuple[int, int, int], noise: float = 0.0) -> np.ndarray:
    """Return one volume (1, d, h, w) with bright blobs of sigma 2."""
    volume = np.zeros((EDGE,) * 3)
    for centre in centres:
        volume[centre] += 1
    volume = ndimage.gaussian_filter(volume, 2)
    volume /= volume.max()
    return (volume + noise * np.random.default_rng(0).normal(size=volume.shape))[None]


def peak(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(values[0].argmax(), values[0].shape))


def middle(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask[0]).mean(axis=0)


@pytest.mark.parametrize("rule", list(GRIDS))
def test_every_rule_finds_a_bright_blob_at_the_centre(rule: str) -> None:
    volume = blob(CENTRE, noise=0.3)
    for settings in candidates(rule):
        mask = top_fraction(rule_map(rule, volume, settings), 0.005)
        assert mask[0][CENTRE]
        assert np.abs(middle(mask) - CENTRE).max() < 2


@pytest.mark.parametrize("rule", ["lowpass", "blob"])
def test_rules_without_a_prior_find_a_blob_anywhere(rule: str) -> None:
    place = (12, 20, 14)
    settings = {"sigma": 1.5, "window": 3.0, "scale": 3.0}
    mask = top_fraction(rule_map(rule, blob(place, noise=0.3), settings), 0.005)
    assert np.abs(middle(mask) - place).max() < 1.5


def test_centre_rule_prefers_the_blob_at_the_centre() -> None:
    volume = blob(CENTRE) + 1.5 * blob((6, 6, 6))
    settings = {"sigma": 1.0, "window": 3.0, "scale": 3.0}
    assert peak(rule_map("centre", volume, settings)) == CENTRE
    assert peak(rule_map("blob", volume, settings)) == (6, 6, 6)
    assert peak(rule_map("lowpass", volume, settings)) == (6, 6, 6)


@pytest.mark.parametrize("edge", [15, 16])
def test_ball_is_centred_at_half_the_edge(edge: int) -> None:
    ball = rule_map("ball", np.zeros((2, edge, edge, edge)), {"radius": 3.0})
    expected = [
        float(sum((i - edge // 2) ** 2 for i in voxel) <= 9) for voxel in np.ndindex((edge,) * 3)
    ]
    assert ball.shape == (2, edge, edge, edge)
    np.testing.assert_array_equal(ball[0].ravel(), expected)
    np.testing.assert_array_equal(ball[1], ball[0])


def test_ball_is_cut_by_its_own_edge() -> None:
    ball = rule_map("ball", np.zeros((1, 32, 32, 32)), {"radius": 8.0})
    np.testing.assert_array_equal(top_fraction(ball, 0.5), ball > 0)


def test_lowpass_keeps_volumes_apart_and_the_mean() -> None:
    stack = np.concatenate([blob(CENTRE), np.zeros((1, EDGE, EDGE, EDGE))])
    smooth = lowpass(stack, 1.5)
    assert smooth.dtype == np.float32
    assert not smooth[1].any()
    np.testing.assert_allclose(smooth[0].sum(), stack[0].sum(), rtol=1e-3)
    assert smooth[0].max() < stack[0].max()


def test_brightest_blob_outshines_a_brighter_voxel() -> None:
    volume = blob((13, 18, 15))
    volume[0, 24, 9, 24] = 2
    (found,) = brightest_blobs(volume, scale=3.0, window=3.0)
    np.testing.assert_allclose(found, (13, 18, 15), atol=0.5)


def test_mean_shift_reaches_the_centre_of_a_lopsided_body() -> None:
    # Two touching cubes of 4 voxels, the first twice as bright: its middle is the start, the
    # middle of mass at x = (2 * 11.5 + 15.5) / 3 = 12.83 the end, for a window that holds both.
    volume = np.zeros((1, EDGE, EDGE, EDGE))
    volume[0, 14:18, 14:18, 10:14] = 2
    volume[0, 14:18, 14:18, 14:18] = 1
    (found,) = brightest_blobs(volume, scale=1.0, window=50.0)
    np.testing.assert_allclose(found, (15.5, 15.5, 12.83), atol=0.05)


@pytest.mark.parametrize("scale", GRIDS["blob"]["scale"])
@pytest.mark.parametrize("window", GRIDS["blob"]["window"])
def test_a_lone_blob_near_the_border_is_found_where_it_is(scale: float, window: float) -> None:
    # A mirror image beyond the border must not pull the blob onto it.
    (found,) = brightest_blobs(blob((4, 16, 16)), scale=scale, window=window)
    np.testing.assert_allclose(found, (4, 16, 16), atol=1)


def test_noise_does_not_draw_the_brightest_spot_to_the_border() -> None:
    # 1 - (24 / 32)^3 = 58 % of a box of 32 lie within 4 voxels of a face; so many spots in noise
    # at most should be found there.
    noise = np.random.default_rng(0).normal(size=(20, EDGE, EDGE, EDGE))
    found = brightest_blobs(lowpass(noise, 1.0), scale=4.0, window=3.0)
    near_a_face = (np.minimum(found, EDGE - 1 - found) < 4).any(axis=1)
    assert near_a_face.mean() < 0.8


def test_window_weakens_what_is_far_from_its_middle() -> None:
    # A Gaussian of sigma 3 at distance 6: exp(-2) of the low-passed value above its minimum.
    volume = blob(CENTRE) + blob((16, 16, 10))
    windowed = rule_map("centre", volume, {"sigma": 1.0, "window": 3.0})[0]
    smooth = lowpass(volume, 1.0)[0]
    above = smooth - smooth.min()
    assert windowed[16, 16, 10] == pytest.approx(np.exp(-2) * above[16, 16, 10], rel=1e-5)
    assert windowed[CENTRE] == pytest.approx(above[CENTRE], rel=1e-5)


@pytest.mark.parametrize(
    ("rule", "count"), [("ball", 6), ("lowpass", 3), ("centre", 9), ("blob", 27)]
)
def test_candidates_are_all_combinations(rule: str, count: int) -> None:
    found = candidates(rule)
    assert len(found) == count == len({tuple(settings.items()) for settings in found})
    assert all(set(settings) == set(GRIDS[rule]) for settings in found)


def test_rule_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"trivial rule must be one of \('ball', .*got 'cube'"):
        candidates("cube")
