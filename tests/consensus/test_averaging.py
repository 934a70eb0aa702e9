"""Averages from scratch: what speaks against them, and what does not."""

import re

import numpy as np
import pytest
import torch
from synthetic import EDGE, OPTICS, SETUP, VOXEL, WINDOW, average, shape

from civa.consensus.averaging import Plan, average_structure, of_whole, turns_deg
from civa.consensus.classification import average_class
from civa.consensus.diagnostics import doubts
from civa.consensus.fourier import window_for
from civa.consensus.heterogeneity import Split
from civa.consensus.poses import rotation_grid, small_turns
from civa.consensus.reconstruction import boosted, recentred, resolution_angstrom, shape_share
from civa.consensus.subtomograms import Optics, Setup, Subtomograms
from civa.data.volume import standardize
from civa.simulation.tilt_series import TiltSeries


def test_nothing_speaks_against_a_good_average() -> None:
    assert doubts(average(), OPTICS, WINDOW, of=50) == []
    assert doubts(average(agreement=float("nan")), OPTICS, WINDOW, of=50) == []  # a single start


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": np.arange(9)}, r"9 volumes are too few to average \(expected 10 or more\)"),
        ({"agreement": 0.6}, r"different starts correlate at 0.60 \(expected 0.8 or more\)"),
        (
            {"fsc": np.full(13, 0.2)},
            r"half-sets correlate at 0.20 from 44 to 44 Å, beyond the 53 Å .* \(expected 0.3",
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


def test_resolution_is_that_of_the_last_shell_above_the_level() -> None:
    fsc = np.array([1, 1, 0.9, 0.6, 0.2, 0.1, 0.3])
    assert resolution_angstrom(fsc, OPTICS, 12) == 12 * VOXEL / 4  # shell 5 is below 0.143
    assert resolution_angstrom(fsc, OPTICS, 12, level=0.5) == 12 * VOXEL / 3
    assert resolution_angstrom(fsc, OPTICS, 12, beyond=3) == 12 * VOXEL / 4
    assert resolution_angstrom(np.ones(7), OPTICS, 12) == 12 * VOXEL / 6


def test_only_shells_beyond_the_shared_reference_are_judged() -> None:
    # boxes of 320 Å: 53 Å is shell 6, the window spreads it to 7, shells 8 and 9 are their own
    optics = Optics(10.0)
    box = np.zeros((32, 32, 32), dtype=np.float32)
    fsc = np.where(np.arange(17) < 8, 0.9, 0.0)  # what is shared alone agrees
    shared = average(density=box, fsc=fsc)
    assert shared.independent_shells(optics).tolist() == [8, 9]
    assert shared.halves_agree(optics) == 0
    assert shared.resolution(optics) == (320 / 6, False)
    fsc = np.where(np.arange(17) < 11, 0.9, 0.0)
    real = average(density=box, fsc=fsc)
    assert real.halves_agree(optics) == pytest.approx(0.9)
    assert real.resolution(optics) == (320 / 10, True)
    # weights are the shells' sizes: (8^2 x 1 + 9^2 x 0) / (8^2 + 9^2)
    fsc = np.where(np.arange(17) < 9, 1.0, 0.0)
    assert average(density=box, fsc=fsc).halves_agree(optics) == pytest.approx(64 / 145)


def test_a_box_without_an_independent_shell_is_warned_of() -> None:
    coarse = Optics(27.0)  # Nyquist is 54 Å
    assert not len(average().independent_shells(coarse))
    (found,) = doubts(average(), coarse, WINDOW, of=50)
    assert "holds no shell beyond the 53 Å" in found


def test_the_fsc_of_the_whole_is_that_of_twice_the_particles() -> None:
    # Halves of signal S and noise N have f = S / (S + N), their mean against the truth has
    # C_ref = sqrt(S / (S + N / 2)); squared: 2 f / (1 + f).  S = N: f = 1/2 and 2/3.
    assert of_whole(np.array([0.5, 1.0, 0.0, -0.3])) == pytest.approx([2 / 3, 1, 0, 0])


@pytest.mark.parametrize(("count", "starts"), [(10, 1), (10, 2), (50, 1), (150, 1)])
def test_noise_is_warned_of(count: int, starts: int) -> None:
    generator = np.random.default_rng(count)
    series = TiltSeries(48, np.arange(-60, 61, 10), crop=32)
    noise = [series.reconstruct(series.white_noise(generator)) for _ in range(count)]
    setup = Setup(Optics(10.0), window_for(32), torch.device("cpu"))
    members = Subtomograms(
        standardize(np.stack(noise)), np.arange(count), np.full((count, 3), 16.0)
    )
    quick = Plan(starts, coarse_rotations=72, fine_rotations=72, iterations=4, refinements=2)
    made, _ = average_structure(members, setup, plan=quick, generator=generator)
    assert made.halves_agree(setup.optics) < 0.2
    assert not made.resolution(setup.optics)[1]
    found = doubts(made, setup.optics, setup.window, of=count)
    assert any("the average may be noise" in doubt for doubt in found)


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
    grid = torch.from_numpy(rotation_grid(6)).float()
    turned = torch.from_numpy(small_turns(25.0)).float() @ grid
    assert turns_deg(grid, turned).numpy() == pytest.approx(np.full(6, 25.0), abs=0.1)
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
