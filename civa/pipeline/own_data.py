"""The files of a user that a data set comes from: boxes, or particle lists and tomograms."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from civa.data.files import expanded, read_json
from civa.data.particles import MEMBER, read_particles
from civa.pipeline.provenance import record_path

if TYPE_CHECKING:
    from civa.particle_lists.particle_list import ParticleList

Config = Mapping[str, Any]

# Endings of tomograms, and of tilt angles, in a folder that is given as a whole.
TOMOGRAM_ENDINGS = (".mrc", ".map", ".rec")
TILT_ENDINGS = (".tlt", ".rawtlt", ".mdoc", ".star", ".tomostar")
PACKED_ENDINGS = (".gz", ".bz2")
UNKNOWN_BOX_VOXELS = 32  # of boxes that cannot be read: their import will name them


def is_imported(config: Config, dataset: str) -> bool:
    """Tell whether a data set comes from the user's own boxes."""
    return "import" in (config["datasets"][dataset] or {})


def is_specimen(config: Config, dataset: str) -> bool:
    """Tell whether a data set is cut from simulated tomograms."""
    return "specimen" in (config["datasets"][dataset] or {})


def is_extracted(config: Config, dataset: str) -> bool:
    """Tell whether a data set is cut from the user's own tomograms."""
    own = config["datasets"][dataset] or {}
    return "extract" in own and not is_specimen(config, dataset)


def is_own(config: Config, dataset: str) -> bool:
    """Tell whether a data set comes from the user's own files, not from a simulation."""
    return is_imported(config, dataset) or is_extracted(config, dataset)


def table(config: Config, dataset: str) -> Path:
    """Return the table of the user's own boxes."""
    return expanded(config["datasets"][dataset]["import"]["table"])


def listed_files(boxes: Path) -> list[Path]:
    """List the boxes and masks that a table of own volumes names, to track their changes."""
    rows = read_particles(boxes)
    columns = [column for column in ("path", "mask") if column in rows]
    named = [MEMBER.sub(r"\2", name) for column in columns for name in rows[column] if name]
    for name in named:
        check_name(name)
    return [boxes.parent / name for name in dict.fromkeys(named)]


def lists(config: Config, dataset: str) -> list[Path]:
    """Return the particle lists of a data set, in the order of `list_classes`."""
    return [path for path, _ in _lists(config, dataset)]


def list_classes(config: Config, dataset: str) -> list[str]:
    """Return the class of every particle list; none where lists say it themselves."""
    return [name for _, name in _lists(config, dataset) if name is not None]


def _lists(config: Config, dataset: str) -> list[tuple[Path, str | None]]:
    asked = config["datasets"][dataset]["extract"]["lists"]
    if isinstance(asked, Mapping):
        named = [(path, str(name)) for name, files in asked.items() for path in _several(files)]
        return [(expanded(path), name) for path, name in named]
    return [(expanded(path), None) for path in _several(asked)]


def lists_by_class(given: Sequence[str]) -> dict[str, list[str]] | list[str]:
    """Return the setting ``lists`` of particle lists as typed: CLASS=FILE, or FILE.

    Raises
    ------
    ValueError
        If some name a class and others do not.
    """
    is_file = [expanded(one).exists() for one in given]  # '=' may stand in its path
    pairs = [
        (one, "", "") if there else one.partition("=")
        for one, there in zip(given, is_file, strict=True)
    ]
    if not any(equals for _, equals, _ in pairs):
        return list(given)
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(f"lists {list(given)}: give all of them as CLASS=FILE, or none")
    named: dict[str, list[str]] = {}
    for of_class, _, file in pairs:
        named.setdefault(of_class, []).append(file)
    return named


def tomogram_table(config: Config, dataset: str) -> Path | None:
    """Return the table of the tomograms' sizes before binning, if one is given."""
    path = config["datasets"][dataset]["extract"].get("tomogram_table")
    return None if path is None else expanded(path)


def tomograms(config: Config, dataset: str) -> list[Path]:
    """Return the tomograms that the lists of a data set name.

    Raises
    ------
    ValueError
        If there are none where they should be, a list cannot be read, or a tomogram that it names
        is not there.
    """
    own = config["datasets"][dataset]["extract"]
    stated = tuple(tomogram_files(config, dataset).items())
    given = tuple(_several(own["tomograms"]))
    return list(_named(tuple(lists(config, dataset)), given, stated))


