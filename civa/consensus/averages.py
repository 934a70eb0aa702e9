"""The averages of all classes on disk: densities, half-sets, spectra and record, five files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from civa.consensus.averaging import Average
from civa.consensus.fourier import window_for
from civa.consensus.heterogeneity import Split
from civa.consensus.reconstruction import boosted
from civa.consensus.subtomograms import FourierWeights, Imaging, Optics, Setup
from civa.consensus.weights import weight_groups
from civa.data.files import read_json, write_csv, write_json
from civa.data.imaging import Acquisition, read_acquisitions, read_defocus
from civa.data.particles import tomogram_numbers
from civa.data.stack import Stack, write_stack
from civa.optics import Microscope, TiltRange


@dataclass(frozen=True)
class Averages:
    """The averages of all classes, in the order of the labels, one each unless a class is divided.

    Attributes
    ----------
    densities
        (a, e, e, e), middle of the box at e // 2.
    optics
        How volumes were imaged of which the particle table says nothing.
    defocus_known
        Whether the contrast transfer was corrected volume by volume.
    tilt_error_angstrom
        What the alignment of tilts left, a standard deviation along each axis.
    radius_voxels
        Of the window around a particle; None for that of `window_for`.
    reports
        What is known of every average: ``title``, ``class``, ``label``, figures and ``doubts``.
    spectra
        One line per average and shell: ``average`` (its title), ``shell``, ``resolution_angstrom``,
        ``fsc`` and ``noise_power``; empty where they were not read.
    halves
        (2, a, e, e, e); empty where they were not read.
    """

    densities: NDArray[np.float32]
    optics: Optics
    defocus_known: bool
    tilt_error_angstrom: float
    radius_voxels: float | None
    reports: Sequence[dict[str, Any]]
    spectra: pd.DataFrame
    halves: NDArray[np.float32]

    @classmethod
    def read(
        cls,
        averages: Path,
        averages_record: Path,
        *,
        spectra: Path | None = None,
        halves: Sequence[Path] = (),
    ) -> "Averages":
        """Read what `write` wrote; spectra and half-sets only where they are asked for."""
        stack, record = Stack.open(averages), read_json(averages_record)
        microscope = Microscope(
            record["voltage_kv"], record["spherical_aberration_mm"], record["amplitude_contrast"]
        )
        return cls(
            densities=stack[:],
            optics=Optics(stack.voxel_size_angstrom, (_assumed(record),), microscope),
            defocus_known=record["defocus_known"],
            tilt_error_angstrom=record["tilt_error_angstrom"],
            radius_voxels=record["radius_voxels"],
            reports=record["averages"],
            spectra=_read_spectra(spectra) if spectra else pd.DataFrame(),
            halves=np.array([Stack.open(path)[:] for path in halves]),
        )

    def write(
        self,
        *,
        averages: Path,
        first_halves: Path,
        second_halves: Path,
        spectra: Path,
        averages_record: Path,
    ) -> None:
        """Write all five files."""
        size = {"voxel_size_angstrom": self.optics.voxel_size_angstrom}
        for path, maps in zip(
            (averages, first_halves, second_halves), (self.densities, *self.halves), strict=True
        ):
            write_stack(path, maps, **size)
        write_csv(spectra, self.spectra)
        (assumed,), microscope = self.optics.acquisitions, self.optics.microscope
        record = {
            "radius_voxels": self.radius_voxels,
            "defocus_known": self.defocus_known,
            "tilt_error_angstrom": self.tilt_error_angstrom,
            "where_not_stated": {
                "tilt_min_deg": assumed.tilts.first_deg,
                "tilt_max_deg": assumed.tilts.last_deg,
                "tilt_axis_deg": assumed.tilts.axis_deg,
                "ctf_state": assumed.ctf_state,
            },
            "voltage_kv": microscope.voltage_kv,
            "spherical_aberration_mm": microscope.spherical_aberration_mm,
            "amplitude_contrast": microscope.amplitude_contrast,
        }
        write_json(averages_record, {**record, "averages": list(self.reports)})

    @property
    def labels(self) -> NDArray[np.int64]:
        """(a + 1,) label of the class of every average by its number, from 1; 0 for none."""
        return np.array([0, *(report["label"] for report in self.reports)])

    def setup(
        self,
        acquisitions: Sequence[Acquisition],
        device: torch.device,
        weights: FourierWeights | None = None,
    ) -> Setup:
        """What alignment with these averages has to know, of volumes taken in some ways."""
        edge = self.densities.shape[-1]
        optics = replace(self.optics, acquisitions=tuple(acquisitions))
        return Setup(optics, window_for(edge, self.radius_voxels), device, weights)

    def imaging(self, particles: pd.DataFrame) -> tuple[Imaging, tuple[Acquisition, ...]]:
        """Read how every volume was imaged, and all ways in which tomograms were taken."""
        acquisitions, numbers = read_acquisitions(particles, *self.optics.acquisitions)
        defocus = read_defocus(particles) if self.defocus_known else None
        tomograms = tomogram_numbers(particles)
        group = weight_groups(tomograms, numbers)
        return Imaging(numbers, defocus, tomograms, group), acquisitions

    def average(self, index: int) -> Average:
        """One of the averages, as it was written: its particles are not known any more."""
        report, noise = self.reports[index], self.noise(index)
        return Average(
            density=self.densities[index],
            halves=self.halves[:, index],
            fsc=np.concatenate([[1.0], self.curve(index)["fsc"].to_numpy(dtype=float), [0.0]]),
            noise=np.concatenate([[noise[0]], noise]),
            shared_shell=report["shared_shell"],
            spread=report["spread_shells"],
            score=report["score_median"],
            movement_deg=report["last_turn_deg"],
            agreement=report["agreement_of_starts"],
            members=np.arange(report["volumes"]),
            split=_split([report["split_correlation"], report["split_stability"]]),
            apart=_split(report["apart"]) if report["apart"] else None,
        )

    def curve(self, index: int) -> pd.DataFrame:
        """The lines of the spectra of an average."""
        return self.spectra[self.spectra["average"] == self.reports[index]["title"]]

    def noise(self, index: int) -> NDArray[np.float64]:
        """Noise power (shells,) of the particles of an average, from shell 1 on."""
        return self.curve(index)["noise_power"].to_numpy(dtype=float)

    def relative(self, maps: NDArray) -> NDArray[np.float32]:
        """Densities (a, e, e, e) as `corrected`, 1 at the peak that they would have unblurred.

        Raises
        ------
        ValueError
            If an average holds nothing positive.
        """
        peaks = np.array([report["unblurred_peak"] for report in self.reports])
        if not (peaks > 0).all():
            title = self.reports[int(np.argmin(peaks))]["title"]
            raise ValueError(
                f"the average {title} holds no positive density: there is nothing to map back"
            )
        return (self.corrected(maps) / peaks[:, None, None, None]).astype(np.float32)

    @property
    def common_noise(self) -> NDArray[np.float64]:
        """Noise power (shells,) of the particles of all averages, from shell 1 on.

        Likelihoods of different averages can be compared under the same noise only.
        """
        return np.mean([self.noise(index) for index in range(len(self.reports))], axis=0)

    def corrected(self, maps: NDArray) -> NDArray[np.float32]:
        """Densities (a, e, e, e), low frequencies raised where contrast transfer was not undone."""
        if self.defocus_known:
            return maps
        size = self.optics.voxel_size_angstrom
        return np.stack([boosted(density, size) for density in maps])


def _split(figures: Sequence[float]) -> Split:
    """What dividing a class gave: correlation and stability; who is where is not known any more."""
    correlation, stability = figures
    return Split(correlation, stability, np.zeros(0, dtype=bool))


def _assumed(record: Mapping[str, Any]) -> Acquisition:
    """Return how volumes were taken whose table says nothing of it."""
    said = record["where_not_stated"]
    tilts = TiltRange(said["tilt_min_deg"], said["tilt_max_deg"], said["tilt_axis_deg"])
    return Acquisition(tilts, said["ctf_state"])


def spectra_table(
    titles: Sequence[str], averages: Sequence[Average], extent_angstrom: float
) -> pd.DataFrame:
    """One line per average and shell: FSC of the half-sets and noise power.

    Parameters
    ----------
    extent_angstrom
        Edge of the box in ångström.
    """
    tables = []
    for title, average in zip(titles, averages, strict=True):
        shells = np.arange(1, len(average.noise))
        columns = {
            "average": title,
            "shell": shells,
            "resolution_angstrom": np.round(extent_angstrom / shells, 2),
            "fsc": average.fsc[shells],
            "noise_power": average.noise[shells],
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables)


def _read_spectra(path: Path) -> pd.DataFrame:
    """Read what `spectra_table` made; titles are text."""
    return pd.read_csv(path, dtype={"average": str}, keep_default_na=False)
