"""Averages -> the pose of the target in every volume, and how far to trust it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.alignment import Images, Optics
from civa.baselines import lowpass
from civa.centres import blob_centres, seed_centres, warn_of_empty_maps
from civa.dataset import ParticleSet, check_ids, read_defocus, read_guides
from civa.files import read_json, write_csv, write_text
from civa.fitting import Aligner
from civa.fourier import window_for
from civa.imaging import Microscope
from civa.poses import Poses, pose_columns, relion_star, robust_level
from civa.training import prepare
from civa.volume import read_stack, stack_voxel_size, standardize

logger = logging.getLogger(__name__)

DOUBTFUL_TRUST = -1.0  # below it lies a sixth of good volumes, and most that show something else
CHANCE_NATS = 15.0  # of log-likelihood: what the best of all poses reaches where nothing is
BELIEF_NATS = 10.0  # of log-likelihood: what a label, or a sure prediction, counts


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
    least_confidence: float = 0.95,
    other_centres: int = 4,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align every volume with the averages of its class: the predicted one outside training.

    ``alignment`` lists class, number of the average, pose, score (log-likelihood against no
    particle) and trust: how many robust standard deviations the score lies above the median of the
    average's training volumes.  Where the classifier is less sure than ``least_confidence``, or the
    trust is below -1 or far above what is typical, every class is tried, and the likeliest kept; a
    label, or a prediction that is sure, counts too.  Below ``least_trust``, or with a score that
    chance would reach, the ``other_centres`` brightest blobs are tried as well, and the pose of
    highest trust kept.  Another class than that of the column ``told`` is taken only where the
    volume fits its average as the average's own do: no worse, and no better, for the average of a
    small particle can explain much of a large one.  ``star`` holds the same poses as RELION reads
    them.
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
    noise = pd.read_csv(spectra, dtype={"average": str}, keep_default_na=False)
    guides = read_guides(predictions).astype(np.int64)
    label_of = np.array([0, *(report["label"] for report in known["averages"])])
    aligners = {}
    for number, report in enumerate(known["averages"], start=1):
        own = noise["average"] == report["title"]
        power = noise.loc[own, "noise_power"].to_numpy(dtype=float)
        aligners[number] = Aligner(maps[number - 1], power, optics, window, device=device)

    def aligned(number: int, rows: NDArray, centres: NDArray) -> Poses:
        cut = None if defocus is None else defocus[rows]
        images = Images(standardize(stack[rows]), centres, cut)
        return Poses.of(number, *aligners[number].align(images))

    smooth = lowpass(standardize(stack), 1.5)
    warn_of_empty_maps(cams, "all volumes")
    centres = seed_centres(smooth, cams)
    poses = Poses.empty(len(stack))
    for number in aligners:
        members = np.flatnonzero(guides == label_of[number])
        if len(members):
            poses.improve(members, aligned(number, members, centres[members]), by="scores")
    trained = ~data.held_out
    typical = {n: robust_level(poses.scores[trained & (poses.averages == n)]) for n in aligners}
    poses.judge(typical)
    guessed = pd.read_csv(predictions, dtype={"id": str}, keep_default_na=False)
    check_ids(predictions, guessed, data.table, stage="localize")
    unsure = ~trained & (guessed["confidence"].to_numpy(dtype=float) < least_confidence)
    belief = np.where(unsure, 0.0, BELIEF_NATS)

    def alien(tried: Poses, rows: NDArray) -> NDArray[np.bool_]:
        contradicts = label_of[tried.averages] != guides[rows]
        return contradicts & (np.abs(tried.trust) > -least_trust)

    doubtful = np.flatnonzero(
        unsure | (poses.trust < DOUBTFUL_TRUST) | (poses.trust > -least_trust)
    )
    for number in aligners:
        rows = doubtful[guides[doubtful] != label_of[number]]
        if len(rows):
            tried = aligned(number, rows, centres[rows])
            tried.judge(typical)
            tried.scores -= belief[rows]
            tried.scores[alien(tried, rows)] = -np.inf
            poses.improve(rows, tried, by="scores")
    changed = label_of[poses.averages] != guides
    poses.scores[changed] += belief[changed]
    misfits = np.flatnonzero((poses.trust < least_trust) | (poses.scores < CHANCE_NATS))
    if len(misfits):
        blobs = blob_centres(smooth[misfits], other_centres)
        starts = np.concatenate([centres[misfits, None], blobs], axis=1)  # (b, s, 3)
        for number in aligners:
            for column in range(starts.shape[1]):
                tried = aligned(number, misfits, starts[:, column])
                tried.judge(typical)
                tried.trust[alien(tried, misfits)] = -np.inf
                poses.improve(misfits, tried)
    labels = label_of[poses.averages]
    _warn(poses.trust < least_trust, len(misfits), trained & (labels != guides), least_trust)
    names = np.array(["", *data.names])
    table = data.table[["id"]].assign(
        **{"class": names[labels]},
        label=labels,
        average=poses.averages,
        told=names[guides],
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