def tomogram_files(config: Config, dataset: str) -> dict[str, str]:
    """Return name of a tomogram in the lists -> its file, where that is stated.

    It is stated one by one, or in an index of Dynamo, of which those count that the lists name; a
    file that is not there as the index has it is looked for by its name among the tomograms.

    Raises
    ------
    ValueError
        If the index cannot be read, or names a file that is not there.
    """
    own = config["datasets"][dataset]["extract"]
    stated = own.get("tomogram_files") or {}
    if isinstance(stated, Mapping):
        for file in stated.values():
            check_name(str(file))
        return {str(name): str(file) for name, file in stated.items()}
    from civa.particle_lists.dynamo import read_index  # pandas: not for other plans

    index = expanded(stated)
    if not index.is_file():
        raise ValueError(f"extract.tomogram_files {index} does not exist: put Dynamo's index there")
    named = {name for path in lists(config, dataset) for name in _particles(path).tomograms}
    there = _files("tomograms", _several(own["tomograms"]), TOMOGRAM_ENDINGS)
    numbered = {n: file for n, file in read_index(index).items() if n in named}
    return {number: str(_indexed(index, file, there)) for number, file in numbered.items()}


def _indexed(index: Path, file: str, there: Sequence[Path]) -> Path:
    """Return a tomogram of an index: as it has it, or the one of its name."""
    from civa.tomograms.names import files_meant  # pandas: not for other plans

    if Path(file).is_file():
        return Path(file)
    meant = files_meant(file, there)
    if len(meant) != 1:
        raise ValueError(
            f"{index} names the tomogram {file}, which is not there, and {len(meant)} of the given "
            "tomograms are called so: give its folder in tomograms"
        )
    return meant[0]


@functools.cache
def _named(
    particle_lists: tuple[Path, ...],
    given: tuple[str, ...],
    stated: tuple[tuple[str, str], ...],
) -> tuple[Path, ...]:
    from civa.tomograms.names import tomograms_of  # pandas: not for other plans

    there = _files("tomograms", given, TOMOGRAM_ENDINGS)
    files = {name: expanded(file) for name, file in stated}
    found: dict[Path, None] = {}
    unknown = set(files)
    for path in particle_lists:
        particles = _particles(path)
        found |= dict.fromkeys(tomograms_of(particles, there, files).values())
        unknown -= set(particles.tomograms.tolist())
    if unknown:
        raise ValueError(
            f"tomogram_files names {sorted(unknown)}, and no list has a tomogram of that name: "
            "write names as the lists do"
        )
    return tuple(found)


def instances(config: Config, dataset: str) -> list[Path]:
    """Return the maps of whose voxel is whose; none where none are given."""
    given = config["datasets"][dataset]["extract"].get("instances")
    return [] if given is None else _files("instances", _several(given), TOMOGRAM_ENDINGS)


def tilt_files(config: Config, dataset: str) -> list[Path]:
    """Return the files of tilt angles of a data set's tomograms; none where none are given."""
    given = config["datasets"][dataset]["extract"].get("tilt_files")
    if given is None:
        return []
    from civa.tomograms.names import bare  # pandas: not for other plans
    from civa.tomograms.tilt_angles import match_tilt_files

    names = [bare(path.name) for path in tomograms(config, dataset)]
    there = _files("tilt_files", _several(given), TILT_ENDINGS)
    return list(match_tilt_files(names, there).values())


def _files(key: str, given: Iterable[str], endings: Sequence[str]) -> list[Path]:
    """Return the files of folders, patterns and paths, sorted; of folders, those of some endings.

    Raises
    ------
    ValueError
        If one of them holds none.
    """
    found: dict[Path, None] = {}
    for text in given:
        path = expanded(text)
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if _ends(file, endings))
        elif path.exists():
            inside = [path]
        else:  # a pattern
            anchor = Path(path.anchor)
            inside = sorted(anchor.glob(str(path.relative_to(anchor))))
        if not inside:
            what, expected = key.replace("_", " "), ", ".join(endings)
            packed = ", also compressed" if endings == TOMOGRAM_ENDINGS else ""
            raise ValueError(
                f"{key}: {text} is no file, folder or pattern that holds {what} (expected files "
                f"that end in {expected}{packed})"
            )
        found |= dict.fromkeys(inside)
    for path in found:
        check_name(str(path))
    return list(found)


def is_tomogram(file: Path) -> bool:
    """Tell by its name whether a file in a folder may be a tomogram."""
    return _ends(file, TOMOGRAM_ENDINGS)


def _ends(file: Path, endings: Sequence[str]) -> bool:
    is_packed = file.suffix in PACKED_ENDINGS and endings == TOMOGRAM_ENDINGS
    plain = file.with_suffix("") if is_packed else file
    return plain.suffix.lower() in endings and not file.name.startswith(".")


