"""Own boxes and labels -> particle table and stacks."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.data.particles import UNANNOTATED, read_particles
from civa.data.volume import read_volume, standardize, write_stack
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
    optionally, ``mask`` (blank where there is none).  Protein must be bright;
    ``--invert-contrast`` turns dark protein bright.
    """
    rows = read_particles(table)
    if "path" not in rows:
        raise ValueError(f"{table} has no column 'path': name the MRC file of every volume there")
    names = list(dict.fromkeys(rows["class"]))
    rows["label"] = [names.index(name) + 1 for name in rows["class"]]
    boxes, sizes = _boxes(table, rows["path"], voxel_size_angstrom)
    if invert_contrast:
        boxes = -boxes
    labels = _masks(table, rows, boxes.shape)
    write_stack(volumes, standardize(boxes), voxel_size_angstrom=sizes[0])
    write_stack(masks, labels, voxel_size_angstrom=sizes[0])
    write_csv(particles, rows.drop(columns="mask", errors="ignore"))
    annotated = int(is_annotated(labels).sum())
    logger.info("%d volumes of %d classes, %d with a mask", len(rows), len(names), annotated)


def _boxes(
    table: Path, paths: pd.Series, voxel_size: float | None
) -> tuple[NDArray[np.float32], list[float]]:
    boxes: list[NDArray[np.float32]] = []
    sizes: list[float] = []
    for name in paths:
        box, size = read_volume(_beside(table, name), voxel_size_angstrom=voxel_size)
        if boxes and (box.shape != boxes[0].shape or abs(size - sizes[0]) > 1e-3 * size):
            raise ValueError(
                f"{name} is {box.shape} at {size:g} Å, but the first box is {boxes[0].shape} at "
                f"{sizes[0]:g} Å: all boxes must have one shape and one voxel size"
            )
        if np.ptp(box) == 0:
            raise ValueError(f"{_beside(table, name)} is constant: it carries no signal; remove it")
        boxes.append(box.astype(np.float32))
        sizes.append(size)
    shape = boxes[0].shape
    if len(set(shape)) != 1 or shape[0] % 8:
        raise ValueError(
            f"{table}: boxes are {shape}: expected cubes whose edge is a multiple of 8 voxels"
        )
    return np.stack(boxes), sizes


def _masks(table: Path, rows: pd.DataFrame, shape: tuple[int, ...]) -> NDArray[np.int8]:
    labels = np.full(shape, UNANNOTATED, dtype=np.int8)
    if "mask" not in rows:
        return labels
    for index, (name, label) in enumerate(zip(rows["mask"], rows["label"], strict=True)):
        if name:
            mask, _ = read_volume(_beside(table, name), voxel_size_angstrom=1.0)
            if mask.shape != shape[1:]:
                raise ValueError(f"mask {name} is {mask.shape}, but its volume is {shape[1:]}")
            labels[index] = np.where(mask > 0, label, 0)
    return labels


def _beside(table: Path, name: str) -> Path:
    """Resolve a path of the table; it must stay inside the table's folder."""
    path = table.parent / name
    if not path.resolve().is_relative_to(table.parent.resolve()):
        raise ValueError(
            f"{table}: '{name}' leads out of the table's folder: put the table beside its boxes"
        )
    return path
