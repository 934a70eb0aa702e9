"""The microscope: electron wavelength, contrast transfer, missing wedge.

Simulation and alignment both use them.  Frequencies are in cycles per voxel unless a name says
otherwise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Microscope:
    """What the contrast transfer function needs to know of the instrument."""

    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.07


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


def missing_wedge(size: int, max_tilt_deg: float) -> NDArray[np.bool_]:
    """Return which Fourier voxels a tilt series about y reaches, (d, h, w), FFT order."""
    frequency = np.fft.fftfreq(size)
    kz, kx = np.abs(frequency)[:, None, None], np.abs(frequency)[None, None, :]
    tilt = np.deg2rad(max_tilt_deg)
    reached = kz * np.cos(tilt) <= kx * np.sin(tilt) + 1e-9
    return np.broadcast_to(reached, (size,) * 3)
