"""Network and CAM -> segmentation by proposals (Sec. 4.6)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from civa.civanet.affinity_network import AffinityNetwork
from civa.civanet.proposals import segment
from civa.data.files import write_json
from civa.data.particles import BACKGROUND
from civa.data.stack import Stack, open_volumes, write_like, write_masks
from civa.evaluation.validation import Validation, logit_steps
from civa.training.loop import autocast, place, set_up_torch
from civa.training.weights import load_network

# Thresholds on O: the loss gives the few foreground voxels half of
# the weight, so a calibrated cut lies well above 0.5.
THRESHOLDS = logit_steps(-1, 5)


def run(
    volumes: Path,
    weights: Path,
    cam_masks: Path,
    masks: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    *,
    segmentation: Path,
    out: Path,
    choice: Path,
    threshold: float | None = None,
    default_threshold: float = 0.9,
    batch_size: int = 32,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Predict O for every volume, cut it, and keep the proposal that the CAM chooses.

    The threshold is the best on validation, unless one is given.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    weights
        Weights of the affinity network, safetensors.
    cam_masks
        (n, d, h, w) masks from Grad-CAM, MRC stack of labels.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    segmentation
        (n, d, h, w) O, probability of the foreground, MRC stack.
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record: the threshold that was chosen, validation mIoU (%) of all that were
        tried.
    """
    device = set_up_torch(0, threads, gpu)
    model = place(load_network(weights, AffinityNetwork), device)
    _predict(model, open_volumes(volumes), segmentation, device, batch_size)
    predicted = Stack.open(segmentation)
    cams = Stack.open(cam_masks).expect_volumes(len(predicted))

    def candidates(rows: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        values, seeds = predicted[rows], cams[rows] > BACKGROUND
        return (segment(values, seeds, tried) for tried in THRESHOLDS)

    validation = Validation(masks, particles, split, predictions)
    if threshold is None:
        chosen, tried = validation.choose(THRESHOLDS, candidates, default=default_threshold)
    else:
        chosen, tried = threshold, {}

    def cut(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        found = segment(predicted[rows], cams[rows] > BACKGROUND, chosen)
        return found * validation.map_class[rows, None, None, None]

    empty = write_masks(out, predicted, cut, cut=f"O > {chosen:g}")
    write_json(choice, {"threshold": chosen, "validation_miou": tried, "empty": empty})


@torch.no_grad()
def _predict(
    model: AffinityNetwork, stack: Stack, path: Path, device: torch.device, batch_size: int
) -> None:
    """Write O of every volume, float16."""
    with write_like(path, stack, np.float16) as out, autocast(device):
        for rows in stack.batches(size=batch_size):
            boxes = torch.from_numpy(stack[rows]).unsqueeze(1)  # (b, 1, d, h, w)
            out[rows] = model(boxes.to(device)).float().sigmoid().cpu().numpy()
