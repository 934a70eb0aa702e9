"""Our conventions against independent programs: torch-ctf and torch-fourier-shell-correlation."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch_ctf import calculate_ctf_1d, calculate_ctf_2d, calculate_relativistic_electron_wavelength
from torch_fourier_shell_correlation.fsc import (
    fourier_correlation,
)
from torch_fourier_shell_correlation.fsc import (
    fourier_shell_correlation as independent_fsc,
)

from civa.consensus.reconstruction import fourier_shell_correlation
from civa.optics import Microscope, contrast_transfer, electron_wavelength_angstrom

DEFOCUS_UM = (3.0, 4.5, 7.0)
# The wavelengths agree to 1e-5 (rounded constants here, single precision there), and with them the
# phase: at most 90 rad at the voxel sizes below.
TOLERANCE = 1e-3
EDGE = 24


@pytest.mark.parametrize("voltage_kv", [80, 120, 200, 300])
def test_the_electron_wavelength(voltage_kv: float) -> None:
    meters = calculate_relativistic_electron_wavelength(1e3 * voltage_kv)
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(1e10 * float(meters), rel=1e-5)


def independent_ctf(
    defocus_um: float, voxel_size_angstrom: float, samples: int, *, microscope: Microscope
) -> NDArray[np.float32]:
    """Return the CTF (samples,) from frequency 0 to Nyquist; underfocus is positive there too.

    It is -sin(-phase - asin A) = sqrt(1 - A^2) sin(phase) + A cos(phase): the sign is ours.
    """
    return calculate_ctf_1d(
        defocus=defocus_um,
        voltage=microscope.voltage_kv,
        spherical_aberration=microscope.spherical_aberration_mm,
        amplitude_contrast=microscope.amplitude_contrast,
        phase_shift=0.0,
        pixel_size=voxel_size_angstrom,
        n_samples=samples,
        oversampling_factor=1,
    ).numpy()


@pytest.mark.parametrize("voxel_size_angstrom", [4.0, 6.8, 10.0, 13.48, 20.0])
@pytest.mark.parametrize("defocus_um", DEFOCUS_UM)
@pytest.mark.parametrize(
    "microscope",
    [
        Microscope(voltage_kv=300, spherical_aberration_mm=2.7, amplitude_contrast=0.07),
        Microscope(voltage_kv=200, spherical_aberration_mm=2.0, amplitude_contrast=0.1),
    ],
)
def test_the_contrast_transfer_function(
    voxel_size_angstrom: float, defocus_um: float, microscope: Microscope
) -> None:
    frequency = np.linspace(0, 0.5, 200) / voxel_size_angstrom
    ours = contrast_transfer(frequency, defocus_um=defocus_um, microscope=microscope)
    theirs = independent_ctf(defocus_um, voxel_size_angstrom, 200, microscope=microscope)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert ours[0] == pytest.approx(microscope.amplitude_contrast)
    assert ours[1] > ours[0], "underfocus and amplitude contrast make protein bright together"


def test_overfocus_turns_the_phase_contrast_round_but_not_the_amplitude_contrast() -> None:
    # At low frequency the phase is that of the defocus: sin is odd, cos is even.
    microscope = Microscope()
    for defocus_um in (5.0, -5.0):
        ours = contrast_transfer(
            np.linspace(0, 0.5, 50) / 20, defocus_um=defocus_um, microscope=microscope
        )
        theirs = independent_ctf(defocus_um, 20.0, 50, microscope=microscope)
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
        assert ours[0] == pytest.approx(0.07)
        assert np.sign(ours[10]) == np.sign(defocus_um)


def test_the_contrast_transfer_of_an_image_in_the_order_of_its_transform() -> None:
    along = np.fft.fftfreq(EDGE) / 10.0
    frequency = np.hypot(along[:, None], along[None, :])
    ours = contrast_transfer(frequency, defocus_um=5.0, microscope=Microscope())
    theirs = calculate_ctf_2d(
        defocus=5.0,
        astigmatism=0.0,
        astigmatism_angle=0.0,
        voltage=300.0,
        spherical_aberration=2.7,
        amplitude_contrast=0.07,
        phase_shift=0.0,
        pixel_size=10.0,
        image_shape=(EDGE, EDGE),
        rfft=False,
        fftshift=False,
    )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=TOLERANCE)


def radii() -> NDArray[np.float64]:
    """Distance of every Fourier voxel (d, h, w) from frequency 0, in voxels."""
    along = np.fft.fftfreq(EDGE) * EDGE
    return np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + along**2)


def two_maps(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return maps (d, h, w) that agree at low frequencies and hardly at high ones."""
    generator = np.random.default_rng(seed)
    common, *noises = generator.normal(size=(3, EDGE, EDGE, EDGE))
    weight = (radii() / (EDGE / 4)) ** 2
    added = [np.fft.ifftn(np.fft.fftn(noise) * weight).real for noise in noises]
    return 5 + common + added[0], 3 + common + added[1]


def on_whole_radii(volume: NDArray) -> NDArray[np.float64]:
    """Keep the coefficients whose distance from frequency 0 is a whole number of shells."""
    whole = np.isclose(radii(), radii().round())
    return np.fft.ifftn(np.fft.fftn(volume) * whole).real


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fsc_of_coefficients_that_lie_on_a_shell(seed: int) -> None:
    # There both programs, of which the other shares a coefficient among two shells, count alike.
    first, second = (on_whole_radii(volume) for volume in two_maps(seed))
    ours = fourier_shell_correlation(first, second)
    transforms = [torch.from_numpy(np.fft.fftn(volume)) for volume in (first, second)]
    theirs = fourier_correlation(*transforms, image_shape=(EDGE,) * 3, rfft=False).numpy()
    assert ours.shape == theirs.shape == (EDGE // 2 + 1,)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert theirs[1] > 0.9 > 0.3 > theirs[-1], "the comparison covers the whole range"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fsc_of_two_maps(seed: int) -> None:
    # The other program shares a coefficient between the two nearest shells and weighs the plane
    # of frequency 0 along x twice, so that they agree as far as neighbouring shells do.
    first, second = two_maps(seed)
    ours = fourier_shell_correlation(first, second)
    theirs = independent_fsc(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert np.abs(ours - theirs).mean() < 0.02


def test_the_fsc_has_a_sign_and_no_scale() -> None:
    first, second = (torch.from_numpy(volume) for volume in two_maps())
    turned = independent_fsc(first, -3 * second).numpy()
    ours = fourier_shell_correlation(first.numpy(), -3 * second.numpy())
    np.testing.assert_allclose(ours[1:], turned[1:], atol=0.05)  # it sets shell 0 to 1
    assert ours[0] == pytest.approx(-1)
    assert ours[1] < -0.9
