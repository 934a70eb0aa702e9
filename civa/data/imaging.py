"""What the particle table says of how volumes were imaged: defocus, tilts, state of the CTF."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from civa.optics import RAW, STATES, TiltRange

if TYPE_CHECKING:
    import pandas as pd  # imported where tables are read: it is slow, and plans of jobs read none

LARGEST_DEFOCUS_UM = 20  # more is none that a tomogram is taken at
SMALLEST_DEFOCUS_UM = 0.05  # less is what a number of µm looks like that was taken for Å
TILTS = ("tilt_min_deg", "tilt_max_deg")
PICK_ERROR = "pick_error_voxels"  # of boxes that were cut at picks
AXIS, STATE, DEFOCUS = "tilt_axis_deg", "ctf_state", "defocus_um"
LARGEST_DEG = 90


@dataclass(frozen=True)
class Acquisition:
    """How a tomogram was taken and reconstructed.

    Attributes
    ----------
    tilts
        Their range and axis.
    ctf_state
        What was done about the contrast transfer; see `civa.optics.transfer_in`.
    """

    tilts: TiltRange = field(default_factory=TiltRange)
    ctf_state: str = RAW


def read_defocus(particles: "pd.DataFrame") -> NDArray[np.float64] | None:
    """Return the defocus (n,) of every volume in µm, or None where the table has none.

    Raises
    ------
    ValueError
        If the table has a column ``defocus_um`` that is not a positive number throughout.
    """
    import pandas as pd

    if DEFOCUS not in particles:
        return None
    values = pd.to_numeric(particles[DEFOCUS], errors="coerce").to_numpy(dtype=np.float64)
    is_wrong = ~((values >= SMALLEST_DEFOCUS_UM) & (values < LARGEST_DEFOCUS_UM))
    wrong = particles["id"][is_wrong].tolist()
    if wrong:
        found = particles[DEFOCUS][is_wrong].iloc[0]
        in_angstrom = (values[is_wrong] >= 100 * LARGEST_DEFOCUS_UM).all()
        remedy = "divide by 10,000, since they look like Å" if in_angstrom else "correct it"
        if ((values[is_wrong] > 0) & (values[is_wrong] < SMALLEST_DEFOCUS_UM)).all():
            remedy = "multiply by 10,000, since they look like µm in a column of Å"
        raise ValueError(
            f"defocus_um must be a number of µm from {SMALLEST_DEFOCUS_UM} to "
            f"{LARGEST_DEFOCUS_UM}, underfocus positive; it is not for ids {wrong[:5]} ({found}): "
            f"{remedy}, or leave the column out"
        )
    return values


def read_acquisitions(
    particles: "pd.DataFrame", assumed: Acquisition = Acquisition()
) -> tuple[tuple[Acquisition, ...], NDArray[np.int64]]:
    """Return the different ways in which volumes were imaged, and which (n,) is every volume's.

    Parameters
    ----------
    assumed
        Tilts and state where the table states none.

    Raises
    ------
    ValueError
        If a column of tilts lacks its twin, holds what is no number of degrees or no range, or if
        a state is none of `civa.optics.STATES`.
    """
    rows = list(zip(_tilts(particles, assumed), _states(particles, assumed), strict=True))
    acquisitions = {row: Acquisition(*row) for row in rows}  # in the order of the table
    numbers = {row: number for number, row in enumerate(acquisitions)}
    return tuple(acquisitions.values()), np.array([numbers[row] for row in rows], dtype=np.int64)


def states_tilts(particles: "pd.DataFrame") -> bool:
    """Tell whether the table states the tilts of its volumes."""
    return any(column in particles for column in TILTS)


def _tilts(particles: "pd.DataFrame", assumed: Acquisition) -> Iterator[TiltRange]:
    if not states_tilts(particles):
        if AXIS not in particles:
            yield from [assumed.tilts] * len(particles)
            return
        ends = assumed.tilts.first_deg, assumed.tilts.last_deg
        yield from (TiltRange(*ends, axis) for axis in _degrees(particles, AXIS).tolist())
        return
    missing = [column for column in TILTS if column not in particles]
    if missing:
        raise ValueError(f"the particle table has no column {missing[0]}: state both ends")
    first, last = (_degrees(particles, column) for column in TILTS)
    axis = _degrees(particles, AXIS) if AXIS in particles else np.zeros(len(particles))
    wrong = particles["id"][first >= last].tolist()
    if wrong:
        raise ValueError(
            f"{TILTS[0]} is not below {TILTS[1]} for ids {wrong[:5]}: state the first and the last "
            "tilt in degrees, as -60 and 60"
        )
    yield from map(TiltRange, first.tolist(), last.tolist(), axis.tolist())


def _degrees(particles: "pd.DataFrame", column: str) -> NDArray[np.float64]:
    import pandas as pd

    values = pd.to_numeric(particles[column], errors="coerce").to_numpy(dtype=np.float64)
    is_wrong = ~(np.abs(values) <= LARGEST_DEG)
    if is_wrong.any():
        wrong, found = particles["id"][is_wrong].tolist(), particles[column][is_wrong].iloc[0]
        raise ValueError(
            f"{column} must be a number of degrees from -{LARGEST_DEG} to {LARGEST_DEG}; it is not "
            f"for ids {wrong[:5]} ({found}): correct it, or leave the column out"
        )
    return values


def _states(particles: "pd.DataFrame", assumed: Acquisition) -> list[str]:
    if STATE not in particles:
        return [assumed.ctf_state] * len(particles)
    states = particles[STATE].astype(str)
    is_wrong = ~states.isin(STATES)
    if is_wrong.any():
        wrong, found = particles["id"][is_wrong].tolist(), states[is_wrong].iloc[0]
        raise ValueError(
            f"{STATE} must be one of {', '.join(STATES)}; it is not for ids {wrong[:5]} "
            f"('{found}'): correct it, or leave the column out"
        )
    return states.tolist()
