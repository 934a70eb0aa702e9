"""Averages from scratch: what speaks against them, and what does not."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, OPTICS, SETUP, VOXEL, WINDOW, alike, average, disagreeing, shape
from torch import Tensor

from civa.consensus import averaging
from civa.consensus.alignment import MIDDLE_ANGSTROM
from civa.consensus.averaging import (
    COARSE_ANGSTROM,
    COARSE_VOXELS,
    MIDDLE_VOXELS,
    Plan,
    of_whole,
    turns_deg,
)
from civa.consensus.classification import average_class
from civa.consensus.diagnostics import doubts
from civa.consensus.fourier import window_for
from civa.consensus.heterogeneity import Split
from civa.consensus.poses import rotation_grid, to_matrices
from civa.consensus.reconstruction import (
    boosted,
    last_resolved_shell,
    recentred,
    reconstruct,
    shape_share,
)
from civa.consensus.subtomograms import Optics, Setup, Subtomograms


def test_nothing_speaks_against_a_good_average() -> None:
    assert doubts(average(), OPTICS, WINDOW, of=50) == []
    assert doubts(average(agreement=float("nan")), OPTICS, WINDOW, of=50) == []  # a single start


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": np.arange(9)}, r"9 volumes are too few to average \(expected 10 or more\)"),
        ({"agreement": 0.6}, r"different starts correlate at 0.60 \(expected 0.8 or more\)"),
        (
            {"halves": disagreeing()},
            r"correlate at -?0.0\d at 60 to 53 Å, beyond the 69 Å that they share \(expected 0.3",
        ),
        (
            {"shared_shell": 11},
            r"24 voxels hold no shell beyond the 44 Å .*: nothing shows whether they agree",
        ),
        (
            {"apart": Split(0.8, 0.99, np.arange(60) < 10)},
            r"50 of the class's 60 volumes .* correlate at 0.80 .* at 0.99 .*: look at the av",
        ),
    ],
)
def test_each_doubt_names_its_figure_and_the_remedy(changes: dict[str, object], said: str) -> None:
    (found,) = doubts(average(**changes), OPTICS, WINDOW, of=60)
    assert re.search(said, found)
    assert re.search(r"[;:] ", found)  # what to do


def test_a_ball_is_featureless_and_a_shape_is_not() -> None:
    along = np.arange(EDGE) - EDGE // 2
    radius = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + along**2)
    ball = np.exp(-0.5 * (radius / 3) ** 2).astype(np.float32)
    assert shape_share(ball, WINDOW) < 0.05 < shape_share(shape(), WINDOW)
    (found,) = doubts(average(density=ball), OPTICS, WINDOW, of=50)
    assert "featureless ball" in found


def test_the_last_resolved_shell_is_the_one_before_the_correlation_first_falls() -> None:
    fsc = np.array([1, 1, 0.9, 0.6, 0.2, 0.1, 0.3])
    assert last_resolved_shell(fsc, first=1, level=0.143) == 4  # 0.2, and 0.1 after it
    assert last_resolved_shell(fsc, first=1, level=0.5) == 3
    assert last_resolved_shell(fsc, first=4, level=0.2) == 4  # at the level is not below it
    assert last_resolved_shell(fsc, first=5, level=0.143) == 4  # not even the first
    assert last_resolved_shell(np.ones(7), first=1, level=0.143) == 6


@pytest.mark.parametrize(
    ("own", "shell", "is_measured"),
    [
        ([0.9, 0.5, 0.15, 0.14, 0.9], 10, True),  # shell 11 is the first below 0.143
        ([0.9, 0.9, 0.9, 0.9, 0.9], 11, True),  # 12 is Nyquist, where no coefficient was measured
        ([0.5, 0.1, 0.9, 0.9, 0.9], 8, True),
        ([0.1, 0.5, 0.9, 0.9, 0.9], 7, False),  # not even the first
    ],
)
def test_resolution_is_that_of_the_last_shell_that_agrees_or_not_better_than_the_shared_ones(
    own: list[float], shell: int, is_measured: bool
) -> None:
    found = average(fsc=np.array([*[0.05] * 8, *own]))  # shells 0 to 7 are shared: nobody looks
    assert found.resolution(OPTICS) == (EDGE * VOXEL / shell, is_measured)
    noise = replace(found, halves=disagreeing())
    assert noise.resolution(OPTICS) == (EDGE * VOXEL / 7, False)


def test_half_sets_are_judged_beyond_what_they_share_as_far_as_the_window_spreads_it() -> None:
    along = 2 * np.pi * np.arange(EDGE) / EDGE * np.ones((EDGE, EDGE, 1))
    waves = [np.cos(shell * along) for shell in range(13)]
    rest = 5 * waves[7] - 4 * waves[10]
    halves = np.stack([3 * waves[8] + waves[9] + 9 * waves[7], 3 * waves[8] - waves[9] + rest])
    one = average(halves=halves, shared_shell=7, spread=1)
    assert one.judged_shells.tolist() == [8, 9]
    assert one.half_set_correlation == pytest.approx((9 - 1) / (9 + 1))  # 7 and 10 do not count
    assert average(shared_shell=7, spread=2).judged_shells.tolist() == [8, 9, 10, 11]
    assert average(shared_shell=10, spread=3).judged_shells.tolist() == [11]  # 12 is Nyquist
    none = average(shared_shell=11)
    assert np.isnan(none.half_set_correlation)
    assert none.resolution(OPTICS) == (EDGE * VOXEL / 11, False)


@pytest.mark.parametrize(
    ("edge", "radius", "spread"),
    [(32, 11, 1), (32, 5, 3), (32, 16, 1), (64, 11, 3), (24, None, 1)],
)
def test_a_small_window_spreads_a_coefficient_over_several_shells(
    edge: int, radius: float | None, spread: int
) -> None:
    # the transform of a ball of diameter d falls to nothing at about 1 / d: edge / d shells
    assert Setup(OPTICS, window_for(edge, radius), CPU).spread == spread


@pytest.mark.parametrize(
    ("voxel", "edge", "coarse", "middle"),
    [
        (10.0, 32, 6, 8),  # 53 and 40 Å
        (13.7, 32, 8, 11),  # 4 voxels are 55 Å, 3 are 41 Å: in the shells of 53 and 40 Å
        (20.0, 24, 6, 8),  # 80 and 60 Å: 53 and 40 Å would be shells 9 and 12 of 12
        (5.0, 64, 6, 8),
    ],
)
def test_shells_are_left_beyond_the_coarse_scale_however_large_voxels_are(
    voxel: float, edge: int, coarse: int, middle: int
) -> None:
    optics = Optics(voxel)
    assert optics.shell(COARSE_ANGSTROM, edge, least_voxels=COARSE_VOXELS) == coarse
    assert optics.shell(MIDDLE_ANGSTROM, edge, least_voxels=MIDDLE_VOXELS) == middle


def test_the_average_of_all_is_weighted_by_what_half_sets_say_of_it() -> None:
    # signal of power s over noise of power 1 in a half: f = s / (1 + s); in the average of both the
    # noise is 1 / 2, so that 2 s / (1 + 2 s) of its power is signal: 2 f / (1 + f)
    signal = np.array([0.25, 1.0, 4.0])
    halves = signal / (1 + signal)
    assert of_whole(halves) == pytest.approx(2 * signal / (1 + 2 * signal))
    assert of_whole(np.array([-0.99, -0.2, 0.0, 1.0])) == pytest.approx([0, 0, 0, 1])


def test_the_average_of_all_is_filtered_by_that_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []

    def seen(total: Tensor, edge: int, reliability: Tensor | None = None) -> Tensor:
        weights.append(reliability)
        return reconstruct(total, edge, reliability)

    monkeypatch.setattr(averaging, "reconstruct", seen)
    boxes = np.random.default_rng(5).standard_normal((6, EDGE, EDGE, EDGE)).astype(np.float32)
    members = Subtomograms(shape() + 0.3 * boxes, np.arange(6), np.full((6, 3), EDGE / 2), alike(6))
    quick = Plan(starts=1, coarse_rotations=60, fine_rotations=60, iterations=2, refinements=1)
    made, _ = averaging.average_structure(
        members, SETUP, plan=quick, generator=np.random.default_rng(1)
    )
    halves = np.clip(made.fsc, 0, 1)
    assert ((halves > 0.1) & (halves < 0.9)).any()  # where 2 f / (1 + f) is not f
    assert weights[-1].numpy() == pytest.approx(2 * halves / (1 + halves), abs=1e-5)


def test_recentring_rolls_the_bright_part_to_the_middle() -> None:
    moved = torch.from_numpy(np.roll(shape(), (3, -2, 1), axis=(0, 1, 2)))
    once = recentred(moved)
    assert torch.equal(recentred(once), once)
    assert torch.equal(once, recentred(torch.from_numpy(shape())))


def test_a_boost_raises_low_frequencies_and_keeps_the_highest() -> None:
    waves = np.cos(2 * np.pi * np.arange(EDGE) * 1 / EDGE) * np.ones((EDGE, EDGE, 1))
    ripples = np.cos(2 * np.pi * np.arange(EDGE) * 11 / EDGE) * np.ones((EDGE, EDGE, 1))
    # k = 1 / 480 Å against a plateau from 47 Å on, with k0 = 1 / 200 Å
    gain = (47.0**-2 + 200.0**-2) / (480.0**-2 + 200.0**-2)
    assert boosted(waves, VOXEL) == pytest.approx(gain * waves, rel=1e-4, abs=1e-4)
    beyond = (47.0**-2 + 200.0**-2) / (min(11 / 480, 1 / 47) ** 2 + 200.0**-2)
    assert boosted(ripples, VOXEL) == pytest.approx(beyond * ripples, rel=1e-4, abs=1e-4)


def test_turns_are_measured() -> None:
    # turns by known angles about known axes, seen from rotations that are anything
    angles = np.array([0.0, 1.0, 30.0, 90.0, 179.0])
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, -2, 2]], dtype=float)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    turns = to_matrices(Rotation.from_rotvec(np.deg2rad(angles)[:, None] * axes))
    before = rotation_grid(5)
    found = turns_deg(*(torch.from_numpy(m) for m in (before, turns @ before)))
    assert found.numpy() == pytest.approx(angles, abs=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_volumes_gives_an_average_and_a_doubt(count: int) -> None:
    boxes = np.stack([shape()] * count)
    members = Subtomograms(boxes, np.arange(count), np.full((count, 3), EDGE / 2), alike(count))
    quick = Plan(starts=2, coarse_rotations=60, fine_rotations=60, iterations=2, refinements=1)
    (made,) = average_class(members, SETUP, plan=quick, seed=1)
    assert np.isfinite(made.density).all()
    assert made.members.tolist() == list(range(count))
    found = doubts(made, OPTICS, WINDOW, of=count)
    assert any(f"{count} volumes are too few to average" in doubt for doubt in found)
