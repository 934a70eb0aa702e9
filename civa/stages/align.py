"""Averages -> the pose of the target in every volume, and how far to trust it."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.consensus.alignment import Aligner
from civa.consensus.assignment import Assignment
from civa.consensus.averages import Averages
from civa.consensus.centres import blobs_of, centres_of
from civa.consensus.crowding import contested, leave_to_others
from civa.consensus.decoys import scrambled, spherical
from civa.consensus.picks import Picks, search_reach
from civa.consensus.pose_errors import pose_agreement, pose_errors
from civa.consensus.poses import Poses, pose_columns
from civa.consensus.rivals import Rivals, Scorer, find_rivals
from civa.consensus.subtomograms import Setup, Subtomograms
from civa.consensus.weights import read_weights
from civa.data.files import write_csv
from civa.data.particles import ParticleSet, read_predictions
from civa.data.stack import Stack, open_volumes
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)

Source = Callable[[NDArray, NDArray], Subtomograms]
Align = Callable[[int, NDArray, NDArray], Poses]

ROUNDS = 3  # of volumes that are aligned again without a particle of others

DECOY_SEED, POSTERIOR_SEED = 1, 2
TURNLESS: dict[str, Any] = {"rotations": 24}  # of what looks the same from everywhere


def run(
    volumes: Path,
    gradcam: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    averages: Path,
    spectra: Path,
    averages_record: Path,
    weights: tuple[Path, ...] = (),
    *,
    alignment: Path,
    least_trust: float = -3.0,
    least_confidence: float = 0.95,
    other_centres: int = 4,
    judge: bool = True,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align every volume with the averages of its class: the predicted one outside training.

    ``alignment`` lists class, number of the average, pose, score (log-likelihood against no
    particle) and trust: how many robust standard deviations the score lies above the median of the
    average's training volumes.  Where the classifier is less sure than ``least_confidence``, or a
    volume fits badly or too well, other classes than that of the column ``told`` are tried; below
    ``least_trust``, or with a score that chance would reach, the ``other_centres`` brightest blobs
    as well (`civa.consensus.assignment`).  ``class_probability`` is that of the class against all
    others, ``rival`` the next of them, and ``decoy_margin`` how far the score lies above that of
    decoys, which no volume shows (`civa.consensus.rivals`); ``probability`` is that of the average
    against all of these together.  ``turn_error_deg`` and ``shift_error_voxels`` say how far the
    pose may be off, ``pose_agreement`` which IoU that leaves (`civa.consensus.pose_errors`).
    Decoys and errors cost as much as the rest: without ``judge`` there are none.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    gradcam
        (n, d, h, w) Grad-CAM maps, MRC stack; maximum 1 each.
    particles
        CSV table of the volumes, a row each: id, class, label; and as `average` reads it.
    split
        CSV table: class and part (train, validation, test) of every volume.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    averages
        (a, d, h, w) averages, MRC stack; a is their number.
    spectra
        CSV table of every average and shell: FSC of the half-sets, noise power.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    weights
        (g, d, h, w) transfer and noise of every group's Fourier voxels, MRC stacks; none: one
        number per shell.
    judge
        whether decoys and errors of poses are wanted
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels),
        trust.
    """
    device = set_up_torch(0, threads, gpu)
    data = ParticleSet(particles, split)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    cams = Stack.open(gradcam).expect_volumes(len(stack))
    known = Averages.read(averages, averages_record, spectra=spectra)
    predicted = read_predictions(predictions, data.table)
    picks = Picks.of_boxes(data.table, stack.shape[1:])
    centres = centres_of(stack, cams, np.arange(len(stack)), what="all volumes", picks=picks)

    def other_starts(rows: NDArray) -> NDArray:
        if picks is not None:  # the particle lies near its pick: what lies elsewhere is another one
            return centres[rows, None]
        blobs = blobs_of(stack, rows, other_centres)  # (m, s, 3)
        return np.concatenate([centres[rows, None], blobs], axis=1)  # (m, 1 + s, 3)

    imaging, acquisitions = known.imaging(data.table)
    setup = known.setup(acquisitions, device, read_weights(weights, imaging))
    reach = search_reach(picks)
    aligners = [
        Aligner(density, known.common_noise, setup, reach_voxels=reach)
        for density in known.densities
    ]

    def by(picks: Picks | None) -> Align:
        return functools.partial(
            _align, aligners, functools.partial(Subtomograms.at, stack, imaging, picks)
        )

    found = Assignment(
        by(picks),
        labels=known.labels,
        given_class=predicted.map_class,
        unsure=data.held_out & (predicted.confidence < least_confidence),
        trained=~data.held_out,
        least_z_score=least_trust,
    )
    found.try_own_class(centres)
    found.try_other_classes(centres)
    tried = found.try_other_centres(other_starts)
    middle = np.array(stack.shape[1:]) // 2
    if picks is not None:
        picks = _left_to_others(found, picks, data.table, centres, stack.voxel_size_angstrom, by)
    some_of = functools.partial(Subtomograms.at, stack, imaging, picks)
    decoys = _decoys(setup, known, some_of) if judge else []
    rivals = _rivals(found, by(picks), decoys, known.labels, centres)
    mislabelled = ~data.held_out & (found.labels != found.given_class)
    _warn(found.outliers, tried, mislabelled, least_trust)
    _warn_of_decoys(rivals)
    table = _table(data, found, rivals)
    columns = pose_columns(found.poses.matrices, found.poses.centres - middle)
    errors = _errors(found.poses, aligners, known, some_of) if judge else {}
    write_csv(alignment, table.assign(**columns, **errors))


