"""Picks are a prior: of two places that fit alike, the one that was picked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic import CPU, EDGE, SETUP, alike, particles, shape

from civa.consensus.alignment import pose_scores, search_grid
from civa.consensus.fourier import interpolator, select_band
from civa.consensus.picks import LEAST_REACH, MOST_REACH, Picks, Prior, search_reach
from civa.consensus.poses import rotation_grid, search_shifts, shift_grid
from civa.consensus.subtomograms import Spectra, Subtomograms
from civa.optics import TiltRange

SIGMA = 1.5


def test_the_prior_is_a_gaussian_about_the_pick() -> None:
    band = select_band(EDGE, highest_shell=4, tilts=[TiltRange()], device=CPU)
    plain = particles(np.stack([shape(), shape()]), band)
    assert plain.prior is None
    places = torch.tensor([[0.0, 0, 0], [1.0, -2, 0.5]])
    picked = replace(plain, prior=Prior(places, torch.full((2,), SIGMA**-2)))
    rotations = torch.eye(3).expand(2, 1, 3, 3)
    shifts = torch.tensor([[[0.0, 0, 0]], [[0.0, 0, 3]]])
    reference = interpolator(torch.from_numpy(shape()))
    gain = pose_scores(picked, reference, band, rotations, shifts) - pose_scores(
        plain, reference, band, rotations, shifts
    )
    expected = [0.0, -(1 + 4 + 6.25) / (2 * SIGMA**2)]
    np.testing.assert_allclose(gain[:, 0].numpy(), expected, atol=2e-4)
    only = picked[torch.tensor([1])].prior
    assert only is not None
    assert float(only.log(shifts[1:])) == pytest.approx(expected[1])


def test_a_brighter_neighbour_is_left_alone() -> None:
    box = shape() + 1.2 * np.roll(shape(), 7, axis=2)
    band = select_band(EDGE, highest_shell=7, tilts=[TiltRange()], device=CPU)
    spectra = particles(box[None].astype(np.float32), band)
    reference = interpolator(torch.from_numpy(shape()))
    grids = (torch.from_numpy(rotation_grid(576)).float(), torch.from_numpy(shift_grid(8)).float())
    # As faint as a sub-tomogram is: its log-likelihood, against no particle, is some tens.
    ((strong,),) = search_grid(spectra, reference, band, *grids, keep=1)[0]
    share = 20 / float(strong)
    spectra = Spectra(spectra.weighted * share, spectra.power * share)

    def found(some: Spectra, *, around: float = 0.0) -> float:
        _, _, places = search_grid(some, reference, band, *grids, keep=1)
        return float((grids[1][places[0, 0]] - torch.tensor([0, 0, around])).norm())

    assert found(spectra) > 5
    prior = Prior(torch.zeros(1, 3), torch.full((1,), SIGMA**-2))
    assert found(replace(spectra, prior=prior)) < 2
    # Nor is it sought where it belongs to somebody else, however vague the pick is.
    vague = Prior(torch.zeros(1, 3), torch.full((1,), 100.0**-2))
    assert found(replace(spectra, prior=vague), around=7) < 2
    taken = replace(vague, taken=torch.tensor([[[0.0, 0, 7], [torch.nan] * 3]]))
    assert found(replace(spectra, prior=taken), around=7) >= 3


def test_picks_follow_the_boxes_that_are_cut() -> None:
    volumes = np.random.default_rng(0).standard_normal((3, 40, 40, 40)).astype(np.float32)
    places = np.array([[20.0, 20, 20], [18, 22, 20], [20, 20, 23]])
    centres = places + [[1.4, 0, 0], [0, 0, 0], [0, -2.2, 0]]
    some = Subtomograms(volumes, np.arange(3), centres, alike(3), Picks(places, np.full(3, SIGMA)))
    whitened = SETUP.whiten(some[np.array([0, 2])], SETUP.band(4))
    spectra = whitened[np.array([0, 1])]
    assert spectra.prior is not None
    np.testing.assert_allclose(spectra.prior.places.numpy(), [[-1, 0, 0], [0, 2, 0]])
    assert some.moved(torch.zeros(3, 3)).picks is some.picks


def test_boxes_cut_at_picks_have_them_in_the_middle() -> None:
    table = pd.DataFrame({"id": ["a", "b"], "pick_error_voxels": ["2", "2.5"]})
    picks = Picks.of_boxes(table, (32, 32, 32))
    assert picks is not None
    assert picks.places.tolist() == [[16, 16, 16]] * 2
    assert picks[1:].error_voxels.tolist() == [2.5]
    assert Picks.of_boxes(table[["id"]], (32, 32, 32)) is None
    for wrong in ("0", "", "far"):
        with pytest.raises(ValueError, match=r"pick_error_voxels must be .* not for ids \['b'\]"):
            Picks.of_boxes(table.assign(pick_error_voxels=["2", wrong]), (32, 32, 32))


def test_particles_are_looked_for_as_far_as_picks_may_be_off() -> None:
    def picks(*errors: float) -> Picks:
        return Picks(np.zeros((len(errors), 3)), np.array(errors))

    assert search_reach(None) == LEAST_REACH
    assert search_reach(picks(0.5)) == LEAST_REACH
    assert search_reach(picks(0.5, 2.0)) == 5
    assert search_reach(picks(100.0)) == MOST_REACH  # whatever lies farther is another particle
    for reach in (3.0, 4.0, 5.0, 8.0):
        shifts = search_shifts(reach)
        lengths = np.linalg.norm(shifts, axis=1)
        assert lengths[0] == 0
        assert lengths.max() == pytest.approx(reach)
        along = np.unique(shifts[:, 0])
        assert np.diff(along).max() <= 1.25 + 1e-9
    assert (search_shifts(3.0) == shift_grid(3.0)).all()
