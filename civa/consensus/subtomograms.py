"""Sub-tomograms of one class on disk, and their spectra: whitened Fourier coefficients.

The model of a sub-tomogram's coefficient at frequency k is

    V(k) = C(k) exp(-2 pi i k c) T(R^T k) + noise of power P(|k|),   k outside the wedge,

with the reference T, the contrast transfer C, rotation R and centre c.  Volumes are read, cut out
and transformed a few at a time, whenever their spectra are needed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from civa.consensus.fourier import Band, coefficients, cut_out, select_band
from civa.consensus.picks import Picks, Prior
from civa.consensus.poses import rotation_grid
from civa.data.imaging import Acquisition
from civa.data.stack import Stack
from civa.optics import Microscope, contrast_transfer, missing_wedge, transfer_in

# Voxels whose spectra are held at a time: 128 boxes of 32^3, some 40 MB of coefficients.
PART_VOXELS = 128 * 32**3


@dataclass(frozen=True)
class Imaging:
    """What every volume has of its own in how it was imaged.

    Attributes
    ----------
    acquisition
        (n,) number of its tomogram's in `Optics.acquisitions`.
    defocus_um
        (n,), or None where the contrast transfer is not known.
    tomogram
        (n,) number of its tomogram, or None where it is not known.
    group
        (n,) number of its weights in `FourierWeights`, or None where they were not measured.
    """

    acquisition: NDArray[np.int64]
    defocus_um: NDArray[np.float64] | None = None
    tomogram: NDArray[np.int64] | None = None
    group: NDArray[np.int64] | None = None

    def __getitem__(self, numbers: NDArray | slice) -> "Imaging":
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{k: v[numbers] for k, v in known.items() if v is not None})


@dataclass(frozen=True)
class Optics:
    """How the volumes were imaged.

    Attributes
    ----------
    voxel_size_angstrom
        Of the volumes.
    acquisitions
        How their tomograms were taken; several where they differ.
    microscope
        For the contrast transfer; it is used where the defocus is known.
    """

    voxel_size_angstrom: float
    acquisitions: tuple[Acquisition, ...] = (Acquisition(),)
    microscope: Microscope = field(default_factory=Microscope)

    def shell(self, resolution_angstrom: float, edge: int, *, least_voxels: float = 2.0) -> int:
        """Shell of a resolution in a box of an edge, within what the box can hold.

        A resolution finer than ``least_voxels`` (2: Nyquist) stands for that many voxels.
        """
        finest = max(resolution_angstrom, least_voxels * self.voxel_size_angstrom)
        return min(edge // 2 - 1, round(edge * self.voxel_size_angstrom / finest))

    def reached(self, band: Band) -> Tensor:
        """Whether the tilts of every acquisition reach a coefficient of a band: (a, k)."""
        device = band.frequencies.device
        wedges = np.stack([missing_wedge(band.edge, one.tilts) for one in self.acquisitions])
        return torch.from_numpy(wedges).to(device).flatten(1)[:, band.indices]  # (a, k)

    def transfer(self, band: Band, imaging: Imaging) -> Tensor:
        """Contrast transfer C of a band, 0 where tilts do not reach: (n, k).

        It is 1 within reach where the defocus is unknown.
        """
        reached = self.reached(band)[imaging.acquisition]  # (n, k)
        if imaging.defocus_um is None:
            return reached.float()
        frequency = band.frequencies.norm(dim=1).cpu().numpy() / self.voxel_size_angstrom
        rows = [
            transfer_in(
                self.acquisitions[number].ctf_state,
                contrast_transfer(frequency, defocus_um=float(d), microscope=self.microscope),
            )
            for d, number in zip(imaging.defocus_um, imaging.acquisition, strict=True)
        ]
        return torch.from_numpy(np.stack(rows)).float().to(reached.device) * reached


@dataclass(frozen=True)
class Subtomograms:
    """Volumes on disk, and where their particles lie, roughly.

    Attributes
    ----------
    volumes
        All volumes of the data set, (., d, h, w), mean 0, protein bright.
    rows
        (n,) positions of these among them.
    centres
        (n, 3) z, y, x in voxels.
    imaging
        How they were imaged.
    picks
        Where they were picked; None where they may lie anywhere.
    """

    volumes: Stack | NDArray
    rows: NDArray[np.int64]
    centres: NDArray[np.float64]
    imaging: Imaging
    picks: Picks | None = None

    @classmethod
    def at(
        cls,
        volumes: Stack | NDArray,
        imaging: Imaging,
        picks: Picks | None,
        rows: NDArray[np.int64],
        centres: NDArray[np.float64],
    ) -> "Subtomograms":
        """Some of the volumes (m,) that the imaging and picks of all are known of, at centres."""
        own = None if picks is None else picks[rows]
        return cls(volumes, rows, centres, imaging[rows], own)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, numbers: NDArray | slice) -> "Subtomograms":
        return replace(
            self,
            rows=self.rows[numbers],
            centres=self.centres[numbers],
            imaging=self.imaging[numbers],
            picks=None if self.picks is None else self.picks[numbers],
        )

    def cut_centres(self) -> NDArray[np.int64]:
        """The voxels (n, 3) on which boxes are cut out."""
        return np.round(self.centres).astype(np.int64)

    def remainders(self) -> NDArray[np.float64]:
        """What rounding leaves of the centres (n, 3)."""
        return self.centres - self.cut_centres()

    def moved(self, moves: Tensor) -> "Subtomograms":
        """Sub-tomograms whose centres lie ``moves`` (n, 3) from where boxes were cut out."""
        return replace(self, centres=self.cut_centres() + moves.double().cpu().numpy())

    def boxes(self, window: NDArray) -> Tensor:
        """Boxes (n, e, e, e) cut out around the centres, under a window (e, e, e)."""
        return torch.from_numpy(cut_out(self.volumes[self.rows], self.cut_centres(), window))


@dataclass(frozen=True)
class Spectra:
    """Coefficients of sub-tomograms, whitened for scoring.

    Attributes
    ----------
    weighted
        (n, k) complex, C V / P times the share of independent coefficients.
    power
        (n, k) C^2 / P times the same share: what a reference costs.
    prior
        Of where they lie; None where they may lie anywhere.
    """

    weighted: Tensor
    power: Tensor
    prior: Prior | None = None

    def __len__(self) -> int:
        return len(self.weighted)

    def __getitem__(self, rows: Tensor | slice) -> "Spectra":
        prior = None if self.prior is None else self.prior[rows]
        return Spectra(self.weighted[rows], self.power[rows], prior)

    def repeated(self, weights: Tensor) -> "Spectra":
        """Every spectrum (n) m times, with the weights (n, m) of its poses: n m spectra."""
        return Spectra(
            (self.weighted[:, None] * weights[..., None]).flatten(0, 1),  # (n m, k)
            (self.power[:, None] * weights[..., None]).flatten(0, 1),  # (n m, k)
        )


@dataclass(frozen=True)
class Aligned:
    """Sub-tomograms centred by an average, and their rotations (n, 3, 3) in it."""

    subtomograms: Subtomograms
    rotations: Tensor


@dataclass(frozen=True)
class FourierWeights:
    """Weights of Fourier voxels, by groups of volumes; see `civa.consensus.weights`.

    Attributes
    ----------
    transfer
        (g, e, e, e) share of the signal that each holds, beside contrast transfer; FFT order.
    noise
        (g, e, e, e) noise power.
    """

    transfer: NDArray[np.float32]
    noise: NDArray[np.float32]

    def of(self, groups: NDArray[np.int64], band: Band) -> tuple[Tensor, Tensor]:
        """Transfer and noise (n, k) of volumes of some groups (n,) in a band."""
        at, device = band.indices.cpu(), band.frequencies.device
        picked = (
            torch.from_numpy(values.reshape(len(values), -1))[:, at]  # (g, k)
            for values in (self.transfer, self.noise)
        )
        transfer, noise = (values.to(device)[torch.from_numpy(groups)] for values in picked)
        return transfer, noise


@dataclass(frozen=True)
class Setup:
    """What all of alignment and averaging has to know: optics, window and device.

    Attributes
    ----------
    optics
        How the volumes were imaged.
    window
        (e, e, e), the particle and little of its neighbours; see `window_for`.
    device
        Where to compute.
    weights
        Of Fourier voxels, where they were measured; otherwise one number per shell is the noise.
    """

    optics: Optics
    window: NDArray[np.float32]
    device: torch.device
    weights: FourierWeights | None = None

    @property
    def edge(self) -> int:
        """Edge of the boxes that are cut out, in voxels."""
        return self.window.shape[0]

    @property
    def ball(self) -> Tensor:
        """The window (e, e, e) on the device."""
        return torch.from_numpy(self.window).to(self.device)

    @property
    def extent_angstrom(self) -> float:
        """Edge of the boxes in ångström."""
        return self.edge * self.optics.voxel_size_angstrom

    @property
    def spread(self) -> int:
        """Shells over which the window spreads a coefficient: the box over the window's diameter.

        So far apart, shells are independent of each other.
        """
        diameter = 2 * (3 * float(self.window.sum()) / (4 * np.pi)) ** (1 / 3)
        return max(1, round(self.edge / diameter))

    def shell(self, resolution_angstrom: float, *, least_voxels: float = 2.0) -> int:
        """Shell of a resolution, within what the box can hold; see `Optics.shell`."""
        return self.optics.shell(resolution_angstrom, self.edge, least_voxels=least_voxels)

    def band(self, shell: int) -> Band:
        """Coefficients up to a shell that any of the tilt series reaches."""
        tilts = [one.tilts for one in self.optics.acquisitions]
        return select_band(self.edge, highest_shell=shell, tilts=tilts, device=self.device)

    def grid(self, count: int) -> Tensor:
        """An even grid of rotations, (r, 3, 3)."""
        return self.tensor(rotation_grid(count))

    def tensor(self, values: NDArray) -> Tensor:
        """Numbers of any shape in float32 on the device."""
        return torch.from_numpy(np.asarray(values)).float().to(self.device)

    def portions(self, count: int) -> Iterator[slice]:
        """Divide ``count`` sub-tomograms into portions that are read at a time."""
        step = max(1, PART_VOXELS // self.edge**3)
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))

    def whiten(
        self, subtomograms: Subtomograms, band: Band, noise: Tensor | None = None
    ) -> "WhitenedSubtomograms":
        """Prepare sub-tomograms for scoring in a band.

        Parameters
        ----------
        noise
            (shells,) power; None measures it in all of them.
        """
        level = self.noise(subtomograms, band) if noise is None else noise
        return WhitenedSubtomograms(self, subtomograms, band, level)

    def noise(self, subtomograms: Subtomograms, band: Band) -> Tensor:
        """Mean power in every shell (shells,): noise, as the signal is far below it.

        Of each volume, the coefficients count that its own tilts reach.
        """
        power = torch.zeros(len(band.shells), device=self.device)  # (k,)
        count = torch.zeros_like(power)
        reached = self.optics.reached(band)
        for part in self.portions(len(subtomograms)):
            some = subtomograms[part]
            found = coefficients(some.boxes(self.window).to(self.device), band)  # (n, k)
            own = reached[some.imaging.acquisition]  # (n, k)
            power += (found.abs() ** 2 * own).sum(dim=0)
            count += own.sum(dim=0)
        sums = torch.zeros(band.largest + 1, device=self.device)
        sizes = torch.zeros_like(sums)
        sums.index_add_(0, band.shells, power / count.clamp_min(1))
        sizes.index_add_(0, band.shells, (count > 0).float())
        return sums / sizes.clamp_min(1)


@dataclass(frozen=True)
class WhitenedSubtomograms:
    """Spectra of sub-tomograms in a band, made whenever they are asked for.

    Attributes
    ----------
    noise
        (shells,) power by which they are whitened.
    """

    setup: Setup
    subtomograms: Subtomograms
    band: Band
    noise: Tensor

    def __len__(self) -> int:
        return len(self.subtomograms)

    def __getitem__(self, numbers: NDArray[np.int64] | slice) -> Spectra:
        """Spectra of some, all of which are held in memory.

        A window leaves fewer independent coefficients than there are, by the mean of its square.
        """
        some = self.subtomograms[numbers]
        found = self._coefficients(some)
        transfer = self.setup.optics.transfer(self.band, some.imaging)
        noise = self.noise[self.band.shells]
        if self.setup.weights is not None and some.imaging.group is not None:
            held, noise = self.setup.weights.of(some.imaging.group, self.band)  # (n, k) each
            transfer = transfer * held
        share = float(np.mean(np.square(self.setup.window)))
        weight = share * transfer / noise
        power = (transfer * weight).expand(found.shape).contiguous()
        prior = (
            None if some.picks is None else some.picks.prior(some.cut_centres(), self.setup.device)
        )
        return Spectra(found * weight, power, prior)

    def _coefficients(self, some: Subtomograms) -> Tensor:
        """Coefficients (n, k); boxes are cut out and transformed a few at a time."""
        parts = [
            coefficients(some[part].boxes(self.setup.window).to(self.noise.device), self.band)
            for part in self.setup.portions(len(some))
        ]
        return torch.cat(parts)

    def parts(self) -> Iterator[tuple[slice, Spectra]]:
        """Yield all spectra, a few at a time, and which they are."""
        for part in self.setup.portions(len(self)):
            yield part, self[part]

    def map(self, work: Callable[[slice, Spectra], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Apply ``work`` to all spectra, a few at a time, and join what it returns, (n, ...)."""
        joined: tuple[Tensor, ...] = ()
        for part, spectra in self.parts():
            found = work(part, spectra)
            if not joined:  # room for all at once: kept one by one, small results would lie on the
                # heap between the buffers of every part, which could not be joined again
                joined = tuple(some.new_empty((len(self), *some.shape[1:])) for some in found)
            for whole, some in zip(joined, found, strict=True):
                whole[part] = some
        return joined
