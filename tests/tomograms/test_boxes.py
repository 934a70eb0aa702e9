"""Boxes at sub-voxel positions and of other voxel sizes, against functions that are known."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from civa.data.volume import write_volume
from civa.tomograms.boxes import check_box, cut_box, cut_instance, interpolation_weights, lie_inside
from civa.tomograms.tomogram import Tomogram

VOXEL = 10.0


def opened(path: Path, volume: NDArray, voxel_size: float = VOXEL) -> Tomogram:
    write_volume(path, volume.astype(np.float32), voxel_size_angstrom=voxel_size)
    return Tomogram.open(path)


def noise(shape: tuple[int, ...], seed: int = 1) -> NDArray:
    return np.random.default_rng(seed).normal(size=shape)


def test_a_box_at_whole_voxels_is_a_copy(tmp_path: Path) -> None:
    volume = noise((40, 44, 48))
    box = cut_box(opened(tmp_path / "t.mrc", volume), np.array([18.0, 20, 23]), 16, VOXEL)
    # voxel n // 2 = 8 of the box lies at the centre
    np.testing.assert_allclose(box, volume[10:26, 12:28, 15:31], atol=1e-5)


@pytest.mark.parametrize("size", [15, 16])
def test_the_middle_voxel_lies_at_the_centre(tmp_path: Path, size: int) -> None:
    volume = np.zeros((48, 48, 48))
    volume[20, 24, 28] = 1
    box = cut_box(opened(tmp_path / "t.mrc", volume), np.array([20.0, 24, 28]), size, VOXEL)
    assert np.unravel_index(box.argmax(), box.shape) == (size // 2,) * 3


def waves(shape: tuple[int, int, int], frequencies: NDArray) -> NDArray:
    """A plane wave; frequencies z, y, x in cycles per voxel."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return np.cos(2 * np.pi * grid @ frequencies)


@pytest.mark.parametrize("frequency", [0.05, 0.2, 0.4])
def test_between_voxels_a_wave_goes_on(tmp_path: Path, frequency: float) -> None:
    frequencies = np.array([frequency, -frequency, frequency / 2])
    tomogram = opened(tmp_path / "t.mrc", waves((64, 64, 64), frequencies))
    centre = np.array([31.5, 30.25, 33.7])
    box = cut_box(tomogram, centre, 16, VOXEL)
    at = np.stack(np.meshgrid(*(centre[i] + np.arange(16) - 8 for i in range(3)), indexing="ij"))
    expected = np.cos(2 * np.pi * np.tensordot(frequencies, at, axes=1))
    assert np.abs(box - expected).max() < 0.02


@pytest.mark.parametrize("step", [1.7, 2.5, 0.6])
def test_other_voxel_sizes_keep_what_both_grids_hold(tmp_path: Path, step: float) -> None:
    frequencies = np.full(3, 0.3 / max(step, 1))  # 0.6 of the coarser grid's Nyquist frequency
    tomogram = opened(tmp_path / "t.mrc", waves((112, 112, 112), frequencies))
    centre = np.array([55.3, 56.0, 54.8])
    box = cut_box(tomogram, centre, 16, step * VOXEL)
    steps = (np.arange(16) - 8) * step
    at = np.stack(np.meshgrid(*(centre[i] + steps for i in range(3)), indexing="ij"))
    expected = np.cos(2 * np.pi * np.tensordot(frequencies, at, axes=1))
    assert np.abs(box - expected).max() < 0.02


def test_what_larger_voxels_cannot_hold_is_taken_out(tmp_path: Path) -> None:
    frequencies = np.array([0.33, 0, 0])  # 1.32 of the Nyquist frequency of voxels twice as large
    tomogram = opened(tmp_path / "t.mrc", waves((96, 96, 96), frequencies))
    box = cut_box(tomogram, np.array([48.0, 48, 48]), 16, 2 * VOXEL)
    assert np.abs(box).max() < 0.02  # without a filter it would be 1, as a wave of 0.34


