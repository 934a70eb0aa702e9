"""Classes of one structure and of two."""

import numpy as np
import pytest
import torch
from test_alignment import EDGE, turned
from test_averaging import OPTICS, WINDOW
from test_consensus_stages import SHAPES

from civa.alignment import Images
from civa.averaging import Average, Plan
from civa.classification import average_class
from civa.poses import rotation_grid


def averages(kinds: np.ndarray) -> list[Average]:
    """Averages of noisy volumes at random angles that show these shapes."""
    generator = np.random.default_rng(2)
    turns = rotation_grid(4096)[generator.integers(4096, size=len(kinds))]
    boxes = [turned(SHAPES[k], m, np.zeros(3)) for k, m in zip(kinds, turns, strict=True)]
    noise = 0.1 * generator.standard_normal((len(kinds), EDGE, EDGE, EDGE))
    images = Images(
        (np.stack(boxes) + noise).astype(np.float32), np.full((len(kinds), 3), EDGE / 2), None
    )
    grids = {"coarse_rotations": 200, "split_rotations": 600, "fine_rotations": 200}
    quick = Plan(starts=1, **grids, iterations=8, refinements=1)
    return average_class(images, OPTICS, WINDOW, plan=quick, seed=1, device=torch.device("cpu"))


def test_two_structures_under_one_label_are_averaged_apart() -> None:
    kinds = np.arange(32) % 2
    both = averages(kinds)
    assert len(both) == 2
    assert sorted(np.concatenate([one.members for one in both])) == list(range(32))
    for one in both:
        assert len(set(kinds[one.members])) == 1  # without an error
        assert one.apart is not None
        assert one.apart.smaller_share == pytest.approx(0.5)


def test_one_structure_is_not_divided_and_a_few_odd_volumes_are_left_out() -> None:
    (alone,) = averages(np.zeros(24, dtype=int))
    assert alone.apart is None
    assert len(alone.members) == 24
    kinds = np.arange(32) % 4 == 3  # eight of them, too few for an average
    (main,) = averages(kinds.astype(int))
    assert not kinds[main.members].any()
    assert len(main.members) == 24
