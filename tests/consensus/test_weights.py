"""Weights of Fourier voxels: transfer and noise of tomograms, found from boxes and an average."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from civa.consensus.fourier import window_for
from civa.consensus.map_back import map_back
from civa.consensus.poses import to_matrices
from civa.consensus.reconstruction import fourier_shells
from civa.consensus.subtomograms import (
    Aligned,
    FourierWeights,
    Imaging,
    Optics,
    Setup,
    Subtomograms,
)
from civa.consensus.weights import measure_weights, read_weights, weight_groups, write_weights
from civa.data.imaging import Acquisition
from civa.optics import TiltRange

EDGE, COUNT = 24, 120
CPU = torch.device("cpu")
SETUP = Setup(Optics(10.0, (Acquisition(TiltRange(-90, 90)),)), window_for(EDGE), CPU)


def density() -> NDArray:
    """Something without symmetry, (e, e, e)."""
    generator = np.random.default_rng(5)
    blobs = np.zeros((EDGE,) * 3)
    blobs[tuple(generator.integers(9, 16, size=(3, 14)))] = 1
    return (25 * ndimage.gaussian_filter(blobs, 1.0)).astype(np.float32)


def along_tilt() -> NDArray:
    """cos^2 of the angle between a frequency and the x axis, (e, e, e), FFT order."""
    steps = np.fft.fftfreq(EDGE)
    z, _, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return x**2 / np.maximum(x**2 + z**2, 1e-9)


def imaged(transfer: NDArray, noise: NDArray, seed: int, count: int = COUNT) -> Aligned:
    """Boxes of the density at random angles, as a tomogram with such weights holds them."""
    turns = to_matrices(Rotation.random(count, random_state=seed))
    middle = np.full((count, 3), EDGE // 2)
    bodies = map_back(density(), turns, middle, (EDGE,) * 3, device=CPU).astype(np.float64)
    generator = np.random.default_rng(seed)
    white = generator.standard_normal(bodies.shape)
    axes = (1, 2, 3)
    spectra = np.fft.fftn(bodies, axes=axes) * transfer
    spectra += np.fft.fftn(white, axes=axes) * np.sqrt(noise)
    boxes = np.fft.ifftn(spectra, axes=axes).real.astype(np.float32)
    imaging = Imaging(np.zeros(count, np.int64), group=np.zeros(count, np.int64))
    some = Subtomograms(boxes, np.arange(count), middle.astype(float), imaging)
    return Aligned(some, torch.from_numpy(turns).float())


def per_shell(values: NDArray) -> NDArray:
    """Divide by the mean of every shell."""
    shells = fourier_shells(EDGE)
    sizes = np.bincount(shells.ravel())
    return values / (np.bincount(shells.ravel(), values.ravel()) / sizes)[shells]


def test_transfer_and_noise_are_found() -> None:
    transfer = 0.4 + along_tilt()
    noise = 0.5 + 1.5 * along_tilt()
    found = measure_weights({1: imaged(transfer, noise, 1)}, density()[None], SETUP, 1)
    inside = (fourier_shells(EDGE) > 2) & (fourier_shells(EDGE) < 8)
    assert found.transfer.shape == found.noise.shape == (1, EDGE, EDGE, EDGE)
    expected = per_shell(transfer)[inside]
    assert np.corrcoef(found.transfer[0][inside], expected)[0, 1] > 0.9
    assert np.abs(found.transfer[0][inside] / expected - 1).mean() < 0.2
    # Under the window, white noise of variance 1 has the power of the window's squares.
    level = found.noise[0][inside] / np.square(SETUP.window).sum()
    assert np.abs(level / noise[inside] - 1).mean() < 0.25  # smoothing rounds off its kink


def test_without_signal_the_transfer_is_that_of_a_shell() -> None:
    nothing = imaged(np.zeros((EDGE,) * 3), np.ones((EDGE,) * 3), 2)
    found = measure_weights({1: nothing}, 1e-3 * density()[None], SETUP, 1)
    inside = (fourier_shells(EDGE) > 0) & (fourier_shells(EDGE) < EDGE // 2)
    assert np.abs(found.transfer[0][inside] - 1).max() < 0.1


def test_weights_fit_what_they_were_measured_on_and_not_another_tomogram() -> None:
    transfer = 0.2 + 1.2 * along_tilt()
    ones = np.ones((EDGE,) * 3)
    found = [
        measure_weights({1: imaged(kind, ones, seed)}, density()[None], SETUP, 1)
        for kind, seed in ((transfer, 3), (transfer.swapaxes(0, 2), 4))
    ]
    inside = (fourier_shells(EDGE) > 2) & (fourier_shells(EDGE) < 8)
    first, second = (one.transfer[0][inside] for one in found)
    wanted = per_shell(transfer)[inside]
    assert np.corrcoef(first, wanted)[0, 1] > 0.9
    assert np.corrcoef(second, wanted)[0, 1] < 0


def test_small_tomograms_share_their_weights() -> None:
    tomogram = np.repeat([0, 1, 2, 3], [40, 5, 35, 7])
    acquisition = np.repeat([0, 0, 1, 1], [40, 5, 35, 7])
    groups = weight_groups(tomogram, acquisition)
    assert [np.unique(groups[tomogram == t]).tolist() for t in range(4)] == [[0], [2], [1], [3]]
    pooled = weight_groups(tomogram, np.zeros(len(tomogram), np.int64))
    assert pooled[tomogram == 1][0] == pooled[tomogram == 3][0]
    assert weight_groups(None, acquisition).tolist() == acquisition.tolist()


def test_weights_come_back_from_disk(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weights = FourierWeights(*generator.uniform(size=(2, 3, 8, 8, 8)).astype(np.float32))
    paths = (tmp_path / "transfer.mrcs", tmp_path / "noise.mrcs")
    write_weights(*paths, weights, voxel_size_angstrom=10.0)
    imaging = Imaging(np.zeros(5, np.int64), group=np.array([0, 1, 2, 1, 0]))
    back = read_weights(paths, imaging)
    assert back is not None
    assert (back.transfer == weights.transfer).all()
    assert (back.noise == weights.noise).all()
    assert read_weights((), imaging) is None
    fewer = Imaging(np.zeros(2, np.int64), group=np.array([0, 1]))
    with pytest.raises(ValueError, match="expected transfer and noise of 2 groups"):
        read_weights(paths, fewer)
