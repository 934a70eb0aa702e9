"""Averages and poses -> masks: an average, turned into every volume, and cut at a contour."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.averages import Averages
from civa.consensus.map_back import CONTOUR, CONTOURS, map_back
from civa.data.files import write_json
from civa.data.particles import ParticleSet
from civa.data.stack import Stack, write_like, write_masks
from civa.evaluation.validation import Validation
from civa.training.loop import set_up_torch


def run(
    volumes: Path,
    averages: Path,
    averages_record: Path,
    alignment: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    mapped_back: Path,
    out: Path,
    choice: Path,
    tuned: Path,
    tuned_choice: Path,
    contour: float = CONTOUR,
    threads: int = 1,
) -> None:
    """Turn the average that it shows into every volume and cut it at a share of its peak.

    ``out`` is cut at ``contour``, without a look at any mask; ``tuned`` where validation is best.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    averages
        (a, d, h, w) averages, MRC stack; a is their number.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels),
        trust.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    mapped_back
        (n, d, h, w) averages mapped back into the volumes, MRC stack; 1 at their peak without
        its blur.
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record of the contour, a share of the peak without its blur.
    tuned
        (n, d, h, w) masks at the contour of best validation mIoU, MRC stack of labels.
    tuned_choice
        JSON record: the contour that was chosen, validation mIoU (%) of all that were
        tried.
    """
    device = set_up_torch(0, threads, "never")
    data = ParticleSet(particles, split)
    stack = Stack.open(volumes).expect_volumes(len(data.labels))
    found = AlignmentTable.read(alignment, data.table)
    _write_densities(mapped_back, stack, Averages.read(averages, averages_record), found, device)
    densities = Stack.open(mapped_back)
    claimed = found.labels.astype(np.int8)

    def cut(rows: NDArray[np.int64], level: float) -> NDArray[np.int8]:
        return (densities[rows] > level) * claimed[rows, None, None, None]

    def candidates(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int8]]:
        return (cut(rows, level) for level in nearest)

    nearest = sorted(CONTOURS, key=lambda level: abs(level - contour))
    validation = Validation(masks, particles, split)
    best, tried = validation.choose(nearest, candidates, default=contour)
    for path, record, level, qualities in (
        (out, choice, contour, {}),
        (tuned, tuned_choice, best, tried),
    ):
        empty = write_masks(path, stack, partial(cut, level=level), cut=f"contour of {level:g}")
        write_json(record, {"contour": level, "validation_miou": qualities, "empty": empty})


def _write_densities(
    path: Path, like: Stack, known: Averages, found: AlignmentTable, device: torch.device
) -> None:
    """Write the average that every volume shows, at its pose, relative to its unblurred peak."""
    maps = known.relative(known.densities)
    centres = found.offsets + np.array(like.shape[1:]) // 2
    with write_like(path, like, np.float16) as densities:
        for number, density in enumerate(maps, start=1):
            for rows in like.batches(found.averages == number):
                densities[rows] = map_back(
                    density, found.matrices[rows], centres[rows], like.shape[1:], device=device
                )
