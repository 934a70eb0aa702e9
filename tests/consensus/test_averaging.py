"""Averages from scratch: what speaks against them, and what does not."""

import re

import numpy as np
import pytest
import torch
from synthetic import EDGE, OPTICS, SETUP, VOXEL, WINDOW, average, shape

from civa.consensus.averaging import Plan, turns_deg
from civa.consensus.classification import average_class
from civa.consensus.diagnostics import doubts
from civa.consensus.heterogeneity import Split
from civa.consensus.poses import rotation_grid
from civa.consensus.reconstruction import boosted, recentred, resolution_angstrom, shape_share
from civa.consensus.subtomograms import Subtomograms


def test_nothing_speaks_against_a_good_average() -> None:
    assert doubts(average(), OPTICS, WINDOW, of=50) == []
    assert doubts(average(agreement=float("nan")), OPTICS, WINDOW, of=50) == []  # a single start


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": np.arange(9)}, r"9 volumes are too few to average \(expected 10 or more\)"),
        ({"agreement": 0.6}, r"different starts correlate at 0.60 \(expected 0.8 or more\)"),
        ({"fsc": np.full(13, 0.3)}, r"half-sets correlate at 0.30 at 53 Å \(expected 0.5"),
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


def test_resolution_is_where_the_correlation_first_falls() -> None:
    fsc = np.array([1, 1, 0.9, 0.6, 0.2, 0.1, 0.3])
    assert resolution_angstrom(fsc, OPTICS, 12) == 12 * VOXEL / 5
    assert resolution_angstrom(fsc, OPTICS, 12, level=0.5) == 12 * VOXEL / 4
    assert resolution_angstrom(np.ones(7), OPTICS, 12) == 12 * VOXEL / 6


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
    grid = torch.from_numpy(rotation_grid(50)).float()
    assert turns_deg(grid, grid).max() < 0.1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_volumes_gives_an_average_and_a_doubt(count: int) -> None:
    boxes = np.stack([shape()] * count)
    members = Subtomograms(boxes, np.arange(count), np.full((count, 3), EDGE / 2))
    quick = Plan(starts=2, coarse_rotations=60, fine_rotations=60, iterations=2, refinements=1)
    (made,) = average_class(members, SETUP, plan=quick, seed=1)
    assert np.isfinite(made.density).all()
    assert made.members.tolist() == list(range(count))
    found = doubts(made, OPTICS, WINDOW, of=count)
    assert any(f"{count} volumes are too few to average" in doubt for doubt in found)
