"""Pasted averages -> the probability of every voxel, and what to expect of every mask."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.calibration import (
    Calibration,
    expected_calibration_error,
    expected_iou,
    fit,
    from_half_sets,
)
from civa.dataset import BACKGROUND, ParticleSet
from civa.files import read_json, write_csv, write_json
from civa.metrics import iou, is_annotated
from civa.pasting import peak
from civa.reconstruction import boosted
from civa.volume import read_stack, stack_voxel_size, write_stack

logger = logging.getLogger(__name__)
SAMPLE = 60  # validation volumes that a curve is fitted to


def run(
    pasted: Path,
    averages: Path,
    first_halves: Path,
    second_halves: Path,
    metrics: Path,
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
    """Turn pasted densities into probabilities, and say how good each mask should be.

    Without masks of validation volumes the noise of the average, from its half-sets, stands for
    all uncertainty; with them the curve is fitted to their voxels.  ``confidence`` lists the IoU
    that is expected of every mask, 0 for a misfit: what to reject by.
    """
    data = ParticleSet(particles, split)
    densities, truth = read_stack(pasted), read_stack(masks)
    poses = pd.read_csv(alignment, dtype={"id": str, "class": str}, keep_default_na=False)
    contour = read_json(choice)["contour"]
    stacks = [np.array(read_stack(p)) for p in (averages, first_halves, second_halves)]
    if not read_json(metrics)["defocus_known"]:
        size = stack_voxel_size(averages)
        stacks = [np.stack([boosted(density, size) for density in stack]) for stack in stacks]
    maps = zip(*stacks, strict=True)
    blind = [from_half_sets(a, b, peak(whole), contour) for whole, a, b in maps]
    known = {part: rows[is_annotated(truth[rows])] for part, rows in data.parts.items()}
    labels = poses["label"].to_numpy()
    fitted = list(blind)
    for label, curve in enumerate(blind, start=1):
        rows = known["validation"]
        rows = rows[(data.labels[rows] == label) & (labels[rows] == label)][:SAMPLE]
        if len(rows):
            fitted[label - 1] = fit(*_voxels(densities[rows], truth[rows]), curve)
    found = np.empty(densities.shape, dtype=np.float16)
    expected = {"before": np.empty(len(found)), "after": np.empty(len(found))}
    right = poses["misfit"].to_numpy() == 0
    for label in range(1, len(data.names) + 1):
        members = np.flatnonzero(labels == label)
        values = np.asarray(densities[members])
        for name, curves in (("before", blind), ("after", fitted)):
            chances = _spread(curves[label - 1], values)
            expected[name][members] = expected_iou(chances, values > contour) * right[members]
        found[members] = chances
    test = known["test"]
    record: dict[str, object] = {
        "curves": {
            name: {"before": vars(blind[k]), "after": vars(fitted[k])}
            for k, name in enumerate(data.names)
        },
        "calibrated_on": len(known["validation"]),
    }
    if len(test):
        wanted = truth[test] > BACKGROUND
        reached = iou(densities[test] > contour, wanted)
        for name, curves in (("before", blind), ("after", fitted)):
            chances, there = _chances(curves, labels[test], densities[test], truth[test])
            record[name] = {
                "ece_percent": round(100 * expected_calibration_error(chances, there), 2),
                "expected_miou": round(100 * float(expected[name][test].mean()), 2),
                "mean_gap_of_iou": round(
                    100 * float(np.abs(expected[name][test] - reached).mean()), 2
                ),
            }
        kept = right[test]
        record["reject"] = {
            "rejected": int((~kept).sum()),
            "miou_agnostic_of_all": round(100 * float(reached.mean()), 2),
            "miou_agnostic_of_kept": round(100 * float(reached[kept].mean()), 2),
        }
        logger.info("%s", {key: record[key] for key in ("before", "after", "reject")})
    write_stack(probabilities, found, voxel_size_angstrom=stack_voxel_size(pasted))
    table = poses[["id", "class", "trust", "misfit"]]
    write_csv(confidence, table.assign(expected_iou=expected["after"].round(4)))
    write_json(report, record)


def _spread(curve: Calibration, densities: NDArray) -> NDArray[np.float32]:
    """Probabilities where an average was pasted; none outside its box."""
    return np.where(densities != 0, curve.probability(densities), 0).astype(np.float32)


def _voxels(densities: NDArray, truth: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Densities and truth of the voxels (p,) where an average was pasted."""
    inside = densities != 0
    return densities[inside].astype(np.float64), truth[inside] > BACKGROUND


def _chances(
    curves: list[Calibration], labels: NDArray, densities: NDArray, truth: NDArray
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Probabilities and truth of the voxels (p,) of volumes of several classes."""
    parts = []
    for label, curve in enumerate(curves, start=1):
        values, there = _voxels(densities[labels == label], truth[labels == label])
        parts.append((curve.probability(values), there))
    return np.concatenate([c for c, _ in parts]), np.concatenate([t for _, t in parts])
