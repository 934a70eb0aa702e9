"""How a specimen becomes a sub-tomogram (Sec. 5.1): tilt series, CTF, back-projection.

The Fourier-slice theorem is evaluated exactly: a projection's coefficients are sums over
voxels, so no interpolation blurs the specimen or leaks into the missing wedge.  The tilt
axis is y; a projection at tilt t has the in-plane axis u = x cos t + z sin t.  Frequencies
are in cycles per voxel unless a name says otherwise; grid centres are at index n // 2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from civa.optics import Microscope, TiltRange, contrast_transfer, missing_wedge

Volume = NDArray[np.float32]


class TiltSeries:
    """Exact projection and weighted back-projection of a cubic box about the y axis.

    Parameters
    ----------
    size
        Edge of the simulated box in voxels, even.
    tilt_angles_deg
        Tilt of every projection.
    crop
        Edge of the reconstructed box in voxels, cut from the centre; default ``size``.

    Notes
    -----
    The specimen is a cylinder of diameter ``size`` around the tilt axis: what lies in the
    corners of the box would leave the projections when the stage is tilted.
    """

    def __init__(self, size: int, tilt_angles_deg: Sequence[float], *, crop: int | None = None):
        if size % 2:
            raise ValueError(f"the simulated box must have an even edge (got {size})")
        self.size, self.crop = size, crop or size
        angles = np.deg2rad(np.asarray(tilt_angles_deg, dtype=float))
        frequencies = np.arange(size // 2) / size  # (f,) the Nyquist term is left out
        self._inside, forward = self._sampling(size, angles, frequencies, cylinder=True)
        _, backward = self._sampling(self.crop, angles, frequencies, cylinder=False)
        self._project = forward.astype(np.float32)  # (2 t f, p)
        self._back_project = (_ramp(angles, size)[:, None] * backward).astype(np.float32).T
        self.shape = (len(angles), len(frequencies))

    @staticmethod
    def _sampling(
        size: int, angles: NDArray, frequencies: NDArray, *, cylinder: bool
    ) -> tuple[NDArray[np.bool_], NDArray]:
        """Return the (z, x) voxels used and the cosine and sine rows, (2 t f, p)."""
        z, x = np.indices((size, size)) - size // 2
        inside = np.hypot(z, x) < size / 2 if cylinder else np.ones_like(z, dtype=bool)
        u = np.outer(np.cos(angles), x[inside]) + np.outer(np.sin(angles), z[inside])  # (t, p)
        phase = 2 * np.pi * frequencies[None, :, None] * u[:, None, :]  # (t, f, p)
        rows = np.stack([np.cos(phase), -np.sin(phase)])  # (2, t, f, p): real, imaginary
        return inside, rows.reshape(-1, rows.shape[-1])

    def project(self, volume: Volume) -> NDArray[np.complex64]:
        """Project a volume (d, h, w): coefficients (t, f, h) along u, real space along y."""
        columns = volume.transpose(0, 2, 1)[self._inside]  # (p, h)
        real, imaginary = (self._project @ columns).reshape(2, *self.shape, -1)
        return real + 1j * imaginary

    def transfer(
        self, projections: NDArray, *, defocus_um: float, microscope: Microscope, voxel: float
    ) -> NDArray[np.complex64]:
        """Apply the CTF to projections (t, f, h); ``voxel`` is the voxel size in ångström."""
        along_u = np.arange(self.shape[1]) / self.size
        along_y = np.fft.fftfreq(self.size)
        frequency = np.hypot(along_u[:, None], along_y[None, :]) / voxel  # (f, h)
        factor = contrast_transfer(frequency, defocus_um=defocus_um, microscope=microscope)
        spectrum = np.fft.fft(projections, axis=-1) * factor
        return np.fft.ifft(spectrum, axis=-1).astype(np.complex64)

    def white_noise(self, generator: np.random.Generator) -> NDArray[np.complex64]:
        """Draw the projections (t, f, h) of detector noise, unit variance per pixel."""
        pixels = generator.standard_normal(
            (self.shape[0], self.size, self.size), dtype=np.float32
        )  # (t, u, h)
        return np.fft.rfft(pixels, axis=1)[:, : self.shape[1]].astype(np.complex64)

    def reconstruct(self, projections: NDArray[np.complex64]) -> Volume:
        """Weighted back-projection (t, f, h) -> (crop, crop, crop), in the specimen's scale."""
        start = self.size // 2 - self.crop // 2
        rows = projections[..., start : start + self.crop]
        stacked = np.concatenate([rows.real, rows.imag]).reshape(-1, self.crop)  # (2 t f, h)
        plane = self._back_project @ stacked  # (p, h)
        return plane.reshape(self.crop, self.crop, self.crop).transpose(0, 2, 1)


def _ramp(angles: NDArray, size: int) -> NDArray:
    """Weight of every coefficient, (2 t f,); see `ramp`."""
    step = np.pi / size if len(angles) < 2 else np.ptp(angles) / (len(angles) - 1)
    return np.tile(ramp(size, step), 2 * len(angles))


def ramp(size: int, step_rad: float) -> NDArray[np.float64]:
    """Weight (f,) of the coefficients of a projection: the area they stand for in Fourier space.

    Parameters
    ----------
    size
        Edge of the projection in voxels.
    step_rad
        Angle between projections.
    """
    radius = np.arange(size // 2, dtype=float)
    radius[0] = 0.125  # the central disc, shared by all projections; halved as it has no twin
    return 2 * step_rad * radius / size**2  # twice: the half with negative frequencies


def convolve_transfer(
    volume: Volume, *, defocus_um: float, max_tilt_deg: float, microscope: Microscope, voxel: float
) -> Volume:
    """One-step image model: a 3-D CTF inside the wedge, applied by convolution (Sec. 5.1)."""
    (size, _, _) = volume.shape
    along = np.fft.fftfreq(size) / voxel
    frequency = np.sqrt(sum(np.square(g) for g in np.meshgrid(along, along, along, sparse=True)))
    factor = contrast_transfer(frequency, defocus_um=defocus_um, microscope=microscope)
    factor = factor * missing_wedge(size, TiltRange(-max_tilt_deg, max_tilt_deg))
    return np.fft.ifftn(np.fft.fftn(volume) * factor).real.astype(np.float32)


def add_noise(signal: Volume, noise: Volume, snr: float) -> tuple[Volume, float]:
    """Scale noise to the asked SNR = var(signal) / var(noise) over the box, and add it.

    Returns
    -------
    The noisy volume and the SNR measured in it.

    Raises
    ------
    ValueError
        If the SNR is not positive.
    """
    if not 0 < snr < np.inf:
        raise ValueError(f"SNR must be positive (got {snr}): the paper uses 0.03 and 0.05")
    noise = noise * np.sqrt(signal.var(dtype=np.float64) / (snr * noise.var(dtype=np.float64)))
    noisy = (signal + noise).astype(np.float32)
    residual = (noisy - signal).var(dtype=np.float64)
    return noisy, float(signal.var(dtype=np.float64) / residual)
