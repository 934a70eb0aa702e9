"""Particle lists of any program, and the tomograms they name -> one table of positions."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.particle_lists.classes import classes_of
from civa.particle_lists.coordinates_csv import ANGSTROM, QUATERNION
from civa.particle_lists.particle_list import ParticleList
from civa.particle_lists.reading import read_particle_list
from civa.particle_lists.relion import read_extents
from civa.tomograms.names import tomograms_of, undecorated
from civa.tomograms.tomogram import read_extent

logger = logging.getLogger(__name__)


def run(
    lists: tuple[Path, ...],
    tomograms: tuple[Path, ...],
    tomogram_table: Path | None = None,
    *,
    out: Path,
    list_classes: tuple[str, ...] = (),
    class_column: str | None = None,
    class_values: tuple[str, ...] = (),
    tomogram_files: tuple[str, ...] = (),
    tomogram_voxel_size_angstrom: float | None = None,
    list_voxel_size_angstrom: float | None = None,
    first_voxel: float = 0.0,
) -> None:
    """Read particle lists of any dialect into one table, in one frame.

    Its positions count in Å from the middle of the tomogram's first voxel; shifts and origins are
    applied.  Its quaternions turn the reference onto the particle.

    Parameters
    ----------
    lists
        Particle lists: STAR files of RELION, Warp, M or STOPGAP, tables of Dynamo, motive lists,
        IMOD models, CSV tables.
    tomograms
        Tomograms that the lists name, MRC; also compressed.
    tomogram_table
        RELION's ``tomograms.star``: sizes of tomograms before binning, for positions from their
        centre; if left out, those of the tomograms are taken.
    out
        CSV table of the particles, a row each: id, class, tomogram, position in Å, quaternion.
    list_classes
        Class of all particles of each list; if left out, lists say it themselves.
    """
    if list_classes and len(list_classes) != len(lists):
        raise ValueError(
            f"there are {len(lists)} lists and {len(list_classes)} classes: name one class per list"
        )
    sizes = {} if tomogram_table is None else read_extents(tomogram_table)
    stated = {name: Path(file) for name, file in _pairs("tomogram_files", tomogram_files)}
    names = {
        value: name
        for name, values in _pairs("class_values", class_values)
        for value in values.split("+")
    }
    tables = []
    for number, path in enumerate(lists):
        found = read_particle_list(path)
        files = tomograms_of(found, tomograms, stated)
        extents = {
            name: sizes.get(name) or read_extent(file, tomogram_voxel_size_angstrom)
            for name, file in files.items()
        }
        classes = classes_of(
            found,
            of_list=list_classes[number] if list_classes else None,
            column=class_column,
            names=names or None,
        )
        positions = found.corner_angstrom(
            extents, unit_angstrom=list_voxel_size_angstrom, first_voxel=first_voxel
        )
        _say(found, classes, files)
        tables.append(_rows(found, classes, files, positions))
    write_csv(out, _with_ids(pd.concat(tables, ignore_index=True)))


def _pairs(what: str, items: tuple[str, ...]) -> list[tuple[str, str]]:
    """Parse NAME=VALUE."""
    pairs = [item.partition("=") for item in items]
    for item, (_, equals, value) in zip(items, pairs, strict=True):
        if not (equals and value):
            raise ValueError(f"{what} '{item}' is not of the form NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


def _say(found: ParticleList, classes: NDArray[np.str_], files: Mapping[str, Path]) -> None:
    """Log what was understood of a list."""
    logger.info(
        "%s: %s, %d particles of %d tomograms", found.path, found.dialect, len(found), len(files)
    )
    for note in found.notes:
        logger.warning("%s: %s", found.path, note)
    for name, file in files.items():
        logger.info("tomogram '%s' is %s", name, file)
    if (left_out := int((classes == "").sum())) > 0:
        logger.warning("%s: %d particles of other classes are left out", found.path, left_out)


def _rows(
    found: ParticleList,
    classes: NDArray[np.str_],
    files: Mapping[str, Path],
    positions: NDArray[np.float64],
) -> pd.DataFrame:
    """Return the rows of one list, without those that belong to no class."""
    table = pd.DataFrame(
        {
            "class": classes,
            "tomogram": [undecorated(files[name].name) for name in found.tomograms],
            **dict(zip(ANGSTROM, positions.round(3).T, strict=True)),
        }
    )
    if found.rotations is not None:
        quaternions = found.rotations.as_quat(canonical=True).round(6)
        table = table.assign(**dict(zip(QUATERNION, quaternions.T, strict=True)))
    table["list"] = found.path.name
    table["number"] = np.arange(1, len(found) + 1)
    return table[table["class"] != ""]


def _with_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Number the particles of every tomogram, and put that first."""
    number = (table.groupby("tomogram").cumcount() + 1).map("{:05d}".format)
    table.insert(0, "id", table["tomogram"] + "_" + number)
    return table
