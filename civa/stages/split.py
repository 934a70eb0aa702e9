"""70/15/15, class by class, seeded (Sec. 5)."""

from pathlib import Path

import pandas as pd

from civa.dataset import read_particles, stratified_split
from civa.files import write_csv


def run(
    particles: Path,
    *,
    out: Path,
    fractions: tuple[float, ...] = (0.70, 0.15, 0.15),
    seed: int = 1,
) -> None:
    """Assign every volume to train, validation or test."""
    table = read_particles(particles)
    parts = stratified_split(table["class"].tolist(), fractions, seed=seed)
    write_csv(out, pd.DataFrame({"id": table["id"], "class": table["class"], "part": parts}))
