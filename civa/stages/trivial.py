"""Rules that learn nothing -> masks, for the honest rows of the tables."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import write_json
from civa.data.particles import read_particles
from civa.data.stack import Stack, open_volumes, write_masks
from civa.evaluation.trivial import Settings, candidates, rule_map
from civa.evaluation.validation import FRACTIONS, Validation, as_record, best, top_fraction


def run(
    volumes: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    choice: Path,
    rule: str,
    fractions: tuple[float, ...] = FRACTIONS,
) -> None:
    """Apply one rule to every volume, its settings chosen on validation.

    A rule predicts no class: its masks carry the true label, which flatters it.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record: the setting that was chosen, validation mIoU (%) of all that were
        tried.
    rule
        Which rule: ball, lowpass, centre or blob.
    fractions
        Shares of the voxels of a map to choose from, each above 0 and below 1.
    """
    stack = open_volumes(volumes)
    shares = (0.5,) if rule == "ball" else fractions  # a ball is cut by its own edge
    settings, share, tried = _choose(rule, stack, shares, Validation(masks, particles, split))
    labels = read_particles(particles)["label"].to_numpy(dtype=np.int8)

    def cut(rows: NDArray[np.int64]) -> NDArray[np.int8]:
        found = top_fraction(rule_map(rule, stack[rows], settings), share)
        return found * labels[rows, None, None, None]

    write_masks(out, stack, cut, cut=f"{100 * share:g} % of the voxels")
    write_json(choice, {**settings, "fraction": share, "validation_miou": tried})


def _choose(
    rule: str, stack: Stack, shares: tuple[float, ...], validation: Validation
) -> tuple[Settings, float, dict[str, float]]:
    """Return the best settings and share of voxels, and the quality of every setting."""
    tried = candidates(rule)
    if not validation.is_possible:
        return tried[0], shares[len(shares) // 2], {}

    def masks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        boxes = stack[rows]
        for settings in tried:
            values = rule_map(rule, boxes, settings)
            yield from (top_fraction(values, share) for share in shares)

    pairs = list(product(tried, shares))
    qualities = validation.mious(masks)
    settings, share = best(pairs, qualities)
    of_settings = np.reshape(qualities, (len(tried), len(shares))).max(axis=1).tolist()
    return settings, share, as_record(tried, of_settings)
