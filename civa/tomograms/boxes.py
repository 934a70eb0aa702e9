"""Boxes cut from a tomogram at sub-voxel positions, with voxels of another size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from civa.data.boxes import is_flat
from civa.data.findings import Finding
from civa.particle_lists.particle_list import Extent
from civa.tomograms.tomogram import Tomogram

# Zero crossings of the sinc on either side, and the shape of the Kaiser window about it: signals
# to 0.8 of the Nyquist frequency keep their amplitude within 1 % (tests/tomograms/test_boxes.py).
HALF_WIDTH = 8
KAISER_BETA = 5.0
MOST_INSIDE = 0.5  # share of positions inside: a list in another unit or frame has fewer


def interpolation_weights(
    positions: NDArray[np.float64], first: int, count: int, *, step: float
) -> NDArray[np.floating]:
    """Weights of samples at the integers for values at positions in between.

    A sinc in a Kaiser window, whose cut-off is the Nyquist frequency of the coarser of both grids:
    what the positions are too far apart to hold is taken out, as an anti-alias filter does (Smith,
    Digital Audio Resampling, 2002).  Beyond the samples that there are, signals are taken to go
    on as those within.

    Parameters
    ----------
    positions
        (n,) in units of the samples' distance.
    first, count
        The samples are at ``first``, ..., ``first + count - 1``.
    step
        Distance of the positions from one another.

    Returns
    -------
    (n, count) weights; each row adds up to 1.
    """
    width = max(step, 1.0)
    reach = HALF_WIDTH * width
    nearest = np.ceil(positions - reach).astype(np.int64)[:, None] + np.arange(int(2 * reach) + 1)
    apart = (positions[:, None] - nearest) / width  # (n, t)
    inside = np.maximum(1 - (apart / HALF_WIDTH) ** 2, 0)
    window = np.sinc(apart) * special.i0(KAISER_BETA * np.sqrt(inside)) * (inside > 0)
    row, tap = np.nonzero((nearest >= first) & (nearest < first + count))
    weights = np.zeros((len(positions), count))
    weights[row, nearest[row, tap] - first] = window[row, tap]
    return weights / weights.sum(axis=1, keepdims=True)


def box_positions(centre: float, box_voxels: int, step: float) -> NDArray[np.floating]:
    """Positions of the voxels of a box along one axis: voxel ``n // 2`` lies at the centre."""
    return centre + (np.arange(box_voxels) - box_voxels // 2) * step


def lie_inside(
    centres: NDArray, shape: NDArray | tuple[int, int, int], box_voxels: int, step: float
) -> NDArray[np.bool_]:
    """Tell (n,) which boxes lie within a tomogram.

    Parameters
    ----------
    centres
        (n, 3) z, y, x in voxels of the tomogram.
    shape
        d, h, w of the tomogram.
    box_voxels, step
        Edge of a box in its own voxels, and of those in voxels of the tomogram; 1 voxel: whether
        the centre itself lies within.
    """
    first, last = -(box_voxels // 2) * step, (box_voxels - 1 - box_voxels // 2) * step
    within = (centres + first >= -0.5) & (centres + last <= np.asarray(shape) - 0.5)
    return np.asarray(within.all(axis=1))


@dataclass(frozen=True)
class Placed:
    """Where boxes lie in a tomogram.

    Attributes
    ----------
    centres
        (n, 3) z, y, x in its voxels.
    inside, whole
        (n,) whether the centre lies within it, and whether all of the box does.
    """

    centres: NDArray[np.float64]
    inside: NDArray[np.bool_]
    whole: NDArray[np.bool_]

    @classmethod
    def of(
        cls, positions: NDArray[np.float64], extent: Extent, box_voxels: int, size: float
    ) -> "Placed":
        """Place boxes of voxels of ``size`` Å at positions (n, 3) x, y, z in Å."""
        voxel, shape = extent.voxel_size_angstrom, extent.voxels[::-1]
        centres = np.asarray(positions[:, ::-1] / voxel)
        return cls(
            centres,
            lie_inside(centres, shape, 1, 1.0),
            lie_inside(centres, shape, box_voxels, size / voxel),
        )

    @property
    def mostly_outside(self) -> bool:
        """Whether the list must be in another unit or frame."""
        return bool(self.inside.mean() < MOST_INSIDE)

    @property
    def one_outside(self) -> list[float]:
        """The first centre x, y, z in voxels that lies outside."""
        return [float(value) for value in self.centres[~self.inside][0, ::-1].round(1)]

    def kept(self, *, pad: bool) -> NDArray[np.bool_]:
        """Which (n,) are cut: whole boxes, or all whose centre lies inside."""
        return self.inside if pad else self.whole


def cut_box(
    tomogram: Tomogram, centre: NDArray[np.float64], box_voxels: int, voxel_size_angstrom: float
) -> NDArray[np.float32]:
    """Cut a box (n, n, n) out of a tomogram.

    Parameters
    ----------
    centre
        z, y, x in voxels of the tomogram, and inside of it: 0 is the middle of the first voxel.
    voxel_size_angstrom
        Edge of the box's voxels.
    """
    step = voxel_size_angstrom / tomogram.voxel_size_angstrom
    reach = HALF_WIDTH * max(step, 1.0)
    positions = [box_positions(middle, box_voxels, step) for middle in centre]
    corner = np.array([np.floor(axis[0] - reach) for axis in positions], dtype=np.int64)
    stop = np.array([np.ceil(axis[-1] + reach) + 1 for axis in positions], dtype=np.int64)
    corner, stop = np.maximum(corner, 0), np.minimum(stop, tomogram.shape)
    window = tomogram.window(corner, stop)
    if _holds_nothing(window, corner, positions):
        return np.full((box_voxels,) * 3, window.mean(), dtype=np.float32)
    along = []
    for axis, first, count in zip(positions, corner, window.shape, strict=True):
        # Positions outside take the value at the edge, as numpy's pad with "edge" does.
        inner = np.minimum(np.maximum(axis, 0), first + count - 1)
        weights = interpolation_weights(inner, int(first), count, step=step)
        along.append(weights.astype(np.float32))
    # Axis by axis, in products that are too small for a library to spread them over threads, which
    # would cost more than they take.
    across_x = window @ along[2].T  # (d, h, n)
    across_y = along[1] @ across_x  # (d, n, n)
    across_z = along[0] @ across_y.transpose(1, 0, 2)  # (n, n, n) y, z, x
    return np.ascontiguousarray(across_z.transpose(1, 0, 2))


def cut_instance(
    instances: Tomogram,
    number: int,
    centre: NDArray[np.float64],
    box_voxels: int,
    voxel_size_angstrom: float,
) -> NDArray[np.bool_]:
    """Cut a particle's mask (n, n, n) out of a map of whose voxel is whose; see `cut_box`.

    Between voxels of the map, the mask is interpolated (trilinear), and keeps as many voxels as its
    volume fills, the fullest first; beyond the map nothing is inside.
    """
    step = voxel_size_angstrom / instances.voxel_size_angstrom
    positions = [box_positions(middle, box_voxels, step) for middle in centre]
    last = np.array(instances.shape) - 1
    corner = np.clip([np.floor(axis[0]) for axis in positions], 0, last).astype(np.int64)
    stop = np.clip([np.ceil(axis[-1]) for axis in positions], corner, last).astype(np.int64) + 1
    share = (instances.window(corner, stop) == number).astype(np.float32)  # (d, h, w)
    for along, (axis, first) in enumerate(zip(positions, corner, strict=True)):
        taps = np.arange(first, first + share.shape[along])
        weights = np.maximum(1 - np.abs(axis[:, None] - taps), 0)  # (n, t)
        share = np.moveaxis(np.tensordot(weights, share, axes=(1, along)), 0, along)
    # Of voxels that are as full as each other, those nearer to the middle of the mask come first.
    at = np.indices(share.shape).reshape(3, -1)  # (3, n^3)
    middle = (share.ravel() * at).sum(axis=1) / max(float(share.sum()), 1e-12)
    far = np.square(at - middle[:, None]).sum(axis=0)
    kept = np.zeros(share.size, dtype=bool)
    kept[np.lexsort((far, -share.ravel().round(5)))[: round(float(share.sum()))]] = True
    return kept.reshape(share.shape)  # (n, n, n)


def _holds_nothing(
    window: NDArray, corner: NDArray[np.int64], positions: Sequence[NDArray[np.floating]]
) -> bool:
    """Whether a box's own voxels are all alike, whatever rings into it from beyond."""
    own = []
    for axis, first in zip(positions, corner, strict=True):
        start = max(0, int(np.floor(axis[0])) - int(first))
        own.append(slice(start, max(start + 1, int(np.ceil(axis[-1])) + 1 - int(first))))
    inner = window[tuple(own)]
    return bool(inner.size and np.ptp(inner) == 0)


def check_box(tomogram: Path, identity: str, box: NDArray) -> list[Finding]:
    """Tell what makes a box useless: voxels that are no numbers, or all alike."""
    if not np.isfinite(box).all():
        value = "the box holds NaN or infinite voxels"
        return [Finding("error", tomogram, value, "", "mend the tomogram", id=identity)]
    if is_flat(box):
        value = "the box is constant"
        remedy = "leave the particle out: the tomogram is empty there"
        return [Finding("error", tomogram, value, "", remedy, id=identity)]
    return []
