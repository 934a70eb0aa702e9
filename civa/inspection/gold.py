"""What beads of gold tell of the contrast transfer in a tomogram.

A bead is a sphere, so that the phases of its transform are known: where the contrast transfer is
negative, a raw tomogram shows them reversed, and one whose phases were flipped does not.  Particles
cannot tell it, since the signs of their transforms are those of their shapes.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from civa.optics import (
    CTF_MULTIPLIED,
    PHASE_FLIPPED,
    RAW,
    TRANSFERS,
    Microscope,
    TiltRange,
    contrast_transfer,
    missing_wedge,
)
from civa.tomograms.tomogram import Tomogram

BLOCK = 96  # voxels of a tomogram along an edge that are looked at together
NEAR_ANGSTROM, FAR_ANGSTROM = 15.0, 80.0  # widths of the filters between which a bead stands out
APART_ANGSTROM = 100.0  # of beads; one that overflowed is flat, and has several tops
MARGIN = 3.0  # around a block, in widths of the wider filter
LEAST_PEAK = 12.0  # robust deviations: protein reaches 9 in crowded simulated slabs, gold 17 to 27
ALIKE = 0.6  # share of the highest peak that other beads reach
FEWEST, MOST = 2, 30  # beads
BOX_ANGSTROM = 320.0
CORE_ANGSTROM = 65.0  # half of the cube whose centre of mass is a bead's centre
RADII_ANGSTROM = np.arange(25.0, 86.0, 2.5)
DEFOCI_UM = np.arange(1.5, 9.05, 0.1)
BLURS_ANGSTROM = (0.0, 4.0, 6.0, 8.0, 10.0, 12.0)  # of tilts that are not quite aligned
OVERFLOWN = 8  # voxels at the very same extreme of a box: they overflowed
FILLS = 6  # times that a fit says what they hold; it changes no more after 4
MODELLED = (RAW, PHASE_FLIPPED, CTF_MULTIPLIED)
# How much worse the second state has to fit, shells times the logarithm of the ratio of both
# misfits, to be told: 3.5 is a ratio of likelihoods of 33, as 0.97 is of probabilities.
TELLING = 3.5
# Spheres leave 1.1 to 2.3 in simulated slabs, 1.6 to 4.7 where half of a bead has overflowed.
LARGEST_MISFIT = 5.0


@dataclass(frozen=True)
class GoldEvidence:
    """What the beads of a tomogram tell.

    Attributes
    ----------
    beads
        How many there are.
    state
        The state of the contrast transfer that fits best.
    misfit
        Squares of what the best fit leaves, over their errors', mean of all shells.
    margin
        Shells times the logarithm of the ratio of misfits, second state over first.
    radius_angstrom, defocus_um
        Of the best fit.
    """

    beads: int
    state: str
    misfit: float
    margin: float
    radius_angstrom: float
    defocus_um: float

    @property
    def is_told(self) -> bool:
        """Whether the state is told: a sphere fits, and under one state better than others."""
        return self.margin >= TELLING and self.misfit <= LARGEST_MISFIT


def state_from_gold(tomogram: Tomogram, tilts: TiltRange) -> GoldEvidence | None:
    """Tell the state of the contrast transfer from beads of gold.

    Parameters
    ----------
    tilts
        Of the tomogram.

    Returns
    -------
    None where there are fewer than two beads.
    """
    voxel = tomogram.voxel_size_angstrom
    edge = round(BOX_ANGSTROM / voxel / 2) * 2
    if edge < 16:
        return None  # voxels are too large for any zero
    boxes = [_Bead.of(box, voxel) for box in _beads(tomogram, edge)]
    if len(boxes) < FEWEST:
        return None
    fits = {state: _fitted(boxes, state, voxel, tilts) for state in MODELLED}
    (state, first), (_, second) = sorted(fits.items(), key=lambda pair: pair[1].misfit)[:2]
    shells = edge // 2 - 1
    margin = shells * float(np.log(second.misfit / first.misfit))
    return GoldEvidence(
        beads=len(boxes),
        state=state,
        misfit=first.misfit / shells,
        margin=margin,
        radius_angstrom=first.radius_angstrom,
        defocus_um=first.defocus_um,
    )


def _beads(tomogram: Tomogram, edge: int) -> Iterator[NDArray[np.float32]]:
    """Yield boxes (n, n, n) around beads, which are bright in them."""
    peaks = sorted(_peaks(tomogram), reverse=True)
    if not peaks:
        return
    best = peaks[0][0]
    taken = [peak for peak in peaks if peak[0] >= ALIKE * best][:MOST]
    sign = np.sign(sum(one[2] for one in taken))  # all of them are dark, or bright
    shape = np.array(tomogram.shape)
    for _, at, dark in taken:
        corner = np.array(at) - edge // 2
        if dark == sign and (corner >= 0).all() and (corner + edge <= shape).all():
            yield -sign * tomogram.window(corner, corner + edge)


def _peaks(tomogram: Tomogram) -> list[tuple[float, tuple[int, int, int], int]]:
    """Find what stands out: height in robust deviations, place z, y, x, and whether it is dark."""
    voxel = tomogram.voxel_size_angstrom
    near, far = max(NEAR_ANGSTROM / voxel, 0.7), FAR_ANGSTROM / voxel
    shape, margin = np.array(tomogram.shape), int(np.ceil(MARGIN * far))
    found, spread = list[tuple[float, tuple[int, int, int], int]](), list[float]()
    for start in itertools.product(*(range(0, size, BLOCK) for size in shape)):
        low = np.maximum(np.array(start) - margin, 0)
        high = np.minimum(np.array(start) + BLOCK + margin, shape)
        window = tomogram.window(low, high)
        if np.ptp(window) == 0:
            continue
        smooth = ndimage.gaussian_filter(window, near) - ndimage.gaussian_filter(window, far)
        spread.append(1.4826 * float(np.median(np.abs(smooth - np.median(smooth)))))
        own = tuple(
            slice(s - a, min(s + BLOCK, size) - a)
            for s, a, size in zip(start, low, shape, strict=True)
        )
        size = 2 * int(np.ceil(APART_ANGSTROM / voxel)) + 1
        tops = np.abs(smooth) == ndimage.maximum_filter(np.abs(smooth), size)
        tops &= np.abs(smooth) > LEAST_PEAK / 2 * spread[-1]
        for at in np.argwhere(tops[own]):
            inside = tuple(at + [part.start for part in own])
            place = tuple(int(i) for i in np.array(inside) + low)
            height = float(smooth[inside])
            found.append((abs(height), (place[0], place[1], place[2]), 1 if height < 0 else -1))
    usual = float(np.median(spread)) if spread else 1.0
    return [
        (height / usual, place, dark)
        for height, place, dark in found
        if height / usual >= LEAST_PEAK
    ]


@dataclass(frozen=True)
class _Bead:
    """A bead of gold: its box (n, n, n), bright, its centre z, y, x, and which voxels overflowed.

    Programs store tomograms as bytes, where gold is often as dark as they can say: how dark it
    is there is not known.
    """

    box: NDArray[np.float64]
    centre: NDArray[np.float64]
    low: NDArray[np.bool_]
    high: NDArray[np.bool_]

    @classmethod
    def of(cls, box: NDArray[np.float32], voxel_size_angstrom: float) -> "_Bead":
        """Find the centre of a bead in the middle of a box, and what overflowed."""
        raised = (box - np.median(box)).astype(np.float64)
        half, core = len(box) // 2, int(np.ceil(CORE_ANGSTROM / voxel_size_angstrom))
        part = slice(half - core, half + core + 1)
        inner = ndimage.gaussian_filter(raised, 1)[part, part, part]
        solid = np.where(inner > 0.3 * inner.max(), inner, 0)
        centre = np.array(ndimage.center_of_mass(solid)) + half - core
        low, high = raised == raised.min(), raised == raised.max()
        return cls(
            raised,
            centre,
            low if low.sum() >= OVERFLOWN else np.zeros_like(low),
            high if high.sum() >= OVERFLOWN else np.zeros_like(high),
        )

    @property
    def is_free(self) -> NDArray[np.bool_]:
        """Which voxels (n, n, n) did not overflow."""
        return ~(self.low | self.high)

    def filled(self, model: NDArray[np.float64]) -> "_Bead":
        """Put what a model says where voxels overflowed, and it says no less."""
        box = np.where(self.high, np.maximum(model, self.box.max()), self.box)
        return replace(self, box=np.where(self.low, np.minimum(model, self.box.min()), box))


@dataclass(frozen=True)
class _Fit:
    """A sphere under a contrast transfer, fitted to a mean profile, and its misfit."""

    misfit: float
    scale: float
    radius_angstrom: float
    defocus_um: float
    blur_angstrom: float

    def transform(self, frequency: NDArray[np.float64], state: str) -> NDArray[np.float64]:
        """The bead's transform at spatial frequencies in 1/Å, about its centre."""
        transfer = contrast_transfer(frequency, defocus_um=self.defocus_um, microscope=Microscope())
        blur = np.exp(-((2 * np.pi * self.blur_angstrom * frequency) ** 2) / 2)
        sphere = _sphere(frequency, np.array([self.radius_angstrom]))[0]
        return np.asarray(self.scale * sphere * TRANSFERS[state](transfer) * blur)


