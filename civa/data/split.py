"""The stratified 70/15/15 split, and wrong labels as a stress test (Sec. 5)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from civa.data.particles import PARTS

# Searches for a division of tomograms, of which the best counts: with few tomograms of unlike
# content, one search in eight ended in a poor one.  No more are made once every class is within
# this share of its volumes from what was asked, as is usual with many tomograms.
SPLIT_STARTS = 10
SPLIT_TOLERANCE = 0.01


class TooFewTomogramsError(ValueError):
    """A class comes from too few tomograms to keep the volumes of each together."""


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
    TooFewTomogramsError
        If a class comes from too few tomograms to reach every part.
    ValueError
        If the shares do not add up to 1, or a class is too small to reach every part.
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
        raise TooFewTomogramsError(
            f"no way was found to divide {len(groups)} tomograms so that every class reaches each "
            f"of {PARTS}: '{names[column]}', which comes from "
            f"{_listed(groups[counts[:, column] > 0].tolist())}, was missing in '{PARTS[part]}'; "
            "add tomograms of it"
        )
    return np.array(PARTS)[parts][of_tomogram]


def _check_tomograms(name: str, tomograms: Sequence[str]) -> None:
    """Check that a class comes from enough tomograms to reach every part."""
    if len(tomograms) < len(PARTS):
        raise TooFewTomogramsError(
            f"class '{name}' comes from {_listed(tomograms)}: too few to put one into each of "
            f"{PARTS}, as volumes of one tomogram stay together; add tomograms of it, or "
            "leave the class out"
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
