"""Masks that users bring: bytes of several kinds, label maps, soft edges, and what is none.

A mask is understood by its values alone; what was understood beyond 0 and 1 is said in a word.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_LABELS = 64  # different whole numbers in a label map; a density stored as bytes has more
# A soft edge rings where a mask was resampled in Fourier space; a density goes as far below 0 as it
# goes above.
DEEPEST_RING = -0.25  # of the height
MOST_PARTLY = 0.5  # share of voxels that are neither inside nor outside, in a mask
FLAT = 0.1  # of the height: a voxel that is farther from 0 is not outside
# A mask's height is 1, or 255 as bytes; where it rings, its largest value is somewhat above.
HEIGHTS = (1.0, 255.0)
OVERSHOOT = (0.7, 1.6)


class MaskError(ValueError):
    """What was given as a mask is none."""


@dataclass(frozen=True)
class Understood:
    """A mask, and what was understood of it.

    Attributes
    ----------
    inside
        (d, h, w), where the particle is.
    remark
        What it was taken for; blank for zeros and ones.
    """

    inside: NDArray[np.bool_]
    remark: str = ""


def understand(values: NDArray, *, label: float | None = None) -> Understood:
    """Tell what is inside of a mask.

    Parameters
    ----------
    values
        (d, h, w) of any type.
    label
        The value that means the particle, of a label map.

    Raises
    ------
    MaskError
        If the values are those of no mask, of several labels of which none was chosen, or nothing
        or more than half of the box lies inside.
    """
    kinds = np.unique(values)
    if label is not None:
        if label not in kinds:
            raise MaskError(
                f"no voxel has the value {label:g} that was chosen; there are {_few(kinds)}"
            )
        found = Understood(values == label, f"label {label:g} of {_few(kinds)}")
    elif len(kinds) == 1:
        raise MaskError(f"all voxels are {kinds[0]:g}: nothing is inside")
    elif len(kinds) == 2:
        found = _of_two(values, kinds)
    elif (kinds % 1 == 0).all() and len(kinds) <= MOST_LABELS:
        raise MaskError(
            f"it holds the labels {_few(kinds)}: choose the one of the particle (a column "
            "'mask_label'), or give a mask of its own"
        )
    else:
        found = _soft(values)
    share = float(found.inside.mean())
    if share > 0.5:
        raise MaskError(
            f"{100 * share:.0f} % of the box lie inside: is it inverted? Expected less than half"
        )
    return found


def _of_two(values: NDArray, kinds: NDArray) -> Understood:
    """Two values: the larger is inside, unless it is a byte 255 that was stored with a sign."""
    low, high = kinds
    if (low, high) == (-1, 0):
        return Understood(values == -1, "bytes 0 and 255, stored with a sign")
    if (low, high) == (0, 1):
        return Understood(values == 1)
    return Understood(values == high, f"values {low:g} and {high:g}")


def _soft(values: NDArray) -> Understood:
    """Cut a soft edge at half of its height."""
    largest, smallest = float(values.max()), float(values.min())
    height = next(
        (h for h in HEIGHTS if OVERSHOOT[0] <= largest / h <= OVERSHOOT[1]), max(largest, 0.0)
    )
    partly = float((np.abs(values) > FLAT * height).mean()) if height else 1.0
    if smallest < DEEPEST_RING * height or partly > MOST_PARTLY:
        raise MaskError(
            f"it holds values from {smallest:.3g} to {largest:.3g}, as a density does: expected 0 "
            "outside and 1 inside"
        )
    inside = values >= height / 2
    return Understood(inside, f"soft edge, cut at {height / 2:g}: {int(inside.sum())} voxels")


def _few(kinds: NDArray) -> str:
    shown = ", ".join(f"{value:g}" for value in kinds[:6])
    return shown + (", ..." if len(kinds) > 6 else "")
