"""The tilt range and the tilt axis of a tomogram, measured from its voxels.

Back-projection fills only the planes in Fourier space that the tilts reached.  The mean power of
some windows, over the median of its shell, shows the empty double wedge: its direction in the plane
is across the tilt axis, and its edges are the first and last tilts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from civa.tomograms.tomogram import Tomogram

WINDOW = 64  # voxels: planes of tilts a degree apart are told apart at its Nyquist frequency
WINDOWS = 32
SMALLEST = 32  # voxels of a window that tell planes apart
# Shells, as shares of Nyquist, that are looked at: below, planes overlap; above, interpolation and
# filters of reconstruction programs rule.
INNER, OUTER = 0.25, 0.85
AXIS_STEPS_DEG = (10, 1)  # coarse, then fine
BRIGHTEST = 5.0  # of the shell's median: a crystal of ice or gold outshines everything
ANGLE_STEP_DEG = 1.0
# Power of the empty wedge over that of the rest, above which there is none: denoised or filled
# tomograms have 0.5 and more, noise through a wedge 0.1 (tests/inspection/test_geometry.py).
FILLED = 0.4
NARROWEST_DEG, WIDEST_DEG = 40.0, 175.0  # of a range of tilts that is believed
# Edges lie where power is the geometric mean of that within and without, as high tilts are weaker
# (dose, cos weights); windows smear some power into an empty wedge, so that it is taken for no less
# than this share.
FLOOR = 0.12


@dataclass(frozen=True)
class Geometry:
    """How a tomogram was tilted.

    Attributes
    ----------
    axis_deg
        Direction of the tilt axis in the xy plane, from y towards x, -90 to 90.
    tilts_deg
        First and last tilt.
    emptiness
        Power within the missing wedge over that outside of it: 0 where nothing is there, near 1
        where the wedge was filled or there is none.
    limit
        Emptiness above which there is no wedge; smaller windows show chance as one.
    """

    axis_deg: float
    tilts_deg: tuple[float, float]
    emptiness: float
    limit: float = FILLED

    def tilts_about(self, axis_deg: float) -> tuple[float, float]:
        """First and last tilt, counted about an axis that may point the other way.

        The axes at -90 and 90 degrees are one line; tilts about it change their sign.
        """
        first, last = self.tilts_deg
        points_the_other_way = round((axis_deg - self.axis_deg) / 180) % 2 == 1
        return (-last, -first) if points_the_other_way else (first, last)

    @property
    def is_measured(self) -> bool:
        """Whether there is a missing wedge to measure, as wide as of a tilt series."""
        first, last = self.tilts_deg
        return self.emptiness < self.limit and NARROWEST_DEG <= last - first <= WIDEST_DEG

    @property
    def is_known(self) -> bool:
        """Whether there were voxels enough to look for a wedge."""
        return bool(np.isfinite(self.emptiness))


def measure_geometry(tomogram: Tomogram) -> Geometry:
    """Measure tilt axis and range of a tomogram from the mean power of windows of 64^3 voxels."""
    return geometry_of(mean_power(tomogram))


def mean_power(tomogram: Tomogram) -> NDArray[np.float64]:
    """Mean power (n, n, n) of windows spread over a tomogram, frequency 0 in the middle.

    Windows end smoothly, or the edges of a box would put power on the axes.
    """
    shape = np.asarray(tomogram.shape)
    edge = int(min(WINDOW, *shape)) // 2 * 2
    power = np.zeros((edge,) * 3)
    for corner in _corners(shape, edge):
        power += box_power(tomogram.window(corner, corner + edge))
    return power


def box_power(box: NDArray) -> NDArray[np.float64]:
    """Power spectrum (n, n, n) of a box that a window ends smoothly, frequency 0 in the middle.

    It does not depend on the box's scale; a constant one has none.
    """
    edge = box.shape[0]
    taper = np.hanning(edge + 2)[1:-1]
    ball = taper[:, None, None] * taper[None, :, None] * taper
    centred = box - box.mean(dtype=np.float64)
    spread = float(centred.std())
    if spread == 0:
        return np.zeros(box.shape)
    clipped = np.clip(centred / spread, -5, 5)  # gold outshines everything
    return np.asarray(np.fft.fftshift(np.abs(np.fft.fftn(clipped * ball)) ** 2))


def _corners(shape: NDArray[np.int64], edge: int) -> NDArray[np.int64]:
    """Corners (m, 3) of windows on an even grid, at most `WINDOWS`."""
    room = shape - edge
    per_axis = np.minimum(np.maximum(room // (edge // 2), 0) + 1, [2, 4, 4])
    axes = [
        np.linspace(0, free, count).astype(int) for free, count in zip(room, per_axis, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)[:WINDOWS]


def geometry_of(power: NDArray[np.float64]) -> Geometry:
    """Find the empty double wedge in a mean power spectrum (n, n, n), frequency 0 in the middle.

    Nothing is known of one that is too small, or empty.
    """
    edge = power.shape[0]
    if edge < SMALLEST or not power.any():
        return Geometry(0.0, (-90.0, 90.0), float("nan"))
    axis = (np.arange(edge) - edge // 2) / (edge / 2)  # shares of Nyquist
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    shell = np.round(radius * edge / 2).astype(int)
    order = (radius > INNER) & (radius < OUTER)
    medians = np.array(
        [power[shell == s].mean() if (shell == s).any() else 1.0 for s in range(shell.max() + 1)]
    )
    relative = (power / np.maximum(medians[shell], 1e-300))[order]
    z, y, x = z[order], y[order], x[order]
    relative = np.minimum(relative, BRIGHTEST)

    def told(direction: float) -> float:
        """How much of the spread of power the angle about an axis explains."""
        _, profile, counts = _profile(relative, z, y, x, direction)
        return float((counts * (profile - relative.mean()) ** 2).sum())

    coarse, fine = AXIS_STEPS_DEG
    middle = max(map(float, range(-90, 90, coarse)), key=told)
    direction = max((middle + step for step in range(-coarse, coarse + 1, fine)), key=told)
    direction = (direction + 90) % 180 - 90
    angles, profile, _ = _profile(relative, z, y, x, direction)
    first, last, emptiness = _edges(angles, profile)
    return Geometry(direction, (first, last), emptiness, FILLED * min(1.0, (edge / WINDOW) ** 2))


def _profile(
    relative: NDArray, z: NDArray, y: NDArray, x: NDArray, direction_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean relative power over the angle of planes about an axis in the xy plane, and its voxels.

    Voxels near the axis itself belong to all tilts and are left out.
    """
    turn = np.deg2rad(direction_deg)
    across = x * np.cos(turn) - y * np.sin(turn)
    along = x * np.sin(turn) + y * np.cos(turn)
    away = np.hypot(across, z)
    chosen = away > 0.3 * np.hypot(away, along)
    angle = np.rad2deg(np.arctan2(z[chosen], across[chosen]))
    angle = (angle + 90) % 180 - 90  # a plane and its mirror image are one
    bins = np.arange(-90, 90 + ANGLE_STEP_DEG, ANGLE_STEP_DEG)
    sums, _ = np.histogram(angle, bins, weights=relative[chosen])
    counts, _ = np.histogram(angle, bins)
    return (bins[:-1] + bins[1:]) / 2, sums / np.maximum(counts, 1), counts