def _fitted(beads: Sequence[_Bead], state: str, voxel: float, tilts: TiltRange) -> _Fit:
    """Fit a state, and let it say what overflowed voxels hold, until both agree."""
    edge = len(beads[0].box)
    overflowed = any(bead.low.any() or bead.high.any() for bead in beads)
    now = list(beads)
    fit = _fit(*_mean_profile(now, tilts), state, edge, voxel)
    for _ in range(FILLS if overflowed else 0):
        models = [_model(fit, state, bead.centre, edge, voxel, tilts) for bead in beads]
        # What did not overflow says how strong the whole is, at once: fits of filled boxes creep.
        pairs = [
            (model[bead.is_free], bead.box[bead.is_free])
            for model, bead in zip(models, beads, strict=True)
        ]
        strength = sum(float(m @ b) for m, b in pairs) / sum(float(m @ m) for m, _ in pairs)
        now = [
            bead.filled(max(strength, 0.0) * model)
            for model, bead in zip(models, beads, strict=True)
        ]
        fit = _fit(*_mean_profile(now, tilts), state, edge, voxel)
    return fit


def _model(
    fit: _Fit, state: str, centre: NDArray[np.float64], edge: int, voxel: float, tilts: TiltRange
) -> NDArray[np.float64]:
    """Draw a bead (n, n, n) as a fit has it, its middle at a centre z, y, x."""
    radius, shift = _grid(edge, centre)
    transform = fit.transform(radius / voxel, state) * missing_wedge(edge, tilts)
    transform[0, 0, 0] = 0
    return np.asarray(np.fft.ifftn(transform * np.exp(-2j * np.pi * shift)).real)


