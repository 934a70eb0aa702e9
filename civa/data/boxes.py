"""The boxes and masks that a user's table names: MRC or EM files, or volumes of a stack."""

import functools
import warnings
from dataclasses import dataclass
from pathlib import Path

import emfile
import mrcfile
import mrcfile.utils
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import digest
from civa.data.findings import Finding, FindingError
from civa.data.masks import Understood, understand
from civa.data.mrc import as_zyx
from civa.data.particles import MEMBER
from civa.data.volume import SMALLEST_VOXEL_ANGSTROM, read_header, read_volume, voxel_size_of

BOX_MULTIPLE = 8  # the networks halve a box three times
SMALLEST_BOX = 16
IMAGE_STACKS = (".mrcs", ".st", ".ali")  # endings of stacks of images; volumes may have them too
IMAGE_STACK = 0  # ISPG of a stack of images, and of volumes of some programs
EM_MACHINES = (6,)  # first byte of an EM file: that of PCs, least significant byte first
EM_HEADER_BYTES = 512
EM_BYTES = {1: 1, 2: 2, 4: 4, 5: 4, 9: 8}  # type of an EM file's voxels -> bytes of one
FLAT = 1e-5  # range of a box's voxels over their largest: rounding leaves as much of a constant
SIZE_TOLERANCE = 1e-3  # of voxel sizes: headers hold single precision


@dataclass(frozen=True)
class Geometry:
    """Edge of a box in voxels, and of a voxel in Å."""

    edge: int
    voxel_size_angstrom: float

    def __str__(self) -> str:
        return f"{self.edge}^3 at {self.voxel_size_angstrom:g} Å"


def is_flat(box: NDArray[np.float32]) -> bool:
    """Whether all voxels of a box are alike, but for rounding."""
    return bool(np.ptp(box) <= FLAT * np.abs(box).max())


def fitting_edge(edge: int) -> int:
    """Return the edge that networks can halve: the next smaller one, unless it is too small."""
    return max(edge - edge % BOX_MULTIPLE, SMALLEST_BOX)


def fit(box: NDArray, edge: int, *, outside: float) -> NDArray:
    """Crop a box (n, n, n) or pad it to an edge; what was at n // 2 comes to edge // 2."""
    start = box.shape[0] // 2 - edge // 2
    if start >= 0:
        part = slice(start, start + edge)
        return box[part, part, part]
    after = edge - box.shape[0] + start
    return np.pad(box, [(-start, after)] * 3, constant_values=outside)