def volume_count(config: Config, dataset: str) -> int:
    """Return how many volumes a data set of own files has, before any is there."""
    if is_imported(config, dataset):
        return len(read_particles(table(config, dataset)))
    listed = sum(len(_particles(path)) for path in lists(config, dataset))
    empty = config["datasets"][dataset]["extract"].get("empty_places") or 0
    return listed + (empty * len(tomograms(config, dataset)) if empty else 0)


@functools.cache
def _particles(path: Path) -> "ParticleList":
    from civa.particle_lists.reading import read_particle_list  # pandas: not for other plans

    return read_particle_list(path)


def box_voxels(config: Config, dataset: str) -> int:
    """Return the edge of a data set's boxes, before any is there.

    Own boxes that are missing, unreadable or no cubes count as 32: their import will name them.
    """
    if is_extracted(config, dataset):
        return int(config["datasets"][dataset]["extract"].get("box_voxels", UNKNOWN_BOX_VOXELS))
    boxes = listed_files(table(config, dataset))
    return _edge(boxes[0]) if boxes else UNKNOWN_BOX_VOXELS


def _edge(box: Path) -> int:
    from civa.data.volume import (
        read_shape,  # imports mrcfile, which simulated data sets do not need
    )

    try:
        edges = set(read_shape(box))
    except ValueError:
        return UNKNOWN_BOX_VOXELS
    return edges.pop() if len(edges) == 1 else UNKNOWN_BOX_VOXELS


def check(config: Config, dataset: str) -> None:
    """Check that the files that a configuration itself names are there.

    Raises
    ------
    ValueError
        If one is missing.
    """
    if is_imported(config, dataset):
        path = table(config, dataset)
        if not path.is_file():
            raise ValueError(f"import.table {path} does not exist: put the particle table there")
        return
    own = config["datasets"][dataset]["extract"]
    missing = sorted({"lists", "tomograms"} - set(own))
    if missing:
        raise ValueError(f"extract.{missing[0]} is missing: name the user's files there")
    if list_classes(config, dataset) and ("class_values" in own or "class_column" in own):
        raise ValueError(
            "extract.lists names the class of every list, so that class_values and class_column "
            "say nothing: leave them out, or give lists without classes"
        )
    values = [
        str(value)
        for several in (own.get("class_values") or {}).values()
        for value in _several(several)
    ]
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"extract.class_values gives {twice} to several classes: to one each")
    for path in lists(config, dataset):
        if not path.is_file():
            raise ValueError(f"extract.lists: {path} does not exist: put the particle list there")
    for name in [*map(str, lists(config, dataset)), *_several(own["tomograms"])]:
        check_name(name)
    sizes = tomogram_table(config, dataset)
    if sizes is not None and not sizes.is_file():
        raise ValueError(f"extract.tomogram_table {sizes} does not exist: put RELION's table there")


def check_origin(config: Config, dataset: str) -> None:
    """Check that what was made under the name of a data set came from the same files.

    Another configuration in the same folder may use the same name for other data, and would
    replace the results of this one unnoticed.

    Raises
    ------
    ValueError
        If the results were made from none of the files that the configuration names.
    """
    if is_imported(config, dataset):
        product, now = "particles.csv", [table(config, dataset)]
    else:
        product, now = "positions.csv", lists(config, dataset)
    record = record_path(Path("results", dataset, product))
    if not record.is_file():
        return
    then = {Path(name).absolute() for name in read_json(record).get("inputs", {})}
    if then.isdisjoint(path.absolute() for path in now):
        raise ValueError(
            f"results/{dataset} was made from other files than {', '.join(map(str, now))} (see "
            f"{record}): give the data set another name, or remove results/{dataset}"
        )


def check_name(name: str) -> None:
    """Check that a path reaches a stage as it is written.

    Raises
    ------
    ValueError
        If Snakemake would take it for a pattern, or the stage for a flag.
    """
    if "{" in name or "}" in name:
        raise ValueError(f"{name}: Snakemake takes braces for a pattern; rename it")
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="backslashreplace").decode()
        raise ValueError(f"{shown}: its name is no UTF-8; rename it") from None
    if name.startswith("-"):
        raise ValueError(
            f"{name} begins with '-', as a flag does: rename it, or give its whole path"
        )


def _several(one_or_more: str | int | Sequence[str | int]) -> list[str]:
    return [str(one_or_more)] if isinstance(one_or_more, str | int) else list(map(str, one_or_more))
