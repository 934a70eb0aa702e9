"""Classifier -> Grad-CAM and Respond-CAM maps, and the predicted classes (Sec. 4.2)."""

import logging
from pathlib import Path

import numpy as np
import torch

from civa.civanet.cam import (
    channel_weights,
    full_size,
    gradients,
    localization_map,
    respond_weights,
)
from civa.civanet.classifier import build_classifier, predict
from civa.data.files import write_csv
from civa.data.particles import ParticleSet
from civa.data.volume import read_stack, stack_voxel_size, standardize, write_stack
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

    Maps are scaled to a maximum of 1, volume by volume.
    """
    device = set_up_torch(0, threads, gpu)
    data = ParticleSet(particles, split)
    model = load_network(weights, build_classifier).to(device)
    stack = read_stack(volumes)
    predicted = np.empty(len(stack), dtype=np.int64)
    confidence = np.empty(len(stack))
    maps = {path: np.empty(stack.shape, dtype=np.float16) for path in (gradcam, respondcam)}
    for start in range(0, len(stack), batch_size):
        part = slice(start, start + batch_size)
        boxes = torch.from_numpy(standardize(stack[part])).unsqueeze(1).to(device)
        probabilities = predict(model, boxes).cpu().numpy()
        predicted[part] = probabilities.argmax(1) + 1
        confidence[part] = probabilities.max(1)
        shown = np.where(data.held_out[part], predicted[part], data.labels[part]) - 1
        features, gradient = gradients(
            model, boxes, torch.from_numpy(shown).to(device), layer=layer
        )
        seeds = {
            gradcam: localization_map(features, channel_weights(gradient)),
            respondcam: localization_map(
                features, respond_weights(features, gradient), rectify=False
            ),
        }
        for path, seed in seeds.items():
            maps[path][part] = full_size(seed, stack.shape[1:]).cpu().numpy()
    for path, values in maps.items():
        write_stack(path, values, voxel_size_angstrom=stack_voxel_size(volumes))
    silent = int((maps[gradcam].reshape(len(stack), -1).max(axis=1) <= 0).sum())
    if silent:
        logger.warning("Grad-CAM is empty for %d of %d volumes", silent, len(stack))
    guide = np.where(data.held_out, predicted, data.labels)
    columns = {"label": data.labels, "predicted": predicted, "guide": guide}
    write_csv(predictions, data.table[["id"]].assign(**columns, confidence=confidence))
