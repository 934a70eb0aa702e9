"""The particle table, its image-level labels, the parts of a split, and predictions."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd  # imported where tables are read: it is slow, and plans of jobs read none

PARTS = ("train", "validation", "test")
BACKGROUND = 0  # label of background voxels; classes are 1, 2, ... in the order of the table
RESERVED = {  # columns of the tables of scores
    *("dataset", "seed", "method", "miou", "class_miou", "miou_agnostic", "n", "sd", "seeds"),
}
CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]*")
MOST_CLASSES = 127  # labels of masks are signed bytes
UNANNOTATED = -1  # mask value of volumes that come without a ground truth


def read_particles(path: Path) -> "pd.DataFrame":
    """Read a particle table: one row per volume, in the order of the stack.

    Columns ``id``, ``class`` and, where there is one, ``tomogram`` are text (so that ``007`` stays
    ``007``); ids and classes come without blanks around them (tomograms: `read_tomograms`).
    ``label`` is the class's integer, 1 for the first class.

    Raises
    ------
    ValueError
        If the table is unreadable or empty, a column is missing, an id is blank or repeated, a
        class is blank or has a name that would break the tables, or there are too many classes.
    """
    table = _read_table(path)
    for column in ("id", "class"):
        if column not in table:
            raise ValueError(f"{path} has no column '{column}': it holds {list(table.columns)}")
        table[column] = table[column].str.strip()
    if (table["id"] == "").any():
        rows = (np.flatnonzero(table["id"] == "") + 2).tolist()  # lines; the header is the first
        raise ValueError(f"{path}: every volume needs an id; blank in lines {rows[:5]}")
    repeated = table["id"][table["id"].duplicated()].tolist()
    if repeated:
        raise ValueError(f"{path}: ids must be unique; repeated: {repeated[:5]}")
    blank = table["id"][table["class"] == ""].tolist()
    if blank:
        raise ValueError(f"{path}: every volume needs a class; blank for ids {blank[:5]}")
    for name in table["class"].unique():
        if not CLASS_NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(
                f"{path}: class '{name}' cannot head a column of the tables: use letters, digits, "
                f"'_', '-', '.' or blanks, and none of {sorted(RESERVED)}"
            )
    if table["class"].nunique() > MOST_CLASSES:
        raise ValueError(
            f"{path} has {table['class'].nunique()} classes, and masks hold at most "
            f"{MOST_CLASSES}: is '{table['class'].iloc[0]}' a class, or an id?"
        )
    return table


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with warnings.catch_warnings():  # without an error, cells beyond the header would be lost
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=dict.fromkeys(("id", "class", "path", "mask", "tomogram"), str),
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is not a readable CSV table ({error})") from error
    except pd.errors.ParserWarning as warning:
        raise ValueError(f"{path} has rows longer than its header ({warning})") from warning
    if table.empty:
        raise ValueError(f"{path} lists no volume: expected one row per volume below the header")
    return table


def read_defocus(particles: "pd.DataFrame") -> NDArray[np.float64] | None:
    """Return the defocus (n,) of every volume in µm, or None where the table has none.

    Raises
    ------
    ValueError
        If the table has a column ``defocus_um`` that is not a positive number throughout.
    """
    import pandas as pd

    if "defocus_um" not in particles:
        return None
    values = pd.to_numeric(particles["defocus_um"], errors="coerce").to_numpy(dtype=np.float64)
    wrong = particles["id"][~((values > 0) & (values < 20))].tolist()
    if wrong:
        raise ValueError(
            f"defocus_um must be a number of µm above 0 and below 20, underfocus positive; it is "
            f"not for ids {wrong[:5]}: correct it, or leave the column out"
        )
    return values


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
