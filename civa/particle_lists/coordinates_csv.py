"""CSV tables with positions: this project's own form of a particle list.

Columns ``x_angstrom``, ``y_angstrom``, ``z_angstrom``, in Å from the middle of the first voxel, or
``x_voxel``, ``y_voxel``, ``z_voxel``, counted from 0, where there are none in Å.  Optionally
``tomogram``; ``quaternion_x``, ``_y``, ``_z``, ``_w`` of the rotation that turns the reference onto
the particle; and ``defocus_um`` in µm.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from civa.particle_lists.particle_list import ParticleList, as_names, has, number_columns

ANGSTROM = [f"{axis}_angstrom" for axis in "xyz"]
VOXELS = [f"{axis}_voxel" for axis in "xyz"]
QUATERNION = [f"quaternion_{axis}" for axis in "xyzw"]


SHORTEST_QUATERNION = 0.5  # one of a rotation is 1 long


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
    both = "has positions in voxels too: those in Å are taken"
    tomograms = table.get("tomogram", pd.Series("", index=table.index))
    rotations = None
    if has(table, QUATERNION):
        quaternions = number_columns(path, table, QUATERNION)
        lengths = np.linalg.norm(quaternions, axis=1)
        if (lengths < SHORTEST_QUATERNION).any():
            row = int(lengths.argmin()) + 1
            raise ValueError(f"{path}, particle {row}: its quaternion is 0, expected a rotation")
        rotations = Rotation.from_quat(quaternions)
    return ParticleList(
        path=path,
        dialect="CSV",
        table=table,
        tomograms=as_names(tomograms),
        positions=number_columns(path, table, ANGSTROM if in_angstrom else VOXELS),
        unit_angstrom=np.ones(len(table)) if in_angstrom else None,
        in_voxels=not in_angstrom,
        classes=as_names(table["class"]) if "class" in table else None,
        rotations=rotations,
        defocus_um=number_columns(path, table, ["defocus_um"])[:, 0]
        if "defocus_um" in table
        else None,
        notes=(both,) if in_angstrom and has(table, VOXELS) else (),
    )
