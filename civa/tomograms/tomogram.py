"""A tomogram on disk, of which windows are read."""

import bz2
import contextlib
import errno
import gzip
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile.utils
import numpy as np
from numpy.typing import NDArray

from civa.data.mrc import as_zyx, zyx_order
from civa.data.volume import read_header, voxel_size_of
from civa.particle_lists.particle_list import Extent

COMPRESSED = (b"\x1f\x8b\x08", b"BZh")  # first bytes of such files
# Endings of compressed files -> what opens them.
PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open}


@dataclass(frozen=True)
class Tomogram:
    """A tomogram whose voxels stay on disk.

    Attributes
    ----------
    path
        The file: MRC of any mode, uncompressed.
    shape
        (d, h, w).
    voxel_size_angstrom
        Edge of a voxel, Å.
    """

    path: Path
    shape: tuple[int, int, int]
    voxel_size_angstrom: float
    _header: np.recarray
    _mapped: mmap.mmap
    _voxels: NDArray

    @classmethod
    def open(cls, path: Path, *, voxel_size_angstrom: float | None = None) -> "Tomogram":
        """Read what the header of a tomogram says; no voxel is read.

        Parameters
        ----------
        voxel_size_angstrom
            Overrides the header's voxel size.

        Raises
        ------
        ValueError
            If the file is missing, cut short or no single volume, if its voxels are no real
            numbers, or if its voxel size cannot be used.
        """
        header = read_header(path)
        voxel_size = voxel_size_of(path, header, override=voxel_size_angstrom)
        try:
            mapped, voxels = _map(path, header)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{path} is no tomogram that can be read ({error}): expected one volume of real "
                "numbers in MRC, as long as its header says"
            ) from error
        return cls(path, voxels.shape, voxel_size, header, mapped, voxels)

    @property
    def extent(self) -> Extent:
        """Its size."""
        return Extent(np.array(self.shape[::-1]), self.voxel_size_angstrom)

    @property
    def labels(self) -> list[str]:
        """What programs have written into the header, a line each."""
        lines = self._header.label[: int(self._header.nlabl)]
        texts = (bytes(line).decode("ascii", errors="replace") for line in lines)
        return [text.strip(" \0") for text in texts]

    def window(self, corner: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the voxels from a corner z, y, x up to, not including, another."""
        part = tuple(slice(first, last) for first, last in zip(corner, stop, strict=True))
        values = self._voxels[part].astype(np.float32)
        # Pages that stay mapped would count as memory of this process.
        self._mapped.madvise(mmap.MADV_DONTNEED)
        return values


def _map(path: Path, header: np.recarray) -> tuple[mmap.mmap, NDArray]:
    """Map a file into memory; return that, and its voxels (d, h, w)."""
    stored = mrcfile.utils.data_shape_from_header(header)
    dtype = mrcfile.utils.data_dtype_from_header(header)
    if len(stored) != 3:
        raise ValueError(f"it holds an array of {stored}")
    with path.open("rb") as stream:
        if stream.read(3) in COMPRESSED:
            raise ValueError("it is compressed: end its name in .gz or .bz2")
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    start = header.nbytes + int(header.nsymbt)
    voxels = np.frombuffer(mapped, dtype, count=int(np.prod(stored)), offset=start)
    return mapped, as_zyx(voxels.reshape(stored), header, source=str(path))


def read_extent(path: Path, voxel_size_angstrom: float | None = None) -> Extent:
    """Read the size of a tomogram from its header, also of a compressed one.

    Parameters
    ----------
    voxel_size_angstrom
        Overrides the header's voxel size.

    Raises
    ------
    ValueError
        If the file is missing or its header cannot be used.
    """
    header = read_header(path)
    stored = int(header.nz), int(header.ny), int(header.nx)
    size = [stored[axis] for axis in zyx_order(header, source=str(path))]
    voxel_size = voxel_size_of(path, header, override=voxel_size_angstrom)
    return Extent(np.array(size[::-1]), voxel_size)


@contextlib.contextmanager
def unpacked(path: Path, folder: Path) -> Iterator[Path]:
    """Yield a file whose windows can be read: itself, or what a compressed one holds.

    Parameters
    ----------
    path
        A file, compressed where its name ends in ``.gz`` or ``.bz2``.
    folder
        Where there is room for what a compressed file holds, until the block ends.

    Raises
    ------
    ValueError
        If a compressed file cannot be read to its end.
    """
    kind = path.suffix.lower()
    if kind not in PACKED:
        yield path
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked.") as temporary:
        plain = Path(temporary) / path.stem
        try:
            with PACKED[kind](path) as packed, plain.open("wb") as stream:
                shutil.copyfileobj(packed, stream, length=1 << 24)
        except (OSError, EOFError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise ValueError(f"there is no room in {folder} to unpack {path}") from error
            raise ValueError(f"{path} cannot be unpacked ({error}): copy it again") from error
        yield plain
