"""The microscope: electron wavelength, contrast transfer, tilts and the wedge that they miss.

Simulation and alignment both use them.  Frequencies are in cycles per voxel unless a name says
otherwise.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# States of the contrast transfer in a tomogram -> what is left of it.
RAW, PHASE_FLIPPED, CTF_MULTIPLIED = "raw", "phase-flipped", "ctf-multiplied"
TRANSFERS: dict[str, Callable[[NDArray], NDArray]] = {
    RAW: np.asarray,
    PHASE_FLIPPED: np.abs,
    CTF_MULTIPLIED: np.square,
    "deconvolved": np.ones_like,
}
STATES = tuple(TRANSFERS)


@dataclass(frozen=True)
class Microscope:
    """What the contrast transfer function needs to know of the instrument."""

    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.07


@dataclass(frozen=True)
class TiltRange:
    """The tilts of a tomogram.

    Attributes
    ----------
    first_deg, last_deg
        From -90 to 90; a tilt turns the specimen's x axis towards z where the axis is y.
    axis_deg
        Direction of the tilt axis in the xy plane, from y towards x.
    """

    first_deg: float = -60.0
    last_deg: float = 60.0
    axis_deg: float = 0.0


def electron_wavelength_angstrom(voltage_kv: float) -> float:
    """Return the relativistic de Broglie wavelength; 0.0197 Å at 300 kV."""
    volts = 1e3 * voltage_kv
    return 12.2643 / np.sqrt(volts + 0.978466e-6 * volts**2)


def contrast_transfer(
    frequency_per_angstrom: NDArray, *, defocus_um: float, microscope: Microscope
) -> NDArray:
    """Contrast transfer function, signed so that protein comes out bright.

    Parameters
    ----------
    frequency_per_angstrom
        Spatial frequency, any shape.
    defocus_um
        Underfocus is positive.
    microscope
        Voltage, spherical aberration and amplitude contrast.

    Returns
    -------
    Transfer, same shape, in [-1, 1]; +amplitude contrast at frequency 0.
    """
    wavelength = electron_wavelength_angstrom(microscope.voltage_kv)
    squared = np.square(frequency_per_angstrom)
    defocus, aberration = 1e4 * defocus_um, 1e7 * microscope.spherical_aberration_mm
    phase = np.pi * wavelength * squared * (defocus - 0.5 * aberration * wavelength**2 * squared)
    amplitude = microscope.amplitude_contrast
    return np.sqrt(1 - amplitude**2) * np.sin(phase) + amplitude * np.cos(phase)


def transfer_in(state: str, transfer: NDArray) -> NDArray:
    """Return what is left of a contrast transfer in a tomogram of a state.

    Raw data carry it as it is, phase-flipped data its magnitude; CTF-multiplied data carry its
    square, and deconvolved data next to none.
    """
    return TRANSFERS[state](transfer)


@functools.lru_cache(maxsize=256)  # asked for whenever spectra are made, a tomogram's each time
def missing_wedge(size: int, tilts: TiltRange) -> NDArray[np.bool_]:
    """Return which Fourier voxels a tilt series reaches, (d, h, w), FFT order.

    Every projection fills the plane across its beam (the projection-slice theorem): all planes hold
    the tilt axis, and lie between those of the first and the last tilt.
    """
    frequency = np.fft.fftfreq(size)
    kz, ky, kx = frequency[:, None, None], frequency[None, :, None], frequency[None, None, :]
    axis = np.deg2rad(tilts.axis_deg)
    across = kx * np.cos(axis) - ky * np.sin(axis)  # (1, h, w)
    height = np.where(across < 0, -kz, kz)  # of the one of two Friedel mates that lies beside x
    across = np.abs(across)
    first, last = np.deg2rad(tilts.first_deg), np.deg2rad(tilts.last_deg)
    below = height * np.cos(last) <= across * np.sin(last) + 1e-9
    above = height * np.cos(first) >= across * np.sin(first) - 1e-9
    reached = np.broadcast_to(below & above, (size,) * 3)
    reached.flags.writeable = False  # of all who ask
    return reached
