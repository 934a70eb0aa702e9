"""A supervised baseline -> masks, cut where validation is best."""

import logging
from pathlib import Path

import numpy as np

from civa.data.files import read_json, write_json
from civa.data.particles import UNANNOTATED
from civa.data.volume import read_stack, stack_voxel_size, write_stack
from civa.evaluation.supervised import best_cut, build_segmenter, predict_voxels
from civa.evaluation.validation import Validation
from civa.training.loop import place, set_up_torch
from civa.training.weights import load_network

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    weights: Path,
    metrics: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    choice: Path,
    default_cut: float = 0.5,
    batch_size: int = 32,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Segment every volume; a voxel carries the class that the network gives it.

    A network that could not be trained predicts nothing: its masks say so, and its scores are
    not a number.
    """
    device = set_up_torch(0, threads, gpu)
    stack, voxel_size = read_stack(volumes), stack_voxel_size(volumes)
    skipped = read_json(metrics).get("skipped")
    if skipped:
        logger.warning("no prediction: %s", skipped)
        nothing = np.full(stack.shape, UNANNOTATED, dtype=np.int8)
        write_stack(out, nothing, voxel_size_angstrom=voxel_size)
        write_json(choice, {"skipped": skipped})
        return
    model = place(load_network(weights, build_segmenter), device)
    foreground, classes = predict_voxels(model, stack, device, batch_size=batch_size)
    validation = Validation(masks, particles, split)
    cut = default_cut
    tried: dict[str, float] = {}
    if validation.is_possible:
        rows = validation.indices
        cut, tried = best_cut(foreground[rows], classes[rows], validation)
    found = (foreground > cut) * classes
    empty = int((~found.any(axis=(-3, -2, -1))).sum())
    if empty:
        logger.warning("%d of %d segmentations are empty at a cut of %g", empty, len(found), cut)
    write_stack(out, found.astype(np.int8), voxel_size_angstrom=voxel_size)
    write_json(choice, {"threshold": cut, "validation_miou": tried, "empty": empty})