def _smoothed(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """A running mean over 9 degrees, round the circle."""
    width = 9
    padded = np.concatenate([profile[-width:], profile, profile[:width]])
    return np.convolve(padded, np.ones(width) / width, mode="same")[width:-width]


def _edges(angles: NDArray, profile: NDArray) -> tuple[float, float, float]:
    """First and last angle of the filled part, and the emptiness of the rest."""
    smooth = _smoothed(profile)
    middle = int(smooth.argmin())
    empty = float(smooth[middle])
    turned = np.roll(profile, len(profile) // 2 - middle)  # the wedge in the middle
    steps = np.arange(len(profile)) - len(profile) // 2
    filled = float(np.median(turned[np.abs(steps) > 45]))
    between = np.sqrt(max(empty, FLOOR * filled) * filled)
    above = turned > between
    right = next((s for s in steps if s > 0 and above[s + len(profile) // 2]), 90)
    left = next((s for s in steps[::-1] if s < 0 and above[s + len(profile) // 2]), -90)
    centre = float(angles[middle])
    last = centre + left + ANGLE_STEP_DEG / 2
    first = centre + right - ANGLE_STEP_DEG / 2 - 180
    while first < -90:
        first, last = first + 180, last + 180
    if last > 90:
        last -= 180
    return float(first), float(last), empty / max(filled, 1e-12)
