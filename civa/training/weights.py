"""Network weights on disk: safetensors, which hold numbers and text and no code."""

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from civa.data.files import replacing
from civa.training.loop import Network


def save_weights(path: Path, model: nn.Module, description: dict[str, Any]) -> None:
    """Write a network's weights and what is needed to build it again."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"civa": json.dumps(description)})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as weights:
            description = json.loads((weights.metadata() or {})["civa"])
            names = weights.keys()  # not a mapping: it cannot be iterated over itself
            return description, {name: weights.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, OSError) as error:
        raise ValueError(
            f"{path} is not a civa weights file ({error}): train the network again"
        ) from error


def load_network(path: Path, build: Callable[..., Network]) -> Network:
    """Build the network that a weights file describes, ready for inference.

    Raises
    ------
    ValueError
        If the file is no weights file, or describes a network of another kind.
    """
    description, state = _read(path)
    try:
        model = build(**description)
        model.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        reason = shorten(str(error), 200)  # torch lists every layer that differs
        raise ValueError(
            f"{path} holds the weights of another network ({reason}): check which file is meant"
        ) from error
    return model.eval()
