"""Tomogram and masks -> a slice of it: what is there, what was found, what was rejected."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import replacing
from civa.data.particles import BACKGROUND, ParticleSet, check_ids
from civa.data.stack import Stack
from civa.evaluation.mask_statistics import annotated
from civa.inspection.properties import DARK, read_properties
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import number_columns
from civa.report.plots.tomogram import Plane, draw
from civa.tomograms.names import files_of
from civa.tomograms.tomogram import Tomogram, unpacked

LEAST_EXPECTED = 0.5  # IoU below which a mask counts as rejected
SLICES = 3  # that are averaged, for the eye


def run(
    tomograms: tuple[Path, ...],
    properties: Path,
    truth: Path,
    found: Path,
    confidence: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    tomogram_voxel_size_angstrom: float | None = None,
) -> None:
    """Draw the slice that holds most of the masks, of the tomogram with most test volumes.

    Masks of misfits, and those of which an IoU below one half is to be expected, are outlined as
    rejected.

    Parameters
    ----------
    tomograms
        Tomograms that the particle table names, MRC of any mode; also compressed.
    properties
        CSV table of the tomograms, as the stage `measure-tomograms` writes it.
    truth
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    found
        (n, d, h, w) masks, MRC stack of labels.
    confidence
        CSV table: the IoU (0 to 1) to expect of every mask.
    particles
        CSV table of the volumes, a row each: id, class, label, tomogram, position in Å.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        PNG figure.
    """
    data = ParticleSet(particles, split)
    masks, target = Stack.open(found), Stack.open(truth)
    trusted = _trusted(confidence, data.table)
    of_test = data.table["tomogram"].iloc[data.parts["test"]]
    name = str((of_test if len(of_test) else data.table["tomogram"]).mode()[0])
    rows = np.flatnonzero(data.table["tomogram"] == name)
    path = files_of(particles, data.table, tomograms)[name]
    sign = -1 if read_properties(properties, [name])[name]["contrast"] == DARK else 1
    with unpacked(path, out.parent) as plain:
        opened = Tomogram.open(plain, voxel_size_angstrom=tomogram_voxel_size_angstrom)
        voxel = opened.voxel_size_angstrom
        angstrom = number_columns(particles, data.table.iloc[rows], ANGSTROM)
        centres, step = angstrom[:, ::-1] / voxel, masks.voxel_size_angstrom / voxel
        boxes = Boxes(centres, step, opened.shape)
        z = boxes.fullest(masks, rows)
        first = int(np.clip(z - SLICES // 2, 0, opened.shape[0] - SLICES))
        corner, stop = np.array([first, 0, 0]), np.array([first + SLICES, *opened.shape[1:]])
        image = sign * opened.window(corner, stop).mean(axis=0)
    has_truth = len(annotated(target, rows)) > 0
    left_out = ~trusted[rows]
    rejected = Boxes(centres[left_out], step, opened.shape)
    plane = Plane(
        title=f"{name}, z = {z}",
        image=image,
        truth=boxes.painted(target, rows, z) if has_truth else None,
        found=boxes.painted(masks, rows, z),
        rejected=rejected.painted(masks, rows[left_out], z) > 0,
        classes=data.names,
    )
    with replacing(out) as temporary:
        draw(plane).savefig(temporary, dpi=130)


def _trusted(confidence: Path, particles: pd.DataFrame) -> NDArray[np.bool_]:
    """Masks (n,) that are not rejected."""
    table = pd.read_csv(confidence, dtype={"id": str, "class": str}, keep_default_na=False)
    check_ids(confidence, table, particles, stage="calibrate")
    expected = table["expected_iou"].to_numpy(dtype=float)
    return (table["misfit"].to_numpy() == 0) & (expected >= LEAST_EXPECTED)


class Boxes:
    """Where boxes lie in a tomogram.

    Parameters
    ----------
    centres
        (m, 3) z, y, x in voxels of the tomogram.
    step
        Voxel of a box, in voxels of the tomogram.
    shape
        (d, h, w) of the tomogram.
    """

    def __init__(self, centres: NDArray, step: float, shape: tuple[int, int, int]) -> None:
        self.centres, self.step, self.shape = centres, step, shape

    def fullest(self, masks: Stack, rows: NDArray[np.int64]) -> int:
        """The z of the slice that shows most voxels of the boxes' masks, rows (m,) of a stack."""
        sums = np.zeros(self.shape[0])
        for row, centre in zip(rows, self.centres, strict=True):
            inside = (masks[row] > BACKGROUND).sum(axis=(1, 2))  # (d,)
            at = self._index(np.arange(self.shape[0]), centre[0], len(inside))
            sums[at >= 0] += inside[at[at >= 0]]
        return int(sums.argmax())

    def painted(self, masks: Stack, rows: NDArray[np.int64], z: int) -> NDArray[np.int64]:
        """Labels (h, w) of a slice by the boxes' masks, rows (m,) of a stack."""
        labels = np.zeros(self.shape[1:], dtype=np.int64)
        for row, centre in zip(rows, self.centres, strict=True):
            mask = masks[row]
            plane = int(self._index(np.array([z]), centre[0], len(mask))[0])
            if plane < 0:
                continue
            y, x = (
                self._index(np.arange(size), middle, edge)
                for size, middle, edge in zip(
                    self.shape[1:], centre[1:], mask.shape[1:], strict=True
                )
            )
            part = np.ix_(y >= 0, x >= 0)
            own = mask[plane][np.ix_(y[y >= 0], x[x >= 0])]
            labels[part] = np.where(own > BACKGROUND, own, labels[part])
        return labels

    def _index(self, voxels: NDArray[np.int64], middle: float, edge: int) -> NDArray[np.int64]:
        """Position of the tomogram's voxels in a box along an axis; -1 beyond it."""
        at = np.rint((voxels - middle) / self.step).astype(np.int64) + edge // 2
        return np.where((at >= 0) & (at < edge), at, -1)
