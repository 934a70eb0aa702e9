"""The one training loop, its published and its working schedules (Sec. 4.5, 5.4, Eq. 10)."""

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from civa.data.stack import Stack
from civa.training.checkpoint import Checkpoint, Progress

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
GPU_USES = ("auto", "never", "required")


@dataclass(frozen=True)
class Schedule:
    """How a network is optimised.

    Attributes
    ----------
    optimizer
        ``adam`` or ``sgd`` (momentum 0.9).
    decay
        ``constant``, ``poly`` (power 0.9), ``exponential`` (to a hundredth over the epochs) or
        ``one_cycle``; the rate changes at every iteration.
    weight_decay
        L2 penalty.
    patience
        Epochs without a better figure on validation after which training stops; None: never.
    """

    optimizer: str
    learning_rate: float
    decay: str
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    patience: int | None = None


CLASSIFIER_SCHEDULES = {
    "paper": Schedule("adam", 1e-3, "constant", batch_size=32, epochs=20),
    "one_cycle": Schedule("adam", 2e-3, "one_cycle", batch_size=32, epochs=24),
}
IVA_SCHEDULES = {
    "paper": Schedule("sgd", 1e-4, "poly", batch_size=1, epochs=3),  # ASSUME: momentum 0.9
    "one_cycle": Schedule("adam", 2e-3, "one_cycle", batch_size=8, epochs=6),
}


def pick_schedule(
    schedules: dict[str, Schedule], name: str, epochs: int | None, patience: int | None = None
) -> Schedule:
    """Return a schedule by name, with another number of epochs or patience if one is given.

    A patience of 0 means that training never stops early.

    Raises
    ------
    ValueError
        If the name is unknown, the number of epochs is not positive, or patience is negative.
    """
    if name not in schedules:
        raise ValueError(f"schedule must be one of {tuple(schedules)} (got '{name}')")
    chosen = schedules[name]
    if epochs is not None:
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1 (got {epochs})")
        chosen = replace(chosen, epochs=epochs)
    if patience is not None:
        if patience < 0:
            raise ValueError(f"patience must be at least 0, which is never (got {patience})")
        chosen = replace(chosen, patience=patience or None)
    return chosen


def set_up_torch(seed: int, threads: int, gpu: str = "auto") -> torch.device:
    """Seed everything, ask for deterministic kernels, and pick where to compute.

    The same seed gives the same bits on a CPU at the same number of threads.

    Parameters
    ----------
    gpu
        ``auto`` takes the GPU if there is one, ``required`` insists on it, ``never`` leaves it.

    Raises
    ------
    ValueError
        If a GPU is asked for, or was allotted to this job, and PyTorch sees none: days on a CPU
        in place of hours are not what a cluster job is meant to spend.
    """
    if gpu not in GPU_USES:
        raise ValueError(f"gpu must be one of {GPU_USES} (got '{gpu}')")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    visible = gpu != "never" and torch.cuda.is_available()
    torch.use_deterministic_algorithms(True, warn_only=visible)
    if visible:
        return torch.device("cuda")
    allotted = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # SLURM sets it from --gpus and --gres
    if gpu == "required" or (gpu == "auto" and allotted.replace("-1", "")):
        raise ValueError(
            f"no GPU is visible to PyTorch {torch.__version__} on {socket.gethostname()} "
            f"(CUDA_VISIBLE_DEVICES='{allotted}'), though this job asked for one: install a CUDA "
            "build of torch, check the node with nvidia-smi, or set 'gpu: never' in the "
            "configuration to compute on CPUs"
        )
    logger.info("no GPU is used: running on %d CPU threads", threads)
    return torch.device("cpu")


def place(model: Network, device: torch.device) -> Network:
    """Move a network to a device, in the memory format that its convolutions prefer."""
    return model.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def autocast(device: torch.device) -> torch.autocast:
    """Mixed precision on a GPU; plain float32 on a CPU, where bfloat16 is often emulated."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled index batches; a last batch of one is left out (batch statistics)."""
    for batch in torch.randperm(n, generator=generator).split(size):
        if len(batch) > 1 or size == 1 or n == 1:
            yield batch


def random_flips(generator: torch.Generator) -> tuple[int, ...]:
    """Draw which of the last three axes to mirror; mirrors keep the missing wedge in place."""
    draws = torch.rand(3, generator=generator)
    return tuple(axis for axis, draw in zip((-3, -2, -1), draws, strict=True) if draw < 0.5)


