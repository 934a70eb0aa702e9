"""Arrays on disk, for tests of what reads stacks a few volumes at a time."""

from pathlib import Path

import numpy as np

from civa.data.stack import Stack, write_stack


def stored(folder: Path, volumes: np.ndarray, name: str = "stack") -> Stack:
    """The volumes (n, d, h, w) as a stack in a folder."""
    write_stack(folder / f"{name}.mrcs", volumes, voxel_size_angstrom=10)
    return Stack.open(folder / f"{name}.mrcs")
