"""A slab as a microscope and a reconstruction show it."""

import numpy as np
import pytest

from civa.optics import contrast_transfer
from civa.simulation.slab_imaging import Acquisition, SlabImaging

SHAPE = (24, 40, 48)
PERFECT = Acquisition(shift_voxels=0, turn_deg=0, strip_um=100)


def imaging(shape: tuple[int, int, int] = SHAPE, **changes: object) -> SlabImaging:
    return SlabImaging(shape, 10.0, Acquisition(**{"shift_voxels": 0, "turn_deg": 0, **changes}))


def blob(shape: tuple[int, int, int], place: tuple[float, ...], sigma: float = 2.0) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    centre = np.array(shape) // 2 + np.array(place)
    return np.exp(-((index - centre) ** 2).sum(axis=-1) / (2 * sigma**2)).astype(np.float32)


def test_a_projection_along_the_beam_is_a_sum() -> None:
    volume = blob(SHAPE, (3, -5, 8))
    seen = imaging()._project(volume, 0.0)
    first = seen.shape[0] // 2 - SHAPE[2] // 2
    np.testing.assert_allclose(
        seen[first : first + SHAPE[2]], volume.sum(axis=0).T, atol=2e-4 * volume.sum(axis=0).max()
    )


@pytest.mark.parametrize("tilt", [-50.0, 20.0, 60.0])
def test_a_point_is_seen_where_the_tilt_brings_it(tilt: float) -> None:
    z, y, x = 5, -6, 9
    angle = np.deg2rad(tilt)
    seen = imaging()._project(blob(SHAPE, (z, y, x)), angle)
    at = np.argwhere(seen == seen.max())[0] - np.array(seen.shape) // 2
    assert abs(at[0] - (x * np.cos(angle) + z * np.sin(angle))) <= 0.51
    assert at[1] == y


def test_defocus_changes_across_a_tilted_image() -> None:
    made = imaging((32, 64, 256), defocus_um=4.0)
    angle = np.deg2rad(60)
    image = np.zeros((made.width, 64), np.float32)
    places = [made.width // 2 - 100, made.width // 2 + 100]
    for at in places:
        image[at, 32] = 1
    seen = made._by_strips(image, angle, np.asarray)
    for at in places:
        defocus = 4.0 + 1e-4 * 10 * np.tan(angle) * (at - made.width // 2)
        power = np.abs(np.fft.rfft2(np.roll(seen[at - 28 : at + 28], 28, axis=0)))
        frequency = np.hypot(np.fft.fftfreq(56)[:, None], np.fft.rfftfreq(64)[None]) / 10
        expected = np.abs(
            contrast_transfer(frequency, defocus_um=defocus, microscope=made.acquisition.microscope)
        )
        low = frequency < 0.03
        assert np.corrcoef(power[low], expected[low])[0, 1] > 0.95


def test_protein_is_dark_and_electrons_are_counted() -> None:
    made = imaging(exposure=3.0)
    empty = np.zeros(SHAPE, np.float32)
    images = list(made.images(empty, np.random.default_rng(0)))
    image, angle = images[20]
    assert angle == pytest.approx(0)
    passed = np.exp(-SHAPE[0] * 10 / 3100)
    assert image.std() == pytest.approx((3.0 * 100 * passed) ** -0.5, rel=0.05)
    tilted, _ = images[0]
    thicker = np.exp(-SHAPE[0] * 10 / 3100)  # by its own thickness once more, at 60 degrees
    assert tilted.std() == pytest.approx((3.0 * 100 * passed * thicker) ** -0.5, rel=0.04)
    protein = 0.1 * blob(SHAPE, (0, 0, 0), sigma=5)
    bright = np.mean([i for i, _ in made.images(protein, np.random.default_rng(0))], axis=0)
    middle = tuple(n // 2 for n in bright.shape)
    assert bright[middle] < bright.mean() - 3 * bright.std() / 2


def test_a_slab_comes_back_where_it_was_less_what_tilts_do_not_reach() -> None:
    made = SlabImaging((32, 48, 64), 10.0, PERFECT)
    place = (4, -7, 10)
    volume = blob((32, 48, 64), place)
    angles = np.deg2rad(made.acquisition.angles_deg)
    back = made.reconstruct([made._project(volume, angle) for angle in angles])
    at = np.argwhere(back == back.max())[0]
    np.testing.assert_array_equal(at, np.array([16, 24, 32]) + place)
    # Without a missing wedge and damage its height would be 1.
    assert 0.4 < back.max() < 1.0


def test_small_tilts_are_taken_first() -> None:
    acquisition = Acquisition(tilts_deg=(-54.0, 60.0, 3.0), exposure=3.0)
    angles, before = acquisition.angles_deg, acquisition.exposures()
    assert (angles[0], angles[-1], len(angles)) == (-54, 60, 39)
    assert before.min() == 1.5 == before[np.abs(angles).argmin()]
    assert before.max() == pytest.approx(38.5 * 3)


def test_flipped_phases_have_the_sign_of_the_density_beyond_the_first_zero() -> None:
    made = imaging((32, 64, 64), defocus_um=4.0)
    wave = np.cos(2 * np.pi * 26 / 64 * np.arange(64))  # 24.6 Å, beyond 28 Å
    image = np.broadcast_to(wave, (made.width, 64)).astype(np.float32).copy()
    seen = made._by_strips(image, 0.0, np.asarray)
    flipped = made.corrected(seen, 0.0, "phase-flipped")
    assert (seen * image).sum() < 0 < (flipped * image).sum()
    np.testing.assert_array_equal(made.corrected(seen, 0.0, "raw"), seen)
    with pytest.raises(ValueError, match="state must be one of"):
        made.corrected(seen, 0.0, "deconvolved")
