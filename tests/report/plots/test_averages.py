"""Figures of averages beside the truth."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, shape, turned

from civa.consensus.alignment import superpose
from civa.consensus.fourier import select_band
from civa.consensus.map_back import map_back, relative_to_peak
from civa.consensus.poses import to_matrices
from civa.report.plots.averages import Portrait, gallery


def portrait(**changes: object) -> Portrait:
    shells = np.arange(1, 12)
    values = {
        "title": "bent\n16 volumes",
        "average": shape(),
        "truth": shape(),
        "contour": 0.25,
        "resolutions_angstrom": 480 / shells,
        "fsc": np.linspace(1, 0, 11),
        "against_truth": np.linspace(1, 0.2, 11),
        "shared_angstrom": 480 / 7,
    }
    return Portrait(**{**values, **changes})


def test_superposing_brings_a_density_onto_another_in_any_scale() -> None:
    matrix = to_matrices(Rotation.from_rotvec([[1.1, -0.4, 0.8]]))[0]
    fixed = turned(shape(), matrix, np.array([1.0, -0.6, 0.4]))
    band = select_band(EDGE, highest_shell=6, device=CPU)
    found, offset, correlation = superpose(
        torch.from_numpy(7 * shape()), torch.from_numpy(fixed), band
    )
    assert correlation > 0.98
    assert offset == pytest.approx([1.0, -0.6, 0.4], abs=0.15)
    middle = np.full(3, EDGE // 2)
    centre = (offset + middle)[None]
    (mapped_back,) = map_back(shape(), found[None], centre, fixed.shape, device=CPU)
    assert np.corrcoef(mapped_back.ravel(), fixed.ravel())[0, 1] > 0.98


def test_a_density_is_scaled_by_its_brightest_voxels() -> None:
    scaled = relative_to_peak(5 * shape())
    assert np.sort(scaled, axis=None)[-20:].mean() == pytest.approx(1)
    with pytest.raises(ValueError, match="no positive density"):
        relative_to_peak(-np.ones((4, 4, 4)))


def test_a_gallery_has_slices_of_average_and_truth_and_a_curve_for_every_class() -> None:
    figure = gallery([portrait(), portrait(truth=None, against_truth=None, remark="too few")])
    assert len(figure.axes) == 2 * (3 + 3 + 1)
    known, unknown = figure.axes[6], figure.axes[13]
    assert [line.get_label() for line in known.lines[:2]] == ["half-sets", "with the truth"]
    assert len(unknown.lines) == len(known.lines) - 1
    (span,) = known.patches
    assert span.get_label() == "half-sets not independent"
    assert span.get_x() + span.get_width() == pytest.approx(7 / 480)
    assert unknown.get_title() == "too few"
    assert [text.get_text() for text in figure.axes[10].texts] == ["not known"]
