"""Volumes and their poses -> a folder that RELION reconstructs from."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.poses import relion_angles_deg, relion_origins_angstrom
from civa.data.files import read_json
from civa.data.particles import read_particles
from civa.data.stack import Stack
from civa.data.star import write_star
from civa.data.volume import write_volume

logger = logging.getLogger(__name__)

# RELION's label -> key of the averages' record.
OPTICS = {
    "rlnVoltage": "voltage_kv",
    "rlnSphericalAberration": "spherical_aberration_mm",
    "rlnAmplitudeContrast": "amplitude_contrast",
}


def run(
    volumes: Path,
    particles: Path,
    averages_record: Path,
    alignment: Path,
    *,
    folder: Path,
    only_class: str | None = None,
    only_average: int | None = None,
    include_misfits: bool = False,
) -> None:
    """Write every volume as an MRC file of its own, and the poses as RELION 3.1 reads them.

    The folder holds ``particles.star`` and the volumes that it names.  In that folder
    ``relion_reconstruct --i particles.star --o map.mrc --3d_rot --class 1`` averages those of
    average 1.  Volumes that fit no average (``misfit`` in the alignment) are left out unless
    ``include_misfits`` asks for them; ``only_class`` and ``only_average`` choose those that were
    found to show one class, or aligned with one average (numbers as in the alignment).

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack.
    particles
        CSV table of the volumes, a row each: id, class, label.
    averages_record
        JSON record of the averages: class, optics, window, warnings.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels), trust.
    folder
        Folder of ``particles.star`` and one MRC file per volume.
    only_class
        Name of the class whose volumes are written; all if left out.
    only_average
        Number of the average whose volumes are written, from 1; all if left out.
    include_misfits
        Write the volumes that fit no average too.

    Raises
    ------
    ValueError
        If the files do not belong together, or no volume is left.
    """
    data = read_particles(particles)
    aligned = AlignmentTable.read(alignment, data)
    stack = Stack.open(volumes)
    voxel_size = stack.voxel_size_angstrom
    table = aligned.table
    if len(stack) != len(table):
        raise ValueError(
            f"{volumes} holds {len(stack)} volumes, but {alignment} lists {len(table)}: give the "
            "stack that was aligned"
        )
    optics = _optics(averages_record, stack.shape[-1] + stack.shape[-1] % 2, voxel_size)
    rows = _chosen(table, alignment, only_class, only_average, include_misfits=include_misfits)
    names = [_file_name(row, table["id"][row]) for row in rows]
    for row, name in zip(rows, names, strict=True):
        write_volume(folder / name, _for_relion(stack[row]), voxel_size_angstrom=voxel_size)
    angles = relion_angles_deg(aligned.matrices[rows])
    origins = relion_origins_angstrom(aligned.offsets[rows], voxel_size)
    classes = ", ".join(_averages_of(table.iloc[rows]))
    logger.info("class numbers: %s", classes)
    listed = _particles(table.iloc[rows], names, angles, origins)
    write_star(
        folder / "particles.star",
        {"optics": optics, "particles": listed},
        comments=[
            f"Volumes of {volumes}, poses of {alignment}, written by civa export.",
            f"Class numbers are those of averages: {classes}",
            "Image names are relative to the folder of this file: run RELION there.",
            "particles/000001_... is the first volume of the stack. In names of particles, marks "
            "that STAR gives a meaning stand as their code (%23 for a number sign).",
        ],
    )


def _averages_of(table: pd.DataFrame) -> list[str]:
    """Say of every average in a table of poses which class it is of."""
    named = table.drop_duplicates("average").sort_values("average")
    return [f"{n} is {name}" for n, name in zip(named["average"], named["class"], strict=True)]


def _chosen(
    table: pd.DataFrame,
    alignment: Path,
    only_class: str | None,
    only_average: int | None,
    *,
    include_misfits: bool,
) -> NDArray[np.int64]:
    """Return the rows that were asked for, and say how many misfits that leaves out."""
    wanted = np.ones(len(table), dtype=bool)
    for column, value in (("class", only_class), ("average", only_average)):
        if value is not None:
            wanted &= (table[column] == value).to_numpy()
            if not wanted.any():
                raise ValueError(
                    f"{alignment} has no volume of {column} '{value}' that was asked for: it has "
                    f"{sorted(table[column].unique().tolist())}"
                )
    misfits = wanted & (table["misfit"] == 1).to_numpy()
    if not include_misfits:
        wanted &= ~misfits
    if not wanted.any():
        raise ValueError(
            f"{alignment} marks all {misfits.sum()} volumes that were asked for as misfits: look "
            "at the averages, or export them with --include-misfits"
        )
    logger.info(
        "%d of %d volumes exported; %d misfits among those asked for %s",
        *(wanted.sum(), len(table), misfits.sum()),
        "are included" if include_misfits else "are left out",
    )
    return np.flatnonzero(wanted)


def _file_name(row: int, identity: str) -> str:
    """Name a volume by its position, which is unique, and what of its id is safe in a name.

    RELION takes ``N@file`` for a slice of a stack and a blank for the end of a name.
    """
    safe = re.sub(r"[^A-Za-z0-9]+", "-", identity).strip("-")[:40]
    return f"particles/{row + 1:06d}_{safe}.mrc" if safe else f"particles/{row + 1:06d}.mrc"


def _for_relion(volume: NDArray) -> NDArray[np.float32]:
    """Return a volume (d, h, w) as RELION 3.1 can use it: float32, with even edges.

    A plane of zeros before the first one makes an edge of n even, and the middle stays in its
    place: from n // 2 to (n + 1) // 2.
    """
    return np.pad(volume.astype(np.float32), [(edge % 2, 0) for edge in volume.shape])


def _optics(averages_record: Path, box_voxels: int, voxel_size_angstrom: float) -> pd.DataFrame:
    """One optics group for all volumes: they come from one microscope."""
    record = read_json(averages_record)
    missing = [key for key in OPTICS.values() if key not in record]
    if missing:
        raise ValueError(
            f"{averages_record} does not state {missing}: expected the record (averages.json) "
            "that 'average' wrote"
        )
    group = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "opticsGroup1",
        **{label: record[key] for label, key in OPTICS.items()},
        "rlnImagePixelSize": round(voxel_size_angstrom, 4),  # MRC headers hold single precision
        "rlnImageSize": box_voxels,
        "rlnImageDimensionality": 3,
    }
    return pd.DataFrame([group])


def _particles(
    table: pd.DataFrame, names: list[str], angles: NDArray, origins: NDArray
) -> pd.DataFrame:
    """One row per volume: angles (n, 3) in degrees, origins (n, 3) x, y, z in ångström."""
    columns = {
        "rlnImageName": names,
        "rlnTomoParticleName": table["id"].tolist(),
        "rlnClassNumber": table["average"].to_numpy(),
        "rlnOpticsGroup": 1,
        **{f"rlnAngle{name}": angles[:, i] for i, name in enumerate(("Rot", "Tilt", "Psi"))},
        **{f"rlnOrigin{axis}Angst": origins[:, i] for i, axis in enumerate("XYZ")},
        "rlnLogLikeliContribution": table["score"].to_numpy(),
    }
    return pd.DataFrame(columns)
