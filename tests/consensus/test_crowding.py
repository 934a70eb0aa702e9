"""Particles that two picks claim go to the nearer one."""

import numpy as np
import pandas as pd
import pytest

from civa.consensus.crowding import contested, leave_to_others
from civa.consensus.picks import Picks

SIZE = 10.0


def table(tomograms: list[str] | None = None) -> pd.DataFrame:
    """Picks at x of 0, 8, 16 and 200 voxels of 10 Å."""
    places = {"z_angstrom": [0.0] * 4, "y_angstrom": [0.0] * 4, "x_angstrom": [0, 80, 160, 2000]}
    names = tomograms or ["one"] * 4
    return pd.DataFrame({"id": list("abcd"), "tomogram": names, **places})


def offsets(*along_x: float) -> np.ndarray:
    return np.array([[0, 0, x] for x in along_x])


def test_the_nearer_pick_keeps_what_two_have_found() -> None:
    assert contested(table(), offsets(0, 0, 0, 0), SIZE) == []
    assert contested(table(), offsets(0, -6, 0, 0), SIZE) == [(0, 1)]  # 2 voxels apart
    assert contested(table(), offsets(7, 0, 0, 0), SIZE) == [(1, 0)]
    assert contested(table(), offsets(0, -4, 0, 0), SIZE) == []  # 4 voxels apart
    both = contested(table(), offsets(0, -7, -15, 0), SIZE)
    assert sorted(both) == [(0, 1), (0, 2), (1, 2)]


def test_particles_of_other_tomograms_are_not_the_same() -> None:
    assert contested(table(["one", "two", "one", "one"]), offsets(0, -8, 0, 0), SIZE) == []


@pytest.mark.parametrize("column", ["tomogram", "x_angstrom"])
def test_without_places_nothing_is_contested(column: str) -> None:
    assert contested(table().drop(columns=column), offsets(0, -8, 0, 0), SIZE) == []


def test_what_belongs_to_others_is_noted_where_it_lies_in_the_volume() -> None:
    picks = Picks(np.full((4, 3), 16.0), np.full(4, 2.0))
    centres = picks.places + offsets(0.5, -7, -15, 0)
    left = leave_to_others(picks, [(0, 1), (0, 2), (1, 2)], table(), centres, SIZE)
    assert left.taken is not None
    assert left.taken.shape == (4, 2, 3)
    assert left.taken[1, 0].tolist() == [16, 16, 16 + 0.5 - 8]
    assert left.taken[2].tolist() == [[16, 16, 16.5 - 16], [16, 16, 9 - 8]]
    assert np.isnan(left.taken[[0, 3]]).all()
    again = leave_to_others(left, [(3, 0)], table(), centres, SIZE)
    assert again.taken is not None
    assert again.taken.shape == (4, 3, 3)
    assert again.taken[0, 2].tolist() == [16, 16, 16 + 200]
    assert again[np.array([0])].taken is not None
