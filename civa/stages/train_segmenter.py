"""Volumes and labels of voxels -> a baseline with stronger supervision (Sec. 5.3, 5.4)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from civa.data.files import write_csv, write_json
from civa.data.particles import BACKGROUND, ParticleSet
from civa.data.stack import Stack, open_volumes
from civa.evaluation.mask_statistics import annotated
from civa.evaluation.supervised import (
    SEGMENTER_SCHEDULES,
    SUPERVISIONS,
    build_segmenter,
    central_slice,
    choose_cut,
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
    set_up_torch,
    training_boxes,
)
from civa.training.weights import save_weights

logger = logging.getLogger(__name__)
FIGURE = "validation_miou"
NO_MASKS = "no training volume has a mask"


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

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    annotations
        (n, d, h, w) masks to learn from, MRC stack of labels.
    masks
        (n, d, h, w) masks that the epoch is chosen on, MRC stack of labels.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    weights
        Weights of the segmenter, safetensors.
    metrics
        JSON record: validation mIoU (%), cut, epochs, number of parameters.
    curve
        CSV table of the training, a row per epoch: loss, seconds, figures on validation.
    network
        Architecture: voxresnet or unet.
    supervision
        What the annotations are: full, slice or pseudo.
    """
    if supervision not in SUPERVISIONS:
        raise ValueError(f"supervision must be one of {SUPERVISIONS} (got '{supervision}')")
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    teacher = Teacher(Stack.open(annotations), data.labels, supervision)
    train = data.parts["train"]
    train = train[annotated(teacher.annotations, train)]  # (m,)
    model = place(build_segmenter(network, len(data.names), width), device)
    description = {"network": network, "classes": len(data.names), "width": width}
    save = {"supervision": supervision, "parameters": sum(p.numel() for p in model.parameters())}
    if not len(train):
        logger.warning("%s: %s is not trained", NO_MASKS, network)
        save_weights(weights, model, description)
        write_csv(curve, pd.DataFrame(columns=["epoch", "loss", "seconds"]))
        write_json(metrics, {**save, "skipped": NO_MASKS})
        return
    if supervision == "slice":
        save["annotated_target_voxels"] = teacher.share_of_targets(train)
    validation = Validation(masks, particles, split)
    history = fit(
        model,
        _batch_loss(model, stack, teacher, train, flips=flips, device=device),
        n=len(train),
        schedule=pick_schedule(SEGMENTER_SCHEDULES, schedule or network, epochs, patience),
        seed=seed,
        after_epoch=lambda epoch: _quality(model, stack, validation, device),
        keep_best=FIGURE if validation.is_possible else None,
        checkpoint=checkpoint,
    )
    best = dict(best_record(history, FIGURE) if validation.is_possible else history[-1])
    del best["seconds"]  # the same seed gives the same metrics
    save_weights(weights, model, description)
    write_csv(curve, pd.DataFrame(history))
    write_json(metrics, {**save, **best, "epochs": len(history), "volumes": len(train)})


def _batch_loss(
    model: nn.Module,
    stack: Stack,
    teacher: "Teacher",
    train: NDArray[np.int64],
    *,
    flips: bool,
    device: torch.device,
) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Loss of a batch, given by positions (b,) in the volumes (m,) to train on."""

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        rows = train[batch.numpy()]
        boxes, axes = training_boxes(stack, rows, generator, flips=flips, device=device)
        with autocast(device):
            scores = model(boxes)
        wanted = teacher.targets(rows).flip(axes).long().to(device)
        return segmentation_loss([s.float() for s in scores], wanted)

    return loss


def _quality(
    model: nn.Module,
    stack: Stack,
    validation: Validation,
    device: torch.device,
) -> dict[str, float]:
    """Best validation mIoU (%) over cuts, and its cut; nothing without validation masks."""
    if not validation.is_possible:
        return {}
    cut, tried = choose_cut(model, stack, validation, device)
    return {FIGURE: max(tried.values()), "cut": cut}


@dataclass(frozen=True)
class Teacher:
    """What a baseline learns from, volume by volume.

    Attributes
    ----------
    annotations
        Labels of voxels, of all volumes.
    labels
        (n,) class that every volume is said to show.
    supervision
        One of `SUPERVISIONS`.
    """

    annotations: Stack
    labels: NDArray[np.int64]
    supervision: str

    def whole(self, rows: NDArray[np.int64]) -> Tensor:
        """Labels (b, d, h, w) int8; the ground truth counts for the class that is said."""
        found = torch.from_numpy(self.annotations[rows].astype(np.int8))
        if self.supervision == "pseudo":
            return found
        said = torch.from_numpy(self.labels[rows, None, None, None]).to(torch.int8)
        return torch.where(found > BACKGROUND, said, found)

    def targets(self, rows: NDArray[np.int64]) -> Tensor:
        """Targets (b, d, h, w) int8; ignored but for one slice where only that is annotated."""
        return self._annotated(self.whole(rows))

    def share_of_targets(self, rows: NDArray[np.int64]) -> float:
        """Share of the targets' voxels that is annotated."""
        kept = of = 0
        for part in self.annotations.batches(rows):
            labels = self.whole(part)
            kept += int((self._annotated(labels) > BACKGROUND).sum())
            of += int((labels > BACKGROUND).sum())
        return round(kept / of, 4)

    def _annotated(self, labels: Tensor) -> Tensor:
        return central_slice(labels) if self.supervision == "slice" else labels
