"""Contours of blurred averages: the mask of the density itself, without a look at it."""

import functools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.consensus.contour import find_contour, transfer_of, unblurred
from civa.consensus.fourier import window_for
from civa.consensus.map_back import CONTOUR, peak
from civa.consensus.reconstruction import fourier_shells
from civa.simulation.phantoms import phantom
from civa.simulation.specimen import render
from civa.simulation.structures import electron_potential

EDGE, VOXEL = 32, 10.0
NAMES = ("cage", "barrel", "spike", "wishbone", "rod", "ring", "dimer", "globule")


@functools.cache
def density(name: str) -> NDArray:
    """A phantom as it is drawn in voxels of 10 Å, (e, e, e)."""
    template = electron_potential(
        phantom(name), voxel_size_angstrom=VOXEL, resolution_angstrom=2 * VOXEL
    )
    body = render(template, Rotation.identity(), np.zeros(3))
    box = np.zeros((EDGE,) * 3)
    start = EDGE // 2 - body.shape[0] // 2
    part = slice(start, start + body.shape[0])
    box[part, part, part] = body
    return box


def fall(resolution_angstrom: float) -> NDArray:
    """Share of every shell that a Wiener filter leaves at a resolution, (shells,)."""
    last = EDGE * VOXEL / resolution_angstrom
    return 1 / (1 + np.exp((np.arange(EDGE // 2 + 1) - last) / (0.15 * last)))


def blurred(name: str, resolution_angstrom: float, noise: float = 0.04) -> NDArray:
    """A phantom at a resolution, a little noise of the same spectrum, and no mean, in a window."""
    transfer = np.pad(fall(resolution_angstrom), (0, EDGE))[fourier_shells(EDGE)]
    generator = np.random.default_rng(0)
    spectrum = np.fft.fftn(generator.standard_normal((EDGE,) * 3))
    shown = np.fft.ifftn(np.fft.fftn(density(name)) * transfer).real
    added = np.fft.ifftn(spectrum * transfer * np.sqrt(1 - transfer)).real
    shown = shown + noise * peak(shown) * added / added.std()
    return (shown - shown.mean()) * window_for(EDGE)


def iou(first: NDArray, second: NDArray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize(("resolution", "least"), [(28.0, 0.89), (36.0, 0.84), (40.0, 0.83)])
def test_a_blurred_density_is_cut_where_its_mask_is_right(resolution: float, least: float) -> None:
    found, quarter, best = [], [], []
    for name in NAMES:
        true, shown = density(name), blurred(name, resolution)
        mask = true > CONTOUR * peak(true)
        shares = (find_contour(shown, fall(resolution)).share, CONTOUR, *np.arange(0.1, 0.7, 0.02))
        own, fixed, *others = [iou(shown > share * peak(shown), mask) for share in shares]
        found.append(own)
        quarter.append(fixed)
        best.append(max(others))
    assert np.mean(found) > least
    assert np.mean(found) > np.mean(best) - 0.04
    assert np.mean(found) > np.mean(quarter)
    assert min(found) > 0.75


def test_a_density_that_is_not_blurred_is_cut_at_a_quarter() -> None:
    everything = np.ones(EDGE // 2 + 1)
    for name in NAMES:
        assert find_contour(density(name), everything).share == pytest.approx(CONTOUR, abs=0.04)


def test_coarse_densities_allow_worse_masks() -> None:
    agreements = [
        np.mean([find_contour(blurred(name, size), fall(size)).agreement for name in NAMES])
        for size in (24.0, 36.0, 50.0)
    ]
    assert agreements == sorted(agreements, reverse=True)
    assert agreements[0] > 0.93


def test_the_unblurred_peak_puts_the_contour_at_a_quarter() -> None:
    shown = blurred("ring", 40.0)
    contour = find_contour(shown, fall(40.0))
    scaled = shown / contour.unblurred_peak(shown)
    assert ((scaled > CONTOUR) == (shown > contour.share * peak(shown))).all()


def test_no_part_of_an_unblurred_density_is_far_below_zero() -> None:
    transfer = np.pad(fall(40.0), (0, EDGE))[fourier_shells(EDGE)]
    found = unblurred(blurred("barrel", 40.0), transfer)
    assert found.min() > -0.02 * found.max()


def test_an_average_of_nothing_has_no_peak() -> None:
    contour = find_contour(-np.ones((16, 16, 16)), np.ones(9))
    assert not contour.unblurred_peak(-np.ones((16, 16, 16))) > 0


def test_misaligned_tilts_blur_more_than_half_sets_show() -> None:
    known = fall(30.0)
    assert (transfer_of(known, VOXEL, 0.0) == known).all()
    blurred_too = transfer_of(known, VOXEL, 6.0)
    shell = 8  # at 40 Å
    assert blurred_too[shell] / known[shell] == pytest.approx(np.exp(-2 * (np.pi * 6 / 40) ** 2))
    shares = [find_contour(blurred("wishbone", 30.0), one).share for one in (known, blurred_too)]
    assert shares[1] > shares[0]
