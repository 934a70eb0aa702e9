"""STAR files of M (Warp 1) and of Warp 2's populations: columns ``wrp...``.

Positions are Å from the corner, of every particle at several moments of the exposure; angles are
RELION's.  Source: Warp's MTools/Commands/CreateSpecies.cs.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from civa.particle_lists.particle_list import ParticleList, has, number_columns
from civa.particle_lists.relion import euler_matrix

MOMENTS = ("1", "")  # the number of the first moment in names of columns; some files have none


def names(moment: str) -> list[str]:
    """Columns of the position at a moment."""
    return [f"wrpCoordinate{axis}{moment}" for axis in "XYZ"]


def first_moment(table: pd.DataFrame) -> str | None:
    """Return the number of the first moment, or None where a table is not one of M."""
    return next((moment for moment in MOMENTS if has(table, names(moment))), None)


def read(path: Path, table: pd.DataFrame) -> ParticleList:
    """Read particles: where and how they lie at the first moment.

    Raises
    ------
    ValueError
        If a cell is no number.
    """
    moment = first_moment(table)
    angles = [f"wrpAngle{name}{moment}" for name in ("Rot", "Tilt", "Psi")]
    several = has(table, names("2"))
    sources = table.get("wrpSourceName", pd.Series("", index=table.index))
    return ParticleList(
        path=path,
        dialect="M",
        table=table,
        tomograms=sources.astype(str).to_numpy(dtype=np.str_),
        positions=number_columns(path, table, names(str(moment))),
        unit_angstrom=np.ones(len(table)),
        in_voxels=False,
        rotations=euler_matrix(number_columns(path, table, angles)) if has(table, angles) else None,
        notes=("particles move during the exposure: their first positions are taken",)
        if several
        else (),
    )
