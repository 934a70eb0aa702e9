"""The image model obeys geometry, the CTF and the missing wedge."""

import numpy as np
import pytest
from numpy.typing import NDArray

from civa.optics import (
    Microscope,
    TiltRange,
    contrast_transfer,
    electron_wavelength_angstrom,
    missing_wedge,
)
from civa.simulation.tilt_series import TiltSeries, Volume, add_noise, convolve_transfer

SIZE = 48
TILTS = np.arange(-60, 61, 3)


def white(size: int, seed: int = 0) -> Volume:
    """A specimen with power at every frequency."""
    return np.random.default_rng(seed).standard_normal((size,) * 3).astype(np.float32)


def blob(size: int, centre_zyx: tuple[float, ...], sigma: float) -> Volume:
    """A Gaussian around a point given from the middle of the box; smooth, so band-limited."""
    grid = np.indices((size,) * 3) - size // 2 - np.reshape(centre_zyx, (3, 1, 1, 1))
    return np.exp(-np.square(grid).sum(axis=0) / (2 * sigma**2)).astype(np.float32)


def windowed_spectrum(volume: Volume) -> NDArray[np.complex128]:
    """Fourier transform, zero frequency in the middle.

    A reconstruction does not repeat itself at the border of its box; without the Hann window
    that step would spread power over all frequencies.  The window spreads over 2 voxels.
    """
    (size, _, _) = volume.shape
    window = np.hanning(size + 1)[:-1]
    tapered = volume * window[:, None, None] * window[None, None, :]
    return np.fft.fftshift(np.fft.fftn(tapered))


