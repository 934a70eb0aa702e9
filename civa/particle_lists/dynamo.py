"""Tables of Dynamo (``.tbl``): 26 to 42 columns without names.

Positions and shifts are voxels of the tomogram.  A pixel position r is that of pixel r, counted
from 1 (its wiki, "Volume center": a template's central pixel is set at the pixel position r).
Angles turn the reference clockwise about z (tdrot), the new x (tilt) and the new z (narot), each
("Euler angles convention").  Columns: "Table convention".
"""

from pathlib import Path

import dynamotable
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.particle_lists.particle_list import ParticleList, as_name, as_names, number_columns

POSITIONS, SHIFTS, TURNS = ["x", "y", "z"], ["dx", "dy", "dz"], ["tdrot", "tilt", "narot"]
FIRST_VOXEL = 1
FEWEST_COLUMNS = 26  # up to the position
LARGEST_IMAGINARY = 1e-3  # of complex numbers that only rounding made complex


def is_table(head: str) -> bool:
    """Tell by its beginning whether a text is a table of numbers wide enough for positions."""
    lines = [line.split() for line in head.splitlines() if line.strip()]
    if not lines or len(lines[0]) < FEWEST_COLUMNS:
        return False
    try:
        [complex(word.replace("i", "j")) for word in lines[0]]
    except ValueError:
        return False
    return True


def word_in_table(head: str) -> str | None:
    """Return a word in the first line of what is else a table; None where there is none."""
    words = next((line.split() for line in head.splitlines() if line.strip()), [])
    odd = [word for word in words if not word.replace(".", "").lstrip("+-").isdigit()]
    return odd[0] if odd and len(words) >= FEWEST_COLUMNS and len(odd) < len(words) / 4 else None


def is_index(head: str) -> bool:
    """Tell by its beginning whether a text maps numbers to files of tomograms."""
    lines = [line.split(maxsplit=1) for line in head.splitlines() if line.strip()]
    return (
        bool(lines)
        and all(
            len(words) == 2
            and words[0].isdigit()
            and "." in words[1]
            and "," not in words[1]
            and len(words[1].split()) < FEWEST_COLUMNS - 1  # a table, with a word in it
            for words in lines[:5]
        )
    )


def read(path: Path) -> ParticleList:
    """Read a table.

    Raises
    ------
    ValueError
        If the file is no such table, or a number is complex.
    """
    try:
        table = dynamotable.read(path)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is no table of Dynamo that can be read ({error})") from error
    for column in table.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]]:
        table[column] = _real(path, column, table[column])
    positions = number_columns(path, table, POSITIONS) + number_columns(path, table, SHIFTS)
    return ParticleList(
        path=path,
        dialect="Dynamo",
        table=table,
        tomograms=as_names(table["tomo"]),
        positions=positions - FIRST_VOXEL,
        classes=as_names(table["class"]),
        rotations=Rotation.from_euler("ZXZ", -number_columns(path, table, TURNS), degrees=True),
    )


def read_index(path: Path) -> dict[str, str]:
    """Read which tomogram has which number: lines of a number and a path (``.doc``).

    Source: Dynamo's wiki, "Table map file".

    Raises
    ------
    ValueError
        If a line has not both, or a number stands twice.
    """
    found: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for at, line in enumerate(lines, start=1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) != 2 or not words[0].isdigit():
            raise ValueError(
                f"{path}, line {at}: '{line.strip()}' is no number and file of a tomogram: "
                "expected lines such as '1 tomograms/first.rec'"
            )
        number = as_name(int(words[0]))
        if number in found:
            raise ValueError(f"{path}, line {at}: tomogram {number} stands twice: name it once")
        found[number] = words[1].strip()
    return found


def _real(path: Path, column: str, cells: pd.Series) -> NDArray[np.float64]:
    """Return the real parts of numbers that Dynamo wrote as complex ones, as ``0+1.2e-06i``."""
    try:
        numbers = np.array([complex(str(cell).replace("i", "j")) for cell in cells])
    except ValueError as error:
        raise ValueError(f"{path}: column '{column}' holds what is no number ({error})") from error
    wrong = np.flatnonzero(np.abs(numbers.imag) > LARGEST_IMAGINARY)
    if len(wrong):
        raise ValueError(
            f"{path}, particle {wrong[0] + 1}: {column} is {cells.iloc[wrong[0]]}, a complex "
            "number: expected a real one"
        )
    return numbers.real
