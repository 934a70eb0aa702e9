"""Averages -> a figure of them, beside the true density where it is known, with their FSC."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.consensus.alignment import superpose
from civa.consensus.averages import Averages
from civa.consensus.fourier import select_band, window_for
from civa.consensus.map_back import map_back, relative_to_peak
from civa.consensus.reconstruction import fourier_shell_correlation
from civa.data.files import read_json, replacing
from civa.data.particles import ParticleSet
from civa.data.volume import read_volume
from civa.report.plots.averages import Portrait, gallery
from civa.simulation.specimen import render

CPU = torch.device("cpu")
LEAST_SHARE = 0.2  # of a class: a structure with less is a matter of wrong labels


def run(
    averages: Path,
    spectra: Path,
    averages_record: Path,
    choice: Path,
    particles: Path,
    split: Path,
    templates: tuple[Path, ...] = (),
    *,
    out: Path,
) -> None:
    """Draw the average of every class with its contour, and the FSC of its half-sets.

    ``templates`` are the true densities of a simulated data set, files named after their
    structures; that of its class which fits best is turned onto every average.

    Parameters
    ----------
    averages
        (a, d, h, w) averages, MRC stack; a is their number.
    spectra
        CSV table of every average and shell: FSC of the half-sets, noise power.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    choice
        JSON record of the contour, a share of the peak.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    templates
        (d, h, w) electron potentials, MRC volumes at half the voxel size.
    out
        PNG figure.
    """
    data = ParticleSet(particles, split)
    known, contour = (
        Averages.read(averages, averages_record, spectra=spectra),
        read_json(choice)["contour"],
    )
    files = {path.stem: path for path in templates}
    portraits = []
    maps = known.relative(known.densities)
    for index, (density, report) in enumerate(zip(maps, known.reports, strict=True)):
        curve = known.curve(index)
        rows = data.table[data.labels == report["label"]]
        candidates = [
            _in_frame(read_volume(files[shown])[0], density, known.radius_voxels)
            for shown in _shown(rows)
            if shown in files
        ]
        truth = max(candidates, key=lambda pair: pair[1])[0] if candidates else None
        shells = curve["shell"].to_numpy()
        portraits.append(
            Portrait(
                f"{report['title']}\n{report['volumes']} volumes",
                density,
                None if truth is None else relative_to_peak(truth),
                contour,
                curve["resolution_angstrom"].to_numpy(),
                curve["fsc"].to_numpy(),
                None if truth is None else fourier_shell_correlation(density, truth)[shells],
                report["shared_angstrom"],
                f"warnings: {len(report['doubts'])}, see {averages_record.name}"
                if report["doubts"]
                else "",
            )
        )
    with replacing(out) as temporary:
        gallery(portraits).savefig(temporary, dpi=130)


def _shown(rows: pd.DataFrame) -> list[str]:
    """Structures that more than a fifth of the volumes of a class show."""
    if "structure" not in rows:
        return []
    shares = rows["structure"].value_counts(normalize=True)
    return [str(name) for name in shares.index[shares > LEAST_SHARE]]


def _in_frame(
    template: NDArray, average: NDArray, radius_voxels: float | None
) -> tuple[NDArray, float]:
    """Bring a true density to the voxels, frame and window of an average; how they correlate."""
    edge = average.shape[0]
    drawn = render(template, Rotation.identity(), np.zeros(3))
    truth = np.zeros((edge,) * 3, dtype=np.float32)
    extent = min(edge, drawn.shape[0])
    inner, outer = edge // 2 - extent // 2, drawn.shape[0] // 2 - extent // 2
    inside, part = slice(inner, inner + extent), slice(outer, outer + extent)
    truth[inside, inside, inside] = drawn[part, part, part]
    band = select_band(edge, highest_shell=edge // 4, device=CPU)
    matrix, offset, correlation = superpose(
        torch.from_numpy(truth), torch.from_numpy(np.array(average)), band
    )
    middle = np.full(3, edge // 2)
    turned = map_back(truth, matrix[None], (offset + middle)[None], truth.shape, device=CPU)[0]
    return turned.astype(np.float32) * window_for(edge, radius_voxels), correlation
