"""Masks and ground truth -> one row per test image (Sec. 5.2)."""

import logging
from pathlib import Path

import numpy as np

from civa.dataset import ParticleSet
from civa.files import write_csv
from civa.metrics import is_annotated, mean_iou, score_images
from civa.provenance import verify
from civa.volume import read_stack

logger = logging.getLogger(__name__)


def run(prediction: Path, masks: Path, particles: Path, split: Path, *, out: Path) -> None:
    """Score a stack of masks on the test part, after a check that nothing is stale."""
    verify(prediction)
    data = ParticleSet(particles, split)
    truth = read_stack(masks)
    test = data.parts["test"]
    test = test[is_annotated(truth[test])]
    scores = score_images(np.asarray(read_stack(prediction)[test]), np.asarray(truth[test]))
    for position, column in enumerate(("id", "class")):
        scores.insert(position, column, data.table[column].to_numpy()[test])
    if not len(test):
        logger.warning("no test volume has a mask: there is nothing to score")
    write_csv(out, scores)
    logger.info("%s", {name: round(value, 1) for name, value in mean_iou(scores).items()})
