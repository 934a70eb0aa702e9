"""The particle table, its image-level labels, and the 70/15/15 split (Sec. 5)."""

import re
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
UNANNOTATED = -1  # mask value of volumes that come without a ground truth
# Searches for a division of tomograms, of which the best counts: with few tomograms of unlike
# content, one search in eight ended in a poor one.  No more are made once every class is within
# this share of its volumes from what was asked, as is usual with many tomograms.
SPLIT_STARTS = 10
SPLIT_TOLERANCE = 0.01


def read_particles(path: Path) -> "pd.DataFrame":
    """Read a particle table: one row per volume, in the order of the stack.

    Columns ``id``, ``class`` and, where there is one, ``tomogram`` are text (so that ``007`` stays
    ``007``); ``label`` is the class's integer, 1 for the first class.

    Raises
    ------
    ValueError
        If the table is unreadable or empty, a column is missing, an id is repeated, or a class
        is blank or has a name that would break the tables.
    """
    table = _read_table(path)
    for column in ("id", "class"):
        if column not in table:
            raise ValueError(f"{path} has no column '{column}': it holds {list(table.columns)}")
    repeated = table["id"][table["id"].duplicated()].tolist()
    if repeated:
        raise ValueError(f"{path}: ids must be unique; repeated: {repeated[:5]}")
    blank = table["id"][table["class"].str.strip() == ""].tolist()
    if blank:
        raise ValueError(f"{path}: every volume needs a class; blank for ids {blank[:5]}")
    for name in table["class"].unique():
        if not CLASS_NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(
                f"{path}: class '{name}' cannot head a column of the tables: use letters, digits, "
                f"'_', '-', '.' or blanks, and none of {sorted(RESERVED)}"
            )
    return table


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
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


def class_names(particles: "pd.DataFrame") -> list[str]:
    """Return the class names in label order: label 1 is the first name."""
    pairs = particles[["label", "class"]].drop_duplicates().sort_values("label")
    return pairs["class"].tolist()


def stratified_split(
    classes: Sequence[str],
    fractions: Sequence[float],
    *,
    seed: int,
    tomograms: Sequence[str] | None = None,
) -> NDArray[np.str_]:
    """Assign every volume to train, validation or test, class by class (Sec. 5).

    Volumes of one tomogram share its ice, its defocus and its alignment, and overlap at times: with
    ``tomograms``, they stay together, and the classes' shares are met as well as moving and
    exchanging whole tomograms allows.

    Parameters
    ----------
    classes
        (n,) class name of every volume.
    fractions
        Shares of train, validation and test; the paper uses 0.70, 0.15, 0.15.
    seed
        Seed of the shuffle; the same seed gives the same split.
    tomograms
        (n,) tomogram of every volume, if they are to stay together.

    Returns
    -------
    (n,) part of every volume.

    Raises
    ------
    ValueError
        If the shares do not add up to 1, or a class is too small, or comes from too few tomograms,
        to reach every part.
    """
    if len(fractions) != len(PARTS) or not np.isclose(sum(fractions), 1) or min(fractions) <= 0:
        raise ValueError(f"split fractions must be three positive shares of 1 (got {fractions})")
    generator = np.random.default_rng(seed)
    names = np.asarray(classes)
    if tomograms is not None:
        return _split_tomograms(names, np.asarray(tomograms), fractions, generator)
    parts = np.empty(len(names), dtype="U10")
    for name in np.unique(names):
        members = generator.permutation(np.flatnonzero(names == name))
        parts[members] = np.repeat(PARTS, split_counts(len(members), fractions, name=str(name)))
    return parts


def _split_tomograms(
    classes: NDArray[np.str_],
    tomograms: NDArray[np.str_],
    fractions: Sequence[float],
    generator: np.random.Generator,
) -> NDArray[np.str_]:
    """Assign whole tomograms to the parts; return the part (n,) of every volume."""
    names, of_class = np.unique(classes, return_inverse=True)
    groups, of_tomogram = np.unique(tomograms, return_inverse=True)
    counts = np.zeros((len(groups), len(names)), dtype=np.int64)  # (g, k)
    np.add.at(counts, (of_tomogram, of_class), 1)
    asked = np.empty((len(PARTS), len(names)), dtype=np.int64)  # (3, k)
    for column, name in enumerate(names):
        _check_tomograms(str(name), groups[counts[:, column] > 0].tolist())
        asked[:, column] = split_counts(int(counts[:, column].sum()), fractions, name=str(name))
    parts = _divide(counts, asked, fractions, generator)  # (g,)
    missing = np.argwhere(_volumes_of_parts(counts, parts) == 0)
    if len(missing):
        part, column = missing[0]
        raise ValueError(
            f"no way was found to divide {len(groups)} tomograms so that every class reaches each "
            f"of {PARTS}: '{names[column]}', which comes from "
            f"{_listed(groups[counts[:, column] > 0].tolist())}, was missing in '{PARTS[part]}'; "
            "add tomograms of it, or leave the column 'tomogram' out"
        )
    return np.array(PARTS)[parts][of_tomogram]


def _check_tomograms(name: str, tomograms: Sequence[str]) -> None:
    """Check that a class comes from enough tomograms to reach every part."""
    if len(tomograms) < len(PARTS):
        raise ValueError(
            f"class '{name}' comes from {_listed(tomograms)}: too few to put one into each of "
            f"{PARTS}, as volumes of one tomogram stay together; add tomograms of it, leave the "
            "class out, or leave the column 'tomogram' out, which lets volumes of one tomogram "
            "into training and test alike and flatters the scores"
        )


