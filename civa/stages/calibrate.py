"""Mapped-back averages -> the probability of every voxel, and what to expect of every mask."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.averages import Averages
from civa.consensus.calibration import (
    Calibration,
    Reliability,
    fit,
    from_half_sets,
    summary,
)
from civa.data.files import read_json, write_csv, write_json
from civa.data.particles import BACKGROUND, ParticleSet
from civa.data.stack import Stack, write_like
from civa.evaluation.mask_statistics import annotated
from civa.evaluation.metrics import iou

logger = logging.getLogger(__name__)
SAMPLE = 60  # validation volumes that a curve is fitted to


def run(
    mapped_back: Path,
    averages: Path,
    first_halves: Path,
    second_halves: Path,
    averages_record: Path,
    choice: Path,
    alignment: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    probabilities: Path,
    confidence: Path,
    report: Path,
) -> None:
    """Turn mapped-back densities into probabilities, and say how good each mask should be.

    Without masks of validation volumes the noise of the average, from its half-sets, stands for
    all uncertainty of a voxel; with them the curve is fitted to their voxels.  ``confidence`` lists
    the IoU that is expected of every mask, 0 for a misfit: what to reject by.  It is what the
    resolution of the average allows, times what the error of the pose leaves, times the probability
    of the average; validation masks, if there are any, scale it.

    Parameters
    ----------
    mapped_back
        (n, d, h, w) averages mapped back into the volumes, MRC stack; 1 at their peak.
    averages
        (a, d, h, w) averages, MRC stack; a is their number.
    first_halves
        (a, d, h, w) averages of the first half-sets, MRC stack.
    second_halves
        (a, d, h, w) averages of the second half-sets, MRC stack.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    choice
        JSON record of the contour of the masks, a share of the peak.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels),
        trust.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    probabilities
        (n, d, h, w) probability of every voxel to be target, MRC stack.
    confidence
        CSV table: the IoU (0 to 1) to expect of every mask.
    report
        JSON record: curves, calibration errors, what rejecting misfits gains.
    """
    data = ParticleSet(particles, split)
    densities, truth = Stack.open(mapped_back), Stack.open(masks)
    found = AlignmentTable.read(alignment, data.table)
    contour = read_json(choice)["contour"]
    known = Averages.read(averages, averages_record, halves=(first_halves, second_halves))
    blind = _from_half_sets(known, contour)
    annotated_in = {part: rows[annotated(truth, rows)] for part, rows in data.parts.items()}
    rows = annotated_in["validation"]
    rows = rows[found.labels[rows] == data.labels[rows]]
    fitted = [
        _fitted(curve, densities, truth, rows[found.averages[rows] == number][:SAMPLE])
        for number, curve in enumerate(blind, start=1)
    ]
    _write_probabilities(probabilities, densities, found, fitted)
    expected_before = found.expected_iou(known.reports)
    expected_after = np.clip(
        expected_before * _factor(densities, truth, rows, expected_before, contour), 0, 1
    )
    record: dict[str, object] = {
        "curves": {
            one["title"]: {"before": vars(before), "after": vars(after)}
            for one, before, after in zip(known.reports, blind, fitted, strict=True)
        },
        "calibrated_on": len(annotated_in["validation"]),
    }
    test = annotated_in["test"]
    if len(test):
        reached, before, after = _tested(densities, truth, found, (blind, fitted), test, contour)
        record["before"] = summary(before, expected_before[test], reached)
        record["after"] = summary(after, expected_after[test], reached)
        record["reject"] = _reject(reached, ~found.is_outlier[test])
        logger.info("%s", {key: record[key] for key in ("before", "after", "reject")})
    else:
        logger.warning(
            "no volume has a mask to calibrate by: probability and expected IoU rest on the noise "
            "between half-sets alone, which sees neither a wrong place nor a wrong class"
        )
    table = found.table[["id", "class", "trust", "misfit", "probability"]]
    write_csv(confidence, table.assign(expected_iou=expected_after.round(4)))
    write_json(report, record)


def _from_half_sets(known: Averages, contour: float) -> list[Calibration]:
    """One curve per average, from the noise that its half-sets show."""
    halves = [known.relative(maps) for maps in known.halves]
    return [from_half_sets(first, second, contour) for first, second in zip(*halves, strict=True)]


def _fitted(
    curve: Calibration, densities: Stack, truth: Stack, rows: NDArray[np.int64]
) -> Calibration:
    """Fit a curve to the voxels of some volumes of known truth; as it is where there are none."""
    return fit(*_voxels(densities[rows], truth[rows]), curve) if len(rows) else curve


def _factor(
    densities: Stack,
    truth: Stack,
    rows: NDArray[np.int64],
    expected: NDArray[np.float64],
    contour: float,
) -> float:
    """What masks of some volumes reach, over what was expected of them; 1 where there are none."""
    reached = [
        iou(densities[part] > contour, truth[part] > BACKGROUND) for part in densities.batches(rows)
    ]
    total = float(expected[rows].sum())
    return float(np.concatenate(reached).sum()) / total if total > 0 else 1.0


def _write_probabilities(
    path: Path, densities: Stack, found: AlignmentTable, curves: Sequence[Calibration]
) -> None:
    """Write what the fitted curves say of the voxels."""
    with write_like(path, densities, np.float16) as out:
        for number, curve in enumerate(curves, start=1):
            for rows in densities.batches(found.averages == number):
                out[rows] = _probabilities(curve, densities[rows])


def _tested(
    densities: Stack,
    truth: Stack,
    found: AlignmentTable,
    curves: tuple[Sequence[Calibration], Sequence[Calibration]],
    test: NDArray[np.int64],
    contour: float,
) -> tuple[NDArray[np.float64], Reliability, Reliability]:
    """IoU (m,) that the masks of the test images reach, and how reliable either curves are."""
    reached = np.empty(len(densities))
    before, after = Reliability(), Reliability()
    for number in range(1, len(curves[0]) + 1):
        for rows in densities.batches(test[found.averages[test] == number]):
            values, there = densities[rows], truth[rows] > BACKGROUND
            reached[rows] = iou(values > contour, there)
            flat, is_target = _voxels(values, there)
            for reliability, kind in zip((before, after), curves, strict=True):
                reliability.add(kind[number - 1].probability(flat), is_target)
    return reached[test], before, after


def _reject(reached: NDArray[np.float64], kept: NDArray[np.bool_]) -> dict[str, float | None]:
    """IoU of the test images, all and without the outliers; null where none is left."""
    return {
        "rejected": int((~kept).sum()),
        "miou_agnostic_of_all": round(100 * float(reached.mean()), 2),
        "miou_agnostic_of_kept": round(100 * float(reached[kept].mean()), 2)
        if kept.any()
        else None,
    }


def _probabilities(curve: Calibration, densities: NDArray) -> NDArray[np.float32]:
    """Probabilities where an average was mapped back; none outside its box."""
    return np.where(densities != 0, curve.probability(densities), 0).astype(np.float32)


def _voxels(densities: NDArray, truth: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Densities and truth of the voxels (p,) where an average was mapped back."""
    inside = densities != 0
    return densities[inside].astype(np.float64), truth[inside] > BACKGROUND
