"""Masks and ground truth -> one row per test image (Sec. 5.2)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.data.particles import UNANNOTATED, ParticleSet
from civa.data.stack import Stack
from civa.evaluation.metrics import is_annotated, mean_iou, score_images
from civa.pipeline.provenance import verify

logger = logging.getLogger(__name__)


def run(prediction: Path, masks: Path, particles: Path, split: Path, *, out: Path) -> None:
    """Score a stack of masks on the test part, after a check that nothing is stale.

    Every test image has its row; the IoU of one without a ground truth, or without a
    prediction (a network that could not be trained), is not a number.

    Parameters
    ----------
    prediction
        (n, d, h, w) masks to score, MRC stack of labels.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        CSV table: IoU (0 to 1) and voxels, a row per test image.
    """
    verify(prediction)
    data = ParticleSet(particles, split)
    test = data.parts["test"]
    found = Stack.open(prediction).expect_volumes(len(data.labels))
    truth = Stack.open(masks).expect_volumes(len(data.labels))
    parts = [_score(found[rows], truth[rows]) for rows in truth.batches(test)]
    scores = pd.concat(parts, ignore_index=True)
    for position, column in enumerate(("id", "class")):
        scores.insert(position, column, data.table[column].to_numpy()[test])
    write_csv(out, scores)
    scored = scores.dropna(subset=["iou"])
    if scored.empty:
        logger.warning("no test volume has both a mask and a prediction: nothing to score")
    logger.info("%s", {name: round(value, 1) for name, value in mean_iou(scored).items()})


def _score(found: NDArray, truth: NDArray) -> pd.DataFrame:
    """Score labels (b, d, h, w), one row per image; NaN where there is nothing to compare."""
    scores = score_images(found, truth)
    predicted, annotated = (found != UNANNOTATED).all(axis=(1, 2, 3)), is_annotated(truth)
    scores.loc[~(predicted & annotated), ["iou", "iou_agnostic"]] = np.nan
    scores["voxels"] = scores["voxels"].where(predicted)
    scores["true_voxels"] = scores["true_voxels"].where(annotated)
    return scores