def test_weights_add_up_to_one() -> None:
    weights = interpolation_weights(np.array([0.0, 3.3, 9.0]), 0, 10, step=1.4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_a_smooth_field_agrees_with_one_that_is_known_between_voxels(tmp_path: Path) -> None:
    fine = gaussian_filter(noise((96, 96, 96)), 6, mode="wrap")
    coarse = fine[::2, ::2, ::2]
    box = cut_box(opened(tmp_path / "t.mrc", coarse, 20.0), np.array([24.5, 24, 23.5]), 24, 10.0)
    expected = fine[37:61, 36:60, 35:59]
    assert np.abs(box - expected).max() < 0.02 * fine.std()


@pytest.mark.parametrize(
    ("centre", "inside"),
    [((8, 8, 8), True), ((7, 8, 8), False), ((31, 24, 24), True), ((31.6, 24, 24), False)],
)
def test_boxes_that_reach_beyond_the_tomogram_are_told(
    centre: tuple[float, ...], inside: bool
) -> None:
    assert lie_inside(np.array([centre]), (39, 40, 40), 16, 1.0).tolist() == [inside]


def test_larger_voxels_reach_farther() -> None:
    centres = np.array([[12.0, 20, 20], [16, 20, 20]])
    assert lie_inside(centres, (40, 40, 40), 16, 2.0).tolist() == [False, True]


def test_beyond_an_edge_its_voxels_go_on(tmp_path: Path) -> None:
    volume = np.ones((32, 32, 32)) * np.arange(32)[:, None, None]
    box = cut_box(opened(tmp_path / "t.mrc", volume), np.array([2.0, 16, 16]), 16, VOXEL)
    np.testing.assert_allclose(box[:, 8, 8], [0] * 6 + list(range(10)), atol=1e-4)


def test_a_box_does_not_depend_on_how_voxels_are_stored(tmp_path: Path) -> None:
    volume = np.rint(40 * noise((40, 40, 40))).clip(-127, 127)
    boxes = []
    for kind in (np.int8, np.int16, np.float32):
        with mrcfile.new(tmp_path / f"{kind.__name__}.mrc") as mrc:
            mrc.set_data(volume.astype(kind))
            mrc.voxel_size = VOXEL
        found = Tomogram.open(tmp_path / f"{kind.__name__}.mrc")
        boxes.append(cut_box(found, np.array([20.3, 20.1, 19.6]), 16, VOXEL))
    np.testing.assert_array_equal(boxes[0], boxes[1])
    np.testing.assert_array_equal(boxes[0], boxes[2])


def test_boxes_whose_own_voxels_are_all_alike_are_constant(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).normal(100, 1, size=(40, 60, 60)).astype(np.float32)
    volume[:, :, 30:] = 0.1
    write_volume(tmp_path / "t.mrc", volume, voxel_size_angstrom=10)
    opened = Tomogram.open(tmp_path / "t.mrc")
    for x in (42.3, 38.0):  # the sinc reaches what is beyond: it must not ring into nothing
        box = cut_box(opened, np.array([20.3, 30.2, x]), 16, 10.0)
        assert "the box is constant" in str(check_box(Path("t.mrc"), "p", box)[0])
    whole = cut_box(opened, np.array([20.3, 30.2, 20.0]), 16, 10.0)
    assert check_box(Path("t.mrc"), "p", whole) == []


def test_a_mask_between_voxels_keeps_its_place_and_its_volume(tmp_path: Path) -> None:
    axes = np.indices((40, 40, 40)) - 20.0
    for name, move in (("a", (0.3, -0.45, 0.2)), ("b", (0.4, -0.3, 0.5))):
        ball = np.sqrt(np.square(axes).sum(axis=0)) < 8
        instances = opened(tmp_path / f"{name}.mrc", np.where(ball, 3, 1).astype(np.int16))
        cut = cut_instance(instances, 3, np.array([20, 20, 20]) + move, 24, VOXEL)
        np.testing.assert_allclose(np.argwhere(cut).mean(axis=0) - 12, -np.array(move), atol=0.15)
        assert abs(cut.sum() / ball.sum() - 1) < 0.03
