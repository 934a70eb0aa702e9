"""Particle lists and the tomograms they name: one table of positions, in one frame."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.findings import raise_errors
from civa.data.particles import check_class_names
from civa.particle_lists.classes import classes_of
from civa.particle_lists.coordinates_csv import ANGSTROM, QUATERNION
from civa.particle_lists.particle_list import Extent, ParticleList
from civa.particle_lists.reading import read_particle_list
from civa.tomograms.names import bare, by_name, tomograms_of, undecorated
from civa.tomograms.tomogram import read_extent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How particle lists are to be read, where they do not say it themselves.

    Attributes
    ----------
    tomograms
        The tomograms that there are.
    tomogram_files
        Name of a tomogram in a list -> its file.
    sizes
        Name of a tomogram in a list -> its size before binning.
    tomogram_voxel_size_angstrom
        Overrides the headers of tomograms.
    class_column, class_values
        Column that holds the class; value in it -> name of the class.
    unit_angstrom, first_voxel
        See `civa.particle_lists.particle_list.ParticleList.corner_angstrom`.
    """

    tomograms: Sequence[Path]
    tomogram_files: Mapping[str, Path] = field(default_factory=dict)
    sizes: Mapping[str, Extent] = field(default_factory=dict)
    tomogram_voxel_size_angstrom: float | None = None
    class_column: str | None = None
    class_values: Mapping[str, str] = field(default_factory=dict)
    unit_angstrom: float | None = None
    first_voxel: float = 0.0

    def table(self, lists: Sequence[tuple[Path, str | None]]) -> pd.DataFrame:
        """Read lists, each with the class of all its particles or None.

        Returns
        -------
        A row per particle: id, class, tomogram, position in Å from the middle of the tomogram's
        first voxel, quaternion where lists have rotations, the list, and the number in it.

        Raises
        ------
        ValueError
            If a list cannot be read, or leaves open what this does not say.
        """
        by_name(self.tomograms)  # names of tables are unique
        table = pd.concat([self._rows(*one) for one in lists], ignore_index=True)
        missing = sorted(set(self.class_values.values()) - set(table["class"]))
        if table.empty or missing:
            raise ValueError(
                f"no particle of {', '.join(str(path) for path, _ in lists)} belongs to the "
                f"classes {missing} of class_values: correct their values, or leave the classes out"
            )
        number = (table.groupby("tomogram").cumcount() + 1).map("{:05d}".format)
        table.insert(0, "id", table["tomogram"] + "_" + number)
        return table

    def files(self, particles: ParticleList) -> dict[str, Path]:
        """Return the file of every tomogram that a list names."""
        return tomograms_of(particles, self.tomograms, self.tomogram_files)

    def _rows(self, path: Path, of_list: str | None) -> pd.DataFrame:
        """Return the rows of one list, without those that belong to no class."""
        found = read_particle_list(path)
        files = self.files(found)
        extents = {name: self._extent(name, file) for name, file in files.items()}
        names = self.class_values or None
        classes = classes_of(found, of_list=of_list, column=self.class_column, names=names)
        positions = found.corner_angstrom(
            extents, unit_angstrom=self.unit_angstrom, first_voxel=self.first_voxel
        )
        _say(found, classes, files)
        table = pd.DataFrame(
            {
                "class": classes,
                "tomogram": [bare(files[name].name) for name in found.tomograms],
                **dict(zip(ANGSTROM, positions.round(3).T, strict=True)),
            }
        )
        if found.rotations is not None:
            quaternions = found.rotations.as_quat(canonical=True).round(6)
            table = table.assign(**dict(zip(QUATERNION, quaternions.T, strict=True)))
        table["list"] = found.path.name
        table["number"] = np.arange(1, len(found) + 1)
        table = table[table["class"] != ""]
        raise_errors(check_class_names(path, table))
        return table

    def _extent(self, name: str, file: Path) -> Extent:
        """Size of a tomogram: before binning where a table of sizes is given, else its own."""
        if not self.sizes:
            return read_extent(file, self.tomogram_voxel_size_angstrom)
        alike = [
            size for known, size in self.sizes.items() if undecorated(known) == undecorated(name)
        ]
        if name not in self.sizes and len(alike) != 1:
            raise ValueError(
                f"the table of tomograms does not state the size of '{name}': it has "
                f"{list(self.sizes)[:5]}; give the tomograms.star of the same project"
            )
        return self.sizes.get(name) or alike[0]


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
