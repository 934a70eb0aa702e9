"""How far poses may be off, by the curvature of their likelihood, and what that means for masks."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from civa.consensus.alignment import Aligner, pose_scores
from civa.consensus.map_back import CONTOUR, map_back
from civa.consensus.poses import Matrices, to_matrices
from civa.consensus.subtomograms import Spectra, Subtomograms

# Steps of the differences: about as far as poses are off in crowded specimens at 10 Å.
TURN_DEG, SHIFT_VOXELS = 4.0, 0.3
STEPS = np.array([np.deg2rad(TURN_DEG)] * 3 + [SHIFT_VOXELS] * 3)
# Of a pose in units of the steps; what the volume does not tell may be off by seven of them.
LEAST_PRECISION = 0.02
# Neighbours and misaligned tilts are no Gaussian noise: in a crowded simulated set centres are 1.5
# times as far off as the curvature says (docs/log.md, 1 December).
UNDERSTATED = 1.5
DRAWN = 8  # poses from the posterior of a volume, to compare its mask with


@dataclass(frozen=True)
class PoseErrors:
    """Gaussian posteriors of poses (Laplace's approximation).

    Attributes
    ----------
    roots
        (n, 6, 6): times six standard normal numbers, a rotation vector z, y, x in radians, applied
        after the pose's own rotation, and a displacement z, y, x in voxels.
    """

    roots: NDArray[np.float64]

    @property
    def turn_deg(self) -> NDArray[np.float64]:
        """(n,) standard deviation of the rotation about an axis, in the mean of three."""
        return np.rad2deg(np.sqrt(np.square(self.roots[:, :3]).sum(axis=(1, 2)) / 3))

    @property
    def shift_voxels(self) -> NDArray[np.float64]:
        """(n,) standard deviation of the centre along an axis, in the mean of three."""
        return np.sqrt(np.square(self.roots[:, 3:]).sum(axis=(1, 2)) / 3)

    def drawn(
        self, matrices: Matrices, centres: NDArray, generator: np.random.Generator
    ) -> tuple[Matrices, NDArray[np.float64]]:
        """Draw other poses (n, 3, 3) and (n, 3) of the volumes from their posteriors."""
        normal = generator.standard_normal((len(self.roots), 6))
        steps = np.einsum("nij,nj->ni", self.roots, normal)
        return _turns(steps[:, :3]) @ matrices, centres + steps[:, 3:]


def pose_errors(aligner: Aligner, subtomograms: Subtomograms, matrices: Matrices) -> PoseErrors:
    """Measure how sharply the likelihood of volumes (n) falls around their poses.

    Parameters
    ----------
    subtomograms
        Centred where they were found.
    matrices
        (n, 3, 3) rotations found.
    """
    setup, band = aligner.setup, aligner.bands[1]
    whitened = setup.whiten(subtomograms, band, aligner.noise)
    steps, pairs = _differences()
    turns = setup.tensor(_turns(steps[:, :3]))  # (m, 3, 3)
    rotations, places = setup.tensor(matrices), setup.tensor(subtomograms.remainders())

    def work(part: slice, spectra: Spectra) -> tuple[Tensor, ...]:
        shifts = places[part, None] + setup.tensor(steps[:, 3:])  # (b, m, 3)
        columns = [
            pose_scores(
                spectra,
                aligner.transform,
                band,
                turns[at : at + 1] @ rotations[part, None],
                shifts[:, at : at + 1],
            )
            for at in range(len(steps))
        ]
        return (torch.cat(columns, dim=1),)

    (scores,) = whitened.map(work)
    return PoseErrors(_roots(scores.double().cpu().numpy(), pairs))


def pose_agreement(
    density: NDArray[np.float32],
    errors: PoseErrors,
    matrices: Matrices,
    *,
    device: torch.device,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Mean IoU (n,) of masks at their poses with those at poses from their posteriors.

    Parameters
    ----------
    density
        (e, e, e) average, relative to its peak.
    """
    middle = np.full((len(matrices), 3), density.shape[0] // 2)
    reached = np.zeros(len(matrices))
    own = map_back(density, matrices, middle, density.shape, device=device) > CONTOUR
    for _ in range(DRAWN):
        other = errors.drawn(matrices, middle, generator)
        drawn = map_back(density, *other, density.shape, device=device) > CONTOUR
        both, either = ((own & drawn).sum((1, 2, 3)), (own | drawn).sum((1, 2, 3)))
        reached += both / np.maximum(either, 1) / DRAWN
    return reached


def _differences() -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Steps (m, 6) to take: none, one back and forth, two at a time; and which two."""
    each = np.diag(STEPS)
    pairs = [(a, b) for a in range(6) for b in range(a)]
    singles = [sign * each[a] for a in range(6) for sign in (1, -1)]
    doubles = [sign * (each[a] + each[b]) for a, b in pairs for sign in (1, -1)]
    return np.stack([np.zeros(6), *singles, *doubles]), pairs


def _roots(scores: NDArray[np.float64], pairs: list[tuple[int, int]]) -> NDArray[np.float64]:
    """Square roots (n, 6, 6) of covariances from scores (n, m) at `_differences`."""
    change = scores - scores[:, :1]
    alone = change[:, 1:13].reshape(-1, 6, 2).sum(axis=2)  # (n, 6) second differences
    together = change[:, 13:].reshape(len(scores), -1, 2).sum(axis=2)  # (n, pairs)
    hessian = np.zeros((len(scores), 6, 6))
    for number, (a, b) in enumerate(pairs):
        hessian[:, a, b] = hessian[:, b, a] = (together[:, number] - alone[:, a] - alone[:, b]) / 2
    hessian[:, range(6), range(6)] = alone
    precision, axes = np.linalg.eigh(-hessian)
    spread = 1 / np.sqrt(np.maximum(precision, LEAST_PRECISION))
    return UNDERSTATED * STEPS[:, None] * axes * spread[:, None, :]


def _turns(vectors: NDArray[np.float64]) -> Matrices:
    """Rotations (n, 3, 3) of z, y, x by rotation vectors (n, 3) z, y, x."""
    return to_matrices(Rotation.from_rotvec(-vectors[:, ::-1]))
