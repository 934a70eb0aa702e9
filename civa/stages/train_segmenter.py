"""Volumes and labels of voxels -> a baseline with stronger supervision (Sec. 5.3, 5.4)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from civa.data.files import write_csv, write_json
from civa.data.particles import BACKGROUND, ParticleSet
from civa.data.volume import read_stack, standardize
from civa.evaluation.metrics import is_annotated
from civa.evaluation.supervised import (
    SEGMENTER_SCHEDULES,
    SUPERVISIONS,
    best_cut,
    build_segmenter,
    central_slice,
    predict_voxels,
    segmentation_loss,
)
from civa.evaluation.validation import Validation
from civa.training.checkpoint import Checkpoint
from civa.training.loop import (
    autocast,
    best_record,
    fit,
    pick_schedule,
    place,
    random_flips,
    set_up_torch,
)
from civa.training.weights import save_weights

logger = logging.getLogger(__name__)
FIGURE = "validation_miou"


def run(
    volumes: Path,
    annotations: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    weights: Path,
    metrics: Path,
    curve: Path,
    network: str,
    supervision: str,
    width: int = 32,
    schedule: str | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    flips: bool = True,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train on the annotations of the training part; keep the epoch of best validation mIoU.

    ``annotations`` are the ground truth (``full``; ``slice`` looks at one slice of each) or the
    pseudo labels (``pseudo``).  The voxels of the ground truth count for the class that the volume
    is said to show.  Training stops after ``patience`` epochs without a better validation mIoU: the
    schedule's own number if none is given, never if it is 0.  Without an annotated training volume
    nothing is trained, and the metrics say so.
    """
    if supervision not in SUPERVISIONS:
        raise ValueError(f"supervision must be one of {SUPERVISIONS} (got '{supervision}')")
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    stack, known = read_stack(volumes), read_stack(annotations)
    train = data.parts["train"]
    train = train[is_annotated(known[train])]
    model = place(build_segmenter(network, len(data.names), width), device)
    description = {"network": network, "classes": len(data.names), "width": width}
    save = {"supervision": supervision, "parameters": sum(p.numel() for p in model.parameters())}
    if not len(train):
        reason = "no training volume has a mask"
        logger.warning("%s: %s is not trained", reason, network)
        save_weights(weights, model, description)
        write_json(metrics, {**save, "skipped": reason})
        write_csv(curve, pd.DataFrame(columns=["epoch", "loss", "seconds"]))
        return
    boxes = torch.from_numpy(standardize(stack[train])).unsqueeze(1)
    targets = torch.from_numpy(np.asarray(known[train], dtype=np.int8))
    if supervision != "pseudo":
        told = torch.from_numpy(data.labels[train, None, None, None]).to(torch.int8)
        targets = torch.where(targets > BACKGROUND, told, targets)
    if supervision == "slice":
        whole, targets = targets, central_slice(targets)
        share = float((targets > 0).sum() / (whole > 0).sum())
        save["annotated_target_voxels"] = round(share, 4)
    chosen = pick_schedule(SEGMENTER_SCHEDULES, schedule or network, epochs, patience)
    validation = Validation(masks, particles, split)
    held_out = stack[validation.indices]

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        axes = random_flips(generator) if flips else ()
        with autocast(device):
            scores = model(boxes[batch].flip(axes).to(device))
        wanted = targets[batch].flip(axes).long().to(device)
        return segmentation_loss([s.float() for s in scores], wanted)

    def after_epoch(epoch: int) -> dict[str, float]:
        if not validation.is_possible:
            return {}
        cut, tried = best_cut(*predict_voxels(model, held_out, device), validation)
        return {FIGURE: max(tried.values()), "cut": cut}

    history = fit(
        model,
        batch_loss,
        n=len(boxes),
        schedule=chosen,
        seed=seed,
        after_epoch=after_epoch,
        keep_best=FIGURE if validation.is_possible else None,
        checkpoint=checkpoint,
    )
    best = dict(best_record(history, FIGURE) if validation.is_possible else history[-1])
    del best["seconds"]  # the same seed gives the same metrics
    save_weights(weights, model, description)
    write_csv(curve, pd.DataFrame(history))
    write_json(metrics, {**save, **best, "epochs": len(history), "volumes": len(boxes)})