class Boxes:
    """The boxes of a table, all of which must have the geometry of the first.

    Parameters
    ----------
    table
        The file; paths in it are relative to its folder.
    rows
        Its rows, whose index is their line, with columns id, path and, where there is one, mask.
    voxel_size_angstrom
        Overrides the headers.
    edge
        Of the boxes that are handed out; if left out, that of the first, made to fit.

    Attributes
    ----------
    table
        As above.
    first
        Row of the box that all others must be like.
    """

    def __init__(
        self,
        table: Path,
        rows: pd.DataFrame,
        voxel_size_angstrom: float | None = None,
        edge: int | None = None,
    ) -> None:
        self.table, self._rows, self._override = table, rows, voxel_size_angstrom
        self._asked, self.first = edge, 0
        self._seen: dict[int, Geometry] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @functools.cached_property
    def stored(self) -> Geometry:
        """Of the first box, as it is stored.  Errors are those of `geometry`."""
        return self.geometry(self.first)

    @property
    def edge(self) -> int:
        """Of the boxes that are handed out."""
        return self._asked or fitting_edge(self.stored.edge)

    def geometry(self, number: int) -> Geometry:
        """Read, once, what the header of a box says.

        Raises
        ------
        FindingError
            If the box is missing, no cube, or a stack of images; with its line and id.
        """
        if number in self._seen:
            return self._seen[number]
        path, member = self.file(number, "path")
        try:
            shape, voxel_size = _look(path, member, self._override)
        except (ValueError, OSError) as error:
            raise self._error(number, str(error)) from error
        if len(set(shape)) != 1:
            expected = "a cube"
            raise self._error(number, f"{path} is {_by(shape)} voxels", expected)
        return self._seen.setdefault(number, Geometry(shape[0], voxel_size))

    def check_geometry(self, number: int) -> None:
        """Check that a box is like the first.

        Raises
        ------
        FindingError
            If it is not; and as `geometry`.
        """
        found, wanted = self.geometry(number), self.stored
        apart = abs(found.voxel_size_angstrom - wanted.voxel_size_angstrom)
        if found.edge != wanted.edge or apart > SIZE_TOLERANCE * wanted.voxel_size_angstrom:
            remedy = "cut all boxes alike, or make them data sets of their own"
            value = f"{self._cell(number, 'path')} is {found}"
            raise self._error(number, value, f"{wanted}, as the first box", remedy)

    def read(self, number: int) -> NDArray[np.float32]:
        """Read a box (d, h, w), cropped or padded to `edge`.

        Raises
        ------
        FindingError
            If it is not like the first, holds what is no number, or is constant.
        """
        self.check_geometry(number)
        path, member = self.file(number, "path")
        try:
            box = _values(path, member, self._override)
        except ValueError as error:
            raise self._error(number, str(error)) from error
        values = box.astype(np.float32)
        if is_flat(values):
            raise self._error(number, f"{path} is constant: it carries no signal", "", "remove it")
        return fit(values, self.edge, outside=float(values.mean()))

    def mask(self, number: int) -> Understood | None:
        """Read the mask (d, h, w) of a box, cropped or padded likewise; None where there is none.

        Raises
        ------
        FindingError
            If it cannot be read, has another shape than its box, or is none.
        """
        if not self._cell(number, "mask"):
            return None
        path, member = self.file(number, "mask")
        chosen = self._cell(number, "mask_label")
        try:
            values = _values(path, member, 1.0)
            found = understand(values, label=_label(chosen) if chosen else None)
        except ValueError as error:
            remedy = "leave the mask's cell blank, or correct it"
            raise self._error(number, f"the mask {path.name}: {error}", "", remedy) from error
        if values.shape != (self.stored.edge,) * 3:
            value = f"the mask {path.name} is {_by(values.shape)} voxels"
            raise self._error(number, value, f"{self.stored.edge}^3, as its box")
        remarks = [found.remark, _other_size(path, self.stored.voxel_size_angstrom)]
        inside = fit(found.inside, self.edge, outside=False)
        return Understood(inside, "; ".join(filter(None, remarks)))

    def files(self) -> list[Path]:
        """Return every file that is named, box or mask, once."""
        named = [
            self.file(number, column)[0]
            for column in ("path", "mask")
            for number in range(len(self))
            if self._cell(number, column)
        ]
        return list(dict.fromkeys(named))

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of every file that is named, by its path."""
        return {str(path): digest(path) for path in self.files()}

    def file(self, number: int, column: str) -> tuple[Path, int | None]:
        """Return the file that a cell names, and which volume of a stack, counted from 0.

        Raises
        ------
        FindingError
            If the path, as it is written, leads out of the table's folder.
        """
        text = self._cell(number, column)
        named = MEMBER.fullmatch(text)
        name = named[2] if named else text
        folder = self.table.parent
        if not name:
            raise self._error(number, f"the {column} is blank", "the file of the box")
        path = folder / name
        if _climbs(Path(name), folder):
            remedy = "put the table beside its boxes, or a link to their folder beside the table"
            value = f"'{name}' leads out of the table's folder"
            raise self._error(number, value, "", remedy)
        return path, int(named[1]) - 1 if named else None

    def _cell(self, number: int, column: str) -> str:
        return str(self._rows[column].iloc[number]) if column in self._rows else ""

    def _error(self, number: int, value: str, expected: str = "", remedy: str = "") -> FindingError:
        line, identity = int(self._rows.index[number]), str(self._rows["id"].iloc[number])
        return FindingError(
            Finding("error", self.table, value, expected, remedy, line=line, id=identity)
        )


def _climbs(name: Path, folder: Path) -> bool:
    """Tell whether a path, as it is written, leads out of a folder; links are not followed."""
    if name.is_absolute():
        return ".." in name.parts or not name.is_relative_to(folder.absolute())
    depth = 0
    for part in name.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _look(
    path: Path, member: int | None, voxel_size_angstrom: float | None
) -> tuple[tuple[int, ...], float]:
    """Return the shape (d, h, w) and voxel size that the header of a box states."""
    if _is_em(path):
        header, _ = emfile.read(path, header_only=True)
        if voxel_size_angstrom is None:
            raise ValueError(
                f"{path} is an EM file, which does not state its voxel size: set "
                "voxel_size_angstrom"
            )
        return (header["zdim"], header["ydim"], header["xdim"]), voxel_size_angstrom
    header = read_header(path)
    shape = mrcfile.utils.data_shape_from_header(header)
    if header.ispg == IMAGE_STACK and path.suffix in IMAGE_STACKS and len(shape) == 3:
        raise ValueError(
            f"{path} is a stack of {shape[0]} images, as RELION 5 and WarpTools write for each "
            "particle, and no volume: export 3-D sub-tomograms (WarpTools: --3d; RELION 5: no 2D "
            "stacks), or give the tomograms and the particle list (section 'extract')"
        )
    if len(shape) == 4:
        _check_member(path, member, shape[0])
        shape = shape[1:]
    elif member is not None:
        raise ValueError(f"{path} is one volume and no stack: name it without '{member + 1}@'")
    return shape, voxel_size_of(path, header, override=voxel_size_angstrom)


def _check_member(path: Path, member: int | None, count: int) -> None:
    if member is None:
        raise ValueError(
            f"{path} holds {count} volumes: say which, counted from 1, as 000001@{path.name}"
        )
    if not 0 <= member < count:
        raise ValueError(f"{path} holds {count} volumes, and none of number {member + 1}")


def _values(path: Path, member: int | None, voxel_size_angstrom: float | None) -> NDArray:
    """Read the voxels (d, h, w) of a box."""
    if _is_em(path):
        _, values = emfile.read(path)
    elif member is None:
        values, _ = read_volume(path, voxel_size_angstrom=voxel_size_angstrom)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # said below, where it matters
            opened = mrcfile.mmap(path, permissive=True)
        with opened as mrc:
            if mrc.data is None:
                raise ValueError(f"{path} is no MRC file or is cut short: fetch or copy it again")
            _check_member(path, member, len(mrc.data))
            values = as_zyx(np.array(mrc.data[member]), mrc.header, source=str(path))
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds NaN or infinite voxels: clean it before importing it")
    return values


def _label(text: str) -> float:
    """Return the value of a cell ``mask_label``."""
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"mask_label is '{text}', expected the number of a label") from error


def _other_size(mask: Path, voxel_size_angstrom: float) -> str:
    """Say where a mask's header states other voxels than its box has; 0 and 1 Å mean nothing."""
    if _is_em(mask):
        return ""
    header = read_header(mask)
    stated = float(header.cella.x) / max(int(header.mx), 1)
    is_stated = np.isfinite(stated) and stated >= SMALLEST_VOXEL_ANGSTROM and stated != 1
    if not is_stated or abs(stated - voxel_size_angstrom) <= SIZE_TOLERANCE * voxel_size_angstrom:
        return ""
    return f"header states voxels of {stated:g} Å: taken for those of the box"


def _is_em(path: Path) -> bool:
    """Tell by its content whether a file is in EM format; a missing one is none."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(16)
    if len(head) < 16 or head[0] not in EM_MACHINES or head[3] not in EM_BYTES:
        return False
    voxels = int(np.prod(np.frombuffer(head[4:16], "<i4").astype(np.int64)))
    return path.stat().st_size == EM_HEADER_BYTES + EM_BYTES[head[3]] * voxels


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
