"""A supervised baseline -> masks, cut where validation is best."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import read_json, write_json
from civa.data.particles import UNANNOTATED
from civa.data.stack import Stack, open_volumes, write_like, write_masks
from civa.evaluation.supervised import build_segmenter, choose_cut, predict_voxels
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

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    weights
        Weights of the segmenter, safetensors.
    metrics
        JSON record of its training; it says if there was nothing to train on.
    masks
        (n, d, h, w) masks that the cut is chosen on, MRC stack of labels.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record: the cut that was chosen, validation mIoU (%) of all that were tried.
    default_cut
        Probability of the foreground at which masks are cut without validation masks.
    batch_size
        Volumes that the network sees at a time: a matter of memory.
    """
    device = set_up_torch(0, threads, gpu)
    stack = open_volumes(volumes)
    skipped = read_json(metrics).get("skipped")
    if skipped:
        logger.warning("no prediction: %s", skipped)
        _write_nothing(out, stack)
        write_json(choice, {"skipped": skipped})
        return
    model = place(load_network(weights, build_segmenter), device)
    cut, tried = choose_cut(
        model,
        stack,
        Validation(masks, particles, split),
        device,
        default=default_cut,
        batch_size=batch_size,
    )

    def segment(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        foreground, classes = predict_voxels(model, stack[rows], device, batch_size=batch_size)
        return (foreground > cut) * classes

    empty = write_masks(out, stack, segment, cut=f"cut at {cut:g}")
    write_json(choice, {"threshold": cut, "validation_miou": tried, "empty": empty})


def _write_nothing(out: Path, like: Stack) -> None:
    """Write masks that say of every volume that there is no prediction."""
    with write_like(out, like, np.int8) as written:
        for rows in like.batches():
            written[rows] = np.full((len(rows), *like.shape[1:]), UNANNOTATED, dtype=np.int8)
