"""Motive lists: STOPGAP's STAR files and the EM files of TOM and AV3.

Positions and shifts are voxels of the tomogram, counted from 1.  Angles are phi, psi and theta: the
reference is turned about z by phi, about x by theta, about z by psi.  Sources: STOPGAP's
extract_parse_subtomo_positions.m, sg_motl_apply_shifts.m and sg_euler2matrix.m; of AV3, the page
"Motivelist" of Artiatomi's wiki and subTOM's subtom_transform_motl.
"""

from pathlib import Path

import emfile
import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from civa.particle_lists.particle_list import ParticleList, as_names, has, number_columns

POSITIONS = ["orig_x", "orig_y", "orig_z"]
SHIFTS = ["x_shift", "y_shift", "z_shift"]
TURNS = ["phi", "the", "psi"]  # about z, x and z, one after the other
FIRST_VOXEL = 1

# The rows of an EM motive list, as STOPGAP names them.
EM_ROWS = [
    *("score", "marker_x", "marker_y", "subtomo_num", "tomo_num", "object", "wedge"),
    *POSITIONS,
    *SHIFTS,
    *("earlier_shift_x", "earlier_shift_y", "earlier_shift_z"),
    *("phi", "psi", "the", "class"),
]
LITTLE_ENDIAN = 6  # machine of an EM file, its first byte
EM_HEADER_BYTES = 512


def read_stopgap(path: Path, table: pd.DataFrame) -> ParticleList:
    """Read STOPGAP's table; see `has_positions`.

    Raises
    ------
    ValueError
        If a cell is no number.
    """
    return _from_table(path, table, dialect="STOPGAP")


def has_positions(table: pd.DataFrame) -> bool:
    """Tell whether a table is a motive list."""
    return has(table, [*POSITIONS, *SHIFTS, *TURNS])


def is_em(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a motive list in EM format: 20 rows of floats."""
    if len(head) < 16 or head[0] != LITTLE_ENDIAN or head[3] != 5:  # 5: float32
        return False
    rows, _, sections = np.frombuffer(head[4:16], "<i4")
    return bool(rows == len(EM_ROWS) and sections == 1)


def read_em(path: Path) -> ParticleList:
    """Read the motive list of an EM file.

    Raises
    ------
    ValueError
        If the file is cut short.
    """
    if path.stat().st_size < EM_HEADER_BYTES:
        raise ValueError(f"{path} ends within its header: it is cut short; copy it again")
    header, _ = emfile.read(path, header_only=True)
    expected = EM_HEADER_BYTES + 4 * header["xdim"] * header["ydim"] * header["zdim"]
    if path.stat().st_size < expected:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, and its header states {expected}: it is cut "
            "short; copy it again"
        )
    _, values = emfile.read(path)  # (1, n, 20)
    table = pd.DataFrame(values[0], columns=EM_ROWS, dtype=np.float64)
    return _from_table(path, table, dialect="TOM / AV3")


def _from_table(path: Path, table: pd.DataFrame, *, dialect: str) -> ParticleList:
    numbers = table["tomo_num"] if "tomo_num" in table else pd.Series("", index=table.index)
    positions = number_columns(path, table, POSITIONS) + number_columns(path, table, SHIFTS)
    angles = number_columns(path, table, TURNS)
    return ParticleList(
        path=path,
        dialect=dialect,
        table=table,
        tomograms=as_names(numbers),
        positions=positions - FIRST_VOXEL,
        classes=as_names(table["class"]) if "class" in table else None,
        rotations=Rotation.from_euler("zxz", angles, degrees=True),
    )
