"""CSV tables with positions: this project's own form of a particle list.

Columns ``x_angstrom``, ``y_angstrom``, ``z_angstrom``, in Å from the middle of the first voxel, or
``x_voxel``, ``y_voxel``, ``z_voxel``, counted from 0; optionally ``tomogram`` and, for the rotation
that turns the reference onto the particle, ``quaternion_x``, ``_y``, ``_z``, ``_w``.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from civa.particle_lists.particle_list import ParticleList, has, number_columns

ANGSTROM = [f"{axis}_angstrom" for axis in "xyz"]
VOXELS = [f"{axis}_voxel" for axis in "xyz"]
QUATERNION = [f"quaternion_{axis}" for axis in "xyzw"]


def has_positions(table: pd.DataFrame) -> bool:
    """Tell whether a table lists positions."""
    return has(table, ANGSTROM) or has(table, VOXELS)


def read(path: Path, table: pd.DataFrame) -> ParticleList:
    """Read particles.

    Raises
    ------
    ValueError
        If a position or quaternion is no number.
    """
    in_angstrom = has(table, ANGSTROM)
    tomograms = table.get("tomogram", pd.Series("", index=table.index))
    rotations = None
    if has(table, QUATERNION):
        rotations = Rotation.from_quat(number_columns(path, table, QUATERNION))
    return ParticleList(
        path=path,
        dialect="CSV",
        table=table,
        tomograms=tomograms.astype(str).str.strip().to_numpy(dtype=np.str_),
        positions=number_columns(path, table, ANGSTROM if in_angstrom else VOXELS),
        unit_angstrom=np.ones(len(table)) if in_angstrom else None,
        classes=table["class"].to_numpy(dtype=np.str_) if "class" in table else None,
        rotations=rotations,
    )
