"""Points of an IMOD model (``.mod``).

Coordinates are pixels; the middle of the first voxel is (0.5, 0.5, 0) (IMOD's "Binary file format"
and the notes of its MATLAB readers).  Objects are the classes that a model can tell apart.
"""

from pathlib import Path

import imodmodel
import numpy as np

from civa.particle_lists.particle_list import ParticleList, as_names, number_columns

FIRST_VOXEL = np.array([0.5, 0.5, 0.0])  # x, y, z


def is_model(head: bytes) -> bool:
    """Tell by its first bytes whether a file is an IMOD model."""
    return head.startswith(b"IMODV")


def read(path: Path) -> ParticleList:
    """Read the points of a model; they are all of one tomogram, which the file does not name.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        table = imodmodel.read(path)
        shown = imodmodel.ImodModel.from_file(path).minx
    except Exception as error:  # of many kinds: a damaged file is read as other records
        raise ValueError(f"{path} is no model of IMOD that can be read ({error})") from error
    positions = number_columns(path, table, ["x", "y", "z"]) - FIRST_VOXEL
    if shown is not None:  # coordinates are those of the part of the image that was shown
        positions += (np.array(shown.otrans) - np.array(shown.ctrans)) / np.array(shown.cscale)
    return ParticleList(
        path=path,
        dialect="IMOD",
        table=table,
        tomograms=np.full(len(table), "", dtype=np.str_),
        positions=positions,
        classes=as_names(table["object_id"] + 1),  # as IMOD's own windows count them
    )
