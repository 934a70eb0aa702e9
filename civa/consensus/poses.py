"""Rotations of rigid particles: even grids, small turns, and the angles of RELION.

A rotation matrix here acts on z, y, x: position in the box = matrix @ position in the
reference + centre, both measured in voxels from the middle of their box.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrices = NDArray[np.float64]

LARGEST_STEP = 1.25  # voxels between shifts of a search, from which poses climb; see docs/log.md


def rotation_grid(count: int) -> Matrices:
    """Spread rotations evenly over SO(3) by super-Fibonacci spirals (Alexa, CVPR 2022).

    Returns
    -------
    (r, 3, 3) matrices, z, y, x.
    """
    psi = 1.533751168755204288118041  # the positive root of psi^4 = psi + 4
    at = np.arange(count) + 0.5
    inner, outer = np.sqrt(at / count), np.sqrt(1 - at / count)
    alpha, beta = 2 * np.pi * at / np.sqrt(2), 2 * np.pi * at / psi
    parts = (inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta))
    return to_matrices(Rotation.from_quat(np.stack([*parts, outer * np.cos(beta)], axis=1)))


def grid_spacing_deg(count: int) -> float:
    """Typical angle between neighbours of an even grid of ``count`` rotations, in degrees."""
    return float(np.rad2deg((8 * np.pi**2 / count) ** (1 / 3)))


def to_matrices(rotations: Rotation) -> Matrices:
    """Return rotations of x, y, z as matrices (n, 3, 3) that act on z, y, x."""
    return rotations.as_matrix()[..., ::-1, ::-1].copy()


def to_rotations(matrices: Matrices) -> Rotation:
    """Return matrices (n, 3, 3) that act on z, y, x as rotations of x, y, z."""
    return Rotation.from_matrix(np.asarray(matrices)[..., ::-1, ::-1])


def relion_angles_deg(matrices: Matrices) -> NDArray[np.float64]:
    """Return rlnAngleRot, rlnAngleTilt and rlnAnglePsi (n, 3) in degrees.

    RELION's angles, ZYZ, turn the particle back onto the reference.
    """
    return to_rotations(matrices).inv().as_euler("ZYZ", degrees=True)


def from_relion_angles_deg(angles: NDArray[np.float64]) -> Matrices:
    """Return matrices (n, 3, 3) that act on z, y, x from the angles of `relion_angles_deg`."""
    return to_matrices(Rotation.from_euler("ZYZ", angles, degrees=True).inv())


def relion_origins_angstrom(
    offsets: NDArray[np.float64], voxel_size_angstrom: float
) -> NDArray[np.float64]:
    """Return rlnOriginXAngst, YAngst and ZAngst (n, 3) from offsets (n, 3) z, y, x in voxels.

    RELION's origins move the particle back to the middle of the box, before it is turned.
    """
    return -voxel_size_angstrom * offsets[:, ::-1]


def shift_grid(radius: float) -> NDArray[np.float64]:
    """All whole-voxel displacements within a radius, (s, 3) z, y, x, nearest first."""
    reach = int(np.floor(radius))
    axis = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(grid, axis=1)
    grid = grid[length <= radius + 1e-9]
    return grid[np.argsort(np.linalg.norm(grid, axis=1), kind="stable")].astype(float)


def search_shifts(reach: float) -> NDArray[np.float64]:
    """Displacements within a reach, no more than `LARGEST_STEP` apart along an axis: (s, 3)."""
    steps = int(np.ceil(max(reach / LARGEST_STEP, min(reach, 3.0))))
    return shift_grid(steps) * reach / steps


def small_turns(angle_deg: float) -> Matrices:
    """Turns by an angle about each axis, in both senses: (6, 3, 3)."""
    vectors = np.deg2rad(angle_deg) * np.concatenate([np.eye(3), -np.eye(3)])
    return to_matrices(Rotation.from_rotvec(vectors))


@dataclass
class Poses:
    """The best poses of volumes so far, and how well they fit.

    Attributes
    ----------
    averages
        (n,) number of the average, 1 for the first; 0 for none yet.
    scores, z_scores
        (n,) log-likelihood, and its robust deviation from the typical one of the average.
    matrices, centres
        (n, 3, 3) and (n, 3), z, y, x.
    """

    averages: NDArray[np.int64]
    scores: NDArray[np.float64]
    z_scores: NDArray[np.float64]
    matrices: Matrices
    centres: NDArray[np.float64]

    @classmethod
    def empty(cls, n: int) -> "Poses":
        """Poses of ``n`` volumes that were not aligned yet."""
        worst, turns = np.full(n, -np.inf), np.tile(np.eye(3), (n, 1, 1))
        return cls(np.zeros(n, np.int64), worst, worst.copy(), turns, np.zeros((n, 3)))

    @classmethod
    def of(cls, average: int, scores: NDArray, matrices: Matrices, centres: NDArray) -> "Poses":
        """Poses of volumes in one average, not judged yet."""
        n = len(scores)
        return cls(np.full(n, average), scores, np.full(n, -np.inf), matrices, centres)

    def judge(self, typical: Mapping[int, tuple[float, float]]) -> None:
        """Set the z-scores: robust deviations of the score from what is typical of the average."""
        level, spread = np.array([typical[number] for number in self.averages]).reshape(-1, 2).T
        self.z_scores = (self.scores - level) / spread

    def improve(self, rows: NDArray, tried: "Poses", *, by: str = "z_scores") -> None:
        """Take over those of ``tried`` whose z-scores (or ``scores``) exceeds that of the rows."""
        better = getattr(tried, by) > getattr(self, by)[rows]
        for field in fields(self):
            getattr(self, field.name)[rows[better]] = getattr(tried, field.name)[better]

    def replace(self, rows: NDArray, others: "Poses") -> None:
        """Take over others (m) in some rows (m,)."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)


def robust_level(scores: NDArray) -> tuple[float, float]:
    """Median of scores, and their spread by the median absolute deviation (as a sigma).

    A few scores may lie together by chance: the spread is a twentieth of the median at least.
    Without any, nothing reaches the median.
    """
    if not len(scores):
        return np.inf, 1.0
    middle = float(np.median(scores))
    spread = 1.4826 * float(np.median(np.abs(scores - middle)))
    return middle, max(spread, 0.05 * abs(middle), 1e-12)


def pose_columns(matrices: Matrices, offsets: NDArray[np.float64]) -> dict[str, NDArray]:
    """Columns of a pose, as in the particle table: ``shift_z, _y, _x`` and a quaternion."""
    quaternions = to_rotations(matrices).as_quat(canonical=True)
    shifts = {f"shift_{axis}": offsets[:, i] for i, axis in enumerate("zyx")}
    return {**shifts, **{f"quaternion_{axis}": quaternions[:, i] for i, axis in enumerate("xyzw")}}
