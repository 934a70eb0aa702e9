"""Averages and poses of all volumes -> averages of all that show them, with measured weights."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.assembly import Known, Titled, assemble
from civa.consensus.averages import Averages
from civa.consensus.averaging import Plan, average_again
from civa.consensus.classification import FEWEST
from civa.consensus.picks import Picks
from civa.consensus.subtomograms import Aligned, Subtomograms
from civa.consensus.weights import measure_weights, write_weights
from civa.data.particles import ParticleSet
from civa.data.stack import open_volumes
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)

SURE = 0.95  # probability of its class from which a volume goes into the average


def run(
    volumes: Path,
    particles: Path,
    split: Path,
    alignment: Path,
    first_averages: Path,
    first_half1: Path,
    first_half2: Path,
    first_spectra: Path,
    first_record: Path,
    *,
    averages: Path,
    first_halves: Path,
    second_halves: Path,
    spectra: Path,
    averages_record: Path,
    transfer: Path,
    noise: Path,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Average every class again, from all volumes that fit it, whatever part they belong to.

    Only class labels of training volumes were told: the others come in by the class that alignment
    finds in them, where that is sure.  The weights of Fourier voxels are measured in every tomogram
    (`civa.consensus.weights`).  Half-sets begin at 53 Å again.  An average that few volumes fit
    stays as it is.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    particles
        CSV table of the volumes, a row each: id, class, label; and as `average` reads it.
    split
        CSV table: class and part (train, validation, test) of every volume.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels), trust.
    first_averages
        (a, d, h, w) averages of training volumes, MRC stack; a is their number.
    first_half1
        (a, d, h, w) averages of their first half-sets, MRC stack.
    first_half2
        (a, d, h, w) averages of their second half-sets, MRC stack.
    first_spectra
        CSV table of every average and shell: FSC of the half-sets, noise power.
    first_record
        JSON record of these averages: class, optics, window, warnings.
    averages
        (a, d, h, w) averages, MRC stack.
    first_halves
        (a, d, h, w) averages of the first half-sets, MRC stack.
    second_halves
        (a, d, h, w) averages of the second half-sets, MRC stack.
    spectra
        CSV table of every average and shell: FSC of the half-sets, noise power.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    transfer
        (g, d, h, w) share of the signal that every Fourier voxel of a tomogram holds, MRC stack.
    noise
        (g, d, h, w) noise power of every Fourier voxel of a tomogram, MRC stack.
    """
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    halves = (first_half1, first_half2)
    first = Averages.read(first_averages, first_record, spectra=first_spectra, halves=halves)
    found = AlignmentTable.read(alignment, data.table)
    imaging, acquisitions = first.imaging(data.table)
    picks = Picks.of_boxes(data.table, stack.shape[1:])
    centres = found.offsets + np.array(stack.shape[1:]) // 2
    setup = first.setup(acquisitions, device)
    numbers = range(1, len(first.reports) + 1)
    rows_of = {number: _members(found, number) for number in numbers}
    aligned = {
        number: Aligned(
            Subtomograms.at(stack, imaging, picks, rows, centres[rows]),
            torch.from_numpy(found.matrices[rows]).float().to(device),
        )
        for number, rows in rows_of.items()
    }
    assert imaging.group is not None
    groups = int(imaging.group.max()) + 1
    weights = measure_weights(aligned, first.densities, setup, groups)
    weighted = first.setup(acquisitions, device, weights)
    titled = []
    for number, report in zip(numbers, first.reports, strict=True):
        average, rows = first.average(number - 1), rows_of[number]
        if len(rows) < FEWEST:
            logger.warning(
                "average %s: %d volumes fit it well (expected %d or more): that of the training "
                "volumes is kept",
                *(report["title"], len(rows), FEWEST),
            )
        else:
            logger.info("average %s, %d volumes", report["title"], len(rows))
            again = average_again(
                aligned[number].subtomograms, weighted, average.density, plan=Plan()
            )
            average = again.told(average)
        of = int((found.labels == report["label"]).sum())
        title, name, label = (report[key] for key in ("title", "class", "label"))
        titled.append(Titled(str(title), str(name), int(label), of, average))
    (assumed,) = first.optics.acquisitions
    facts = Known(assumed, first.radius_voxels, first.defocus_known, first.tilt_error_angstrom)
    assemble(titled, setup, facts).write(
        averages=averages,
        first_halves=first_halves,
        second_halves=second_halves,
        spectra=spectra,
        averages_record=averages_record,
    )
    write_weights(transfer, noise, weights, voxel_size_angstrom=stack.voxel_size_angstrom)


def _members(found: AlignmentTable, number: int) -> NDArray[np.int64]:
    """Volumes (m,) that show an average, and surely its class."""
    is_sure = found.table["class_probability"].to_numpy(dtype=float) >= SURE
    return np.flatnonzero((found.averages == number) & is_sure & ~found.is_outlier)
