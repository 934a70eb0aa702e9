"""The table of alignments on disk: what every volume shows, where, and how well it fits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.consensus.poses import Matrices, to_matrices
from civa.data.particles import check_ids


@dataclass(frozen=True)
class AlignmentTable:
    """What the stage `align` found, volume by volume.

    Attributes
    ----------
    table
        The columns as they are in the file; docs/conventions.md explains them.
    averages
        (n,) number of the average that a volume shows, from 1.
    labels
        (n,) of the class of that average.
    is_outlier
        (n,) whether a volume fits no average; the column ``misfit``.
    matrices, offsets
        (n, 3, 3) and (n, 3) z, y, x from the middle of the volume, in voxels.
    """

    table: pd.DataFrame
    averages: NDArray[np.int64]
    labels: NDArray[np.int64]
    is_outlier: NDArray[np.bool_]
    matrices: Matrices
    offsets: NDArray[np.float64]

    def expected_iou(self, reports: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """IoU (n,) to expect of every mask without a look at any, 0 for an outlier.

        What the resolution of its average allows, times what the error of its pose leaves, times
        the probability that the average is right.

        Parameters
        ----------
        reports
            Figures of every average, ``agreement_at_resolution`` among them.
        """
        allowed = np.array([0.0, *(report["agreement_at_resolution"] for report in reports)])
        kept = self.table[["pose_agreement", "probability"]].to_numpy(dtype=float).prod(axis=1)
        return np.where(self.is_outlier, 0, allowed[self.averages] * kept)

    @classmethod
    def read(cls, path: Path, particles: pd.DataFrame) -> "AlignmentTable":
        """Read the table.

        Raises
        ------
        ValueError
            If it does not list exactly the volumes of ``particles``, in their order.
        """
        table = pd.read_csv(path, dtype={"id": str, "class": str}, keep_default_na=False)
        check_ids(path, table, particles, stage="align")
        quaternions = table[[f"quaternion_{axis}" for axis in "xyzw"]].to_numpy(dtype=float)
        return cls(
            table=table,
            averages=table["average"].to_numpy(dtype=np.int64),
            labels=table["label"].to_numpy(dtype=np.int64),
            is_outlier=table["misfit"].to_numpy() == 1,
            matrices=to_matrices(Rotation.from_quat(quaternions)),
            offsets=table[[f"shift_{axis}" for axis in "zyx"]].to_numpy(dtype=float),
        )
