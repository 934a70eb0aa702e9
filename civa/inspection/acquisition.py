"""What a user states of how tomograms were taken, and what the files of each show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.imaging import AXIS, STATE, TILTS
from civa.data.volume import standardize
from civa.inspection.contrast import Contrast, contrast_of
from civa.inspection.geometry import Geometry, box_power, geometry_of
from civa.inspection.gold import GoldEvidence
from civa.optics import STATES, TiltRange
from civa.tomograms.tilt_angles import TiltSeries

SAMPLE = 64  # boxes of a tomogram that tell its contrast, and its tilts where there is no tomogram


@dataclass(frozen=True)
class Stated:
    """What a user states of all tomograms of a data set; None where nothing is stated."""

    tilt_range_deg: tuple[float, float] | None = None
    tilt_axis_deg: float | None = None
    ctf_state: str | None = None
    invert_contrast: bool | None = None


def stated_of(
    tilt_range_deg: Sequence[float] | None,
    tilt_axis_deg: float | None,
    ctf_state: str | None,
    invert_contrast: bool | None,
) -> Stated:
    """Return what settings state.

    Raises
    ------
    ValueError
        If the range of tilts is none, or the state of the contrast transfer no known one.
    """
    tilts = tuple(tilt_range_deg or ())
    if tilts and not (len(tilts) == 2 and tilts[0] < tilts[1]):
        raise ValueError(
            f"tilt_range_deg is {list(tilts)}: expected the first and the last tilt in degrees, as "
            "-60 and 60"
        )
    if ctf_state is not None and ctf_state not in STATES:
        raise ValueError(f"ctf_state is '{ctf_state}': expected one of {', '.join(STATES)}")
    ends = (tilts[0], tilts[1]) if tilts else None
    return Stated(ends, tilt_axis_deg, ctf_state, invert_contrast)


@dataclass(frozen=True)
class Observed:
    """What the files of one tomogram show.

    Attributes
    ----------
    name
        Of the tomogram.
    voxel_size_angstrom
        Edge of a voxel, and whether the header states it.
    geometry
        As the voxels show it; None where they were not looked at.
    contrast
        Of the boxes around its particles; None where there were none.
    series
        What a file says of its tilt series; None where there is none.
    listed
        Tilts that a table of boxes states; None where it states none.
    labels
        What programs have written into the header, a line each.
    gold
        What beads of gold tell; None where there are none, or nobody looked.
    """

    name: str
    voxel_size_angstrom: float
    geometry: Geometry | None = None
    contrast: Contrast | None = None
    series: TiltSeries | None = None
    listed: TiltRange | None = None
    labels: Sequence[str] = ()
    gold: GoldEvidence | None = None


def check_stated_once(table: pd.DataFrame, stated: Stated) -> None:
    """Check that a table of boxes and settings do not both state how tomograms were taken.

    Raises
    ------
    ValueError
        If they do.
    """
    settings = {
        TILTS[0]: ("tilt_range_deg", stated.tilt_range_deg),
        AXIS: ("tilt_axis_deg", stated.tilt_axis_deg),
        STATE: ("ctf_state", stated.ctf_state),
    }
    for column, (name, value) in settings.items():
        if value is not None and column in table:
            raise ValueError(
                f"{name} is set, and the table has a column {column}: which one holds? Leave out "
                "the setting or the column"
            )


class MeanBox:
    """What boxes have in common: their mean, and their mean power spectrum.

    Parameters
    ----------
    edge
        Of the boxes, in voxels.
    """

    def __init__(self, edge: int) -> None:
        self.total, self.power = np.zeros((edge,) * 3), np.zeros((edge,) * 3)
        self.count = 0

    def add(self, box: NDArray) -> None:
        """Add a box (n, n, n), whatever its scale."""
        self.total += standardize(box[None])[0]
        self.power += box_power(box)
        self.count += 1

    def __add__(self, other: "MeanBox") -> "MeanBox":
        both = MeanBox(len(self.total))
        both.total, both.power = self.total + other.total, self.power + other.power
        both.count = self.count + other.count
        return both

    @property
    def contrast(self) -> Contrast | None:
        """Of the particles in their middle; None where there are no boxes."""
        return contrast_of(self.total / self.count) if self.count else None

    @property
    def geometry(self) -> Geometry:
        """Of the tomogram that they were cut from."""
        return geometry_of(self.power)
