"""The particle table, its image-level labels, the parts of a split, and predictions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from civa.data.findings import Finding, raise_errors
from civa.data.text_table import read_text_table

if TYPE_CHECKING:
    import pandas as pd  # imported where tables are read: it is slow, and plans of jobs read none

PARTS = ("train", "validation", "test")
BACKGROUND = 0  # label of background voxels; classes are 1, 2, ... in the order of the table
RESERVED = {  # columns of the tables of scores
    *("dataset", "seed", "method", "miou", "class_miou", "miou_agnostic", "n", "sd", "seeds"),
}
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]*")
TEXT = ("id", "class", "path", "mask", "tomogram", "copy_of")  # columns that stay text
# What programs write into a cell for nothing.
NOTHING = ("nan", "NaN", "NA", "N/A", "n/a", "#N/A", "None", "none", "null", "NULL", "<NA>", "-")
MEMBER = re.compile(r"(\d+)@(.+)")  # volume of a stack, counted from 1, as RELION writes it
MOST_CLASSES = 127  # labels of masks are signed bytes
UNANNOTATED = -1  # mask value of volumes that come without a ground truth


def read_particles(path: Path) -> "pd.DataFrame":
    """Read a particle table: one row per volume, in the order of the stack.

    Columns ``id``, ``class``, ``path``, ``mask`` and ``tomogram`` are text (so that ``007`` stays
    ``007``).  ``label`` is the class's integer, 1 for the first class.

    Raises
    ------
    FindingError
        If `check_particles` finds an error, or the table itself cannot be read; see
        `civa.data.text_table.read_text_table`.
    """
    table, findings = check_particles(path)
    raise_errors(findings)
    return table.reset_index(drop=True)


def check_particles(path: Path) -> "tuple[pd.DataFrame, list[Finding]]":
    """Read a particle table, and say all that is wrong with it.

    Returns
    -------
    The table, whose index is each row's line in the file; and what was found: a missing column,
    ids that are blank or repeated, classes that are blank, look like a missing value, differ in
    case or in writing only, or cannot head a column of the tables; too many classes.
    """
    table = read_text_table(path, text=TEXT)
    missing = [column for column in ("id", "class") if column not in table]
    if missing:
        value = f"has no column {missing}: it holds {list(table.columns)}"
        return table, [Finding("error", path, value, remedy="name the columns in the first line")]
    for column in ("mask", "tomogram"):
        if column in table:
            table[column] = table[column].mask(table[column].isin(NOTHING), "")
    findings = [*_check_ids(path, table), *_check_classes(path, table)]
    return table, findings


def _check_ids(path: Path, table: "pd.DataFrame") -> Iterator[Finding]:
    first: dict[str, int] = {}
    for line, name in table["id"].items():
        at = int(str(line))
        if not name:
            yield Finding("error", path, "the id is blank", "", "give every volume an id", at)
        elif name in first:
            value = f"the id stands in line {first[name]} too"
            yield Finding("error", path, value, "", "give every volume an id of its own", at, name)
        first.setdefault(name, at)


def _check_classes(path: Path, table: "pd.DataFrame") -> Iterator[Finding]:
    """Look at the names of classes, each where it first stands."""
    first = table.drop_duplicates("class")
    written: dict[str, str] = {}
    for line, identity, name in zip(first.index, first["id"], first["class"], strict=True):
        if (fault := _fault_of_class(name)) is not None:
            yield Finding("error", path, *fault, line=int(line), id=identity or None)
        elif (twin := written.setdefault(_plain(name), name)) != name:
            value = f"the classes '{twin}' and '{name}' differ in writing only"
            yield Finding("error", path, value, "", "write them alike", int(line), identity or None)
    if len(first) > MOST_CLASSES:
        value = f"has {len(first)} classes, and masks hold at most {MOST_CLASSES}"
        remedy = f"is '{first['class'].iloc[0]}' a class, or an id?"
        yield Finding("error", path, value, remedy=remedy)


def check_class_names(path: Path, table: "pd.DataFrame") -> list[Finding]:
    """Look at the names of classes of particles that come from no table of their own."""
    named = table.assign(id="").set_axis(range(len(table)), axis="index")
    return [replace(finding, line=None) for finding in _check_classes(path, named)]


def _fault_of_class(name: str) -> tuple[str, str, str] | None:
    """Return what is wrong with the name of a class, what was expected, and the remedy."""
    if not name:
        return "the class is blank", "", "name the class of every volume, or leave the row out"
    if name in NOTHING and name != "NA":  # neuraminidase, beside HA
        remedy = "name the class of every volume, or leave the row out"
        return f"the class '{name}' looks like a missing value", "", remedy
    if not CLASS_NAME.fullmatch(name) or name in RESERVED:
        expected = f"letters, digits, '_', '-', '.' or blanks, and none of {sorted(RESERVED)}"
        return f"the class '{name}' cannot head a column of the tables", expected, "rename it"
    return None


def _plain(name: str) -> str:
    """Return what two ways of writing one name have in common: case, and 1 and 1.0."""
    try:
        return str(float(name))
    except ValueError:
        return name.casefold()


def read_tomograms(particles: "pd.DataFrame") -> list[str] | None:
    """Return the tomogram (n,) that every volume was cut from, or None where the table has none.

    Raises
    ------
    ValueError
        If the table has a column ``tomogram`` that is blank for some volumes.
    """
    if "tomogram" not in particles:
        return None
    names = particles["tomogram"].str.strip()
    blank = particles["id"][names == ""].tolist()
    if blank:
        raise ValueError(
            f"tomogram is blank for ids {blank[:5]}: name the tomogram of every volume, or leave "
            "the column out"
        )
    return names.tolist()


def tomogram_numbers(particles: "pd.DataFrame") -> NDArray[np.int64] | None:
    """Return the number (n,) of every volume's tomogram, where the table names it."""
    names = read_tomograms(particles)
    return None if names is None else np.unique(names, return_inverse=True)[1]


