"""Where particles were picked, and how far that may be off: a prior of where they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from civa.data.imaging import PICK_ERROR

if TYPE_CHECKING:
    import pandas as pd


REACH = 2.5  # standard deviations of a pick that are searched: 9 of 10 particles lie there
# Voxels that are searched around rough centres in any case, and at most: beyond lie neighbours.
LEAST_REACH, MOST_REACH = 3.0, 8.0


def search_reach(picks: "Picks | None") -> float:
    """How far around rough centres particles are looked for, in voxels."""
    if picks is None:
        return LEAST_REACH
    return float(np.clip(REACH * picks.error_voxels.max(), LEAST_REACH, MOST_REACH))


@dataclass(frozen=True)
class Picks:
    """Where particles were picked.

    Attributes
    ----------
    places
        (n, 3) z, y, x in voxels.
    error_voxels
        (n,) standard deviation of a pick along each axis.
    """

    places: NDArray[np.float64]
    error_voxels: NDArray[np.float64]

    def __getitem__(self, numbers: NDArray | slice) -> "Picks":
        return Picks(self.places[numbers], self.error_voxels[numbers])

    @classmethod
    def of_boxes(cls, particles: "pd.DataFrame", shape: tuple[int, ...]) -> "Picks | None":
        """Return the middles of boxes (d, h, w), if they were cut at picks.

        They were where the particle table says how far picks may be off.

        Raises
        ------
        ValueError
            If it says so by what is no number of voxels above 0.
        """
        import pandas as pd

        if PICK_ERROR not in particles:
            return None
        errors = pd.to_numeric(particles[PICK_ERROR], errors="coerce").to_numpy(dtype=np.float64)
        wrong = particles["id"][~(np.isfinite(errors) & (errors > 0))].tolist()
        if wrong:
            raise ValueError(
                f"{PICK_ERROR} must be a number of voxels above 0; it is not for ids {wrong[:5]}: "
                "correct it, or leave the column out"
            )
        middle = np.array(shape) // 2
        return cls(np.tile(middle.astype(np.float64), (len(errors), 1)), errors)
