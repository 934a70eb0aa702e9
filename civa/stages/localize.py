"""Classifier -> Grad-CAM and Respond-CAM maps, and the predicted classes (Sec. 4.2)."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.civanet.cam import (
    channel_weights,
    full_size,
    gradients,
    localization_map,
    respond_weights,
)
from civa.civanet.classifier import Classifier, build_classifier, predict
from civa.data.files import write_csv
from civa.data.particles import ParticleSet
from civa.data.stack import open_volumes, write_like
from civa.training.loop import set_up_torch
from civa.training.weights import load_network

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    particles: Path,
    split: Path,
    weights: Path,
    *,
    gradcam: Path,
    respondcam: Path,
    predictions: Path,
    layer: str = "cam",
    batch_size: int = 32,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Localize every volume: the labelled class in training, the predicted one elsewhere.

    Maps are scaled to a largest magnitude of 1, volume by volume; an empty one stays 0.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    weights
        Weights of the classifier, safetensors.
    gradcam
        (n, d, h, w) Grad-CAM maps, MRC stack; maximum 1 each.
    respondcam
        (n, d, h, w) Respond-CAM maps, MRC stack; largest magnitude 1 each.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    """
    device = set_up_torch(0, threads, gpu)
    data = ParticleSet(particles, split)
    model = load_network(weights, build_classifier).to(device)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    predicted = np.empty(len(stack), dtype=np.int64)
    confidence = np.empty(len(stack))
    silent = 0
    with (
        write_like(gradcam, stack, np.float16) as cams,
        write_like(respondcam, stack, np.float16) as respond_cams,
    ):
        for rows in stack.batches(size=batch_size):
            boxes = torch.from_numpy(stack[rows]).unsqueeze(1).to(device)  # (b, 1, d, h, w)
            probabilities = predict(model, boxes).cpu().numpy()  # (b, k)
            predicted[rows] = probabilities.argmax(1) + 1
            confidence[rows] = probabilities.max(1)
            shown = np.where(data.held_out[rows], predicted[rows], data.labels[rows]) - 1
            maps = _maps(model, boxes, torch.from_numpy(shown).to(device), layer)
            cams[rows], respond_cams[rows] = maps
            silent += int((maps[0].max(axis=(1, 2, 3)) <= 0).sum())
    if silent:
        logger.warning("Grad-CAM is empty for %d of %d volumes", silent, len(stack))
    guide = np.where(data.held_out, predicted, data.labels)
    columns = {"label": data.labels, "predicted": predicted, "guide": guide}
    write_csv(predictions, data.table[["id"]].assign(**columns, confidence=confidence))


def _maps(
    model: Classifier, boxes: Tensor, shown: Tensor, layer: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grad-CAM and Respond-CAM (b, d, h, w) of volumes (b, 1, d, h, w) for classes (b,)."""
    features, gradient = gradients(model, boxes, shown, layer=layer)
    grad = localization_map(features, channel_weights(gradient))
    respond = localization_map(features, respond_weights(features, gradient), rectify=False)
    _, _, d, h, w = boxes.shape
    shape = (d, h, w)
    return full_size(grad, shape).cpu().numpy(), full_size(respond, shape).cpu().numpy()
