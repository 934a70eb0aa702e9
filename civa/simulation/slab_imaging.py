"""How a slab becomes a tomogram: tilt series, CTF by strips, dose, detector, back-projection.

The slab is wider than a box, so that defocus changes across a tilted image and every particle has
its own; the images are counted electrons.  Axes and conventions are those of
`civa.simulation.tilt_series`: the tilt axis is y, and u = x cos t + z sin t.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from civa.optics import (
    CTF_MULTIPLIED,
    PHASE_FLIPPED,
    RAW,
    Microscope,
    contrast_transfer,
    electron_wavelength_angstrom,
)
from civa.simulation.tilt_series import ramp

Volume = NDArray[np.float32]
Images = NDArray[np.float32]

STATES = (RAW, PHASE_FLIPPED, CTF_MULTIPLIED)
VOLTS = 47.878  # V Å^2, h^2 / (2 pi m e): potential of a scattering length of 1 Å per Å^3
# Share of a protein's potential that is left beside the ice that it displaces: 6.5 V of protein
# (4.8 V in templates, which have no hydrogens), less 4.5 V of ice (Vulovic et al., 2013).
CONTRAST_WITH_ICE = 0.4
ELECTRON_REST_KEV = 510.99895
# Critical exposure in e/Å^2 at a spatial frequency k in 1/Å, a k^b + c (Grant & Grigorieff, 2015).
CRITICAL_EXPOSURE = (0.245, -1.665, 2.81)
ROWS = 64  # along the tilt axis that are worked on at a time


@dataclass(frozen=True)
class Acquisition:
    """How a slab is imaged.

    Attributes
    ----------
    tilts_deg
        First and last tilt, and the step.
    exposure
        Electrons per Å^2 and tilt.
    defocus_um
        Of the tilt axis.
    strip_um
        Across a strip of an image, which has one CTF, the defocus changes by less than this.
    shift_voxels, turn_deg
        Standard deviation of what the alignment of tilts leaves: shifts along each axis, and turns.
    mean_free_path_angstrom
        Of inelastic scattering; electrons that lost energy are filtered out.
    """

    tilts_deg: tuple[float, float, float] = (-60.0, 60.0, 3.0)
    exposure: float = 3.0
    defocus_um: float = 4.0
    strip_um: float = 0.05
    shift_voxels: float = 0.6
    turn_deg: float = 0.2
    mean_free_path_angstrom: float = 3100.0
    microscope: Microscope = field(default_factory=Microscope)

    @property
    def angles_deg(self) -> NDArray[np.float64]:
        """Every tilt (t,)."""
        first, last, step = self.tilts_deg
        count = int(np.floor((last - first) / step + 1e-6)) + 1
        return np.asarray(first + step * np.arange(count))

    def exposures(self) -> NDArray[np.float64]:
        """Exposure (t,) before the middle of every tilt, e/Å^2: small tilts come first."""
        order = np.argsort(np.abs(self.angles_deg), kind="stable")
        before = np.empty(len(order))
        before[order] = (np.arange(len(order)) + 0.5) * self.exposure
        return before


class SlabImaging:
    """Exact projection and weighted back-projection of a slab about the y axis.

    Parameters
    ----------
    shape
        (d, h, w) of the slab in voxels, h and w even.
    voxel_size_angstrom
        Edge of a voxel.
    """

    def __init__(
        self, shape: tuple[int, int, int], voxel_size_angstrom: float, acquisition: Acquisition
    ) -> None:
        self.shape, self.voxel, self.acquisition = shape, voxel_size_angstrom, acquisition
        depth, self.height, width = shape
        across = int(np.ceil(np.hypot(depth, width)))
        self.width = across + across % 2  # of an image, u: what leaves it would come in elsewhere
        self.frequencies = np.arange(self.width // 2) / self.width  # (f,), without the Nyquist term
        self._x, self._z = np.arange(width) - width // 2, np.arange(depth) - depth // 2

    def images(
        self, potential: Volume, generator: np.random.Generator
    ) -> Iterator[tuple[Images, float]]:
        """Yield the image (u, h) of every tilt, electrons over their mean, less 1; and its angle.

        Parameters
        ----------
        potential
            (d, h, w) scattering length per volume, Å / Å^3.
        """
        phases = self._phase_shift(potential)
        angles, before = np.deg2rad(self.acquisition.angles_deg), self.acquisition.exposures()
        for angle, exposure in zip(angles, before, strict=True):
            projected = self._project(phases, angle)
            damaged = self._damage(self._misalign(projected, generator), exposure)
            contrast = -2 * self._by_strips(damaged, angle, np.asarray)
            yield self._count(contrast, angle, generator), float(angle)

    def corrected(self, image: Images, angle_rad: float, state: str) -> Images:
        """Do to an image (u, h) what a state of the contrast transfer says, strip by strip.

        Raises
        ------
        ValueError
            If the state is none of `STATES`.
        """
        if state not in STATES:
            raise ValueError(f"the state must be one of {STATES} (got '{state}')")
        if state == RAW:
            return image
        factor = np.sign if state == PHASE_FLIPPED else np.asarray
        return self._by_strips(image, angle_rad, factor)

    def reconstruct(self, images: Sequence[Images]) -> Volume:
        """Back-project images (u, h): (d, h, w).

        Each is weighted by the area that its coefficients stand for, and filtered by its exposure,
        as most programs do (Grant & Grigorieff, 2015).
        """
        angles = np.deg2rad(self.acquisition.angles_deg)
        pairs = zip(images, self.acquisition.exposures(), strict=True)
        spectra = [self._weighted(self._damage(image, exposure)) for image, exposure in pairs]
        volume = np.empty(self.shape, dtype=np.float32)
        for rows in self._row_blocks():
            total = np.zeros((len(self._x), len(self._z) * (rows.stop - rows.start)), np.float32)
            for angle, spectrum in zip(angles, spectra, strict=True):
                total += self._smear(spectrum[:, rows], angle)
            block = total.reshape(len(self._x), len(self._z), -1)  # (w, d, r)
            volume[:, rows] = block.transpose(1, 2, 0)
        return volume

    def _phase_shift(self, potential: Volume) -> Volume:
        """Phase (d, h, w) in radians that each voxel adds to an electron's wave, beside ice."""
        energy = self.acquisition.microscope.voltage_kv
        wavelength = electron_wavelength_angstrom(energy)
        relativistic = (ELECTRON_REST_KEV + energy) / (2 * ELECTRON_REST_KEV + energy)
        per_volt = 2 * np.pi * relativistic / (wavelength * 1e3 * energy)  # rad per V and Å
        scale = per_volt * CONTRAST_WITH_ICE * VOLTS * self.voxel
        return (scale * potential).astype(np.float32)

    def _row_blocks(self) -> list[slice]:
        return [slice(a, min(a + ROWS, self.height)) for a in range(0, self.height, ROWS)]

    def _waves(self, angle: float) -> tuple[NDArray[np.float32], NDArray[np.complex64]]:
        """Cosines and sines (2 f, w) along x, and phases (f, d) along z, of one tilt."""
        along_x = 2 * np.pi * np.outer(self.frequencies, self._x) * np.cos(angle)
        along_z = 2 * np.pi * np.outer(self.frequencies, self._z) * np.sin(angle)
        waves = np.concatenate([np.cos(along_x), np.sin(along_x)]).astype(np.float32)
        return waves, np.exp(-1j * along_z).astype(np.complex64)

    def _project(self, volume: Volume, angle: float) -> Images:
        """Project a volume (d, h, w): the sums (u, h) along the beam."""
        waves, turns = self._waves(angle)
        count, depth = turns.shape
        spectrum = np.empty((count, self.height), dtype=np.complex64)
        for rows in self._row_blocks():
            columns = volume[:, rows].transpose(2, 0, 1).reshape(len(self._x), -1)  # (w, d r)
            cosine, sine = (waves @ columns).reshape(2, count, depth, -1)  # (f, d, r) each
            spectrum[:, rows] = np.matmul(turns[:, None, :], cosine - 1j * sine)[:, 0]
        return self._to_image(spectrum)

    def _smear(self, spectrum: NDArray[np.complex64], angle: float) -> NDArray[np.float32]:
        """Back-project a spectrum (f, r) of one tilt: (w, d r)."""
        waves, turns = self._waves(angle)
        spread = spectrum[:, None, :] * turns.conj()[:, :, None]  # (f, d, r)
        flat = spread.reshape(len(spectrum), -1)
        return waves.T @ np.concatenate([flat.real, -flat.imag])

    def _to_image(self, spectrum: NDArray[np.complex64]) -> Images:
        """Turn coefficients (f, h) along u into an image (u, h), u = 0 at its middle."""
        image = np.fft.irfft(spectrum, n=self.width, axis=0)
        return np.fft.fftshift(image, axes=0).astype(np.float32)

    def _weighted(self, image: Images) -> NDArray[np.complex64]:
        """Coefficients (f, h) of an image (u, h), weighted for back-projection."""
        spectrum = np.fft.rfft(np.fft.ifftshift(image, axes=0), axis=0)[: len(self.frequencies)]
        weight = ramp(self.width, np.deg2rad(self.acquisition.tilts_deg[2]))
        return (spectrum * weight[:, None]).astype(np.complex64)

    @functools.cached_property
    def _frequency(self) -> NDArray[np.float64]:
        """Spatial frequency (u, h / 2 + 1) of an image's coefficients, 1/Å."""
        along_u, along_y = np.fft.fftfreq(self.width), np.fft.rfftfreq(self.height)
        return np.asarray(np.hypot(along_u[:, None], along_y[None, :]) / self.voxel)

    def _by_strips(
        self, image: Images, angle: float, factor: Callable[[NDArray], NDArray]
    ) -> Images:
        """Multiply the spectrum of an image (u, h) by a function of the CTF of each of its strips.

        Where the slab is tilted, what lies at u is u tan t higher than the axis.
        """
        acquisition = self.acquisition
        height_um = 1e-4 * self.voxel * np.tan(angle)  # per voxel along u
        count = max(1, int(np.ceil(abs(height_um) * self.width / acquisition.strip_um)))
        spectrum, frequency = np.fft.rfft2(image), self._frequency
        done = np.empty_like(image)
        for strip in np.array_split(np.arange(self.width), count):
            middle = strip.mean() - self.width // 2
            transfer = contrast_transfer(
                frequency,
                defocus_um=acquisition.defocus_um + middle * height_um,
                microscope=acquisition.microscope,
            )
            done[strip] = np.fft.irfft2(spectrum * factor(transfer), s=image.shape)[strip]
        return done

    def _misalign(self, image: Images, generator: np.random.Generator) -> Images:
        """Shift and turn an image (u, h) by what alignment leaves."""
        acquisition = self.acquisition
        turn = np.deg2rad(generator.normal(scale=acquisition.turn_deg))
        shift = generator.normal(scale=acquisition.shift_voxels, size=2)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.array(image.shape) // 2
        return ndimage.affine_transform(
            image, matrix, offset=middle - matrix @ (middle + shift), order=3, mode="nearest"
        )

    def _damage(self, image: Images, exposure: float) -> Images:
        """Weaken an image (u, h) as much as an exposure in e/Å^2 does."""
        a, b, c = CRITICAL_EXPOSURE
        frequency = np.maximum(self._frequency, 1e-6)  # at 0 nothing is lost
        left = np.exp(-exposure / (2 * (a * frequency**b + c)))
        return np.fft.irfft2(np.fft.rfft2(image) * left, s=image.shape).astype(np.float32)

    def _count(self, contrast: Images, angle: float, generator: np.random.Generator) -> Images:
        """Count electrons behind a slab that is thicker the more it is tilted."""
        acquisition, (depth, _, _) = self.acquisition, self.shape
        path = depth * self.voxel / np.cos(angle)
        mean = (
            acquisition.exposure
            * self.voxel**2
            * np.exp(-path / acquisition.mean_free_path_angstrom)
        )
        counted = generator.poisson(mean * np.clip(1 + contrast, 0, None))
        return (counted / mean - 1).astype(np.float32)
