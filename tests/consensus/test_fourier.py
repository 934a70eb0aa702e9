import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, shape, turned

from civa.consensus.fourier import (
    coefficients,
    cut_out,
    interpolator,
    phases,
    select_band,
    slices,
    soft_ball,
)
from civa.consensus.poses import to_matrices
from civa.optics import TiltRange


def test_a_band_keeps_one_of_two_mates_outside_the_wedge_up_to_its_shell():
    whole = select_band(8, highest_shell=3, device=CPU)
    steps = np.fft.fftfreq(8) * 8
    radius = np.sqrt(sum(np.square(g) for g in np.meshgrid(steps, steps, steps)))
    inside = (radius <= 3).sum() - 1  # without frequency 0
    assert len(whole.indices) == inside / 2
    assert whole.largest == 3
    both = np.concatenate([whole.frequencies.numpy(), -whole.frequencies.numpy()])
    assert len(np.unique(both, axis=0)) == inside
    wedged = select_band(8, highest_shell=3, tilts=[TiltRange()], device=CPU)
    z, _, x = wedged.frequencies.T
    assert (z.abs() <= x.abs() * np.tan(np.pi / 3) + 1e-6).all()
    assert 0.5 < len(wedged.indices) / len(whole.indices) < 0.85


def test_a_soft_ball_is_1_inside_0_outside_and_half_at_its_radius():
    ball = soft_ball(33, 10.0, width=4.0)
    assert ball[16, 16, 16 + 7] == 1 and ball[16, 16, 16 + 13] == 0
    assert ball[16, 16, 16 + 10] == pytest.approx(0.5)


def test_cutting_out_puts_the_centre_in_the_middle_and_nothing_outside():
    volume = np.zeros((1, 16, 16, 16), dtype=np.float32)
    volume[0, 1, 14, 9] = 7.0
    cut = cut_out(volume + 1, np.array([[1, 14, 9]]), np.ones((16, 16, 16), np.float32))
    assert cut[0, 8, 8, 8] == 8.0
    assert cut[0, 0, 8, 8] == 0.0  # 8 voxels above index 1 there is nothing
    assert cut[0, 8, 15, 8] == 0.0


def test_a_middle_at_the_origin_has_a_real_transform():
    box = torch.zeros(1, 8, 8, 8)
    box[0, 4, 4, 4] = 1.0
    band = select_band(8, highest_shell=3, device=CPU)
    assert torch.allclose(coefficients(box, band), torch.ones(1, len(band.indices)) + 0j)


def test_slices_are_the_transform_of_the_turned_reference():
    matrix = to_matrices(Rotation.from_rotvec([[0.4, -0.7, 0.5]]))
    band = select_band(EDGE, highest_shell=6, tilts=[TiltRange()], device=CPU)
    expected = coefficients(torch.from_numpy(turned(shape(), matrix[0], np.zeros(3)))[None], band)[
        0
    ]
    (found,) = slices(
        interpolator(torch.from_numpy(shape())),
        torch.from_numpy(matrix).float(),
        band.frequencies,
    )
    # What is left is the spline's own blur.
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_phases_undo_a_displacement():
    band = select_band(EDGE, highest_shell=6, tilts=[TiltRange()], device=CPU)
    boxes = np.stack([shape(), np.roll(shape(), (2, -1, 3), axis=(0, 1, 2))])
    still, moved = coefficients(torch.from_numpy(boxes), band)
    back = moved * phases(band.frequencies, torch.tensor([[2.0, -1.0, 3.0]]))[0]
    assert torch.allclose(back, still, atol=1e-4)
