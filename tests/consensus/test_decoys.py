"""Decoys have what a blob of the size, or noise of the spectrum, has in common with an average."""

import numpy as np
from synthetic import EDGE, WINDOW, shape

from civa.consensus.decoys import scrambled, spherical
from civa.consensus.reconstruction import fourier_shell_correlation


def test_a_spherical_average_is_the_same_from_everywhere_and_keeps_its_mass() -> None:
    blob = spherical(shape())
    inner = slice(4, EDGE - 3)  # about the middle, which a turn by a quarter keeps
    cube = blob[inner, inner, inner]
    np.testing.assert_allclose(cube, np.rot90(cube, axes=(0, 2)), atol=1e-5)
    assert abs(blob.sum() / shape().sum() - 1) < 0.05
    np.testing.assert_allclose(spherical(blob), blob, atol=0.08 * blob.max())


def test_random_phases_keep_the_power_of_every_shell_and_nothing_else() -> None:
    drawn = scrambled(shape(), WINDOW, np.random.default_rng(1))
    again = scrambled(shape(), WINDOW, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn, again)
    power, expected = (np.abs(np.fft.fftn(one)) ** 2 for one in (drawn, shape()))
    assert abs(power.sum() / expected.sum() - 1) < 0.02
    correlation = fourier_shell_correlation(drawn, shape())
    assert np.abs(correlation[3:9]).mean() < 0.3
