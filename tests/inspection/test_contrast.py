"""The contrast of protein is told from boxes alone, or not told."""

import numpy as np
import pytest
from numpy.typing import NDArray

from civa.inspection.contrast import contrast_of


def ball(radius: float, centre: NDArray | float = 16.0) -> NDArray:
    """A ball in a box of 32 voxels; its middle z, y, x, or alike along all axes."""
    grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)
    return (((grid - centre) ** 2).sum(axis=-1) <= radius**2).astype(float)


@pytest.mark.parametrize("count", [1, 10, 60])
@pytest.mark.parametrize("seed", range(4))
def test_noise_tells_nothing(count: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(count, 32, 32, 32))
    assert not contrast_of(noise.mean(axis=0)).is_told


@pytest.mark.parametrize("sign", [1, -1])
def test_particles_near_the_middle_tell_it(sign: int) -> None:
    generator = np.random.default_rng(1)
    boxes = generator.normal(size=(50, 32, 32, 32))
    for box in boxes:
        box += sign * 0.6 * ball(5.0, 16 + generator.uniform(-4, 4, size=3))
    found = contrast_of(boxes.mean(axis=0))
    assert found.is_told
    assert found.is_dark == (sign < 0)


def test_a_neighbour_at_the_edge_does_not_turn_it() -> None:
    generator = np.random.default_rng(1)
    boxes = generator.normal(size=(50, 32, 32, 32))
    for box in boxes:
        box += 0.6 * ball(5.0) - 3.0 * ball(3.0, 3.0)
    assert not contrast_of(boxes.mean(axis=0)).is_dark