def with_labels(particles: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with the column ``label``: classes are 1, 2, ... as they first appear."""
    names = list(dict.fromkeys(particles["class"]))
    return particles.assign(label=[names.index(name) + 1 for name in particles["class"]])


def class_names(particles: "pd.DataFrame") -> list[str]:
    """Return the class names in label order: label 1 is the first name."""
    pairs = particles[["label", "class"]].drop_duplicates().sort_values("label")
    return pairs["class"].tolist()


def read_split(
    path: Path, particles: "pd.DataFrame"
) -> tuple[Mapping[str, NDArray[np.int64]], NDArray[np.int64]]:
    """Read a split table.

    Returns
    -------
    The stack indices of each part, and the label (n,) that every volume is said to have.

    Raises
    ------
    ValueError
        If the table does not list exactly the volumes of ``particles``, in their order, or has a
        class of its own.
    """
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    check_columns(path, table, ("id", "class", "part"), stage="split")
    check_ids(path, table, particles, stage="split")
    strange = sorted(set(table["part"]) - set(PARTS))
    if strange:
        raise ValueError(
            f"{path} has the parts {strange[:5]}, expected {', '.join(PARTS)}: rerun 'split'"
        )
    label_of = {name: label for label, name in enumerate(class_names(particles), start=1)}
    labels = table["class"].map(label_of)
    if labels.isna().any():
        strange = sorted(set(table["class"][labels.isna()]))
        raise ValueError(
            f"{path} has the classes {strange[:5]}, expected some of {list(label_of)} as in the "
            "particle table: rerun 'split'"
        )
    part_of = table["part"].to_numpy(dtype=str)
    parts: Mapping[str, NDArray[np.int64]] = {
        part: np.flatnonzero(part_of == part) for part in PARTS
    }
    return parts, np.asarray(labels, dtype=np.int64)


def check_columns(path: Path, table: "pd.DataFrame", columns: Sequence[str], *, stage: str) -> None:
    """Check that a stage's table has some columns.

    Raises
    ------
    ValueError
        If one is missing.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"{path} has no column {missing}: it holds {list(table.columns)}; rerun '{stage}'"
        )


def check_ids(path: Path, table: "pd.DataFrame", particles: "pd.DataFrame", *, stage: str) -> None:
    """Check that a stage's table lists exactly the volumes of ``particles``, in their order.

    Raises
    ------
    ValueError
        If it does not.
    """
    if table["id"].tolist() != particles["id"].tolist():
        raise ValueError(
            f"{path} does not list the same ids as the particle table: rerun '{stage}'"
        )


@dataclass(frozen=True)
class Predictions:
    """What the classifier says of every volume.

    Attributes
    ----------
    predicted
        (n,) class 1 .. k.
    map_class
        (n,) class that guides every volume's maps: labelled in training, else predicted; the
        column ``guide``.
    confidence
        (n,) probability of the predicted class.
    """

    predicted: NDArray[np.int64]
    map_class: NDArray[np.int64]
    confidence: NDArray[np.float64]


def read_predictions(path: Path, particles: "pd.DataFrame") -> Predictions:
    """Read the predictions of the stage `localize`.

    Raises
    ------
    ValueError
        If the table does not list exactly the volumes of ``particles``, in their order.
    """
    import pandas as pd

    table = pd.read_csv(path, dtype={"id": str}, keep_default_na=False)
    columns = ("id", "predicted", "guide", "confidence")
    check_columns(path, table, columns, stage="localize")
    check_ids(path, table, particles, stage="localize")
    return Predictions(
        table["predicted"].to_numpy(dtype=np.int64),
        table["guide"].to_numpy(dtype=np.int64),
        table["confidence"].to_numpy(dtype=np.float64),
    )


def draw_group(
    members: NDArray[np.int64], size: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw an image group of one class, without replacement (Sec. 4.3)."""
    return np.sort(generator.permutation(members)[:size])


class ParticleSet:
    """The particles of a data set, their labels and their parts.

    Parameters
    ----------
    particles
        Path of the particle table.
    split
        Path of the split table.

    Attributes
    ----------
    labels
        (n,) 1 .. k, what every volume is said to show; see `mislabel`.
    """

    def __init__(self, particles: Path, split: Path) -> None:
        self.table = read_particles(particles)
        self.parts, self.labels = read_split(split, self.table)
        self.names = class_names(self.table)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """(n,) True for validation and test: their labels must not guide their maps."""
        held_out = np.ones(len(self.labels), dtype=bool)
        held_out[self.parts["train"]] = False
        return held_out
