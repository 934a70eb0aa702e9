"""Classes of one structure and of two."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from synthetic import EDGE, SETUP, SHAPES, alike, average, disagreeing, turned

from civa.consensus import classification
from civa.consensus.averaging import Average, Plan
from civa.consensus.classification import average_class
from civa.consensus.heterogeneity import Split
from civa.consensus.poses import rotation_grid
from civa.consensus.subtomograms import Subtomograms


def averages(kinds: np.ndarray) -> list[Average]:
    """Averages of noisy volumes at random angles that show these shapes."""
    generator = np.random.default_rng(2)
    turns = rotation_grid(4096)[generator.integers(4096, size=len(kinds))]
    boxes = [turned(SHAPES[k], m, np.zeros(3)) for k, m in zip(kinds, turns, strict=True)]
    noise = 0.1 * generator.standard_normal((len(kinds), EDGE, EDGE, EDGE))
    volumes = (np.stack(boxes) + noise).astype(np.float32)
    count = len(kinds)
    centres = np.full((count, 3), EDGE / 2)
    members = Subtomograms(volumes, np.arange(count), centres, alike(count))
    grids = {"coarse_rotations": 200, "split_rotations": 600, "fine_rotations": 200}
    quick = Plan(starts=1, **grids, iterations=8, refinements=1)
    return average_class(members, SETUP, plan=quick, seed=1)


@pytest.mark.slow
def test_two_structures_under_one_label_are_averaged_apart() -> None:
    kinds = np.arange(32) % 2
    both = averages(kinds)
    assert len(both) == 2
    assert sorted(np.concatenate([one.members for one in both])) == list(range(32))
    for one in both:
        assert len(set(kinds[one.members])) == 1  # without an error
        assert one.apart is not None
        assert one.apart.smaller_share == pytest.approx(0.5)


@pytest.mark.slow
def test_one_structure_is_not_divided_and_a_few_odd_volumes_are_left_out() -> None:
    (alone,) = averages(np.zeros(24, dtype=int))
    assert alone.apart is None
    assert len(alone.members) == 24
    kinds = np.arange(32) % 4 == 3  # eight of them, too few for an average
    (main,) = averages(kinds.astype(int))
    assert not kinds[main.members].any()
    assert len(main.members) == 24


class Divided:
    """Stands in for averaging: moves centres by one voxel, and divides a whole class only.

    The half-sets of the smaller part, which comes last, may disagree.
    """

    def __init__(self, smaller: int, *, agrees: bool) -> None:
        self.smaller, self.agrees = smaller, agrees
        self.seen: list[Subtomograms] = []

    def __call__(
        self, members: Subtomograms, *_: object, **__: object
    ) -> tuple[Average, Subtomograms, Split]:
        self.seen.append(members)
        is_whole = len(self.seen) == 1
        made = average(members=np.arange(len(members)))
        if len(self.seen) == 3 and not self.agrees:
            made = replace(made, halves=disagreeing())
        split = Split(0.8 if is_whole else 0.99, 0.99, np.arange(len(members)) < self.smaller)
        return made, replace(members, centres=members.centres + 1), split


@pytest.mark.parametrize(
    ("smaller", "agrees", "kept", "said"),
    [
        (15, True, [25, 15], ""),
        (9, True, [31], "9 volumes that fit badly are left out"),
        (15, False, [25], "15 volumes that were set apart show nothing in common"),
    ],
)
def test_parts_go_on_from_where_they_were_centred_or_are_left_out(
    smaller: int,
    agrees: bool,
    kept: list[int],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    divided = Divided(smaller, agrees=agrees)
    monkeypatch.setattr(classification, "average_and_divide", divided)
    boxes = np.zeros((40, EDGE, EDGE, EDGE), dtype=np.float32)
    members = Subtomograms(boxes, np.arange(40), np.full((40, 3), EDGE / 2), alike(40))
    found = average_class(members, SETUP, plan=Plan(), seed=1)
    assert [len(one.members) for one in found] == kept
    assert found[0].members.tolist() == list(range(smaller, 40))
    assert (divided.seen[1].centres == EDGE / 2 + 1).all()
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == bool(said)
    assert all(said in one for one in warnings)