def frequencies(size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Frequency kz, ky, kx in Fourier voxels, zero in the middle, each (d, h, w)."""
    kz, ky, kx = np.indices((size,) * 3) - size // 2
    return kz, ky, kx


def beyond_wedge(size: int, max_tilt_deg: float) -> tuple[NDArray, NDArray]:
    """Distance (Fourier voxels) past the wedge's boundary, and which voxels have data.

    The slice at tilt t is the plane through (x, z) = (cos t, sin t), so what lies steeper
    than the last tilt, |kz| cos t > |kx| sin t, is never seen.
    """
    kz, _, kx = frequencies(size)
    tilt = np.deg2rad(max_tilt_deg)
    return np.abs(kz) * np.cos(tilt) - np.abs(kx) * np.sin(tilt), np.hypot(kz, kx) < size / 2 - 3


@pytest.mark.parametrize(
    ("voltage_kv", "wavelength"), [(100, 0.0370), (200, 0.0251), (300, 0.0197)]
)
def test_electron_wavelengths_are_the_published_ones(voltage_kv: float, wavelength: float) -> None:
    # Williams & Carter, Transmission Electron Microscopy, table 1.2 (relativistic)
    assert electron_wavelength_angstrom(voltage_kv) == pytest.approx(wavelength, abs=5e-5)


@pytest.mark.parametrize("defocus_um", [2.0, 5.0, 8.0])
def test_the_first_zero_is_where_defocus_puts_it(defocus_um: float) -> None:
    # Pure phase contrast, no aberration: sin(pi lambda defocus k^2) is 0 at
    # k = 1 / sqrt(lambda defocus); 5 um at 300 kV: 1 / sqrt(0.0197 x 50000) = 1 / 31.4 Å
    phase_only = Microscope(300, spherical_aberration_mm=0, amplitude_contrast=0)
    zero = 1 / np.sqrt(0.0197 * 1e4 * defocus_um)
    around = contrast_transfer(
        zero * np.array([0.5, 0.99, 1.0, 1.01]), defocus_um=defocus_um, microscope=phase_only
    )
    assert around[0] == pytest.approx(np.sin(np.pi / 4), abs=0.01)  # half the way: a quarter of pi
    assert around[1] > 0 > around[3]
    assert around[2] == pytest.approx(0, abs=0.01)


def test_amplitude_contrast_keeps_the_lowest_frequency_bright() -> None:
    microscope = Microscope(amplitude_contrast=0.07)
    (lowest,) = contrast_transfer(np.zeros(1), defocus_um=5, microscope=microscope)
    assert lowest == pytest.approx(0.07)
    # up to the first zero nothing is turned dark
    below = np.linspace(0, 0.98 / 31.4 * np.sqrt(1 - 0.07 / np.pi), 50)
    assert (contrast_transfer(below, defocus_um=5, microscope=microscope) > 0).all()


def test_aberration_alone_turns_contrast_as_the_fourth_power() -> None:
    # At no defocus the phase is -pi/2 Cs lambda^3 k^4; Cs lambda^3 k^4 = 1 makes it -pi/2,
    # where sine is -1 and cosine 0: -sqrt(1 - 0.07^2).
    frequency = (2.7e7 * electron_wavelength_angstrom(300) ** 3) ** -0.25
    at = contrast_transfer(np.array([frequency]), defocus_um=0, microscope=Microscope())
    assert at[0] == pytest.approx(-np.sqrt(1 - 0.07**2), abs=1e-6)


@pytest.mark.parametrize("point_zyx", [(5, -7, 6), (-9, 3, 2), (0, 0, -11)])
def test_a_voxel_projects_where_geometry_says(point_zyx: tuple[int, int, int]) -> None:
    # u = x cos t + z sin t, and y stays.  A sixteenth of a voxel is resolved by padding the
    # spectrum; rounding to it errs by at most 1/32.
    size, tilts = 32, np.array([-60.0, -33, 0, 20, 45, 60])
    z, y, x = point_zyx
    specimen = np.zeros((size,) * 3, dtype=np.float32)
    specimen[size // 2 + z, size // 2 + y, size // 2 + x] = 1
    projections = TiltSeries(size, tilts).project(specimen)  # (t, f, h)
    for tilt, row in zip(np.deg2rad(tilts), projections, strict=True):
        lit = np.flatnonzero(np.abs(row).sum(axis=0) > 1e-6)
        assert lit.tolist() == [size // 2 + y]
        line = np.fft.irfft(row[:, lit[0]], n=16 * size)
        peak = (np.argmax(line) / 16 + size / 2) % size - size / 2
        assert peak == pytest.approx(x * np.cos(tilt) + z * np.sin(tilt), abs=1 / 32 + 1e-3)


def test_a_point_between_voxels_projects_between_pixels() -> None:
    size, tilts, (z, y, x) = 32, np.array([-50.0, -10, 25, 60]), (4.3, -3.0, -5.6)
    projections = TiltSeries(size, tilts).project(blob(size, (z, y, x), 1.5))
    for tilt, row in zip(np.deg2rad(tilts), projections, strict=True):
        line = np.fft.irfft(row[:, size // 2 + int(y)], n=64 * size)
        peak = (np.argmax(line) / 64 + size / 2) % size - size / 2
        assert peak == pytest.approx(x * np.cos(tilt) + z * np.sin(tilt), abs=0.02)


def test_the_projection_sums_what_the_beam_passes() -> None:
    # the coefficient at frequency 0 is the sum over the slice, at every tilt
    specimen = blob(32, (3, 0, -4), 2)
    projections = TiltSeries(32, [-60, 0, 60]).project(specimen)
    np.testing.assert_allclose(
        projections[:, 0, :].real, np.tile(specimen.sum(axis=(0, 2)), (3, 1)), rtol=1e-3, atol=1e-4
    )


def test_the_corners_of_the_box_are_no_specimen() -> None:
    specimen = np.zeros((16,) * 3, dtype=np.float32)
    specimen[0, :, 0] = 1  # 11.3 voxels from the tilt axis, outside the cylinder of radius 8
    assert np.abs(TiltSeries(16, TILTS).project(specimen)).max() == 0


def test_a_full_tilt_range_gives_the_specimen_back() -> None:
    size = 32
    specimen = blob(size, (4, -3, 5), 2) + 0.7 * blob(size, (-5, 2, -2), 2.5)
    specimen += 0.8 * blob(size, (1, 5, -6), 1.7)
    for axis in range(3):  # no mirror image is like it, so the check is one of handedness too
        mirrored = np.flip(specimen, axis)
        assert np.corrcoef(specimen.ravel(), mirrored.ravel())[0, 1] < 0.5
    series = TiltSeries(size, np.arange(-90, 90, 2))
    back = series.reconstruct(series.project(specimen))
    assert np.corrcoef(specimen.ravel(), back.ravel())[0, 1] > 0.99
    slope, _ = np.polyfit(specimen.ravel(), back.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.05)  # in the specimen's scale


@pytest.mark.parametrize("max_tilt_deg", [45, 60])
def test_the_missing_wedge_is_empty_and_nothing_else_is(max_tilt_deg: float) -> None:
    specimen = white(SIZE)
    series = TiltSeries(SIZE, np.arange(-max_tilt_deg, max_tilt_deg + 1, 3))
    z, x = np.indices((SIZE, SIZE)) - SIZE // 2
    inside = np.hypot(z, x) < SIZE / 2  # what the series can see
    seen = windowed_spectrum(specimen * inside[:, None, :])
    back = windowed_spectrum(series.reconstruct(series.project(specimen)))
    power = np.abs(back) ** 2
    distance, measured = beyond_wedge(SIZE, max_tilt_deg)
    empty, full = measured & (distance > 2), measured & (distance < -2)
    # outside: nothing but the window's tails, at any single frequency
    assert power[empty].max() < 0.02 * power[full].mean()
    # inside: the specimen itself, wherever one looks
    kz, _, kx = frequencies(SIZE)
    for ring in range(4, SIZE // 2 - 3):
        part = full & (np.rint(np.hypot(kz, kx)) == ring)
        agreement = np.vdot(seen[part], back[part]).real
        agreement /= np.linalg.norm(seen[part]) * np.linalg.norm(back[part])
        assert agreement > 0.9, f"at {ring} Fourier voxels from the tilt axis"


def test_cropping_cuts_the_same_reconstruction() -> None:
    projections = TiltSeries(32, TILTS).project(white(32))
    whole = TiltSeries(32, TILTS).reconstruct(projections)
    cut = TiltSeries(32, TILTS, crop=16).reconstruct(projections)
    np.testing.assert_allclose(cut, whole[8:24, 8:24, 8:24], atol=1e-4)


def test_the_spectrum_of_a_reconstruction_follows_the_ctf_squared() -> None:
    # 5 um, 300 kV, 10 Å voxels: the first zero, 0.0315 per Å, is at 0.0315 x 480 Å = 15.1
    # Fourier voxels.  (Amplitude contrast A moves it by the factor sqrt(1 - asin(A) / pi).)
    microscope, voxel, defocus_um = Microscope(), 10.0, 5.0
    series = TiltSeries(SIZE, np.arange(-60, 61, 2))
    projections = series.project(white(SIZE))
    through_lens = series.transfer(
        projections, defocus_um=defocus_um, microscope=microscope, voxel=voxel
    )
    before = np.abs(windowed_spectrum(series.reconstruct(projections))) ** 2
    after = np.abs(windowed_spectrum(series.reconstruct(through_lens))) ** 2
    kz, ky, kx = frequencies(SIZE)
    distance, measured = beyond_wedge(SIZE, 60)
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    used = measured & (distance < -1) & (np.abs(kx) > 2)
    shells = [used & (np.rint(radius) == shell) for shell in range(3, SIZE // 2)]
    ratio = np.array([after[shell].sum() / before[shell].sum() for shell in shells])
    expected = np.array(
        [
            np.mean(
                contrast_transfer(
                    radius[shell] / SIZE / voxel, defocus_um=defocus_um, microscope=microscope
                )
                ** 2
            )
            for shell in shells
        ]
    )
    np.testing.assert_allclose(ratio, expected, atol=0.08)
    zero = np.sqrt((1 - np.arcsin(0.07) / np.pi) / (0.0197 * 5e4))
    assert 3 + np.argmin(ratio[:18]) == round(zero * SIZE * voxel)


def test_convolution_is_the_ctf_inside_the_wedge_and_nothing_outside() -> None:
    size, voxel = 24, 10.0
    specimen = white(size)
    image = convolve_transfer(
        specimen, defocus_um=5, max_tilt_deg=60, microscope=Microscope(), voxel=voxel
    )
    ratio = np.fft.fftshift(np.fft.fftn(image) / np.fft.fftn(specimen)).real
    kz, ky, kx = frequencies(size)
    radius = np.sqrt(kz**2 + ky**2 + kx**2) / (size * voxel)
    expected = contrast_transfer(radius, defocus_um=5, microscope=Microscope())
    distance, _ = beyond_wedge(size, 60)
    expected[distance > 0] = 0
    np.testing.assert_allclose(ratio, expected, atol=2e-3)  # float32 images


@pytest.mark.parametrize(
    "tilts",
    [
        *(TiltRange(-tilt, tilt) for tilt in (30, 60, 75)),
        *(TiltRange(-54, 60), TiltRange(-20, 70), TiltRange(10, 50)),
        *(TiltRange(-60, 60, 90), TiltRange(-54, 60, 30), TiltRange(-50, 65, -85)),
    ],
)
def test_the_wedge_is_that_of_its_slices(tilts: TiltRange) -> None:
    size, turn = 12, np.deg2rad(tilts.axis_deg)
    reached = np.fft.fftshift(missing_wedge(size, tilts))
    for z, y, x in np.ndindex(reached.shape):  # a slow oracle: the angle of each voxel
        kz, ky, kx = z - size // 2, y - size // 2, x - size // 2
        across = kx * np.cos(turn) - ky * np.sin(turn)
        if np.hypot(across, kz) < 1e-9:  # on the axis, which all tilts hold
            assert reached[z, y, x]
            continue
        angle = (np.rad2deg(np.arctan2(kz, across)) + 90) % 180 - 90
        from_edge = min(abs(angle - tilts.first_deg), abs(angle - tilts.last_deg))
        if from_edge > 1e-6:
            assert reached[z, y, x] == (tilts.first_deg < angle < tilts.last_deg)


@pytest.mark.parametrize(("first", "last"), [(-54, 60), (-30, 66)])
def test_an_asymmetric_wedge_is_that_of_the_tilt_series(first: int, last: int) -> None:
    specimen = white(SIZE)
    series = TiltSeries(SIZE, np.arange(first, last + 1, 3))
    power = np.abs(windowed_spectrum(series.reconstruct(series.project(specimen)))) ** 2
    kz, ky, kx = frequencies(SIZE)
    far = (np.hypot(kz, kx) > SIZE / 8) & (np.sqrt(kz**2 + ky**2 + kx**2) < 0.4 * SIZE)

    def mean_beyond(tilts: TiltRange) -> float:
        reached = np.fft.fftshift(missing_wedge(SIZE, tilts))
        return float(power[~reached & far].mean() / power[reached & far].mean())

    assert mean_beyond(TiltRange(first - 4, last + 4)) < 0.02  # the window smears the edges
    assert mean_beyond(TiltRange(-last, -first)) > 0.05  # the other hand


def test_a_full_tilt_range_misses_nothing() -> None:
    assert missing_wedge(12, TiltRange(-90, 90)).all()


def test_detector_noise_is_white_with_unit_variance() -> None:
    size = 32
    drawn = TiltSeries(size, TILTS).white_noise(np.random.default_rng(0))
    pixels = np.fft.irfft(drawn, n=size, axis=1)  # (t, u, h)
    # the Nyquist term, one of 32, is left out; 41 x 32^2 pixels know their variance to 0.7 %
    assert pixels.var() == pytest.approx(1 - 1 / size, rel=0.03)
    neighbours = (
        (pixels[:, 1:] * pixels[:, :-1]).mean(),
        (pixels[..., 1:] * pixels[..., :-1]).mean(),
    )
    np.testing.assert_allclose(neighbours, 0, atol=0.05)


@pytest.mark.parametrize("snr", [0.03, 0.05, 2.0])
def test_noise_has_the_asked_share(snr: float) -> None:
    signal, noise = 7 + 3 * blob(32, (1, 2, 3), 4), 50 * white(32)
    noisy, measured = add_noise(signal, noise, snr)
    assert signal.var() / (noisy - signal).var() == pytest.approx(snr, rel=0.01)
    assert measured == pytest.approx(snr, rel=0.01)


@pytest.mark.parametrize("snr", [0.0, -0.1, float("nan")])
def test_an_snr_that_is_not_positive_is_refused(snr: float) -> None:
    with pytest.raises(ValueError, match="SNR must be positive"):
        add_noise(white(8), white(8, seed=1), snr)


def test_an_odd_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have an even edge \(got 33\)"):
        TiltSeries(33, TILTS)
