"""Where particles were picked, and how far that may be off: a prior of where they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.data.imaging import PICK_ERROR

if TYPE_CHECKING:
    import pandas as pd


REACH = 2.5  # standard deviations of a pick that are searched: 9 of 10 particles lie there
# Voxels that are searched around rough centres in any case, and at most: beyond lie neighbours.
LEAST_REACH, MOST_REACH = 3.0, 8.0
TAKEN_VOXELS = 3.0  # around the centre of a particle, where no other one has its own
IMPOSSIBLE = -1e4  # log of a prior that no likelihood makes up for


def search_reach(picks: "Picks | None") -> float:
    """How far around rough centres particles are looked for, in voxels."""
    if picks is None:
        return LEAST_REACH
    return float(np.clip(REACH * picks.error_voxels.max(), LEAST_REACH, MOST_REACH))


@dataclass(frozen=True)
class Prior:
    """What is known of where particles lie before they are looked at.

    Attributes
    ----------
    places
        (n, 3) picks, from where boxes were cut out.
    precision
        (n,) one over the square of their errors.
    taken
        (n, t, 3) where others lie, NaN for nobody; None where nothing is known of others.
    """

    places: Tensor
    precision: Tensor
    taken: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> "Prior":
        taken = None if self.taken is None else self.taken[rows]
        return Prior(self.places[rows], self.precision[rows], taken)

    def log(self, shifts: Tensor) -> Tensor:
        """Log of the prior of shifts (n, m, 3), or of the same (1, m, 3) of all: (n, m).

        A pick is off by a Gaussian along each axis; where another particle lies, none does.
        """
        squared = (shifts - self.places[:, None]).square().sum(dim=-1)  # (n, m)
        log = -squared * self.precision[:, None] / 2
        if self.taken is None:
            return log
        apart = (shifts[:, :, None] - self.taken[:, None]).norm(dim=-1)  # (n, m, t)
        return log.masked_fill((apart < TAKEN_VOXELS).any(dim=-1), IMPOSSIBLE)


@dataclass(frozen=True)
class Picks:
    """Where particles were picked.

    Attributes
    ----------
    places
        (n, 3) z, y, x in voxels.
    error_voxels
        (n,) standard deviation of a pick along each axis.
    taken
        (n, t, 3) places near each that belong to others, z, y, x in voxels, NaN where there are
        fewer; None where nothing is known of others.
    """

    places: NDArray[np.float64]
    error_voxels: NDArray[np.float64]
    taken: NDArray[np.float64] | None = None

    def __getitem__(self, numbers: NDArray | slice) -> "Picks":
        taken = None if self.taken is None else self.taken[numbers]
        return Picks(self.places[numbers], self.error_voxels[numbers], taken)

    def prior(self, centres: NDArray[np.int64], device: torch.device) -> Prior:
        """Prior of shifts from where boxes were cut out, (n, 3) z, y, x."""

        def tensor(values: NDArray) -> Tensor:
            return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)

        taken = None if self.taken is None else tensor(self.taken - centres[:, None])
        return Prior(tensor(self.places - centres), tensor(self.error_voxels**-2.0), taken)

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
