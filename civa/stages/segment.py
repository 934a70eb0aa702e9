"""Network and CAM -> segmentation by proposals (Sec. 4.6)."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from civa.civanet.affinity_network import AffinityNetwork
from civa.civanet.proposals import segment
from civa.data.files import write_json
from civa.data.particles import read_guides
from civa.data.volume import read_stack, stack_voxel_size, standardize, write_stack
from civa.evaluation.validation import Validation, choose, logit_steps
from civa.training.loop import autocast, place, set_up_torch
from civa.training.weights import load_network

logger = logging.getLogger(__name__)

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
    """
    device = set_up_torch(0, threads, gpu)
    model = place(load_network(weights, AffinityNetwork), device)
    stack = read_stack(volumes)
    predicted = np.empty(stack.shape, dtype=np.float16)
    with torch.no_grad(), autocast(device):
        for start in range(0, len(stack), batch_size):
            part = slice(start, start + batch_size)
            boxes = torch.from_numpy(standardize(stack[part])).unsqueeze(1)
            predicted[part] = model(boxes.to(device)).float().sigmoid().cpu().numpy()
    cams = read_stack(cam_masks)
    chosen, tried = _threshold(
        predicted,
        cams,
        Validation(masks, particles, split, predictions),
        given=threshold,
        default=default_threshold,
    )
    found = segment(predicted, cams > 0, chosen)
    empty = int((~found.any(axis=(-3, -2, -1))).sum())
    if empty:
        logger.warning("%d of %d segmentations are empty at O > %g", empty, len(found), chosen)
    guide = read_guides(predictions)
    voxel_size = stack_voxel_size(volumes)
    write_stack(segmentation, predicted, voxel_size_angstrom=voxel_size)
    write_stack(out, found * guide[:, None, None, None], voxel_size_angstrom=voxel_size)
    write_json(choice, {"threshold": chosen, "validation_miou": tried, "empty": empty})


def _threshold(
    segmentations: NDArray,
    cams: NDArray,
    validation: Validation,
    *,
    given: float | None,
    default: float,
) -> tuple[float, dict[str, float]]:
    """Return the threshold on O, and the quality of all that were tried."""
    if given is not None or not validation.is_possible:
        return (default if given is None else given), {}
    held_out, held_cams = segmentations[validation.indices], cams[validation.indices] > 0
    return choose(THRESHOLDS, lambda t: validation.miou(segment(held_out, held_cams, t)))
