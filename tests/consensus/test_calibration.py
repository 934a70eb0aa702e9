"""Probabilities of mapped-back masks: curves, their honesty, and what to expect of a mask."""

import numpy as np
import pytest
from scipy.special import expit

from civa.consensus.calibration import (
    Calibration,
    Reliability,
    fit,
    from_half_sets,
)


def test_a_curve_is_one_half_at_its_contour() -> None:
    curve = Calibration(contour=0.25, slope=20.0)
    found = curve.probability(np.array([0.25, 0.35, 0.15]))
    assert found == pytest.approx([0.5, expit(2.0), expit(-2.0)])


def test_noise_between_half_sets_flattens_the_curve() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((2, 16, 16, 16))
    noise[:, :4] = 0  # outside the window
    first, second = 0.1 * noise
    # The difference has sigma 0.1 sqrt(2), the average of both half of it; the peak is 2.
    sigma = 0.1 * np.sqrt(2) / 2 / 2
    assert from_half_sets(first / 2, second / 2, 0.25).slope == pytest.approx(1.7 / sigma, rel=0.05)
    same = from_half_sets(first, first, 0.25)
    assert np.isfinite(same.slope)


def test_a_fit_finds_the_curve_that_made_the_voxels() -> None:
    generator = np.random.default_rng(1)
    truth = Calibration(0.22, 15.0)
    density = generator.uniform(0, 0.6, size=40_000)
    there = generator.uniform(size=density.size) < truth.probability(density)
    found = fit(density, there, Calibration(0.3, 60.0))
    assert found.contour == pytest.approx(0.22, abs=0.01)
    assert found.slope == pytest.approx(15.0, rel=0.1)


def test_calibration_error_by_hand() -> None:
    # Ten voxels said 0.95, of which eight are there; ten said 0.05, of which none is.
    said = np.repeat([0.95, 0.05], 10)
    there = np.array([True] * 8 + [False] * 12)
    whole, parts, certain = Reliability(), Reliability(), Reliability()
    whole.add(said, there)
    for part in (slice(0, 7), slice(7, 20)):
        parts.add(said[part], there[part])
    assert whole.error() == parts.error() == pytest.approx((1.5 + 0.5) / 20)
    certain.add(np.array([1.0, 0.0]), np.array([True, False]))
    assert certain.error() == 0
    assert Reliability().error() == 0  # nothing was added
