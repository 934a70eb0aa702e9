"""Image-level labels -> classifier (Sec. 4.2, Eq. 9)."""

import copy
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from civa.checkpoints import save_weights
from civa.classifier import build_classifier, classification_loss, predict
from civa.dataset import ParticleSet
from civa.files import write_csv, write_json
from civa.training import (
    CLASSIFIER_SCHEDULES,
    autocast,
    fit,
    pick_schedule,
    place,
    prepare,
    random_flips,
)
from civa.volume import read_stack, standardize

logger = logging.getLogger(__name__)


def run(
    volumes: Path,
    particles: Path,
    split: Path,
    *,
    weights: Path,
    metrics: Path,
    curve: Path,
    architecture: str = "gap",
    schedule: str = "one_cycle",
    epochs: int | None = None,
    flips: bool = True,
    seed: int = 1,
    threads: int = 1,
) -> None:
    """Train the classifier on the training part; keep the epoch of best validation accuracy."""
    device = prepare(seed, threads)
    data = ParticleSet(particles, split)
    stack = read_stack(volumes)
    boxes = {
        part: torch.from_numpy(standardize(stack[data.parts[part]])).unsqueeze(1)
        for part in ("train", "validation", "test")
    }
    targets = {part: torch.from_numpy(data.labels[data.parts[part]] - 1) for part in boxes}
    shape = {"classes": len(data.names), "box_voxels": stack.shape[-1]}
    model = place(build_classifier(architecture, **shape), device)
    best = {"accuracy": -1.0, "epoch": 0}
    best_state = model.state_dict()

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        axes = random_flips(generator) if flips else ()
        with autocast(device):
            scores = model(boxes["train"][batch].flip(axes).to(device))
            return classification_loss(scores, targets["train"][batch].to(device))

    def accuracy(part: str) -> float:
        chunks = boxes[part].split(64)
        found = torch.cat([predict(model, chunk.to(device)).argmax(1).cpu() for chunk in chunks])
        return float((found == targets[part]).double().mean())

    def after_epoch(epoch: int) -> dict[str, float]:
        nonlocal best_state
        reached = accuracy("validation")
        if reached >= best["accuracy"]:
            best.update(accuracy=reached, epoch=epoch)
            best_state = copy.deepcopy(model.state_dict())
        return {"validation_accuracy": reached}

    history = fit(
        model,
        batch_loss,
        n=len(boxes["train"]),
        schedule=pick_schedule(CLASSIFIER_SCHEDULES, schedule, epochs),
        seed=seed,
        after_epoch=after_epoch,
    )
    model.load_state_dict(best_state)
    test = accuracy("test")
    chance = float(np.bincount(data.labels).max() / len(data.labels))
    if best["accuracy"] < 1.5 * chance:
        logger.warning(
            "validation accuracy is %.2f, hardly above chance (%.2f): maps of this classifier "
            "mean little; add volumes or epochs, or use architecture 'gap'",
            *(best["accuracy"], chance),
        )
    save_weights(weights, model, {"architecture": architecture, **shape})
    write_csv(curve, pd.DataFrame(history))
    write_json(
        metrics,
        {
            "validation_accuracy": best["accuracy"],
            "test_accuracy": test,
            "chance": chance,
            "epoch": best["epoch"],
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    )
