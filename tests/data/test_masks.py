"""Masks that users bring, as values alone."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from shared import shared

from civa.data.masks import MaskError, understand
from civa.data.volume import read_volume

BLOCK = (slice(3, 6), slice(4, 7), slice(9, 14))  # 45 voxels


def filled(outside: float, inside: float, dtype: type = np.int8) -> NDArray:
    values = np.full((16, 16, 16), outside, dtype=dtype)
    values[BLOCK] = inside
    return values


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        (filled(0, 1), ""),
        (filled(0, 1, np.float32), ""),
        (filled(0, -1), "bytes 0 and 255, stored with a sign"),
        (filled(0, 255, np.uint8), "values 0 and 255"),
        (filled(-128, -127), "values -128 and -127"),
        (filled(0, 3), "values 0 and 3"),
        (filled(0, 0.5, np.float32), "values 0 and 0.5"),
    ],
)
def test_two_values_are_outside_and_inside(values: NDArray, remark: str) -> None:
    found = understand(values)
    np.testing.assert_array_equal(found.inside, filled(0, 1).astype(bool))
    assert found.remark == remark


@pytest.mark.parametrize("height", [1, 255])
def test_a_soft_edge_is_cut_at_half_of_its_height(height: float) -> None:
    edge = np.arange(16) - 8
    apart = np.sqrt(sum(axis**2 for axis in np.meshgrid(edge, edge, edge)))
    soft = height * np.clip((6 - apart) / 3, 0, 1)  # a half at 4.5 voxels
    found = understand(soft.astype(np.float32))
    np.testing.assert_array_equal(found.inside, apart <= 4.5)
    assert found.remark == f"soft edge, cut at {height / 2:g}: {(apart <= 4.5).sum()} voxels"


def test_a_label_map_needs_a_label() -> None:
    values = filled(0, 2)
    values[0, 0, :3] = [1, 5, 5]
    with pytest.raises(MaskError, match=r"labels 0, 1, 2, 5: choose .* 'mask_label'"):
        understand(values)
    np.testing.assert_array_equal(understand(values, label=2).inside, filled(0, 1).astype(bool))
    with pytest.raises(MaskError, match=r"no voxel has the value 3 .* there are 0, 1, 2, 5"):
        understand(values, label=3)
    with pytest.raises(MaskError, match=r"no voxel has the value 1\.5 that was chosen"):
        understand(values, label=1.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((8, 8, 8)), "all voxels are 0: nothing is inside"),
        (np.ones((8, 8, 8), np.int8), "all voxels are 1"),
        (1 - filled(0, 1), "99 % of the box lie inside: is it inverted"),
        (np.random.default_rng(0).normal(size=(16, 16, 16)), "as a density does"),
        (
            gaussian_filter(np.random.default_rng(0).normal(size=(16, 16, 16)), 1),
            "as a density does",
        ),
        (5 + filled(0, 1, np.float32) + np.random.default_rng(0).random((16,) * 3), "as a density"),
    ],
)
def test_what_is_no_mask_is_refused(values: NDArray, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        understand(values)


@pytest.mark.parametrize(
    ("file", "voxels"),
    [
        ("14_byte_masks/ones.mrc", 45),
        ("14_byte_masks/bytes255.mrc", 45),
        ("14_byte_masks/shifted.mrc", 45),
        ("15_soft_masks/soft.mrc", 253),
        ("15_soft_masks/resampled.mrc", 45),
        ("13_label_maps/labels.mrc", None),
        ("15_soft_masks/box_2.mrc", None),
    ],
)
def test_masks_of_public_reports(file: str, voxels: int | None) -> None:
    values, _ = read_volume(shared("reports", *file.split("/")))
    if voxels is None:
        with pytest.raises(MaskError):
            understand(values)
    else:
        assert understand(values).inside.sum() == voxels
