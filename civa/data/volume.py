"""MRC volumes and volume stacks: the only file that knows mrcfile.

Arrays are (d, h, w) = z, y, x, as MRC stores them; a stack adds a leading axis
(n, d, h, w) and carries space group 401.  Voxel sizes are in ångström and cubic.
"""

import logging
import warnings
import zlib
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from civa.data.files import replacing

logger = logging.getLogger(__name__)

VOLUME_STACK = 401  # ISPG value that marks an MRC file as a stack of volumes
SMALLEST_VOXEL_ANGSTROM = 0.5  # a smaller header value is a missing or mistaken one


def write_volume(path: Path, volume: NDArray, *, voxel_size_angstrom: float) -> None:
    """Write one volume (d, h, w) as MRC; booleans and labels as int8 (mode 0)."""
    _write(path, volume, voxel_size_angstrom=voxel_size_angstrom, stack=False)


def write_stack(path: Path, volumes: NDArray, *, voxel_size_angstrom: float) -> None:
    """Write volumes (n, d, h, w) as one MRC volume stack (ISPG 401)."""
    _write(path, volumes, voxel_size_angstrom=voxel_size_angstrom, stack=True)


def _write(path: Path, data: NDArray, *, voxel_size_angstrom: float, stack: bool) -> None:
    if data.dtype == np.bool_:
        data = data.astype(np.int8)
    if data.dtype not in (np.int8, np.float16, np.float32):
        raise ValueError(f"{path}: cannot store {data.dtype} in MRC: use int8, float16 or float32")
    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(data))
        if stack:
            mrc.set_volume_stack() if data.ndim == 3 else None
            mrc.header.ispg = VOLUME_STACK
        else:
            mrc.set_volume()
        mrc.voxel_size = voxel_size_angstrom


def read_volume(path: Path, *, voxel_size_angstrom: float | None = None) -> tuple[NDArray, float]:
    """Read one volume (d, h, w) and its voxel size in ångström.

    Parameters
    ----------
    path
        Any MRC file (``.mrc``, ``.map``, ``.rec``; also gzip or bzip2).
    voxel_size_angstrom
        Overrides the header's voxel size.

    Raises
    ------
    ValueError
        If the file is no MRC, is truncated, is not 3-D, holds NaN or infinite values,
        or has an unusable voxel size.
    """
    with _open_permissively(path) as mrc:
        data = np.asarray(mrc.data).copy()
        voxel_size = _voxel_size(path, mrc, override=voxel_size_angstrom)
    if data.ndim != 3:
        raise ValueError(f"{path} has shape {data.shape}: expected one volume (z, y, x)")
    if not np.isfinite(data).all():
        raise ValueError(f"{path} holds NaN or infinite voxels: clean it before importing it")
    return data, voxel_size


def read_stack(path: Path) -> NDArray:
    """Map a volume stack (n, d, h, w) into memory, read-only.

    Raises
    ------
    ValueError
        If the file is missing, truncated, or not a stack of volumes.
    """
    try:
        with mrcfile.mmap(path, mode="r") as mrc:
            data = mrc.data
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a readable MRC stack ({error})") from error
    if data is None or data.ndim != 4:
        shape = None if data is None else data.shape
        raise ValueError(f"{path} has shape {shape}: expected a volume stack (n, z, y, x)")
    return data


def stack_voxel_size(path: Path) -> float:
    """Return the voxel size in a stack's header, in ångström."""
    with mrcfile.open(path, header_only=True) as mrc:
        return _voxel_size(path, mrc)


def _open_permissively(path: Path) -> mrcfile.mrcfile.MrcFile:
    if not path.is_file():
        raise ValueError(f"{path} does not exist: check the path in the table or configuration")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # odd machine stamps
            mrc = mrcfile.open(path, permissive=True)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable MRC file ({error})") from error
    if mrc.data is None:
        raise ValueError(f"{path} is no MRC file or is cut short: fetch or copy it again")
    return mrc


def _voxel_size(
    path: Path, mrc: mrcfile.mrcfile.MrcFile, *, override: float | None = None
) -> float:
    sizes = [float(mrc.voxel_size[axis]) for axis in ("x", "y", "z")]
    if override is not None:
        sizes = [override]
    is_cubic = max(sizes) - min(sizes) <= 1e-3 * max(sizes)
    if not (is_cubic and SMALLEST_VOXEL_ANGSTROM <= min(sizes) < np.inf):
        raise ValueError(
            f"{path}: the voxel size is {sizes} Å: expected one cubic size of at least "
            f"{SMALLEST_VOXEL_ANGSTROM} Å; state the true one with --voxel-size-angstrom"
        )
    if sizes == [1.0, 1.0, 1.0]:
        logger.warning("%s: a voxel size of exactly 1 Å is often a missing one", path)
    return sizes[0]


def standardize(volumes: NDArray, *, source: str = "volume") -> NDArray[np.float32]:
    """Scale each volume of a stack (n, d, h, w) to mean 0 and standard deviation 1.

    Raises
    ------
    ValueError
        If a volume is constant: it carries no signal and would divide by zero.
    """
    axes = (-3, -2, -1)
    volumes = volumes.astype(np.float64)
    deviations = volumes.std(axis=axes, keepdims=True)
    if (deviations == 0).any():
        raise ValueError(f"{source} is constant: it carries no signal; remove it from the table")
    centred = volumes - volumes.mean(axis=axes, keepdims=True)
    return (centred / deviations).astype(np.float32)
