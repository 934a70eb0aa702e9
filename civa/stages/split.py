"""70/15/15, class by class, seeded (Sec. 5)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from civa.data.files import write_csv
from civa.data.particles import PARTS, read_particles, read_tomograms
from civa.data.split import TooFewTomogramsError, mislabel, stratified_split

logger = logging.getLogger(__name__)


def run(
    particles: Path,
    *,
    out: Path,
    fractions: tuple[float, ...] = (0.70, 0.15, 0.15),
    label_noise: float = 0.0,
    seed: int = 1,
) -> None:
    """Assign every volume to train, validation or test.

    Where the particle table has a column ``tomogram``, volumes of one tomogram stay together, if
    there are enough tomograms; else volumes are divided one by one, with a warning.
    ``label_noise`` is the share of the training volumes that are given a wrong class, as a stress
    test; the ground truth, and the classes of the other volumes, stay as they are.

    Parameters
    ----------
    particles
        CSV table of the volumes, a row each: id, class, label.
    out
        CSV table: class and part (train, validation, test) of every volume.
    """
    table = read_particles(particles)
    classes = table["class"].tolist()
    tomograms = read_tomograms(table)
    try:
        parts = stratified_split(classes, fractions, seed=seed, tomograms=tomograms)
    except TooFewTomogramsError as error:
        logger.warning(
            "%s. Volumes are divided one by one: those of one tomogram are in training and in "
            "test, which flatters the scores",
            error,
        )
        parts, tomograms = stratified_split(classes, fractions, seed=seed), None
    if tomograms is not None:
        logger.info("volumes of each of %d tomograms stay together", len(set(tomograms)))
        for name, counts in pd.crosstab(table["class"], parts).iterrows():
            logger.info("class %s: %s", name, ", ".join(f"{counts[p]} {p}" for p in PARTS))
    if "copy_of" in table:  # of boxes with the same content, which import found
        row_of = {name: row for row, name in enumerate(table["id"])}
        origins = [row_of.get(name, row) for row, name in enumerate(table["copy_of"])]
        parts = parts[origins]
    told = mislabel(classes, np.flatnonzero(parts == "train"), label_noise, seed=seed)
    wrong = int((told != table["class"]).sum())
    if wrong:
        logger.warning("%d training volumes are given a wrong class (label_noise)", wrong)
    write_csv(out, pd.DataFrame({"id": table["id"], "class": told, "part": parts}))
