"""Volumes and class labels -> the averages of every class: density, half-sets and FSC."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.consensus.alignment import Images, Optics
from civa.consensus.averaging import Average, Plan
from civa.consensus.centres import seed_centres, warn_of_empty_maps
from civa.consensus.classification import average_class
from civa.consensus.diagnostics import doubts
from civa.consensus.fitting import Aligner
from civa.consensus.fourier import window_for
from civa.consensus.mislabelled import Averaged, without_strays
from civa.consensus.reconstruction import resolution_angstrom, shape_share
from civa.data.files import write_csv, write_json
from civa.data.particles import ParticleSet, read_defocus
from civa.data.volume import read_stack, stack_voxel_size, standardize, write_stack
from civa.evaluation.trivial import lowpass
from civa.optics import Microscope
from civa.training.loop import set_up_torch

logger = logging.getLogger(__name__)

ASSUMED_TILT_DEG = 60.0


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
    corrected volume by volume where the particle table has a column ``defocus_um``.
    """
    device = set_up_torch(seed, threads, gpu)
    data = ParticleSet(particles, split)
    stack, cams = read_stack(volumes), read_stack(gradcam)
    if max_tilt_deg is None:
        max_tilt_deg = ASSUMED_TILT_DEG
        logger.warning(
            "the tilt range is not stated: -%g to %g degrees about y are assumed; set "
            "average.max_tilt_deg",
            *(max_tilt_deg, max_tilt_deg),
        )
    microscope = Microscope(voltage_kv, spherical_aberration_mm, amplitude_contrast)
    optics = Optics(stack_voxel_size(volumes), max_tilt_deg, microscope)
    defocus = read_defocus(data.table)
    if defocus is None:
        logger.warning(
            "%s has no column defocus_um: the contrast transfer is not known, and averages are "
            "corrected by a generic boost of low frequencies",
            particles,
        )
    window = window_for(stack.shape[1], radius_voxels)
    train = data.parts["train"]
    classes = []
    for label, name in enumerate(data.names, start=1):
        rows = train[data.labels[train] == label]
        boxes = standardize(stack[rows])
        warn_of_empty_maps(cams[rows], f"class {name}")
        centres = seed_centres(lowpass(boxes, 1.5), cams[rows])
        images = Images(boxes, centres, None if defocus is None else defocus[rows])
        logger.info("class %s, %d volumes", name, len(rows))
        own = average_class(images, optics, window, plan=Plan(starts), seed=seed, device=device)
        classes.append(Averaged(name, label, images, own))

    def score(average: Average, images: Images) -> NDArray[np.float64]:
        aligner = Aligner(average.density, average.noise[1:], optics, window, device=device)
        return aligner.align(images)[0]

    classes = without_strays(classes, score)
    found = [average for one in classes for average in one.averages]
    reports = [report for one in classes for report in _reports(one, optics, window)]
    voxel_size = optics.voxel_size_angstrom
    write_stack(averages, np.stack([a.density for a in found]), voxel_size_angstrom=voxel_size)
    for half, path in enumerate((first_halves, second_halves)):
        maps = np.stack([average.halves[half] for average in found])
        write_stack(path, maps, voxel_size_angstrom=voxel_size)
    titles = [str(report["title"]) for report in reports]
    write_csv(spectra, _spectra(titles, found, stack.shape[1] * voxel_size))
    record = {"radius_voxels": radius_voxels, "defocus_known": defocus is not None}
    optics_record = {
        "max_tilt_deg": max_tilt_deg,
        "voltage_kv": voltage_kv,
        "spherical_aberration_mm": spherical_aberration_mm,
        "amplitude_contrast": amplitude_contrast,
    }
    write_json(averages_record, {**record, **optics_record, "averages": reports})


def _reports(one: Averaged, optics: Optics, window: NDArray) -> list[dict[str, object]]:
    """What the averages of a class are like, and what speaks against them."""
    reports = []
    for number, average in enumerate(one.averages, start=1):
        title = one.name if len(one.averages) == 1 else f"{one.name} {number}"
        against = doubts(average, optics, window, of=len(one.images))
        for doubt in against:
            logger.warning("average %s: %s", title, doubt)
        about = {"title": title, "class": one.name, "label": one.label}
        figures = {"of_volumes": len(one.images), **_figures(average, optics, window)}
        reports.append({**about, **figures, "doubts": against})
    return reports


def _figures(average: Average, optics: Optics, window: NDArray) -> dict[str, object]:
    """What an average is like, in figures."""
    edge = len(window)
    return {
        "volumes": len(average.members),
        "resolution_angstrom": round(resolution_angstrom(average.fsc, optics, edge), 1),
        "half_sets": round(average.halves_agree(optics), 3),
        "agreement_of_starts": round(average.agreement, 3),
        "split_correlation": round(average.split.correlation, 3),
        "split_stability": round(average.split.stability, 3),
        "last_turn_deg": round(average.movement_deg, 2),
        "shape_share": round(shape_share(average.density, window), 3),
        "score_median": round(average.score, 3),
    }


def _spectra(titles: list[str], found: list[Average], extent_angstrom: float) -> pd.DataFrame:
    """One line per average and shell: FSC of the half-sets and noise power."""
    tables = []
    for title, average in zip(titles, found, strict=True):
        shells = np.arange(1, len(average.noise))
        columns = {
            "average": title,
            "shell": shells,
            "resolution_angstrom": np.round(extent_angstrom / shells, 2),
            "fsc": average.fsc[shells],
            "noise_power": average.noise[shells],
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)
