"""Names of tomograms in particle lists, and the files that they mean."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from civa.data.particles import NOTHING
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import ParticleList

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# Endings that programs give to one and the same tilt series and its tomogram.
ENDINGS = re.compile(
    r"\.(mrc|mrcs|map|rec|st|ali|em|tomostar|star|mod|gz|bz2|hdf|tlt|rawtlt|mdoc)$", re.IGNORECASE
)
# What stands around a name: the voxel size (Warp), binning, a version, and RELION 5's "rec_".
DECORATION = re.compile(
    r"^rec_|_(?:\d+\.\d+Apx?|bin\d+|v\d+|rec|full|half[12]|even|odd)$", re.IGNORECASE
)
HALF = re.compile(r"_(?:half[12]|even|odd)(?=_|$)", re.IGNORECASE)  # of the frames or the tilts
NUMBER = re.compile(r"\d+")


def bare(name: str) -> str:
    """Return a name without its folder and endings: ``a/TS_17.mrc.tomostar`` gives ``TS_17``."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    while (shorter := ENDINGS.sub("", stem)) not in (stem, ""):
        stem = shorter
    return stem.strip()


def undecorated(name: str) -> str:
    """Return a bare name without voxel size, binning and the like: ``rec_TS_17_10.00Apx``."""
    stem = bare(name)
    while (shorter := DECORATION.sub("", stem)) not in (stem, ""):
        stem = shorter
    return stem


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Return the name by which tables know every tomogram -> its file; see `bare`.

    Raises
    ------
    ValueError
        If two files have one name, or a name looks like a missing value.
    """
    named: dict[str, Path] = {}
    same: dict[Path, Path] = {}
    for file in files:
        first = same.setdefault(file.resolve(), file)
        if first != file:
            raise ValueError(
                f"{first} and {file} are the same tomogram: list its particles under one name, or "
                "name its file (tomogram_files: {name: file})"
            )
        if file.is_dir():
            raise ValueError(f"{file} is a folder: give the tomograms in it, as {file}/*.mrc")
        name = bare(file.name)
        other = named.setdefault(name, file)
        if other != file:
            raise ValueError(
                f"the tomograms {other} and {file} have one name, '{name}': rename one of them, or "
                "a link to it"
            )
        if name in NOTHING:
            raise ValueError(
                f"the tomogram {file} is called '{name}', as a missing value is: rename it"
            )
    return named


def files_of(positions: Path, listed: "pd.DataFrame", files: Sequence[Path]) -> dict[str, Path]:
    """Return the file of every tomogram that a table of positions names.

    Raises
    ------
    ValueError
        If the table has no positions in tomograms, or a tomogram of it has no file.
    """
    lacking = {"tomogram", *ANGSTROM} - set(listed)
    if lacking:
        raise ValueError(
            f"{positions} has no column {sorted(lacking)}: it holds {list(listed.columns)}; "
            "make it with 'list-particles'"
        )
    named, there = dict.fromkeys(map(str, listed["tomogram"])), by_name(files)
    missing = [name for name in named if name not in there]
    if missing:
        raise ValueError(
            f"{positions} names the tomograms {missing[:5]}, and the files are those of "
            f"{sorted(there)[:5]}: rerun 'list-particles'"
        )
    return {name: there[name] for name in named}


def tomograms_of(
    particles: ParticleList, files: Sequence[Path], stated: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """Find the file of every tomogram that a particle list names; see `match_tomograms`.

    A list that names none, as a model of IMOD, is of the only tomogram, or of the one that is named
    like the list itself.
    """
    names = set(particles.tomograms.tolist())
    if names != {""}:
        return match_tomograms(sorted(names), files, stated)
    if len(files) == 1:
        return {"": files[0]}
    return {"": match_tomograms([particles.path.name], files, stated)[particles.path.name]}


def match_tomograms(
    names: Iterable[str], files: Sequence[Path], stated: Mapping[str, Path] | None = None
) -> dict[str, Path]:
    """Find the file of every tomogram that a list names.

    A file is meant by its own bare name, else by its name without voxel size and the like, else, of
    a list that numbers its tomograms, by the last number in its name; each time by one file only.

    Parameters
    ----------
    names
        As they stand in the list.
    files
        The tomograms that there are.
    stated
        Name in the list -> file, where a user says so; it comes first.

    Returns
    -------
    Name in the list -> file.

    Raises
    ------
    ValueError
        If a name means no file, or several; with the files that there are.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        meant = [stated[name]] if stated and name in stated else files_meant(name, files)
        if len(meant) > 1:
            raise ValueError(
                f"tomogram '{name}' may be any of {[str(file) for file in meant[:5]]}: name the "
                "right one (tomogram_files: {name: file}), or give one of them only"
            )
        if meant:
            found[name] = meant[0]
        else:
            missing.append(name)
    for file in dict.fromkeys(found.values()):
        names_of = [name for name, other in found.items() if other == file]
        if len({undecorated(name) for name in names_of}) > 1:
            logger.warning(
                "the tomogram %s stands for several names, %s: are they one tomogram?",
                *(file, names_of[:5]),
            )
    if "" in missing:
        raise ValueError(
            "some particles name no tomogram: fill in the column of their tomograms, or leave it "
            "out where there is one tomogram"
        )
    if missing:
        there = [file.name for file in files]
        raise ValueError(
            f"{len(missing)} tomograms of the list have no file: {missing[:5]}; the files are "
            f"{there[:5]}{' ...' if len(there) > 5 else ''}: give the folder that holds them, or "
            "name their files (tomogram_files: {name: file})"
        )
    return found


def _halves_differ(name: str, file: str) -> bool:
    """Whether two names say that they are of different halves of the data."""
    one, other = (HALF.search(bare(text)) for text in (name, file))
    return bool(one and other and one[0].lower() != other[0].lower())


def files_meant(name: str, files: Sequence[Path]) -> list[Path]:
    """Return the files that a name may mean; see `match_tomograms`."""
    for reading in (bare, undecorated):
        meant = [
            file
            for file in files
            if reading(file.name) == reading(name) and not _halves_differ(name, file.name)
        ]
        if meant:
            return meant
    if not NUMBER.fullmatch(bare(name)):
        return []
    return [file for file in files if _last_number(file) == int(bare(name))]


def _last_number(file: Path) -> int | None:
    numbers = NUMBER.findall(undecorated(file.name))
    return int(numbers[-1]) if numbers else None
