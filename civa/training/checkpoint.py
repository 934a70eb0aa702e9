"""The state of a training on disk: one that is stopped goes on where it was, to the same bits."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from civa.data.files import replacing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Where a training leaves its state after every epoch.

    Attributes
    ----------
    path
        The file.  It is no product: it goes when the products of the training are there.
    identity
        Digest of all that shapes the training: code, settings, content of the inputs.  The state
        of another training is not taken up.
    """

    path: Path
    identity: str

    def save(self, state: dict[str, Any]) -> None:
        """Write a state of tensors, numbers and texts; the file is whole or not there."""
        with replacing(self.path) as temporary:
            torch.save({"identity": self.identity, "state": state}, temporary)

    def load(self) -> dict[str, Any] | None:
        """Return the state of an earlier run of this training; None if there is none to use."""
        if not self.path.is_file():
            return None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, state = found["identity"], found["state"]
        except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            logger.warning("%s is no checkpoint (%s): training starts anew", self.path, reason)
            return None
        if identity != self.identity:
            logger.info(
                "%s belongs to other inputs, settings or code: training starts anew", self.path
            )
            return None
        return state

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self.path.unlink(missing_ok=True)


class Progress:
    """All that changes in a training: the next epoch depends on this and nothing else."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        decay: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> None:
        self.model = model
        self.parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "decay": decay}
        self.generator = generator
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] | None = None

    def add(self, record: dict[str, float], keep_best: str | None) -> None:
        """Take up an epoch's figures, and its weights if no earlier epoch was better."""
        self.history.append(record)
        if keep_best is None:
            return
        if (
            self.best_state is None
            or record[keep_best] >= self.history[self.best_epoch - 1][keep_best]
        ):
            self.best_epoch = len(self.history)
            self.best_state = copy.deepcopy(self.model.state_dict())

    def state(self) -> dict[str, Any]:
        """Return tensors, numbers and texts."""
        return {
            **{name: part.state_dict() for name, part in self.parts.items()},
            "generator": self.generator.get_state(),
            "random": _random_states(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Return to a state, if there is one."""
        if state is None:
            return
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"][0])
        if len(state["random"]) > 1 and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["random"][1])
        self.history.extend(state["history"])
        self.best_epoch, self.best_state = state["best_epoch"], state["best_state"]
        logger.info("goes on after epoch %d, where an earlier run stopped", len(self.history))


def _random_states() -> list[Tensor]:
    """Return the states of the global generators, which dropout draws from."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return [torch.get_rng_state(), *cuda]
