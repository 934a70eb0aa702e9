"""Masks and ground truth -> one row per test image (Sec. 5.2)."""

import logging
from pathlib import Path

import numpy as np

from civa.data.files import write_csv
from civa.data.particles import UNANNOTATED, ParticleSet
from civa.data.volume import read_stack
from civa.evaluation.metrics import is_annotated, mean_iou, score_images
from civa.pipeline.provenance import verify

logger = logging.getLogger(__name__)


def run(prediction: Path, masks: Path, particles: Path, split: Path, *, out: Path) -> None:
    """Score a stack of masks on the test part, after a check that nothing is stale.

    Every test image has its row; the IoU of one without a ground truth, or without a
    prediction (a network that could not be trained), is not a number.
    """
    verify(prediction)
    data = ParticleSet(particles, split)
    test = data.parts["test"]
    found, truth = np.asarray(read_stack(prediction)[test]), np.asarray(read_stack(masks)[test])
    scores = score_images(found, truth)
    for position, column in enumerate(("id", "class")):
        scores.insert(position, column, data.table[column].to_numpy()[test])
    predicted, annotated = (found != UNANNOTATED).all(axis=(1, 2, 3)), is_annotated(truth)
    scores.loc[~(predicted & annotated), ["iou", "iou_agnostic"]] = np.nan
    scores["voxels"] = scores["voxels"].where(predicted)
    scores["true_voxels"] = scores["true_voxels"].where(annotated)
    write_csv(out, scores)
    scored = scores.dropna(subset=["iou"])
    if scored.empty:
        logger.warning("no test volume has both a mask and a prediction: nothing to score")
    logger.info("%s", {name: round(value, 1) for name, value in mean_iou(scored).items()})
