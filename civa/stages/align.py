"""Averages -> the pose of the target in every volume, and how far to trust it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.alignment import Images, Optics
from civa.baselines import lowpass
from civa.centres import blob_centres, seed_centres
from civa.dataset import ParticleSet, read_defocus, read_guides
from civa.files import read_json, write_csv, write_text
from civa.fitting import Aligner
from civa.fourier import window_for
from civa.imaging import Microscope
from civa.poses import Poses, pose_columns, relion_star, robust_level
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
    other_centres: int = 4,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align every volume with the average of its class: the predicted one outside training.

    ``alignment`` lists class, pose, score (log-likelihood against no particle) and trust: how many
    robust standard deviations the score lies above the median of the class's training volumes.
    A volume of less than ``least_trust`` is tried again from its ``other_centres`` brightest blobs
    and, unless its class is labelled, with every class; the pose of highest trust is kept.
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
    guides = read_guides(predictions).astype(np.int64)
    aligners = []
    for label, name in enumerate(data.names, start=1):
        power = noise.loc[noise["class"] == name, "noise_power"].to_numpy(dtype=float)
        aligners.append(Aligner(maps[label - 1], power, optics, window, device=device))

    def images(rows: NDArray, centres: NDArray) -> Images:
        return Images(standardize(stack[rows]), centres, None if defocus is None else defocus[rows])

    smooth = lowpass(standardize(stack), 1.5)
    centres = seed_centres(smooth, cams)
    poses = Poses.empty(len(stack))
    typical = {}
    for label, aligner in enumerate(aligners, start=1):
        members = np.flatnonzero(guides == label)
        if len(members):
            poses.put(members, label, *aligner.align(images(members, centres[members])))
        trained = np.intersect1d(members, data.parts["train"])
        typical[label] = robust_level(poses.scores[trained])
    poses.judge(typical)
    misfits = np.flatnonzero(poses.trust < least_trust)
    if len(misfits):
        blobs = blob_centres(smooth[misfits], other_centres)
        starts = np.concatenate([centres[misfits, None], blobs], axis=1)  # (b, s, 3)
        for label, aligner in enumerate(aligners, start=1):
            # a labelled volume keeps its class; the others may be of any
            free = data.held_out[misfits] | (guides[misfits] == label)
            for column in range(starts.shape[1]):
                tried = Poses.empty(int(free.sum()))
                tried.put(
                    slice(None), label, *aligner.align(images(misfits[free], starts[free, column]))
                )
                tried.judge(typical)
                poses.improve(misfits[free], tried)
        doubtful = int((poses.trust < least_trust).sum())
        logger.warning(
            "%d of %d volumes fitted their average badly (trust below %g); other centres and "
            "classes left %d: look at them, they have trust below that in the table",
            *(len(misfits), len(stack), least_trust, doubtful),
        )
    table = data.table[["id"]].assign(
        **{"class": [data.names[label - 1] for label in poses.labels]},
        label=poses.labels,
        score=poses.scores,
        trust=poses.trust,
        misfit=(poses.trust < least_trust).astype(int),
    )
    offsets = poses.centres - np.array(stack.shape[1:]) // 2
    columns = pose_columns(poses.matrices, offsets)
    write_csv(alignment, table.assign(**columns))
    listed = relion_star(
        table,
        poses.matrices,
        offsets,
        stack=volumes.name,
        box_voxels=stack.shape[1],
        voxel_size_angstrom=optics.voxel_size_angstrom,
    )
    write_text(star, listed)
