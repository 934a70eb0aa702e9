"""Posteriors of poses: as wide as poses are off, and what that leaves of masks."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from synthetic import CPU, EDGE, SETUP, SHAPES, turned

from civa.consensus.alignment import Aligner
from civa.consensus.pose_errors import PoseErrors, pose_agreement, pose_errors
from civa.consensus.poses import to_matrices
from civa.consensus.subtomograms import Imaging, Subtomograms

COUNT = 40


def found(noise: float) -> tuple[Aligner, Subtomograms, np.ndarray, np.ndarray, np.ndarray]:
    """Volumes with noise, aligned from the truth: aligner, sub-tomograms, poses, and the truth."""
    generator = np.random.default_rng(3)
    matrices = to_matrices(Rotation.random(COUNT, rng=generator))
    shifts = generator.uniform(-1, 1, size=(COUNT, 3))
    clean = np.stack([turned(SHAPES[0], m, s) for m, s in zip(matrices, shifts, strict=True)])
    boxes = (clean + noise * generator.standard_normal(clean.shape)).astype(np.float32)
    power = np.full(EDGE // 2, float(noise**2 * np.square(SETUP.window).sum()))
    aligner = Aligner(SHAPES[0], power, SETUP)
    imaging = Imaging(np.zeros(COUNT, np.int64))
    start = Subtomograms(boxes, np.arange(COUNT), np.full((COUNT, 3), EDGE / 2) + shifts, imaging)
    _, turns, centres = aligner.align(start)
    there = Subtomograms(boxes, np.arange(COUNT), centres, imaging)
    off = centres - EDGE // 2 - shifts
    return aligner, there, turns, matrices, off


def apart_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    trace = np.einsum("nij,nij->n", first, second)
    return np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def test_posteriors_are_as_wide_as_poses_are_off() -> None:
    aligner, there, turns, matrices, off = found(0.25)
    errors = pose_errors(aligner, there, turns)
    shift = np.sqrt(np.mean(np.square(off)))
    assert 0.5 < shift / np.sqrt(np.mean(np.square(errors.shift_voxels))) < 2
    # Of three rotations about axes of sigma s, the angle is s sqrt(3) in the root of its square.
    turn = np.sqrt(np.median(np.square(apart_deg(turns, matrices))) / 3)
    assert 0.4 < turn / np.median(errors.turn_deg) < 2.5


def test_noise_makes_them_wider_and_masks_agree_less() -> None:
    widths, agreements = [], []
    for noise in (0.15, 0.3, 0.6):
        aligner, there, turns, _, _ = found(noise)
        errors = pose_errors(aligner, there, turns)
        widths.append(np.median(errors.turn_deg))
        reached = pose_agreement(
            SHAPES[0], errors, turns, device=CPU, generator=np.random.default_rng(0)
        )
        assert ((reached >= 0) & (reached <= 1)).all()
        agreements.append(np.mean(reached))
    assert widths == sorted(widths)
    assert agreements == sorted(agreements, reverse=True)


def test_a_pose_that_is_known_exactly_leaves_masks_as_they_are() -> None:
    errors = PoseErrors(np.zeros((3, 6, 6)))
    same = np.tile(np.eye(3), (3, 1, 1))
    reached = pose_agreement(
        SHAPES[1], errors, same, device=torch.device("cpu"), generator=np.random.default_rng(0)
    )
    assert (reached > 0.999).all()
    assert (errors.turn_deg == 0).all()


def test_drawn_poses_have_the_covariance_of_the_posterior() -> None:
    root = np.diag([0.1, 0.05, 0.02, 0.5, 0.3, 0.2])
    errors = PoseErrors(np.tile(root, (4000, 1, 1)))
    same = np.tile(np.eye(3), (4000, 1, 1))
    matrices, centres = errors.drawn(same, np.zeros((4000, 3)), np.random.default_rng(0))
    assert np.allclose(centres.std(axis=0), [0.5, 0.3, 0.2], rtol=0.05)
    # A small turn about z changes y and x, and so on: entries of the antisymmetric part.
    about_z = (matrices[:, 1, 2] - matrices[:, 2, 1]) / 2
    about_y = (matrices[:, 0, 2] - matrices[:, 2, 0]) / 2
    assert np.allclose([about_z.std(), about_y.std()], [0.1, 0.05], rtol=0.06)
