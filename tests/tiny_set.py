"""A data set of a few small boxes on disk, and its stages run by their verbs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from civa.cli import main
from civa.data.files import read_json, write_csv
from civa.data.stack import Stack, read_stack, write_stack

VOXEL_SIZE_ANGSTROM = 20.0


LABELS_OF_MRC = slice(224, 1024)  # text of the header, with the time of writing


def content(path: Path) -> bytes:
    """Return the bytes of a product, without the time that an MRC file states in its header."""
    found = bytearray(path.read_bytes())
    if path.suffix == ".mrcs":
        found[LABELS_OF_MRC] = bytes(LABELS_OF_MRC.stop - LABELS_OF_MRC.start)
    return bytes(found)


@dataclass(frozen=True)
class TinySet:
    """Files of a data set in a folder; the classes are ``a``, ``b``, ... in the order of labels."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def write_tables(self, labels: ArrayLike, parts: Sequence[str]) -> None:
        """Write the particle table and the split of n volumes."""
        numbers = np.asarray(labels)
        ids = [f"v{row}" for row in range(len(numbers))]
        classes = [" abcdefgh"[number] for number in numbers]
        table = pd.DataFrame({"id": ids, "class": classes, "label": numbers})
        write_csv(self.path("particles.csv"), table)
        write_csv(self.path("split.csv"), table[["id", "class"]].assign(part=list(parts)))

    def write_predictions(self, guides: ArrayLike) -> None:
        """Write the classes that guide the maps, as 'localize' does."""
        numbers = np.asarray(guides)
        ids = [f"v{row}" for row in range(len(numbers))]
        table = pd.DataFrame({"id": ids, "label": numbers, "predicted": numbers, "guide": numbers})
        write_csv(self.path("predictions.csv"), table.assign(confidence=1.0))

    def write_stack(self, name: str, stack: NDArray) -> None:
        """Write volumes (n, d, h, w)."""
        write_stack(self.path(name), stack, voxel_size_angstrom=VOXEL_SIZE_ANGSTROM)

    def run(self, verb: str, files: dict[str, str], **settings: Any) -> None:
        """Run a stage that must succeed: flag -> name of a file in the folder, and settings."""
        assert self.status(verb, files, **settings) == 0

    def status(self, verb: str, files: dict[str, str], **settings: Any) -> int:
        """Run a stage by its verb; return its exit status."""
        words = [verb]
        for flag, name in files.items():
            words += ["--" + flag.replace("_", "-"), str(self.path(name))]
        for flag, value in settings.items():
            name = flag.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            elif isinstance(value, tuple):
                words += [f"--{name}", *map(str, value)]
            else:
                words.append(f"--{name}={value}")
        return main(words)

    def stack(self, name: str) -> NDArray:
        """Read a product (n, d, h, w), once its voxel size is seen to be that of the set."""
        assert Stack.open(self.path(name)).voxel_size_angstrom == VOXEL_SIZE_ANGSTROM
        return np.array(read_stack(self.path(name)))

    def contents(self, *names: str) -> list[bytes]:
        """Return what files hold, to be compared with what they hold later."""
        return [content(self.path(name)) for name in names]

    def record(self, name: str) -> dict[str, Any]:
        return read_json(self.path(name))

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.path(name))


DATA = {name: f"{name}.csv" for name in ("particles", "split")}
VOLUMES = {"volumes": "volumes.mrcs", **DATA}
TRUTH = {"masks": "masks.mrcs", **DATA, "predictions": "predictions.csv"}
