"""Averages and poses -> masks: an average, turned into every volume, and cut at a contour."""

import logging
from pathlib import Path

import numpy as np

from civa.consensus.map_back import CONTOUR, CONTOURS, map_back, relative_to_peak
from civa.consensus.poses import read_poses
from civa.consensus.reconstruction import boosted
from civa.data.files import read_json, write_json
from civa.data.particles import ParticleSet
from civa.data.volume import read_stack, stack_voxel_size, write_stack
from civa.evaluation.validation import Validation, choose
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)


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
    """
    device = set_up_torch(0, threads, "never")
    data = ParticleSet(particles, split)
    maps, known = read_stack(averages), read_json(averages_record)
    stack, voxel_size = read_stack(volumes), stack_voxel_size(volumes)
    table, matrices, offsets = read_poses(alignment, data.table)
    shown, labels = table["average"].to_numpy(), table["label"].to_numpy()
    centres = offsets + np.array(stack.shape[1:]) // 2
    densities = np.zeros(stack.shape, dtype=np.float16)
    for number, density in enumerate(maps, start=1):
        members = np.flatnonzero(shown == number)
        if not known["defocus_known"]:
            density = boosted(density, voxel_size)
        densities[members] = map_back(
            relative_to_peak(density),
            matrices[members],
            centres[members],
            stack.shape[1:],
            device=device,
        )
    claimed = labels.astype(np.int8)[:, None, None, None]
    validation = Validation(masks, particles, split)
    best = contour
    tried: dict[str, float] = {}
    if validation.is_possible:
        held_out, classes = densities[validation.indices], claimed[validation.indices]
        nearest = sorted(CONTOURS, key=lambda value: abs(value - contour))
        best, tried = choose(
            nearest, lambda value: validation.miou_of_voxels(held_out > value, classes)
        )
    write_stack(mapped_back, densities, voxel_size_angstrom=voxel_size)
    for path, record, level, figures in (
        (out, choice, contour, {}),
        (tuned, tuned_choice, best, tried),
    ):
        found = densities > level
        empty = int((~found.any(axis=(-3, -2, -1))).sum())
        if empty:
            logger.warning("%d of %d masks are empty at a contour of %g", empty, len(found), level)
        write_stack(path, found * claimed, voxel_size_angstrom=voxel_size)
        write_json(record, {"contour": level, "validation_miou": figures, "empty": empty})
