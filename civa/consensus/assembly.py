"""Averages of all classes, as they are kept: densities, half-sets, spectra and what is known."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from civa.consensus.averages import Averages, spectra_table
from civa.consensus.averaging import Average, of_whole
from civa.consensus.contour import find_contour, transfer_of
from civa.consensus.diagnostics import report
from civa.consensus.subtomograms import Setup
from civa.data.imaging import Acquisition

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Titled:
    """An average and what it is of.

    Attributes
    ----------
    title
        Its own name.
    name, label
        Of its class.
    of
        Number of volumes of the class.
    """

    title: str
    name: str
    label: int
    of: int
    average: Average


@dataclass(frozen=True)
class Known:
    """What is known of how volumes were imaged, and assumed where it is not.

    Attributes
    ----------
    assumed
        How volumes were taken of which the particle table says nothing.
    radius_voxels
        Of the window around a particle; None for the usual one.
    defocus_known
        Whether contrast transfer is corrected volume by volume.
    tilt_error_angstrom
        What the alignment of tilts left.
    """

    assumed: Acquisition
    radius_voxels: float | None
    defocus_known: bool
    tilt_error_angstrom: float


def assemble(titled: Sequence[Titled], setup: Setup, known: Known) -> Averages:
    """Bring averages together, each with what is known of it; warns of what speaks against one."""
    found = [one.average for one in titled]
    product = Averages(
        densities=np.stack([average.density for average in found]),
        optics=replace(setup.optics, acquisitions=(known.assumed,)),
        defocus_known=known.defocus_known,
        tilt_error_angstrom=known.tilt_error_angstrom,
        radius_voxels=known.radius_voxels,
        reports=[_report(one, setup) for one in titled],
        spectra=spectra_table([one.title for one in titled], found, setup.extent_angstrom),
        halves=np.stack([average.halves for average in found], axis=1),  # (2, a, e, e, e)
    )
    size = setup.optics.voxel_size_angstrom
    for line, density, average in zip(
        product.reports, product.corrected(product.densities), found, strict=True
    ):
        held = transfer_of(of_whole(average.fsc), size, known.tilt_error_angstrom)
        contour = find_contour(density, held)
        line |= {
            "contour_of_peak": contour.share,
            "unblurred_peak": contour.unblurred_peak(density),
            "agreement_at_resolution": round(contour.agreement, 3),
        }
    return product


def _report(one: Titled, setup: Setup) -> dict[str, object]:
    found = report(one.average, setup, of=one.of)
    for doubt in cast("list[str]", found["doubts"]):
        logger.warning("average %s: %s", one.title, doubt)
    return {"title": one.title, "class": one.name, "label": one.label, **found}