def _grid(
    edge: int, centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies (n, n, n), cycles per voxel, and turns of the phase of what lies at a centre."""
    along = np.fft.fftfreq(edge)
    grid = np.meshgrid(along, along, along, indexing="ij", sparse=True)
    radius = np.sqrt(sum(np.square(frequency) for frequency in grid))
    return radius, sum(frequency * c for frequency, c in zip(grid, centre, strict=True))


def _mean_profile(
    beads: Sequence[_Bead], tilts: TiltRange
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and error (shells,) of the transforms of beads about their centres."""
    profiles = np.stack([_profile(bead, tilts) for bead in beads])  # (m, 2, shells)
    error = np.sqrt(np.square(profiles[:, 1]).sum(axis=0)) / len(profiles)
    return profiles[:, 0].mean(axis=0), error


def _profile(bead: _Bead, tilts: TiltRange) -> NDArray[np.float64]:
    """Mean and error (2, shells) over each shell of the transform of a bead about its centre."""
    edge = len(bead.box)
    radius, shift = _grid(edge, bead.centre)
    real = (np.fft.fftn(bead.box) * np.exp(2j * np.pi * shift)).real
    shell = np.where(missing_wedge(edge, tilts), np.rint(radius * edge).astype(int), 0)
    rows = []
    for number in range(1, edge // 2 + 1):
        values = real[shell == number]
        error = values.std() / np.sqrt(max(len(values) / 2, 1))  # Friedel mates are one
        rows.append((values.mean(), max(error, 1e-12)))
    return np.array(rows).T


def _sphere(
    frequency: NDArray[np.float64], radii_angstrom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Transforms (r, ...) of spheres at spatial frequencies in 1/Å, 1 at 0."""
    phase = 2 * np.pi * np.multiply.outer(radii_angstrom, np.maximum(frequency, 1e-6))
    return np.asarray(3 * (np.sin(phase) - phase * np.cos(phase)) / phase**3)


def _fit(
    mean: NDArray[np.float64], error: NDArray[np.float64], state: str, edge: int, voxel: float
) -> _Fit:
    """Fit spheres under the contrast transfer of a state to a mean profile (shells,)."""
    frequency = np.arange(1, len(mean) + 1) / (edge * voxel)
    transfers = np.stack(
        [
            contrast_transfer(frequency, defocus_um=defocus, microscope=Microscope())
            for defocus in DEFOCI_UM
        ]
    )  # (d, shells)
    blurs = np.exp(-((2 * np.pi * np.outer(BLURS_ANGSTROM, frequency)) ** 2) / 2)  # (b, shells)
    spheres = _sphere(frequency, RADII_ANGSTROM)[:, None, None]  # (r, 1, 1, shells)
    models = spheres * TRANSFERS[state](transfers)[:, None] * blurs  # (r, d, b, shells)
    weight = 1 / error**2
    weight[0] = 0  # what varies that slowly is no bead's
    scale = (models * (weight * mean)).sum(axis=-1) / (models**2 * weight).sum(axis=-1)
    misfit = ((mean - scale[..., None] * models) ** 2 * weight).sum(axis=-1)
    misfit[scale <= 0] = np.inf
    best = np.unravel_index(int(misfit.argmin()), misfit.shape)
    r, d, b = best
    return _Fit(
        misfit=float(misfit[best]),
        scale=float(scale[best]),
        radius_angstrom=float(RADII_ANGSTROM[r]),
        defocus_um=float(DEFOCI_UM[d]),
        blur_angstrom=BLURS_ANGSTROM[b],
    )
