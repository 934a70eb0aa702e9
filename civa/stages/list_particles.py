"""Particle lists of any program, and the tomograms they name -> one table of positions."""

from pathlib import Path

from civa.data.files import expanded, write_csv
from civa.tomograms.positions import Reading


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
    empty_places: int = 0,
    box_voxels: int = 32,
    voxel_size_angstrom: float | None = None,
) -> None:
    """Read particle lists of any dialect into one table, in one frame.

    Its positions count in Å from the middle of the tomogram's first voxel; shifts and origins are
    applied.  Its quaternions turn the reference onto the particle.  Places without a particle are
    of the class ``empty``.

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
        CSV table of the particles, a row each: id, class, tomogram, position in Å, quaternion,
        defocus in µm.
    list_classes
        Class of all particles of each list; if left out, lists say it themselves.
    """
    if list_classes and len(list_classes) != len(lists):
        raise ValueError(
            f"there are {len(lists)} lists and {len(list_classes)} classes: name one class per list"
        )
    reading = Reading.of(
        tomograms,
        tomogram_table,
        {name: values.split("+") for name, values in _pairs("class_values", class_values)},
        dict(_pairs("tomogram_files", tomogram_files, of_files=True)),
        tomogram_voxel_size_angstrom=tomogram_voxel_size_angstrom,
        class_column=class_column,
        unit_angstrom=list_voxel_size_angstrom,
        first_voxel=first_voxel,
        empty_places=empty_places,
        box_voxels=box_voxels,
        voxel_size_angstrom=voxel_size_angstrom,
    )
    of_lists = list_classes or [None] * len(lists)
    write_csv(out, reading.table(list(zip(lists, of_lists, strict=True))))


def _pairs(what: str, items: tuple[str, ...], *, of_files: bool = False) -> list[tuple[str, str]]:
    """Parse NAME=VALUE; of files, whose names and paths may hold '=' themselves, where one is."""
    pairs: list[tuple[str, str]] = []
    for item in items:
        splits = [(item[:at], item[at + 1 :]) for at, mark in enumerate(item) if mark == "="]
        there = [pair for pair in splits if of_files and expanded(pair[1]).is_file()]
        name, value = next(iter([*there, *splits]), ("", ""))
        if not (name and value):
            raise ValueError(f"{what} '{item}' is not of the form NAME=VALUE")
        if name in dict(pairs):
            raise ValueError(f"{what} names '{name}' twice: name it once")
        pairs.append((name, value))
    return pairs
