"""Averages -> a figure of them, beside the true density where it is known, with their FSC."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.dataset import ParticleSet
from civa.files import read_json, replacing
from civa.fitting import superpose
from civa.fourier import band, window_for
from civa.pasting import paste, relative_to_peak
from civa.portraits import Portrait, gallery
from civa.reconstruction import boosted, fourier_shell_correlation
from civa.simulation import render
from civa.volume import read_stack, read_volume, stack_voxel_size

CPU = torch.device("cpu")


def run(
    averages: Path,
    spectra: Path,
    metrics: Path,
    choice: Path,
    particles: Path,
    split: Path,
    templates: tuple[Path, ...] = (),
    *,
    out: Path,
) -> None:
    """Draw the average of every class with its contour, and the FSC of its half-sets.

    ``templates`` are the true densities of a simulated data set, files named after their
    structures; each is turned onto the average of its class.
    """
    data = ParticleSet(particles, split)
    maps, voxel_size = read_stack(averages), stack_voxel_size(averages)
    known, contour = read_json(metrics), read_json(choice)["contour"]
    curves = pd.read_csv(spectra, dtype={"class": str}, keep_default_na=False)
    files = {path.stem: path for path in templates}
    portraits = []
    for label, name in enumerate(data.names, start=1):
        density = np.array(maps[label - 1])
        if not known["defocus_known"]:
            density = boosted(density, voxel_size)
        curve, report = curves[curves["class"] == name], known["classes"][name]
        truth = None
        rows = data.table[data.labels == label]
        shown = str(rows["structure"].mode()[0]) if "structure" in rows else ""  # most of them
        if shown in files:
            template = read_volume(files[shown])[0]
            truth = _in_frame(template, density, known["radius_voxels"])
        shells = curve["shell"].to_numpy()
        portraits.append(
            Portrait(
                f"{name}\n{report['volumes']} volumes",
                relative_to_peak(density),
                None if truth is None else relative_to_peak(truth),
                contour,
                curve["resolution_angstrom"].to_numpy(),
                curve["fsc"].to_numpy(),
                None if truth is None else fourier_shell_correlation(density, truth)[shells],
                f"warnings: {len(report['doubts'])}, see {metrics.name}"
                if report["doubts"]
                else "",
            )
        )
    with replacing(out) as temporary:
        gallery(portraits).savefig(temporary, dpi=130)


def _in_frame(template: NDArray, average: NDArray, radius_voxels: float | None) -> NDArray:
    """Bring a true density to the voxels, the frame and the window of its average."""
    edge = average.shape[0]
    drawn = render(template, Rotation.identity(), np.zeros(3))
    truth = np.zeros((edge,) * 3, dtype=np.float32)
    extent = min(edge, drawn.shape[0])
    inner, outer = edge // 2 - extent // 2, drawn.shape[0] // 2 - extent // 2
    inside, part = slice(inner, inner + extent), slice(outer, outer + extent)
    truth[inside, inside, inside] = drawn[part, part, part]
    picked = band(edge, highest_shell=edge // 4, max_tilt_deg=90, device=CPU)
    matrix, offset, _ = superpose(
        torch.from_numpy(truth), torch.from_numpy(np.array(average)), picked
    )
    middle = np.full(3, edge // 2)
    turned = paste(truth, matrix[None], (offset + middle)[None], truth.shape, device=CPU)[0]
    return turned.astype(np.float32) * window_for(edge, radius_voxels)
