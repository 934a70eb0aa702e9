"""Own boxes and labels -> particle table and stacks."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.data.particles import UNANNOTATED, read_particles, with_labels
from civa.data.stack import write_batches
from civa.data.volume import read_volume, standardize
from civa.evaluation.metrics import is_annotated

logger = logging.getLogger(__name__)


def run(
    table: Path,
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
    voxel_size_angstrom: float | None = None,
    invert_contrast: bool = False,
) -> None:
    """Import sub-tomograms that a CSV table lists.

    Columns: ``id``, ``class``, ``path`` (an MRC file, relative to the table's folder) and,
    optionally, ``mask`` (blank where there is none), ``tomogram`` (volumes of one stay together in
    the split) and ``defocus_um``.  Protein must be bright; ``--invert-contrast`` turns dark protein
    bright.

    Parameters
    ----------
    table
        CSV table of the boxes, a row each, as above.
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    """
    rows = read_particles(table)
    if "path" not in rows:
        raise ValueError(f"{table} has no column 'path': name the MRC file of every volume there")
    rows = with_labels(rows)
    source = Boxes(table, voxel_size_angstrom)
    shape, voxel_size = source.measure(rows["path"].iloc[0])
    written = (len(rows), *shape)
    sign = -1 if invert_contrast else 1
    annotated = 0
    with (
        write_batches(volumes, written, np.float32, voxel_size_angstrom=voxel_size) as boxes,
        write_batches(masks, written, np.int8, voxel_size_angstrom=voxel_size) as labels,
    ):
        for row, (name, label) in enumerate(zip(rows["path"], rows["label"], strict=True)):
            boxes[row : row + 1] = sign * standardize(source.read(name)[None])
            mask = source.mask(rows["mask"].iloc[row] if "mask" in rows else "", int(label))
            labels[row : row + 1] = mask[None]
            annotated += bool(is_annotated(mask[None])[0])
    write_csv(particles, rows.drop(columns="mask", errors="ignore"))
    logger.info(
        "%d volumes of %d classes, %d with a mask", len(rows), rows["label"].max(), annotated
    )


class Boxes:
    """The boxes that a table names, which must all have the shape and voxel size of the first.

    Parameters
    ----------
    table
        The particle table; paths are relative to its folder.
    voxel_size_angstrom
        Overrides the headers.
    """

    def __init__(self, table: Path, voxel_size_angstrom: float | None) -> None:
        self._table, self._override = table, voxel_size_angstrom
        self._shape: tuple[int, ...] = ()
        self._voxel_size = 0.0

    def measure(self, name: str) -> tuple[tuple[int, ...], float]:
        """Take shape (d, h, w) and voxel size (Å) from the first box.

        Raises
        ------
        ValueError
            If it is no cube whose edge is a multiple of 8 voxels.
        """
        box, self._voxel_size = read_volume(self._path(name), voxel_size_angstrom=self._override)
        self._shape = box.shape
        if len(set(box.shape)) != 1 or box.shape[0] % 8:
            raise ValueError(
                f"{self._table}: boxes are {box.shape}: expected cubes whose edge is a multiple of "
                "8 voxels"
            )
        return self._shape, self._voxel_size

    def read(self, name: str) -> NDArray[np.float32]:
        """Read one box (d, h, w).

        Raises
        ------
        ValueError
            If it differs from the first in shape or voxel size, or is constant.
        """
        box, size = read_volume(self._path(name), voxel_size_angstrom=self._override)
        if box.shape != self._shape or abs(size - self._voxel_size) > 1e-3 * size:
            raise ValueError(
                f"{name} is {box.shape} at {size:g} Å, but the first box is {self._shape} at "
                f"{self._voxel_size:g} Å: all boxes must have one shape and one voxel size"
            )
        if np.ptp(box) == 0:
            raise ValueError(f"{self._path(name)} is constant: it carries no signal; remove it")
        return box.astype(np.float32)

    def mask(self, name: str, label: int) -> NDArray[np.int8]:
        """Read one mask (d, h, w) as labels; -1 throughout where there is none.

        Raises
        ------
        ValueError
            If it has another shape than the boxes.
        """
        if not name:
            return np.full(self._shape, UNANNOTATED, dtype=np.int8)
        mask, _ = read_volume(self._path(name), voxel_size_angstrom=1.0)
        if mask.shape != self._shape:
            raise ValueError(f"mask {name} is {mask.shape}, but its volume is {self._shape}")
        return np.where(mask > 0, label, 0).astype(np.int8)

    def _path(self, name: str) -> Path:
        return _beside(self._table, name)


def _beside(table: Path, name: str) -> Path:
    """Resolve a path of the table; it must stay inside the table's folder."""
    path = table.parent / name
    if not path.resolve().is_relative_to(table.parent.resolve()):
        raise ValueError(
            f"{table}: '{name}' leads out of the table's folder: put the table beside its boxes"
        )
    return path
