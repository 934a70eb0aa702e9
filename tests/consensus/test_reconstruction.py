import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, particles, shape, turned

from civa.consensus.fourier import select_band
from civa.consensus.poses import to_matrices
from civa.consensus.reconstruction import fourier_shell_correlation, insert, reconstruct
from civa.optics import TiltRange


def test_turned_copies_average_back_to_the_shape_they_show():
    generator = np.random.default_rng(1)
    matrices = to_matrices(Rotation.random(40, rng=generator))
    shifts = generator.uniform(-1, 1, size=(40, 3))
    boxes = np.stack([turned(shape(), m, s) for m, s in zip(matrices, shifts, strict=True)])
    band = select_band(EDGE, highest_shell=11, tilts=[TiltRange()], device=CPU)
    total = insert(
        particles(boxes, band),
        band,
        torch.from_numpy(matrices).float(),
        torch.from_numpy(shifts).float(),
    )
    found = reconstruct(total, EDGE, torch.ones(EDGE // 2 + 1)).numpy()
    wanted = shape() - shape().mean()  # frequency 0 is not looked at
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.98
    scale = (found * wanted).sum() / (wanted**2).sum()
    assert scale == pytest.approx(1, abs=0.05)


def test_fsc_is_1_for_a_map_with_itself_and_near_0_for_noise():
    generator = np.random.default_rng(2)
    first, second = generator.standard_normal((2, 16, 16, 16))
    assert fourier_shell_correlation(first, 3 * first) == pytest.approx(np.ones(9))
    assert np.abs(fourier_shell_correlation(first, second)[3:]).max() < 0.2
    mixed = fourier_shell_correlation(first, first + second)[3:]
    assert mixed == pytest.approx(np.full(6, np.sqrt(0.5)), abs=0.1)
