"""Volumes and pairs -> inter-voxel affinity network (Sec. 4.4)."""

import logging
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from civa.civanet.affinity import affinity_loss, path_groups
from civa.civanet.affinity_network import AffinityNetwork
from civa.data.files import write_csv
from civa.data.pairs import Pairs
from civa.data.stack import open_volumes
from civa.training.checkpoint import Checkpoint
from civa.training.loop import (
    IVA_SCHEDULES,
    autocast,
    fit,
    pick_schedule,
    place,
    set_up_torch,
    training_boxes,
)
from civa.training.weights import save_weights

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    pairs: Path,
    *,
    weights: Path,
    curve: Path,
    width: int = 32,
    flat_kernels: bool = True,
    schedule: str = "one_cycle",
    epochs: int | None = None,
    flips: bool = True,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train the network that predicts O, supervised by affinity pairs only.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    pairs
        Affinity pairs of the training volumes, ``.npz`` of 'mine-pairs'.
    weights
        Weights of the affinity network, safetensors.
    curve
        CSV table of the training, a row per epoch: loss, seconds.
    """
    device = set_up_torch(seed, threads, gpu)
    sampled, stack = Pairs(pairs), open_volumes(volumes)
    groups = path_groups(sampled.offsets, sampled.shape)
    model = place(AffinityNetwork(width, flat_kernels=flat_kernels), device)

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        numbers = batch.numpy()
        rows = sampled.indices[numbers]
        boxes, axes = training_boxes(stack, rows, generator, flips=flips, device=device)
        with autocast(device):
            logits = model(boxes).flip(axes)
        boundary, background = torch.from_numpy(sampled[numbers]).to(device)
        return affinity_loss(logits.float(), boundary, background, groups)

    history = fit(
        model,
        batch_loss,
        n=len(sampled.indices),
        schedule=pick_schedule(IVA_SCHEDULES, schedule, epochs),
        seed=seed,
        checkpoint=checkpoint,
    )
    save_weights(weights, model, {"width": width, "flat_kernels": flat_kernels})
    write_csv(curve, pd.DataFrame(history))
