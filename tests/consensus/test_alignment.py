import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, particles, shape, turned

from civa.consensus.alignment import pose_scores, refine, search_grid
from civa.consensus.fourier import interpolator, select_band
from civa.consensus.poses import rotation_grid, shift_grid, to_matrices
from civa.optics import TiltRange


def test_the_score_is_the_gain_in_likelihood_and_largest_at_the_truth():
    band = select_band(EDGE, highest_shell=6, tilts=[TiltRange()], device=CPU)
    spectra = particles(shape()[None], band)
    rotation, nowhere = torch.eye(3)[None, None], torch.zeros(1, 1, 3)
    reference = interpolator(torch.from_numpy(shape()))
    (score,) = pose_scores(spectra, reference, band, rotation, nowhere)[0]
    energy = (spectra.weighted.abs() ** 2).sum()
    # |V|^2 - |V - T|^2 = |V|^2 where the reference explains everything.
    assert score == pytest.approx(float(energy), rel=0.03)
    (half,) = pose_scores(spectra, 0.5 * reference, band, rotation, nowhere)[0]
    assert half == pytest.approx(0.75 * float(energy), rel=0.03)


def test_search_and_refinement_find_a_pose_that_is_not_on_the_grid():
    generator = np.random.default_rng(3)
    band = select_band(EDGE, highest_shell=7, tilts=[TiltRange()], device=CPU)
    truth = to_matrices(Rotation.random(4, rng=generator))
    shifts = generator.uniform(-1.4, 1.4, size=(4, 3))
    boxes = np.stack([turned(shape(), m, s) for m, s in zip(truth, shifts, strict=True)])
    boxes += 0.05 * generator.standard_normal(boxes.shape).astype(np.float32)
    spectra = particles(boxes, band)
    grid = torch.from_numpy(rotation_grid(1000)).float()
    moves = torch.from_numpy(shift_grid(2)).float()
    reference = interpolator(torch.from_numpy(shape()))
    scores, turns, places = search_grid(spectra, reference, band, grid, moves, keep=3, chunk=3)
    assert (scores.diff(dim=1) <= 0).all()
    final, rotations, found = refine(
        spectra, reference, band, grid[turns[:, 0]], moves[places[:, 0]], first_turn_deg=12
    )
    assert (final >= scores[:, 0] - 1e-3).all()
    trace = np.einsum("nij,nij->n", rotations.numpy(), truth)
    assert np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1))).max() < 3
    assert np.abs(found.numpy() - shifts).max() < 0.25
    (alone,) = refine(
        spectra[2:3], reference, band, grid[turns[2:3, 0]], moves[places[2:3, 0]], first_turn_deg=12
    )[0]
    assert alone == pytest.approx(float(final[2]), rel=1e-4)
