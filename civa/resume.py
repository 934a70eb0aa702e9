"""The state of a training on disk: one that is stopped goes on where it was, to the same bits."""

import logging
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from civa.files import replacing

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