def training_boxes(
    stack: Stack,
    rows: NDArray[np.int64],
    generator: torch.Generator,
    *,
    flips: bool,
    device: torch.device,
) -> tuple[Tensor, tuple[int, ...]]:
    """Read volumes (b,) of a stack, with ``flips`` mirrored along axes that are drawn at random.

    Returns
    -------
    The volumes (b, 1, d, h, w) on a device, and the axes, from the last: what is learned of them
    is mirrored along the same ones.
    """
    axes = random_flips(generator) if flips else ()
    boxes = torch.from_numpy(stack[rows]).unsqueeze(1)  # (b, 1, d, h, w)
    return boxes.flip(axes).to(device), axes


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    rate, penalty = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=penalty)
    return torch.optim.SGD(model.parameters(), lr=rate, weight_decay=penalty, momentum=0.9)


def _decay(
    optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if schedule.decay == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=schedule.learning_rate, total_steps=max(steps, 2)
        )
    if schedule.decay == "exponential":
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.01 ** (1 / steps))
    power = 0.9 if schedule.decay == "poly" else 0.0
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=power)


def fit(
    model: nn.Module,
    batch_loss: Callable[[Tensor, torch.Generator], Tensor],
    *,
    n: int,
    schedule: Schedule,
    seed: int,
    after_epoch: Callable[[int], dict[str, float]] = lambda epoch: {},
    keep_best: str | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, float]]:
    """Minimise one term of the total loss.

    Eq. (10), Sec. 4.5: L = L_B + L_O.  The terms share no parameter, so minimising their sum
    is minimising each by itself, in the stage that owns it.

    Parameters
    ----------
    model
        Network to train, in place.
    batch_loss
        (indices (b,), generator for augmentation) -> scalar loss.
    n
        Number of training volumes.
    schedule
        Optimiser, rate, batch size, epochs.
    seed
        Seed of the shuffles and the augmentation.
    after_epoch
        Called after every epoch; its figures join the history.
    keep_best
        Figure of ``after_epoch`` on validation, the higher the better: the network is left with
        the weights of its best epoch (the last one on ties), and the schedule's patience
        counts from there.
    checkpoint
        Where the state is kept after every epoch.  A run that finds the state of an earlier one
        goes on from there and ends, on a CPU, with the same bits as an undisturbed one.

    Returns
    -------
    One record per epoch: ``epoch``, ``loss``, ``seconds`` and what ``after_epoch`` returned.

    Raises
    ------
    ValueError
        If the loss is not finite: the rate is too high or a volume is broken.  On a GPU losses are
        looked at after every epoch, before anything of it is kept.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = _optimizer(model, schedule)
    per_epoch = sum(1 for _ in batches(n, schedule.batch_size, torch.Generator()))
    steps = schedule.epochs * per_epoch
    decay = _decay(optimizer, schedule, steps)
    progress = Progress(model, optimizer, decay, generator)
    if checkpoint is not None:
        progress.restore(checkpoint.load())
    history = progress.history
    while len(history) < schedule.epochs and not _is_exhausted(progress, schedule, keep_best):
        epoch = len(history) + 1
        started = time.monotonic()
        model.train()
        values: list[float] = []
        unread: list[Tensor] = []
        for batch in batches(n, schedule.batch_size, generator):
            loss = batch_loss(batch, generator)
            if _reading_waits(loss):
                unread.append(loss.detach())
            else:  # kept as a tensor, it would pin a place among the buffers of this step
                values += _finite([loss.detach()], epoch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            decay.step()
        values += _finite(unread, epoch) if unread else []
        record = {"epoch": epoch, "loss": sum(values) / len(values), **after_epoch(epoch)}
        record["seconds"] = round(time.monotonic() - started, 2)
        logger.info("  ".join(f"{key} {value:.4g}" for key, value in record.items()))
        progress.add(record, keep_best)
        if checkpoint is not None:
            checkpoint.save(progress.state())
    if progress.best_state is not None:
        model.load_state_dict(progress.best_state)
    return history


def _reading_waits(loss: Tensor) -> bool:
    """Tell whether a value is read only after all that was queued on its device is computed."""
    return loss.device.type != "cpu"


def _finite(losses: Sequence[Tensor], epoch: int) -> list[float]:
    """Return losses as numbers; read from their device in one go.

    Raises
    ------
    ValueError
        If one of them is not finite.
    """
    values: list[float] = torch.stack(list(losses)).tolist()
    for value in values:
        if not math.isfinite(value):
            raise ValueError(
                f"the loss is {value} in epoch {epoch}: lower the learning rate, or look for "
                "broken volumes"
            )
    return values


def _is_exhausted(progress: Progress, schedule: Schedule, keep_best: str | None) -> bool:
    """Tell whether the schedule's patience has run out."""
    if schedule.patience is None or keep_best is None:
        return False
    if len(progress.history) - progress.best_epoch < schedule.patience:
        return False
    logger.info("no better %s since epoch %d: stopped", keep_best, progress.best_epoch)
    return True


def best_record(history: list[dict[str, float]], figure: str) -> dict[str, float]:
    """Return the record of the epoch that `fit` kept: the last of the highest figure."""
    return max(history, key=lambda record: (record[figure], record["epoch"]))
