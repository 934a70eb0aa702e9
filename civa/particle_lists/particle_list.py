"""Particles that a file lists, whichever program wrote it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Frame = Literal["corner", "centre", "fraction"]


@dataclass(frozen=True)
class Extent:
    """The size of a tomogram: voxels (3,) along x, y, z, and the edge of one in Å."""

    voxels: NDArray[np.int64]
    voxel_size_angstrom: float


@dataclass(frozen=True)
class ParticleList:
    """Particles as a file lists them: what it says, in one convention.

    Attributes
    ----------
    path
        The file.
    dialect
        Program and version whose conventions it follows, as ``RELION 5``.
    table
        (n) rows, as they stand in the file: its own columns, for what only a user can name.
    tomograms
        (n,) name of the tomogram, as the file has it; blank where it has none.
    positions
        (n, 3) x, y, z of the particles' middles, shifts and origins in their unit applied.
    frame
        Where 0 lies, and what is counted: ``corner``, from the middle of the first voxel; or
        ``centre``, half the tomogram from there; or ``fraction``, from the first voxel, 0, to the
        last, 1.
    unit_angstrom
        (n,) length of the unit of positions in Å; None where they are voxels of the tomogram, whose
        size the file does not state, or a fraction.
    in_voxels
        Whether that unit is a voxel of some tomogram.
    shifts_angstrom
        (n, 3) that are added once positions are in Å; None for none.
    classes
        (n,) what the program itself numbers as the particle's class, as text; None where it has no
        such column.
    rotations
        Of n: each turns the reference onto the particle, x, y, z; None where the file has none.
    defocus_um
        (n,) in µm, underfocus positive; None where the file has none.
    notes
        What was understood beyond the columns themselves, a sentence each.
    """

    path: Path
    dialect: str
    table: pd.DataFrame
    tomograms: NDArray[np.str_]
    positions: NDArray[np.float64]
    frame: Frame = "corner"
    unit_angstrom: NDArray[np.float64] | None = None
    in_voxels: bool = True
    shifts_angstrom: NDArray[np.float64] | None = None
    classes: NDArray[np.str_] | None = None
    rotations: Rotation | None = None
    defocus_um: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def corner_angstrom(
        self,
        extents: Mapping[str, Extent] | None = None,
        *,
        unit_angstrom: float | None = None,
        first_voxel: float = 0.0,
    ) -> NDArray[np.float64]:
        """Positions (n, 3) x, y, z in Å from the middle of a tomogram's first voxel.

        Parameters
        ----------
        extents
            Name of a tomogram in this list -> its size.
        unit_angstrom
            Overrides what the file says of the unit of positions from the corner.
        first_voxel
            Of positions from the corner: coordinate of the first voxel's middle, beyond what the
            dialect says of it; half a voxel where a program counts from the corner itself.

        Raises
        ------
        ValueError
            If the size of a tomogram is needed and not given, or where positions do not count
            voxels and are told how to.
        """
        if not self.in_voxels and (unit_angstrom is not None or first_voxel):
            raise ValueError(
                f"{self.path} ({self.dialect}) has positions that do not count voxels, so that "
                "list_voxel_size_angstrom and first_voxel do not apply: leave them out"
            )
        found = self._scaled(extents or {}, unit_angstrom, first_voxel)
        return found if self.shifts_angstrom is None else found + self.shifts_angstrom

    def _scaled(
        self, sizes: Mapping[str, Extent], unit_angstrom: float | None, first_voxel: float
    ) -> NDArray[np.float64]:
        """Positions (n, 3) in Å from the middle of the first voxel, before shifts in Å."""
        corner = self.positions - first_voxel
        if self.frame == "corner":
            if unit_angstrom is not None:
                return corner * unit_angstrom
            if self.unit_angstrom is not None:
                return corner * self.unit_angstrom[:, None]
        missing = sorted(set(self.tomograms) - set(sizes))
        if missing:
            what = {"corner": "in voxels", "centre": "from the centre", "fraction": "as fractions"}
            raise ValueError(
                f"{self.path} ({self.dialect}) has positions {what[self.frame]} of the tomogram, "
                f"but the sizes of {missing[:5]} are not known: give the tomograms"
            )
        found = [sizes[name] for name in self.tomograms]
        voxel = np.array([extent.voxel_size_angstrom for extent in found])[:, None]  # (n, 1)
        if self.frame == "corner":
            return corner * voxel
        voxels = np.array([extent.voxels for extent in found])  # (n, 3)
        if self.frame == "centre":
            return self.positions + voxels * voxel / 2
        return self.positions * (voxels - 1) * voxel


def as_names(numbers: pd.Series) -> NDArray[np.str_]:
    """Return what a program numbers, tomograms or classes, as text: 24.0 is 24."""
    return np.array([as_name(number) for number in numbers], dtype=np.str_)


def as_name(number: object) -> str:
    """Return a number as the text that a person would write: 24.0 is 24, as text too."""
    text = str(number).strip()
    whole, point, zeros = text.partition(".")
    is_whole = point and whole.removeprefix("-").isdigit() and not zeros.strip("0")
    return whole if is_whole else text


def has(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Tell whether a table has all of some columns."""
    return set(columns) <= set(table)


def number_columns(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return columns of a file's table as numbers (n, c).

    Raises
    ------
    ValueError
        If a cell is no finite number; with its particle, counted from 1, and column.
    """
    cells = table[list(columns)]
    numbers = cells.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{path}, particle {row + 1}: {columns[column]} is '{cells.iloc[row, column]}', "
            "expected a number"
        )
    return numbers