def _align(
    aligners: Sequence[Aligner], some_of: Source, number: int, rows: NDArray, centres: NDArray
) -> Poses:
    """Poses of volumes (m,), from centres (m, 3), in an average by its number."""
    return Poses.of(number, *aligners[number - 1].align(some_of(rows, centres)))


def _left_to_others(
    found: Assignment,
    picks: Picks,
    particles: pd.DataFrame,
    centres: NDArray,
    voxel_size_angstrom: float,
    by: Callable[[Picks], Align],
) -> Picks:
    """Leave particles that two picks claim to the nearer one; the other looks for its own.

    Returns
    -------
    The picks, with what belongs to others.
    """
    moved = 0
    for _ in range(ROUNDS):
        offsets = found.poses.centres - picks.places
        pairs = contested(particles, offsets, voxel_size_angstrom)
        if not pairs:
            break
        picks = leave_to_others(picks, pairs, particles, found.poses.centres, voxel_size_angstrom)
        rows = np.unique([other for _, other in pairs])
        moved += len(rows)
        found.try_all_classes(rows, centres, by(picks))
    if moved:
        logger.info("%d volumes had the particle of another pick, and were aligned again", moved)
    return picks


def _decoys(setup: Setup, known: Averages, some_of: Source) -> list[Scorer]:
    """Return what scores volumes against decoys of averages: blobs, and random phases."""
    generator = np.random.default_rng(DECOY_SEED)

    def scorer(densities: Iterable[NDArray], **search: Any) -> Scorer:
        aligners = [Aligner(d, known.common_noise, setup, **search) for d in densities]

        def score(number: int, rows: NDArray, centres: NDArray) -> NDArray[np.float64]:
            return aligners[number - 1].align(some_of(rows, centres))[0]

        return score

    blobs = [spherical(density) for density in known.densities]
    random = [scrambled(density, setup.window, generator) for density in known.densities]
    return [scorer(blobs, **TURNLESS), scorer(random)]


def _rivals(
    found: Assignment,
    align: Align,
    decoys: list[Scorer],
    label_of: NDArray[np.int64],
    centres: NDArray,
) -> Rivals:
    """Score volumes against other classes and decoys, from where they were found.

    Where another class is likelier, all are tried from the rough centre, and the likeliest is kept.
    """

    def score(number: int, rows: NDArray, centres: NDArray) -> NDArray[np.float64]:
        return align(number, rows, centres).scores

    every = np.arange(len(found.labels))
    rivals = find_rivals(found.poses, every, label_of, score, decoys)
    outdone = found.outdone(rivals)
    if len(outdone):
        found.try_all_classes(outdone, centres, align)
        rivals.update(outdone, find_rivals(found.poses, outdone, label_of, score, decoys))
        logger.info("%d volumes were likelier to show another class", len(outdone))
    return rivals


def _errors(
    poses: Poses, aligners: Sequence[Aligner], known: Averages, some_of: Source
) -> dict[str, NDArray]:
    """Columns of how far poses may be off; see docs/conventions.md."""
    turn, shift, agreement = np.zeros((3, len(poses.scores)))
    generator = np.random.default_rng(POSTERIOR_SEED)
    maps = known.relative(known.densities)
    for number, aligner in enumerate(aligners, start=1):
        rows = np.flatnonzero(poses.averages == number)
        if not len(rows):
            continue
        matrices, device = poses.matrices[rows], aligner.setup.device
        errors = pose_errors(aligner, some_of(rows, poses.centres[rows]), matrices)
        turn[rows], shift[rows] = errors.turn_deg, errors.shift_voxels
        agreement[rows] = pose_agreement(
            maps[number - 1], errors, matrices, device=device, generator=generator
        )
    return {
        "turn_error_deg": turn.round(2),
        "shift_error_voxels": shift.round(3),
        "pose_agreement": agreement.round(4),
    }


def _table(data: ParticleSet, found: Assignment, rivals: Rivals) -> pd.DataFrame:
    """One line per volume: class, average and how well it fits; see docs/conventions.md."""
    names = np.array(["", *data.names])
    return data.table[["id"]].assign(
        **{"class": names[found.labels]},
        label=found.labels,
        average=found.poses.averages,
        told=names[found.given_class],
        score=found.poses.scores,
        trust=found.poses.z_scores,
        misfit=(found.outliers | rivals.fit_decoys).astype(int),
        class_probability=rivals.class_probability.round(4),
        probability=rivals.probability.round(4),
        rival=names[rivals.labels],
        decoy_margin=rivals.decoy_margin.round(2),
    )


def _warn_of_decoys(rivals: Rivals) -> None:
    """Say how many volumes a decoy fits, as those do that do not show the average."""
    count = int(rivals.fit_decoys.sum())
    if count:
        logger.warning(
            "%d of %d volumes fit a blob of the average's size, or random phases of its spectrum, "
            "as well as the average: nothing says that they show it (column decoy_margin)",
            *(count, len(rivals.labels)),
        )


def _warn(
    doubtful: NDArray[np.bool_], tried: int, mislabelled: NDArray[np.bool_], least: float
) -> None:
    """Say what does not fit, and which labels may be wrong."""
    if tried:
        logger.warning(
            "%d of %d volumes fitted their average badly (trust below %g, or a score that chance "
            "would reach); after other centres and classes were tried, %d still do (column trust)",
            *(tried, len(doubtful), least, int(doubtful.sum())),
        )
    if mislabelled.any():
        logger.warning(
            "%d training volumes fit the average of another class than that of their label: check "
            "their labels, columns told and class of the table",
            int(mislabelled.sum()),
        )
