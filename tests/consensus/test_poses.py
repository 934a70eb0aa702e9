import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from civa.consensus.poses import (
    Poses,
    from_relion_angles_deg,
    grid_spacing_deg,
    relion_angles_deg,
    relion_origins_angstrom,
    robust_level,
    rotation_grid,
    shift_grid,
    small_turns,
    to_matrices,
    to_rotations,
)


def angles_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles (a, b) in degrees, from the trace: a slow, obvious oracle."""
    trace = np.einsum("aij,bij->ab", first, second)
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_a_grid_holds_rotations_and_leaves_no_orientation_far_away():
    grid = rotation_grid(576)
    assert np.allclose(grid @ grid.transpose(0, 2, 1), np.eye(3))
    assert np.linalg.det(grid) == pytest.approx(np.ones(576))
    anywhere = to_matrices(Rotation.random(200, rng=np.random.default_rng(0)))
    nearest = angles_between(anywhere, grid).min(axis=1)
    # Balls of half the spacing around the grid's rotations fill SO(3) about once.
    assert nearest.max() < grid_spacing_deg(576)
    assert nearest.mean() < 0.6 * grid_spacing_deg(576)


def test_spacing_falls_with_the_cube_root_of_the_count():
    assert grid_spacing_deg(8 * 576) == pytest.approx(grid_spacing_deg(576) / 2)


def test_matrices_act_on_z_y_x():
    quarter = to_matrices(Rotation.from_euler("z", [[90]], degrees=True))
    # x = 1 goes to y = 1; written z, y, x: (0, 0, 1) -> (0, 1, 0)
    assert quarter[0] @ [0, 0, 1] == pytest.approx([0, 1, 0])
    assert to_rotations(quarter).as_rotvec(degrees=True)[0] == pytest.approx([0, 0, 90])


def test_relion_angles_turn_the_particle_back():
    given = np.array([[30.0, 70.0, -110.0]])
    matrix = from_relion_angles_deg(given)
    assert relion_angles_deg(matrix) == pytest.approx(given)
    # RELION's Euler matrix for rot = tilt = 0 is a turn of the frame by psi about z.
    psi = from_relion_angles_deg(np.array([[0.0, 0.0, 90.0]]))[0]
    assert psi @ [0, 0, 1] == pytest.approx([0, -1, 0])  # x -> -y


def euler_matrix_of_relion(rot: float, tilt: float, psi: float) -> list[list[float]]:
    """RELION's matrix from reference to particle, x, y, z, element by element (its euler.cpp)."""
    ca, cb, cg = (np.cos(np.deg2rad(angle)) for angle in (rot, tilt, psi))
    sa, sb, sg = (np.sin(np.deg2rad(angle)) for angle in (rot, tilt, psi))
    return [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]


def test_relion_angles_mean_what_relion_computes_from_them():
    generator = np.random.default_rng(7)
    angles = generator.uniform([-180, 0, -180], [180, 180, 180], (50, 3))
    matrices = from_relion_angles_deg(angles)
    for given, matrix in zip(angles, matrices, strict=True):
        # Ours act on z, y, x: both axes in the opposite order.
        assert matrix[::-1, ::-1] == pytest.approx(np.array(euler_matrix_of_relion(*given)))
    assert relion_angles_deg(matrices) == pytest.approx(angles)


def test_relion_origins_bring_the_particle_back_to_the_middle():
    # 1 voxel of 10 Å along z, -2 along y, 3 along x; RELION names x first, and moves back.
    offsets = np.array([[1.0, -2.0, 3.0]])
    assert relion_origins_angstrom(offsets, 10.0).tolist() == [[-30.0, 20.0, -10.0]]


def test_small_turns_are_small_and_come_in_both_senses():
    turns = small_turns(5.0)
    assert angles_between(turns, np.eye(3)[None]).ravel() == pytest.approx(np.full(6, 5.0))
    assert np.allclose(turns[:3] @ turns[3:], np.eye(3))


def test_shift_grids_are_balls_of_voxels_nearest_first():
    # Squared lengths up to 4: 1 + 6 + 12 + 8 + 6.
    assert len(shift_grid(2)) == 33
    assert shift_grid(2)[0].tolist() == [0, 0, 0]
    assert len(shift_grid(3)) == 123


def test_a_robust_level_ignores_a_few_misfits():
    scores = np.concatenate([np.linspace(90, 110, 21), [-5.0, -8.0]])
    middle, spread = robust_level(scores)
    assert middle == pytest.approx(99)  # the twelfth of 23
    # deviations 0 .. 11 twice and 104, 107: the median one is 6
    assert spread == pytest.approx(1.4826 * 6)
    assert robust_level(np.array([])) == (np.inf, 1.0)  # nothing is typical of it
    assert robust_level(np.array([80.0])) == (80.0, 4.0)  # alone, it says nothing of the spread


def test_better_poses_are_taken_over_row_by_row_with_all_that_belongs_to_them():
    typical = {1: (10.0, 2.0), 2: (100.0, 20.0)}
    assert Poses.empty(3).z_scores.max() == -np.inf  # anything is better than nothing
    poses = Poses.of(
        1, np.array([10.0, 2.0, 12.0]), np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3))
    )
    poses.judge(typical)
    assert poses.z_scores.tolist() == [0, -4, 1]
    tried = Poses.of(
        2, np.array([80.0, 80.0]), 2 * np.tile(np.eye(3), (2, 1, 1)), np.full((2, 3), 5)
    )
    tried.judge(typical)
    poses.improve(np.array([1, 2]), tried)
    assert poses.averages.tolist() == [1, 2, 1]
    assert poses.z_scores.tolist() == [0, -1, 1]
    assert poses.scores.tolist() == [10, 80, 12]
    assert poses.centres[:, 0].tolist() == [0, 5, 0]
    assert poses.matrices[:, 0, 0].tolist() == [1, 2, 1]
    poses.improve(np.array([0, 2]), tried, by="scores")  # of one class, averages vie by likelihood
    assert poses.averages.tolist() == [2, 2, 2]
