"""Particle lists and the tomograms they name: one table of positions, in one frame."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from civa.data.files import expanded
from civa.data.findings import raise_errors
from civa.data.imaging import read_defocus
from civa.data.particles import check_class_names
from civa.particle_lists.classes import classes_of
from civa.particle_lists.coordinates_csv import ANGSTROM, QUATERNION
from civa.particle_lists.particle_list import Extent, ParticleList
from civa.particle_lists.reading import read_particle_list
from civa.particle_lists.relion import read_extents
from civa.tomograms.empty_places import EMPTY, empty_places
from civa.tomograms.names import bare, by_name, tomograms_of, undecorated
from civa.tomograms.tomogram import read_extent

logger = logging.getLogger(__name__)

SAME_PLACE_ANGSTROM = 20.0  # particles nearer than this are one, listed twice
FARTHEST_ANGSTROM = 1e7  # no tomogram is a millimetre wide
SEED = 1  # of the places without a particle: the same boxes in every run


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
    empty_places
        Places without a particle that are added of every tomogram.
    box_voxels, voxel_size_angstrom
        Of their boxes; the voxel size of the first tomogram where it is None.
    """

    tomograms: Sequence[Path]
    tomogram_files: Mapping[str, Path] = field(default_factory=dict)
    sizes: Mapping[str, Extent] = field(default_factory=dict)
    tomogram_voxel_size_angstrom: float | None = None
    class_column: str | None = None
    class_values: Mapping[str, str] = field(default_factory=dict)
    unit_angstrom: float | None = None
    first_voxel: float = 0.0
    empty_places: int = 0
    box_voxels: int = 32
    voxel_size_angstrom: float | None = None

    @classmethod
    def of(
        cls,
        tomograms: Sequence[Path],
        tomogram_table: Path | None,
        class_values: Mapping[str, Sequence[object]],
        tomogram_files: Mapping[str, str],
        **settings: Any,
    ) -> "Reading":
        """Read what a configuration states.

        Parameters
        ----------
        tomogram_table
            RELION's table of the sizes before binning, if there is one.
        class_values
            Name of a class -> its values in the lists.
        settings
            Attributes that are stated as they are.
        """
        given = [str(value) for values in class_values.values() for value in values]
        twice = sorted({value for value in given if given.count(value) > 1})
        if twice:
            raise ValueError(f"class_values gives {twice} to several classes: to one each")
        return cls(
            tomograms=tomograms,
            tomogram_files={name: expanded(file) for name, file in tomogram_files.items()},
            sizes={} if tomogram_table is None else read_extents(tomogram_table),
            class_values={
                str(value): name for name, values in class_values.items() for value in values
            },
            **settings,
        )

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
        # Names of tables are unique; a file may be among the tomograms and stated by name too.
        there = [*self.tomograms, *self.tomogram_files.values()]
        files = by_name({file.absolute(): file for file in there}.values())
        everything = pd.concat([self._rows(*one) for one in lists], ignore_index=True)
        table = everything[everything["class"] != ""].reset_index(drop=True)
        missing = sorted(set(self.class_values.values()) - set(table["class"]))
        if table.empty or missing:
            raise ValueError(
                f"no particle of {', '.join(str(path) for path, _ in lists)} belongs to the "
                f"classes {missing} of class_values: correct their values, or leave the classes out"
            )
        if "defocus_um" in table and table["defocus_um"].isna().any():
            logger.warning("some lists state no defocus: it is left out for all particles")
            table = table.drop(columns="defocus_um")
        raise_errors(check_class_names(lists[0][0], table))
        if self.empty_places:
            table = pd.concat([table, self._empty(everything, files)], ignore_index=True)
        number = (table.groupby("tomogram").cumcount() + 1).map("{:05d}".format)
        table.insert(0, "id", table["tomogram"] + "_" + number)
        read_defocus(table)  # says what is wrong with it
        return _with_copies(table)

    def files(self, particles: ParticleList) -> dict[str, Path]:
        """Return the file of every tomogram that a list names.

        Raises
        ------
        ValueError
            If one has none; with the list.
        """
        try:
            return tomograms_of(particles, self.tomograms, self.tomogram_files)
        except ValueError as error:
            raise ValueError(f"{particles.path}: {error}") from error

    def _rows(self, path: Path, of_list: str | None) -> pd.DataFrame:
        """Return the rows of one list, without those that belong to no class."""
        found = read_particle_list(path)
        files = self.files(found)
        in_table = bool(self.sizes) and found.frame == "centre"
        extents = {
            name: self._stated_extent(name)
            if in_table
            else read_extent(file, self.tomogram_voxel_size_angstrom)
            for name, file in files.items()
        }
        names = self.class_values or None
        classes = classes_of(found, of_list=of_list, column=self.class_column, names=names)
        positions = found.corner_angstrom(
            extents, unit_angstrom=self.unit_angstrom, first_voxel=self.first_voxel
        )
        if len(far := np.flatnonzero((np.abs(positions) > FARTHEST_ANGSTROM).any(axis=1))):
            raise ValueError(
                f"{path}, particle {far[0] + 1}: its position is {positions[far[0]].tolist()} Å: "
                "expected one within a tomogram"
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
        if found.defocus_um is not None:
            table["defocus_um"] = found.defocus_um.round(4)
        table["list"] = found.path.name
        table["number"] = np.arange(1, len(found) + 1)
        return table

    def _empty(self, particles: pd.DataFrame, files: Mapping[str, Path]) -> pd.DataFrame:
        """Draw places without any listed particle, of every tomogram."""
        if (particles["class"].str.lower() == EMPTY).any():
            raise ValueError(
                f"a class is called '{EMPTY}', as places without a particle are (empty_places), or "
                "differs from that in writing only: rename it, or leave empty_places out"
            )
        tables, generator = [], np.random.default_rng(SEED)
        size = self.voxel_size_angstrom
        for name, rows in particles.groupby("tomogram", sort=False):
            extent = read_extent(files[str(name)], self.tomogram_voxel_size_angstrom)
            size = size or extent.voxel_size_angstrom
            places = empty_places(
                rows[ANGSTROM].to_numpy(dtype=np.float64),
                np.asarray(extent.voxels * extent.voxel_size_angstrom, dtype=np.float64),
                self.empty_places,
                edge_angstrom=self.box_voxels * size,
                generator=generator,
            )
            if len(places) < self.empty_places:
                logger.warning(
                    "tomogram '%s' has room for %d places without a particle; %d were asked for",
                    *(name, len(places), self.empty_places),
                )
            columns = dict(zip(ANGSTROM, places.round(3).T, strict=True))
            if "defocus_um" in rows:
                columns["defocus_um"] = rows["defocus_um"].median()
            tables.append(pd.DataFrame({"class": EMPTY, "tomogram": name, **columns}))
        return pd.concat(tables)

    def _stated_extent(self, name: str) -> Extent:
        """Size of a tomogram before binning, as the table of sizes has it."""
        alike = [
            size for known, size in self.sizes.items() if undecorated(known) == undecorated(name)
        ]
        if name not in self.sizes and len(alike) != 1:
            raise ValueError(
                f"the table of tomograms does not state the size of '{name}': it has "
                f"{list(self.sizes)[:5]}; give the tomograms.star of the same project"
            )
        return self.sizes.get(name) or alike[0]


def _with_copies(table: pd.DataFrame) -> pd.DataFrame:
    """Name the first of particles at one place in a column ``copy_of``, if there are any.

    The split keeps them together.
    """
    origins = table["id"].to_numpy(dtype=object).copy()
    for _, rows in table.groupby("tomogram", sort=False).indices.items():
        for one, other in same_places(table[ANGSTROM].to_numpy(dtype=np.float64)[rows]):
            origins[rows[other]] = min(origins[rows[one]], origins[rows[other]])
    is_copy = origins != table["id"].to_numpy(dtype=object)
    if not is_copy.any():
        return table
    return table.assign(copy_of=np.where(is_copy, origins, ""))


def same_places(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return pairs (m, 2) of positions (n, 3) in Å that are nearer than particles can be.

    Of several at the very same position, each is paired with the first of them only.
    """
    _, first, which = np.unique(places, axis=0, return_index=True, return_inverse=True)
    rows = np.arange(len(places))
    copies = np.stack([first[which.ravel()], rows], axis=1)[first[which.ravel()] != rows]
    apart = first[KDTree(places[first]).query_pairs(SAME_PLACE_ANGSTROM, output_type="ndarray")]
    pairs = np.concatenate([copies, np.sort(apart, axis=1)]).astype(np.int64)
    return np.asarray(pairs[np.lexsort(pairs.T[::-1])])


def _say(found: ParticleList, classes: NDArray[np.str_], files: Mapping[str, Path]) -> None:
    """Log what was understood of a list."""
    logger.info(
        "%s: %s, %d particles of %d tomograms", found.path, found.dialect, len(found), len(files)
    )
    for note in found.notes:
        logger.warning("%s: %s", found.path, note)
    for name, file in files.items():
        logger.info("tomogram '%s' is %s", name, file)
    left_out = classes == ""
    if left_out.any():
        logger.warning(
            "%s: %d particles of other classes, or of none, are left out, such as particle %d",
            *(found.path, left_out.sum(), left_out.argmax() + 1),
        )
