"""Volumes and pairs -> inter-voxel affinity network (Sec. 4.4)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.civanet.affinity import Offset, affinity_loss, path_groups
from civa.civanet.affinity_network import AffinityNetwork
from civa.data.files import write_csv
from civa.data.volume import read_stack, standardize
from civa.training.checkpoint import Checkpoint
from civa.training.loop import (
    IVA_SCHEDULES,
    autocast,
    fit,
    pick_schedule,
    place,
    random_flips,
    set_up_torch,
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
    """Train the network that predicts O, supervised by affinity pairs only."""
    device = set_up_torch(seed, threads, gpu)
    sampled = _read_pairs(pairs)
    shape = tuple(int(edge) for edge in sampled["shape"])
    boxes = torch.from_numpy(standardize(read_stack(volumes)[sampled["indices"]])).unsqueeze(1)
    offsets: list[Offset] = [(int(z), int(y), int(x)) for z, y, x in sampled["offsets"]]
    groups = path_groups(offsets, shape)
    model = place(AffinityNetwork(width, flat_kernels=flat_kernels), device)

    def unpack(side: str, batch: Tensor) -> Tensor:
        bits = np.unpackbits(sampled[side][batch.numpy()], axis=-1, count=int(np.prod(shape)))
        return torch.from_numpy(bits.reshape(len(batch), len(offsets), *shape)).to(device)

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        axes = random_flips(generator) if flips else ()
        with autocast(device):
            logits = model(boxes[batch].flip(axes).to(device)).flip(axes)
        return affinity_loss(
            logits.float(), unpack("boundary", batch), unpack("background", batch), groups
        )

    history = fit(
        model,
        batch_loss,
        n=len(boxes),
        schedule=pick_schedule(IVA_SCHEDULES, schedule, epochs),
        seed=seed,
        checkpoint=checkpoint,
    )
    save_weights(weights, model, {"width": width, "flat_kernels": flat_kernels})
    write_csv(curve, pd.DataFrame(history))


def _read_pairs(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a file of pairs ({error}): rerun 'mine-pairs'") from error
