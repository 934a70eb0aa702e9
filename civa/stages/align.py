"""Averages -> the pose of the target in every volume, and how far to trust it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.consensus.alignment import Images, Optics
from civa.consensus.assignment import Assignment
from civa.consensus.centres import blob_centres, seed_centres, warn_of_empty_maps
from civa.consensus.fitting import Aligner
from civa.consensus.fourier import window_for
from civa.consensus.poses import Poses, pose_columns, relion_star
from civa.data.files import read_json, write_csv, write_text
from civa.data.particles import ParticleSet, check_ids, read_defocus, read_guides
from civa.data.volume import read_stack, stack_voxel_size, standardize
from civa.evaluation.trivial import lowpass
from civa.optics import Microscope
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    gradcam: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    averages: Path,
    spectra: Path,
    averages_record: Path,
    *,
    alignment: Path,
    star: Path,
    least_trust: float = -3.0,
    least_confidence: float = 0.95,
    other_centres: int = 4,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align every volume with the averages of its class: the predicted one outside training.

    ``alignment`` lists class, number of the average, pose, score (log-likelihood against no
    particle) and trust: how many robust standard deviations the score lies above the median of the
    average's training volumes.  Where the classifier is less sure than ``least_confidence``, or a
    volume fits badly or too well, other classes than that of the column ``told`` are tried; below
    ``least_trust``, or with a score that chance would reach, the ``other_centres`` brightest blobs
    as well (`civa.consensus.assignment`).  ``star`` holds the same poses as RELION reads them.
    """
    device = set_up_torch(0, threads, gpu)
    data = ParticleSet(particles, split)
    stack, cams, maps = read_stack(volumes), read_stack(gradcam), read_stack(averages)
    known = read_json(averages_record)
    microscope = Microscope(
        known["voltage_kv"], known["spherical_aberration_mm"], known["amplitude_contrast"]
    )
    optics = Optics(stack_voxel_size(volumes), known["max_tilt_deg"], microscope)
    window = window_for(stack.shape[1], known["radius_voxels"])
    defocus = read_defocus(data.table) if known["defocus_known"] else None
    noise = pd.read_csv(spectra, dtype={"average": str}, keep_default_na=False)
    guides = read_guides(predictions).astype(np.int64)
    aligners = {}
    for number, report in enumerate(known["averages"], start=1):
        own = noise["average"] == report["title"]
        power = noise.loc[own, "noise_power"].to_numpy(dtype=float)
        aligners[number] = Aligner(maps[number - 1], power, optics, window, device=device)

    def aligned(number: int, rows: NDArray, centres: NDArray) -> Poses:
        cut = None if defocus is None else defocus[rows]
        images = Images(standardize(stack[rows]), centres, cut)
        return Poses.of(number, *aligners[number].align(images))

    guessed = pd.read_csv(predictions, dtype={"id": str}, keep_default_na=False)
    check_ids(predictions, guessed, data.table, stage="localize")
    unsure = data.held_out & (guessed["confidence"].to_numpy(dtype=float) < least_confidence)
    smooth = lowpass(standardize(stack), 1.5)
    warn_of_empty_maps(cams, "all volumes")
    centres = seed_centres(smooth, cams)

    def other_starts(rows: NDArray) -> NDArray:
        blobs = blob_centres(smooth[rows], other_centres)
        return np.concatenate([centres[rows, None], blobs], axis=1)

    found = Assignment(
        aligned,
        labels=np.array([0, *(report["label"] for report in known["averages"])]),
        told=guides,
        unsure=unsure,
        trained=~data.held_out,
        least_trust=least_trust,
    )
    found.try_own_class(centres)
    found.try_other_classes(centres)
    tried = found.try_other_centres(other_starts)
    poses, labels, misfits = found.poses, found.labels, found.misfits
    _warn(misfits, tried, ~data.held_out & (labels != guides), least_trust)
    names = np.array(["", *data.names])
    table = data.table[["id"]].assign(
        **{"class": names[labels]},
        label=labels,
        average=poses.averages,
        told=names[guides],
        score=poses.scores,
        trust=poses.trust,
        misfit=misfits.astype(int),
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


def _warn(
    doubtful: NDArray[np.bool_], tried: int, mislabelled: NDArray[np.bool_], least: float
) -> None:
    """Say what does not fit, and which labels may be wrong."""
    if tried:
        logger.warning(
            "%d of %d volumes fitted their average badly (trust below %g, or a score that chance "
            "would reach); other centres and classes left %d of low trust: look at those",
            *(tried, len(doubtful), least, int(doubtful.sum())),
        )
    if mislabelled.any():
        logger.warning(
            "%d training volumes fit the average of another class than that of their label: check "
            "their labels, columns told and class of the table",
            int(mislabelled.sum()),
        )
