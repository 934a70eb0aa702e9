"""70/15/15, class by class, seeded (Sec. 5)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from civa.data.files import write_csv
from civa.data.particles import mislabel, read_particles, stratified_split

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

    ``label_noise`` is the share of the training volumes that are given a wrong class, as a stress
    test; the ground truth, and the classes of the other volumes, stay as they are.
    """
    table = read_particles(particles)
    classes = table["class"].tolist()
    parts = stratified_split(classes, fractions, seed=seed)
    told = mislabel(classes, np.flatnonzero(parts == "train"), label_noise, seed=seed)
    wrong = int((told != table["class"]).sum())
    if wrong:
        logger.warning("%d training volumes are given a wrong class (label_noise)", wrong)
    write_csv(out, pd.DataFrame({"id": table["id"], "class": told, "part": parts}))
