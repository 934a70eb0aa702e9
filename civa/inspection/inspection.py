"""What was found in one data set of a user."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.findings import Finding

EXAMPLES = 24  # boxes of a class that are read for a picture, its mean, and the contrast


@dataclass(frozen=True)
class TomogramView:
    """A slice of a tomogram, and the particles near it.

    Attributes
    ----------
    name
        Of the tomogram.
    image
        (h, w), mean of some planes about z.
    z_voxel
        The middle plane.
    places
        (m, 2) x, y of the particles whose boxes it cuts, in voxels.
    classes
        (m,) their classes.
    edge
        Of a box, in voxels of the tomogram.
    """

    name: str
    image: NDArray[np.float32]
    z_voxel: int
    places: NDArray[np.float64]
    classes: NDArray[np.str_]
    edge: float


@dataclass
class Inspection:
    """What was found in a data set.

    Attributes
    ----------
    findings
        All that is wrong or strange.
    summary
        In a sentence: volumes, classes, boxes.
    volumes
        How many boxes there will be.
    examples
        Class -> some of its boxes (m, d, h, w), mean 0 and standard deviation 1, protein bright.
    views
        Slices of tomograms.
    """

    findings: list[Finding] = field(default_factory=list)
    summary: str = ""
    volumes: int = 0
    examples: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    views: list[TomogramView] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """How many findings stop a run."""
        return sum(finding.severity == "error" for finding in self.findings)


def spread_rows(rows: Sequence[int], most: int) -> list[int]:
    """Some of the rows, evenly from the first to the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[int(i)] for i in np.linspace(0, len(rows) - 1, most).round()]


def rows_by(table: pd.DataFrame, column: str) -> dict[str, NDArray[np.int64]]:
    """Return the rows (m,) of every value of a column, values in the order of the table."""
    groups = table.groupby(column, sort=False).indices
    return {str(value): np.asarray(rows, dtype=np.int64) for value, rows in groups.items()}
