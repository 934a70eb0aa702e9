"""Single MRC volumes.

Arrays are (d, h, w) = z, y, x, as MRC stores them.  Voxel sizes are in ångström and cubic.
`civa.data.stack` has stacks of volumes.
"""

import logging
import warnings
import zlib
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from civa.data.files import replacing
from civa.data.mrc import as_zyx

logger = logging.getLogger(__name__)

WRITABLE = tuple(np.dtype(kind) for kind in (np.int8, np.int16, np.float16, np.float32))
SMALLEST_VOXEL_ANGSTROM = 0.5  # a smaller header value is a missing or mistaken one


def check_writable(path: Path, dtype: np.dtype) -> None:
    """Check that MRC holds a type of voxels.

    Raises
    ------
    ValueError
        If it does not.
    """
    if dtype not in WRITABLE:
        raise ValueError(
            f"{path}: cannot store {dtype} in MRC: use int8, int16, float16 or float32"
        )


def write_volume(path: Path, volume: NDArray, *, voxel_size_angstrom: float) -> None:
    """Write one volume (d, h, w) as MRC; booleans and labels as int8 (mode 0).

    Raises
    ------
    ValueError
        If MRC cannot hold the type of the voxels.
    """
    data = volume.astype(np.int8) if volume.dtype == np.bool_ else volume
    check_writable(path, data.dtype)
    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(data))
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
        data = as_zyx(np.asarray(mrc.data), mrc.header, source=str(path)).copy()
        voxel_size = voxel_size_of(path, mrc.header, override=voxel_size_angstrom)
    if data.ndim != 3:
        raise ValueError(f"{path} has shape {data.shape}: expected one volume (z, y, x)")
    if not np.isfinite(data).all():
        raise ValueError(f"{path} holds NaN or infinite voxels: clean it before importing it")
    return data, voxel_size


def read_shape(path: Path) -> tuple[int, int, int]:
    """Return the shape (d, h, w) that the header of a volume states; no voxel is read.

    Parameters
    ----------
    path
        Any MRC file (``.mrc``, ``.map``, ``.rec``; also gzip or bzip2).

    Raises
    ------
    ValueError
        If the file is missing or has no whole header.
    """
    header = read_header(path)
    return int(header.nz), int(header.ny), int(header.nx)


def read_header(path: Path) -> np.recarray:
    """Read the header of an MRC file; no voxel is read.  Errors are those of `read_shape`."""
    with _open_permissively(path, header_only=True) as mrc:
        header = mrc.header
    counts = [int(header[name]) for name in ("nx", "ny", "nz")]
    if min(counts) < 1:
        raise ValueError(
            f"{path}: its header states {counts} voxels: it is damaged, fetch or copy it again"
        )
    return header


def _open_permissively(path: Path, *, header_only: bool = False) -> mrcfile.mrcfile.MrcFile:
    if not path.is_file():
        raise ValueError(f"{path} does not exist: check the path in the table or configuration")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # odd machine stamps
            mrc = mrcfile.open(path, permissive=True, header_only=header_only)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable MRC file ({error})") from error
    if (mrc.header if header_only else mrc.data) is None:
        raise ValueError(f"{path} is no MRC file or is cut short: fetch or copy it again")
    return mrc


def voxel_size_of(path: Path, header: np.recarray, *, override: float | None = None) -> float:
    """Return the size of the voxels that a header states, in ångström, or what overrides it.

    Raises
    ------
    ValueError
        If it is not one cubic size of at least `SMALLEST_VOXEL_ANGSTROM`.
    """
    counts = [max(int(header[name]), 1) for name in ("mx", "my", "mz")]  # 0 where not stated
    edges = [float(header.cella[axis]) for axis in ("x", "y", "z")]
    sizes = [edge / count for edge, count in zip(edges, counts, strict=True)]
    if override is not None:
        sizes = [override]
    is_cubic = max(sizes) - min(sizes) <= 1e-3 * max(sizes)
    if not (is_cubic and SMALLEST_VOXEL_ANGSTROM <= min(sizes) < np.inf):
        raise ValueError(
            f"{path}: the voxel size is {sizes} Å: expected one cubic size of at least "
            f"{SMALLEST_VOXEL_ANGSTROM} Å; state the true one with --voxel-size-angstrom, or, of a "
            "tomogram, --tomogram-voxel-size-angstrom"
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
