"""Classifier -> cross-image co-occurrence maps (Sec. 4.3, Eq. 3)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.civanet.cam import full_size
from civa.civanet.classifier import Classifier, build_classifier
from civa.civanet.cooccurrence import cooccurrence_map, group_consensus
from civa.data.particles import ParticleSet, draw_group, read_predictions
from civa.data.stack import open_volumes, write_like
from civa.training.loop import set_up_torch
from civa.training.weights import load_network


def run(
    volumes: Path,
    particles: Path,
    split: Path,
    weights: Path,
    predictions: Path,
    *,
    out: Path,
    layer: str = "fine",
    group_size: int = 16,
    batch_size: int = 8,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Match every volume with the consensus of a group of training volumes of its class.

    The class is the labelled one in training and the predicted one elsewhere.  Layer
    ``cam`` is the paper's literal reading; DEVIATION: the default is the block before it.

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
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    out
        (n, d, h, w) co-occurrence maps, MRC stack.
    """
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    model = load_network(weights, build_classifier).to(device)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    guide = read_predictions(predictions, data.table).map_class
    generator = np.random.default_rng(seed)
    train = data.parts["train"]
    with write_like(out, stack, np.float16) as maps:
        for label in range(1, len(data.names) + 1):
            group = draw_group(train[data.labels[train] == label], group_size, generator)
            consensus = group_consensus(_features(model, stack[group], layer, device))
            for members in stack.batches(guide == label, size=batch_size):
                features = _features(model, stack[members], layer, device)
                matched = cooccurrence_map(features, consensus)
                maps[members] = full_size(matched, stack.shape[1:]).cpu().numpy()


@torch.no_grad()
def _features(model: Classifier, boxes: NDArray, layer: str, device: torch.device) -> Tensor:
    """Return features (b, c, t, u, v) of volumes (b, d, h, w)."""
    return model.features(torch.from_numpy(boxes).unsqueeze(1).to(device), layer)