def _listed(tomograms: Sequence[str]) -> str:
    more = ", ..." if len(tomograms) > 5 else ""
    plural = "" if len(tomograms) == 1 else "s"
    return f"{len(tomograms)} tomogram{plural} ({', '.join(tomograms[:5])}{more})"


def _volumes_of_parts(counts: NDArray[np.int64], parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many volumes (3, k) of every class the parts hold."""
    return np.stack([counts[parts == part].sum(axis=0) for part in range(len(PARTS))])


def _divide(
    counts: NDArray[np.int64],
    asked: NDArray[np.int64],
    fractions: Sequence[float],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the part (g,) of every tomogram, the best that several searches find.

    See `_balanced` for ``counts`` and ``asked``.
    """
    totals = asked.sum(axis=0)  # (k,)
    found: list[tuple[float, NDArray[np.int64]]] = []
    for _ in range(SPLIT_STARTS):
        start = generator.choice(len(PARTS), len(counts), p=np.asarray(fractions))
        parts = _balanced(counts, asked, start)
        held = _volumes_of_parts(counts, parts)  # (3, k)
        found.append((float(_imbalance(held, asked, totals).sum()), parts))
        if (abs(held - asked) <= SPLIT_TOLERANCE * totals).all():
            break
    return min(found, key=lambda pair: pair[0])[1]


def _imbalance(
    held: NDArray[np.int64], asked: NDArray[np.int64], totals: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Say how far parts are from what was asked of them, all classes together.

    The sum of squared deviations, as shares of the classes; a class that a part lacks costs more
    than all deviations, which sum to less than 2 for every class.

    Parameters
    ----------
    held, asked
        (..., k) volumes of every class.
    totals
        (k,) volumes of every class in all parts.

    Returns
    -------
    (...).
    """
    deviations = ((held - asked) / totals) ** 2  # (..., k)
    return (deviations + 2 * len(totals) * (held == 0)).sum(axis=-1)


def _balanced(
    counts: NDArray[np.int64], asked: NDArray[np.int64], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move and exchange tomograms between the parts for as long as the balance gets better.

    Parameters
    ----------
    counts
        (g, k) volumes of every class in every tomogram.
    asked
        (3, k) volumes of every class that the parts should hold.
    start
        (g,) number of the part of every tomogram, to begin with.

    Returns
    -------
    (g,) number of the part of every tomogram.
    """
    totals = asked.sum(axis=0)  # (k,)
    parts, held = start.copy(), _volumes_of_parts(counts, start)
    improved = True
    while improved:
        improved = False
        for row, own in enumerate(parts):
            # Candidates: an exchange with each tomogram of another part, a move into each part.
            others = np.flatnonzero(parts != own)
            elsewhere = np.setdiff1d(range(len(PARTS)), own)
            into = np.concatenate([parts[others], elsewhere])  # (m,)
            back = np.concatenate([counts[others], np.zeros((2, len(totals)), dtype=np.int64)])
            moved = counts[row] - back  # (m, k)
            before = _imbalance(held, asked, totals)  # (3,)
            gain = before[own] - _imbalance(held[own] - moved, asked[own], totals)  # (m,)
            gain += before[into] - _imbalance(held[into] + moved, asked[into], totals)
            best = int(gain.argmax())
            if gain[best] > 1e-9:  # more than rounding
                held[own] -= moved[best]
                held[into[best]] += moved[best]
                parts[row] = into[best]
                parts[others[best : best + 1]] = own  # none where the tomogram was only moved
                improved = True
    return parts


def split_counts(n: int, fractions: Sequence[float], *, name: str) -> list[int]:
    """Return how many of ``n`` volumes of one class go to train, validation and test.

    Raises
    ------
    ValueError
        If a part would stay empty.
    """
    held_out = [round(n * share) for share in fractions[1:]]
    counts = [n - sum(held_out), *held_out]
    if min(counts) < 1:
        raise ValueError(
            f"class '{name}' has {n} volumes: too few to put one into each of {PARTS} with shares "
            f"{tuple(fractions)}; add volumes or leave the class out"
        )
    return counts


def mislabel(
    classes: Sequence[str], members: NDArray[np.int64], share: float, *, seed: int
) -> NDArray[np.str_]:
    """Give a share of some volumes of every class one of the other classes, evenly drawn.

    A stress test: how many wrong labels can the method take?

    Parameters
    ----------
    classes
        (n,) class name of every volume.
    members
        Indices of the volumes that may be mislabelled.
    share
        Of the members of every class, from 0 to below 1.

    Returns
    -------
    (n,) class names.

    Raises
    ------
    ValueError
        If the share is none, or there is no other class.
    """
    if not 0 <= share < 1:
        raise ValueError(f"label_noise must lie in 0 .. 1, 1 excluded (got {share:g})")
    names, told = np.unique(classes), np.array(classes)
    if share > 0 and len(names) < 2:
        raise ValueError(f"label_noise is {share:g}, but there is no class beside '{names[0]}'")
    generator = np.random.default_rng([seed, 1])  # apart from the shuffle of the split
    for name in names:
        own = members[np.asarray(classes)[members] == name]
        wrong = generator.permutation(own)[: round(share * len(own))]
        told[wrong] = generator.choice(names[names != name], len(wrong))
    return told


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
    check_ids(path, table, particles, stage="split")
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
    check_ids(path, table, particles, stage="localize")
    return Predictions(
        table["predicted"].to_numpy(dtype=np.int64),
        table["guide"].to_numpy(dtype=np.int64),
        table["confidence"].to_numpy(dtype=np.float64),
    )


def read_guides(predictions: Path) -> NDArray[np.int8]:
    """Read the class (n,) that guides every volume's maps: labelled in training, else predicted."""
    import pandas as pd

    return pd.read_csv(predictions)["guide"].to_numpy(dtype=np.int8)


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
