"""Volumes of tomograms that were tilted, or treated for their CTF, in different ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from synthetic import CPU, EDGE, WINDOW, shape

from civa.consensus.reconstruction import insert, reconstruct
from civa.consensus.subtomograms import Imaging, Optics, Setup, Subtomograms
from civa.data.imaging import Acquisition
from civa.optics import (
    STATES,
    Microscope,
    TiltRange,
    contrast_transfer,
    missing_wedge,
    transfer_in,
)

VOXEL = 8.0  # Å: the box reaches beyond the first zero of the contrast transfer
WAYS = (
    Acquisition(TiltRange(-60, 60)),
    Acquisition(TiltRange(-60, 60, 90)),
    Acquisition(TiltRange(-30, 66, -40)),
)


def setup_of(*acquisitions: Acquisition) -> Setup:
    return Setup(Optics(VOXEL, acquisitions), WINDOW, CPU)


def through(volumes: NDArray, ways: NDArray) -> NDArray[np.float32]:
    """Volumes (n, e, e, e) as their tilts (n,) leave them."""
    wedges = np.stack([missing_wedge(EDGE, WAYS[way].tilts) for way in ways])
    filtered = np.fft.ifftn(np.fft.fftn(volumes, axes=(1, 2, 3)) * wedges, axes=(1, 2, 3))
    return filtered.real.astype(np.float32)


def centred(volumes: NDArray, imaging: Imaging) -> Subtomograms:
    count = len(volumes)
    return Subtomograms(volumes, np.arange(count), np.full((count, 3), EDGE / 2), imaging)


def averaged(members: Subtomograms, setup: Setup) -> NDArray:
    """Their average at poses that are known: none is turned."""
    count = len(members)
    band = setup.band(EDGE // 2 - 1)
    spectra = setup.whiten(members, band, torch.ones(band.largest + 1))[:]
    total = insert(spectra, band, torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 3))
    return (reconstruct(total, EDGE) * setup.ball).numpy()


def test_volumes_of_different_tilts_complete_each_other() -> None:
    ways = np.array([0, 0, 1, 2])
    volumes = through(np.stack([shape()] * len(ways)), ways)
    right = averaged(centred(volumes, Imaging(ways)), setup_of(*WAYS))
    wrong = averaged(centred(volumes, Imaging(0 * ways)), setup_of(*WAYS[:1]))
    truth = (shape() * WINDOW).ravel()
    # 1 is not reached: the window spreads what is seen over the edges of every wedge.
    assert np.corrcoef(right.ravel(), truth)[0, 1] > 0.92
    # The wedge of one is left empty, though the others fill it.
    assert np.corrcoef(wrong.ravel(), truth)[0, 1] < 0.83


def test_noise_is_measured_where_the_tilts_of_a_volume_reach() -> None:
    ways = np.arange(60) % len(WAYS)
    white = np.random.default_rng(1).standard_normal((len(ways), EDGE, EDGE, EDGE))
    setup = setup_of(*WAYS)
    band = setup.band(EDGE // 2 - 1)
    measured = setup.noise(centred(through(white, ways), Imaging(ways)), band)
    expected = float((WINDOW**2).sum())  # of white noise of variance 1 under the window
    # The window smears some of it into the wedge.
    aware = float(measured[5:].mean() / expected)
    assert aware == pytest.approx(0.93, abs=0.03)
    alike = setup_of(WAYS[0])
    unaware = alike.noise(centred(through(white, ways), Imaging(0 * ways)), alike.band(11))
    assert float(unaware[5:].mean() / expected) < aware - 0.1


def test_a_coefficient_that_no_tilt_reaches_costs_and_says_nothing() -> None:
    ways = np.array([0, 1])
    setup = setup_of(*WAYS[:2])
    band = setup.band(EDGE // 2 - 1)
    volumes = np.random.default_rng(1).standard_normal((2, EDGE, EDGE, EDGE)).astype(np.float32)
    spectra = setup.whiten(centred(volumes, Imaging(ways, np.array([4.0, 5.0]))), band)[:]
    for row, way in enumerate(ways):
        reached = torch.from_numpy(missing_wedge(EDGE, WAYS[way].tilts).ravel().copy())[
            band.indices
        ]
        assert 0 < (~reached).sum() < len(reached)
        assert (spectra.power[row] > 0).equal(reached)
        assert (spectra.weighted[row].abs() > 0).equal(reached)


@pytest.mark.parametrize("state", STATES)
def test_a_state_says_what_is_left_of_the_contrast_transfer(state: str) -> None:
    setup = setup_of(replace(WAYS[0], ctf_state=state))
    band = setup.band(EDGE // 2 - 1)
    found = setup.optics.transfer(band, Imaging(np.array([0]), np.array([6.0])))[0].numpy()
    frequency = band.frequencies.norm(dim=1).numpy() / VOXEL
    raw = contrast_transfer(frequency, defocus_um=6.0, microscope=Microscope())
    expected = {
        "raw": raw,
        "phase-flipped": np.abs(raw),
        "ctf-multiplied": raw**2,
        "deconvolved": np.ones_like(raw),
    }
    np.testing.assert_allclose(found, expected[state], atol=1e-6)
    np.testing.assert_array_equal(transfer_in(state, raw), expected[state])
    assert raw.min() < -0.3  # beyond the first zero, where states differ
