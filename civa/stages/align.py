"""Averages -> the pose of the target in every volume, and how far to trust it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from civa.alignment import Images, Optics
from civa.averaging import Aligner
from civa.baselines import lowpass
from civa.centres import seed_centres
from civa.dataset import ParticleSet, read_defocus, read_guides
from civa.files import read_json, write_csv, write_text
from civa.fourier import window_for
from civa.imaging import Microscope
from civa.poses import pose_columns, relion_star
from civa.training import prepare
from civa.volume import read_stack, stack_voxel_size, standardize

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    gradcam: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    averages: Path,
    spectra: Path,
    metrics: Path,
    *,
    alignment: Path,
    star: Path,
    least_trust: float = -3.0,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align every volume with the average of its class: the predicted one outside training.

    ``alignment`` lists pose, score (log-likelihood against no particle) and trust: how many robust
    standard deviations the score lies above the median of the class's training volumes.
    ``star`` holds the same poses as RELION reads them.
    """
    device = prepare(0, threads, gpu)
    data = ParticleSet(particles, split)
    stack, cams, maps = read_stack(volumes), read_stack(gradcam), read_stack(averages)
    known = read_json(metrics)
    microscope = Microscope(
        known["voltage_kv"], known["spherical_aberration_mm"], known["amplitude_contrast"]
    )
    optics = Optics(stack_voxel_size(volumes), known["max_tilt_deg"], microscope)
    window = window_for(stack.shape[1], known["radius_voxels"])
    defocus = read_defocus(data.table) if known["defocus_known"] else None
    noise = pd.read_csv(spectra, dtype={"class": str}, keep_default_na=False)
    guides = read_guides(predictions)
    n = len(stack)
    matrices, centres = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3))
    scores, trust = np.zeros(n), np.zeros(n)
    for label, name in enumerate(data.names, start=1):
        members = np.flatnonzero(guides == label)
        if not len(members):
            continue
        boxes = standardize(stack[members])
        images = Images(
            boxes,
            seed_centres(lowpass(boxes, 1.5), cams[members]),
            None if defocus is None else defocus[members],
        )
        power = noise.loc[noise["class"] == name, "noise_power"].to_numpy(dtype=float)
        aligner = Aligner(maps[label - 1], power, optics, window, device=device)
        scores[members], matrices[members], centres[members] = aligner.align(images)
        trained = np.intersect1d(members, data.parts["train"])
        trust[members] = robust_deviations(scores[members], scores[trained])
    doubtful = int((trust < least_trust).sum())
    if doubtful:
        logger.warning(
            "%d of %d volumes fit their average badly (trust below %g): look at them, at their "
            "class and at their centre",
            *(doubtful, n, least_trust),
        )
    table = data.table[["id"]].assign(
        **{"class": [data.names[guide - 1] for guide in guides]}, label=guides, score=scores
    )
    offsets = centres - np.array(stack.shape[1:]) // 2
    write_csv(alignment, table.assign(trust=trust, **pose_columns(matrices, offsets)))
    listed = relion_star(
        table,
        matrices,
        offsets,
        stack=volumes.name,
        box_voxels=stack.shape[1],
        voxel_size_angstrom=optics.voxel_size_angstrom,
    )
    write_text(star, listed)


def robust_deviations(scores: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Deviations of scores from the median of the training volumes', in robust sigmas."""
    middle = np.median(trained)
    spread = 1.4826 * np.median(np.abs(trained - middle))
    return (scores - middle) / max(float(spread), 1e-12)
