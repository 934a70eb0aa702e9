"""Volumes and class labels -> the averages of every class: density, half-sets and FSC."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.consensus.alignment import Aligner
from civa.consensus.assembly import Known, Titled, assemble
from civa.consensus.averaging import Average, Plan
from civa.consensus.centres import centres_of
from civa.consensus.classification import average_class
from civa.consensus.fourier import window_for
from civa.consensus.mislabelled import Averaged, without_strays
from civa.consensus.picks import Picks, search_reach
from civa.consensus.subtomograms import Imaging, Optics, Setup, Subtomograms
from civa.data.imaging import (
    STATE,
    Acquisition,
    read_acquisitions,
    read_defocus,
    states_tilts,
)
from civa.data.particles import ParticleSet, tomogram_numbers
from civa.data.stack import Stack, open_volumes
from civa.optics import RAW, STATES, Microscope, TiltRange
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)

ASSUMED_TILT_DEG = 60.0
# What the alignment of tilts leaves: residuals of 0.5 to 1.5 binned pixels are usual.
TILT_ERROR_ANGSTROM = 6.0


def run(
    volumes: Path,
    gradcam: Path,
    particles: Path,
    split: Path,
    *,
    averages: Path,
    first_halves: Path,
    second_halves: Path,
    spectra: Path,
    averages_record: Path,
    radius_voxels: float | None = None,
    starts: int = 2,
    max_tilt_deg: float | None = None,
    ctf_state: str | None = None,
    tilt_error_angstrom: float = TILT_ERROR_ANGSTROM,
    voltage_kv: float = 300.0,
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.07,
    seed: int = 1,
    threads: int = 1,
    gpu: str = "auto",
) -> None:
    """Align and average the training volumes of every class, told nothing but the class.

    Stacks hold the averages of the classes in the order of the labels, one each unless a class
    mixes structures; ``averages_record`` says which is which.  The contrast transfer is
    corrected volume by volume where the particle table has a column ``defocus_um``.  Its columns
    ``tilt_min_deg``, ``tilt_max_deg``, ``tilt_axis_deg`` and ``ctf_state`` say how each volume's
    tomogram was taken, where that is not the same for all; ``pick_error_voxels``, where boxes were
    cut at picks, how far these may be off.  ``tilt_error_angstrom`` is the standard deviation of
    what the alignment of tilts left, which half-sets do not show: averages are blurred by it, and
    cut accordingly (`civa.consensus.contour`).

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    gradcam
        (n, d, h, w) Grad-CAM maps, MRC stack; maximum 1 each.
    particles
        CSV table of the volumes, a row each: id, class, label; defocus_um (µm) if known.
    split
        CSV table: class and part (train, validation, test) of every volume.
    averages
        (a, d, h, w) averages, MRC stack; a is their number.
    first_halves
        (a, d, h, w) averages of the first half-sets, MRC stack.
    second_halves
        (a, d, h, w) averages of the second half-sets, MRC stack.
    spectra
        CSV table of every average and shell: FSC of the half-sets, noise power.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    """
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    stack = open_volumes(volumes).expect_volumes(len(data.labels))
    cams = Stack.open(gradcam).expect_volumes(len(stack))
    microscope = Microscope(voltage_kv, spherical_aberration_mm, amplitude_contrast)
    defocus = _defocus(data, particles)
    assumed = _assumed(data, max_tilt_deg, ctf_state, defocus_known=defocus is not None)
    acquisitions, numbers = read_acquisitions(data.table, assumed)
    imaging = Imaging(numbers, defocus, tomogram_numbers(data.table))
    optics = Optics(stack.voxel_size_angstrom, acquisitions, microscope)
    setup = Setup(optics, window_for(stack.shape[1], radius_voxels), device)
    picks = Picks.of_boxes(data.table, stack.shape[1:])
    train = data.parts["train"]
    plan = Plan(starts, reach_voxels=search_reach(picks))
    classes = []
    for label, name in enumerate(data.names, start=1):
        rows = train[data.labels[train] == label]
        centres = centres_of(stack, cams, rows, what=f"class {name}", picks=picks)
        members = Subtomograms.at(stack, imaging, picks, rows, centres)
        logger.info("class %s, %d volumes", name, len(rows))
        own = average_class(members, setup, plan=plan, seed=seed)
        classes.append(Averaged(name, label, members, own))

    # Likelihoods of different averages can be compared under the same noise only.
    noise = np.mean([average.noise for one in classes for average in one.averages], axis=0)

    def score(average: Average, some: Subtomograms) -> NDArray[np.float64]:
        return Aligner(average.density, noise[1:], setup).align(some)[0]

    facts = Known(assumed, radius_voxels, defocus is not None, tilt_error_angstrom)
    assemble(_titled(without_strays(classes, score)), setup, facts).write(
        averages=averages,
        first_halves=first_halves,
        second_halves=second_halves,
        spectra=spectra,
        averages_record=averages_record,
    )


def _assumed(
    data: ParticleSet, max_tilt_deg: float | None, ctf_state: str | None, *, defocus_known: bool
) -> Acquisition:
    """Return how volumes were taken of which the particle table says nothing; warns of guesses."""
    if states_tilts(data.table):
        if max_tilt_deg is not None:
            logger.warning(
                "the particle table states the tilts of its volumes: average.max_tilt_deg (%g) is "
                "not used; leave it out",
                max_tilt_deg,
            )
    elif max_tilt_deg is None:
        logger.warning(
            "the tilt range is not stated: -%g to %g degrees about y are assumed; set "
            "average.max_tilt_deg",
            *(ASSUMED_TILT_DEG, ASSUMED_TILT_DEG),
        )
    if defocus_known and ctf_state is None and STATE not in data.table:
        logger.warning(
            "what was done about the contrast transfer is not stated: %s tomograms are assumed; "
            "set average.ctf_state (one of %s)",
            *(RAW, ", ".join(STATES)),
        )
    most = ASSUMED_TILT_DEG if max_tilt_deg is None else max_tilt_deg
    return Acquisition(TiltRange(-most, most), ctf_state or RAW)


def _defocus(data: ParticleSet, particles: Path) -> NDArray[np.float64] | None:
    """Return the defocus (n,) of every volume in µm; warns where it is not known."""
    defocus = read_defocus(data.table)
    if defocus is None:
        logger.warning(
            "%s has no column defocus_um: the contrast transfer is not known, and averages are "
            "corrected by a generic boost of low frequencies",
            particles,
        )
    return defocus


def _titled(classes: list[Averaged]) -> list[Titled]:
    """Give every average its name: that of its class, numbered where it has several."""
    return [
        Titled(
            one.name if len(one.averages) == 1 else f"{one.name} {number}",
            *(one.name, one.label, len(one.subtomograms), average),
        )
        for one in classes
        for number, average in enumerate(one.averages, start=1)
    ]
