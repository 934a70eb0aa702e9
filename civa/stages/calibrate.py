"""Pasted averages -> the probability of every voxel, and what to expect of every mask."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.consensus.calibration import (
    Calibration,
    expected_iou,
    fit,
    from_half_sets,
    summary,
)
from civa.consensus.map_back import peak
from civa.consensus.reconstruction import boosted
from civa.data.files import read_json, write_csv, write_json
from civa.data.particles import BACKGROUND, ParticleSet
from civa.data.volume import read_stack, stack_voxel_size, write_stack
from civa.evaluation.metrics import iou, is_annotated

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
    all uncertainty; with them the curve is fitted to their voxels.  ``confidence`` lists the IoU
    that is expected of every mask, 0 for a misfit: what to reject by.
    """
    data = ParticleSet(particles, split)
    densities, truth = read_stack(mapped_back), read_stack(masks)
    poses = pd.read_csv(alignment, dtype={"id": str, "class": str}, keep_default_na=False)
    shown, right = poses["average"].to_numpy(), poses["misfit"].to_numpy() == 0
    contour, known = read_json(choice)["contour"], read_json(averages_record)
    stacks = [np.array(read_stack(p)) for p in (averages, first_halves, second_halves)]
    if not known["defocus_known"]:
        size = stack_voxel_size(averages)
        stacks = [np.stack([boosted(density, size) for density in stack]) for stack in stacks]
    maps = zip(*stacks, strict=True)
    blind = [from_half_sets(a, b, peak(whole), contour) for whole, a, b in maps]
    annotated = {part: rows[is_annotated(truth[rows])] for part, rows in data.parts.items()}
    rows = annotated["validation"]
    rows = rows[poses["label"].to_numpy()[rows] == data.labels[rows]]
    fitted = list(blind)
    for number, curve in enumerate(blind, start=1):
        own = rows[shown[rows] == number][:SAMPLE]
        if len(own):
            fitted[number - 1] = fit(*_voxels(densities[own], truth[own]), curve)
    found = np.empty(densities.shape, dtype=np.float16)
    expected = {"before": np.empty(len(found)), "after": np.empty(len(found))}
    for number in range(1, len(blind) + 1):
        members = np.flatnonzero(shown == number)
        values = np.asarray(densities[members])
        for name, curves in (("before", blind), ("after", fitted)):
            chances = _spread(curves[number - 1], values)
            expected[name][members] = expected_iou(chances, values > contour) * right[members]
        found[members] = chances
    record: dict[str, object] = {
        "curves": {
            one["title"]: {"before": vars(before), "after": vars(after)}
            for one, before, after in zip(known["averages"], blind, fitted, strict=True)
        },
        "calibrated_on": len(annotated["validation"]),
    }
    test = annotated["test"]
    if len(test):
        reached = iou(densities[test] > contour, truth[test] > BACKGROUND)
        for name, curves in (("before", blind), ("after", fitted)):
            chances, there = _chances(curves, shown[test], densities[test], truth[test])
            record[name] = summary(chances, there, expected[name][test], reached)
        record["reject"] = _reject(reached, right[test])
        logger.info("%s", {key: record[key] for key in ("before", "after", "reject")})
    write_stack(probabilities, found, voxel_size_angstrom=stack_voxel_size(mapped_back))
    table = poses[["id", "class", "trust", "misfit"]]
    write_csv(confidence, table.assign(expected_iou=expected["after"].round(4)))
    write_json(report, record)


def _reject(reached: NDArray[np.float64], kept: NDArray[np.bool_]) -> dict[str, float | None]:
    """IoU of the test images, all and without the misfits; null where none is left."""
    return {
        "rejected": int((~kept).sum()),
        "miou_agnostic_of_all": round(100 * float(reached.mean()), 2),
        "miou_agnostic_of_kept": round(100 * float(reached[kept].mean()), 2)
        if kept.any()
        else None,
    }


def _spread(curve: Calibration, densities: NDArray) -> NDArray[np.float32]:
    """Probabilities where an average was mapped back; none outside its box."""
    return np.where(densities != 0, curve.probability(densities), 0).astype(np.float32)


def _voxels(densities: NDArray, truth: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Densities and truth of the voxels (p,) where an average was mapped back."""
    inside = densities != 0
    return densities[inside].astype(np.float64), truth[inside] > BACKGROUND


def _chances(
    curves: list[Calibration], shown: NDArray, densities: NDArray, truth: NDArray
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Probabilities and truth of the voxels (p,) of volumes that show several averages."""
    parts = []
    for number, curve in enumerate(curves, start=1):
        values, there = _voxels(densities[shown == number], truth[shown == number])
        parts.append((curve.probability(values), there))
    return np.concatenate([c for c, _ in parts]), np.concatenate([t for _, t in parts])
