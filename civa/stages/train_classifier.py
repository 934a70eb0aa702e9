"""Image-level labels -> classifier (Sec. 4.2, Eq. 9)."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from civa.civanet.classifier import Classifier, build_classifier, classification_loss, predict
from civa.data.files import write_csv, write_json
from civa.data.particles import ParticleSet
from civa.data.stack import Stack, open_volumes
from civa.training.checkpoint import Checkpoint
from civa.training.loop import (
    CLASSIFIER_SCHEDULES,
    autocast,
    best_record,
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
    balance: bool = False,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train the classifier on the training part; keep the epoch of best validation accuracy.

    With ``balance`` every class weighs the same, in the loss and in the accuracy that chooses
    the epoch, however many volumes it has.

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
    metrics
        JSON record: accuracies (0 to 1), epochs, number of parameters.
    curve
        CSV table of the training, a row per epoch: loss, seconds, figures on validation.
    """
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    if len(data.names) < 2:
        raise ValueError(
            f"{particles} has one class, {data.names}: a classifier learns from two or more; add "
            "volumes of other particles, or boxes without any as a class of their own"
        )
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    train, targets = data.parts["train"], torch.from_numpy(data.labels - 1)  # (m,), (n,)
    shape = {"classes": len(data.names), "box_voxels": stack.shape[-1]}
    model = place(build_classifier(architecture, **shape), device)
    counts = torch.bincount(targets[train], minlength=len(data.names))
    weights_of_classes = (counts.sum() / (len(counts) * counts)).to(device) if balance else None

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        rows = train[batch.numpy()]
        boxes, _ = training_boxes(stack, rows, generator, flips=flips, device=device)
        with autocast(device):
            scores = model(boxes)
            return classification_loss(scores, targets[rows].to(device), weights_of_classes)

    accuracy = partial(_accuracy, model, stack, data, device)
    figure = "validation_class_accuracy" if balance else "validation_accuracy"
    history = fit(
        model,
        batch_loss,
        n=len(train),
        schedule=pick_schedule(CLASSIFIER_SCHEDULES, schedule, epochs),
        seed=seed,
        after_epoch=lambda epoch: accuracy("validation"),
        keep_best=figure,
        checkpoint=checkpoint,
    )
    best = best_record(history, figure)
    save_weights(weights, model, {"architecture": architecture, **shape})
    write_csv(curve, pd.DataFrame(history))
    record = {
        "chance": _chance(data, balance, best[figure]),
        "epoch": best["epoch"],
        "epochs": len(history),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    write_json(metrics, {**accuracy("validation"), **accuracy("test"), **record})


def _chance(data: ParticleSet, balance: bool, reached: float) -> float:
    """Accuracy of a guess; warn where what was reached on validation is hardly above it."""
    share_of_largest = float(np.bincount(data.labels).max() / len(data.labels))
    chance = 1 / len(data.names) if balance else share_of_largest
    if reached < min(1.5 * chance, (1 + chance) / 2):  # chance may be high: uneven classes
        logger.warning(
            "validation accuracy is %.2f, hardly above chance (%.2f): maps of this classifier "
            "mean little; add volumes or epochs, or use architecture 'gap'",
            *(reached, chance),
        )
    return chance


def _accuracy(
    model: Classifier, stack: Stack, data: ParticleSet, device: torch.device, part: str
) -> dict[str, float]:
    """Share of the images of a part that are named correctly, and its mean over the classes."""
    rows = data.parts[part]
    found = [
        predict(model, torch.from_numpy(stack[chunk]).unsqueeze(1).to(device)).argmax(1).cpu()
        for chunk in stack.batches(rows)
    ]
    targets = torch.from_numpy(data.labels[rows] - 1)
    right = (torch.cat(found) == targets).double()
    classes = [right[targets == c].mean() for c in targets.unique()]
    return {
        f"{part}_accuracy": float(right.mean()),
        f"{part}_class_accuracy": float(torch.stack(classes).mean()),
    }
