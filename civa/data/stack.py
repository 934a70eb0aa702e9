"""MRC volume stacks, read and written a few volumes at a time.

A stack is (n, d, h, w) = number, z, y, x, with space group 401.  Volumes are read from the
file when they are asked for and written when they are handed over: memory does not grow with n.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import IO

import mrcfile
import numpy as np
from mrcfile.utils import mode_from_dtype
from numpy.typing import DTypeLike, NDArray

from civa.data.files import replacing
from civa.data.volume import check_writable, voxel_size_of

logger = logging.getLogger(__name__)

VOLUME_STACK = 401  # ISPG value that marks an MRC file as a stack of volumes
# Voxels that are held at a time: 64 volumes of 32^3, 8 MB in float32.
BATCH_VOXELS = 64 * 32**3
# The largest deviation of mean and standard deviation that rounding to float16 leaves.
ROUNDING = 0.02

Rows = NDArray[np.int64] | NDArray[np.bool_] | slice | EllipsisType


@dataclass(frozen=True)
class Stack:
    """A stack of volumes on disk.

    ``stack[rows]`` reads volumes: a number gives one (d, h, w); a slice, numbers (m,) or booleans
    (n,) give several (m, d, h, w).

    Attributes
    ----------
    path
        The file.
    shape
        (n, d, h, w).
    dtype
        Of a voxel as it is stored.
    voxel_size_angstrom
        From the header; voxels are cubic.
    offset
        Bytes before the first voxel.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    voxel_size_angstrom: float
    offset: int

    @classmethod
    def open(cls, path: Path) -> "Stack":
        """Read what the header of a stack says.

        Raises
        ------
        ValueError
            If the file is missing, truncated, not a stack of volumes, or has no usable voxel size.
        """
        try:
            with mrcfile.mmap(path, mode="r") as mrc:
                data = mrc.data
                voxel_size = voxel_size_of(path, mrc.header) if data is not None else 0.0
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} is not a readable MRC stack ({error})") from error
        if data is None or data.ndim != 4:
            shape = None if data is None else data.shape
            raise ValueError(f"{path} has shape {shape}: expected a volume stack (n, z, y, x)")
        return cls(path, data.shape, data.dtype, voxel_size, data.offset)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: "int | np.integer | Sequence[int] | Rows") -> NDArray:
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        numbers = np.atleast_1d(np.arange(len(self))[rows])
        volumes = np.empty((len(numbers), *self.shape[1:]), dtype=self.dtype)
        # Runs of neighbouring volumes are read together.
        ends = np.flatnonzero(np.diff(numbers, append=-1) != 1) + 1
        with self.path.open("rb") as stream:
            for start, stop in itertools.pairwise([0, *ends]):
                self._read(stream, int(numbers[start]), volumes[start:stop])
        return volumes

    def _read(self, stream: IO[bytes], first: int, into: NDArray) -> None:
        stream.seek(self.offset + first * int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        if stream.readinto(into) != into.nbytes:  # type: ignore[attr-defined]
            raise ValueError(f"{self.path} is cut short: rerun the stage that made it")

    def batches(self, rows: Rows = ..., *, size: int | None = None) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of volumes in portions that fit into memory.

        Parameters
        ----------
        rows
            Which volumes; all by default.
        size
            Volumes of a portion; by default so many that they have `BATCH_VOXELS` together.

        Yields
        ------
        (b,) positions in the stack.
        """
        numbers = np.atleast_1d(np.arange(len(self))[rows])
        step = size or max(1, BATCH_VOXELS // int(np.prod(self.shape[1:])))
        for start in range(0, len(numbers), step):
            yield numbers[start : start + step]

    def expect_volumes(self, n: int) -> "Stack":
        """Return this stack if it has ``n`` volumes.

        Raises
        ------
        ValueError
            If it does not.
        """
        if len(self) != n:
            raise ValueError(
                f"{self.path} holds {len(self)} volumes: expected one for each of the {n} rows of "
                "the particle table; rerun the stage that made it"
            )
        return self


def open_volumes(path: Path) -> Stack:
    """Open a stack of standardised volumes, as `simulate` and `import` write them.

    Raises
    ------
    ValueError
        If it is no such stack: its first volumes do not have mean 0 and standard deviation 1.
    """
    stack = Stack.open(path)
    first = stack[: min(len(stack), 4)].astype(np.float64)
    mean, deviation = np.abs(first.mean(axis=(1, 2, 3))), first.std(axis=(1, 2, 3))
    if not (mean.max() <= ROUNDING and np.abs(deviation - 1).max() <= ROUNDING):  # NaN neither
        raise ValueError(
            f"{path} holds volumes of mean {mean.max():.3g} and standard deviation "
            f"{deviation.max():.3g}: expected 0 and 1; standardise them with civa import"
        )
    return stack


class StackWriter:
    """A stack that is being written; see `write_batches`."""

    def __init__(self, stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._stream, self.shape, self.dtype = stream, shape, dtype
        self._offset = stream.tell()
        self._written = np.zeros(shape[0], dtype=bool)
        self._smallest, self._largest = np.inf, -np.inf
        self._sum = self._squares = 0.0

    def __setitem__(self, rows: NDArray[np.int64] | slice, volumes: NDArray) -> None:
        """Write volumes (m, d, h, w) at positions (m,)."""
        numbers = np.atleast_1d(np.arange(self.shape[0])[rows])
        if volumes.shape != (len(numbers), *self.shape[1:]):
            expected = (len(numbers), *self.shape[1:])
            raise ValueError(f"volumes are {volumes.shape}: expected {expected}")
        values = np.ascontiguousarray(volumes, dtype=self.dtype)
        for number, volume in zip(numbers, values, strict=True):
            self._stream.seek(self._offset + int(number) * volume.nbytes)
            self._stream.write(volume.data)
        self._written[numbers] = True
        self._count(values)

    def _count(self, values: NDArray) -> None:
        if not values.size:
            return
        self._smallest = min(self._smallest, float(values.min()))
        self._largest = max(self._largest, float(values.max()))
        self._sum += float(values.sum(dtype=np.float64))
        self._squares += float(np.square(values, dtype=np.float64).sum())

    def statistics(self) -> dict[str, float]:
        """Fields of the header: smallest, largest, mean and deviation of all voxels.

        Raises
        ------
        ValueError
            If a volume is missing.
        """
        if not self._written.all():
            missing = np.flatnonzero(~self._written)[:5].tolist()
            raise ValueError(f"the volumes {missing} of a stack were not written")
        voxels = float(np.prod(self.shape))
        mean = self._sum / voxels
        deviation = max(self._squares / voxels - mean**2, 0.0) ** 0.5
        fields = ("dmin", "dmax", "dmean", "rms")
        return dict(zip(fields, (self._smallest, self._largest, mean, deviation), strict=True))


@contextlib.contextmanager
def write_batches(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, voxel_size_angstrom: float
) -> Iterator[StackWriter]:
    """Write a stack a few volumes at a time; it appears when all of them are there.

    Parameters
    ----------
    shape
        (n, d, h, w).
    dtype
        int8, float16 or float32; booleans are stored as int8.

    Yields
    ------
    ``out[rows] = volumes`` writes volumes (m, d, h, w) at positions (m,), in any order.

    Raises
    ------
    ValueError
        If MRC cannot hold the type of the voxels, or a volume was not written.
    """
    stored = np.dtype(np.int8 if np.dtype(dtype) == np.bool_ else dtype)
    check_writable(path, stored)
    with replacing(path) as temporary:
        with mrcfile.new_mmap(temporary, shape, mrc_mode=mode_from_dtype(stored)) as mrc:
            mrc.header.ispg = VOLUME_STACK
            mrc.voxel_size = voxel_size_angstrom
        with temporary.open("r+b") as stream:
            stream.seek(-int(np.prod(shape)) * stored.itemsize, 2)
            writer = StackWriter(stream, shape, stored)
            yield writer
        with mrcfile.mmap(temporary, mode="r+") as mrc:
            for field, value in writer.statistics().items():
                setattr(mrc.header, field, value)


def write_like(
    path: Path, like: Stack, dtype: DTypeLike
) -> contextlib.AbstractContextManager[StackWriter]:
    """Write a stack of the shape and voxel size of another; see `write_batches`."""
    return write_batches(path, like.shape, dtype, voxel_size_angstrom=like.voxel_size_angstrom)


def write_masks(
    path: Path, like: Stack, masks: Callable[[NDArray[np.int64]], NDArray], *, cut: str
) -> int:
    """Write the masks of all volumes of a stack, and warn of those that are empty.

    Parameters
    ----------
    like
        The volumes that the masks are of.
    masks
        Positions (b,) -> labels (b, d, h, w), 0 for the background.
    cut
        How the masks were cut, for the warning.

    Returns
    -------
    How many are empty.
    """
    empty = 0
    with write_like(path, like, np.int8) as out:
        for rows in like.batches():
            found = masks(rows)
            empty += int((~found.any(axis=(-3, -2, -1))).sum())
            out[rows] = found
    if empty:
        logger.warning("%d of %d masks are empty (%s)", empty, len(like), cut)
    return empty


def write_stack(path: Path, volumes: NDArray, *, voxel_size_angstrom: float) -> None:
    """Write volumes (n, d, h, w) that are in memory; see `write_batches`."""
    size = {"voxel_size_angstrom": voxel_size_angstrom}
    with write_batches(path, volumes.shape, volumes.dtype, **size) as out:
        out[:] = volumes


def read_stack(path: Path) -> NDArray:
    """Read a whole stack (n, d, h, w) of a few volumes, such as averages; see `Stack`."""
    return Stack.open(path)[:]
