"""Tomograms and positions in them -> how each tomogram was taken, and what was done to it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.data.findings import raise_errors
from civa.data.particles import read_particles
from civa.inspection.acquisition import SAMPLE, MeanBox, Observed, stated_of
from civa.inspection.geometry import measure_geometry
from civa.inspection.gold import state_from_gold
from civa.inspection.inspection import rows_by, spread_rows
from civa.inspection.properties import (
    as_table,
    ask_for_contrast,
    properties_of_all,
    tilts_of,
)
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import number_columns
from civa.tomograms.boxes import Placed, check_box, cut_box
from civa.tomograms.empty_places import EMPTY
from civa.tomograms.names import files_of
from civa.tomograms.tilt_angles import match_tilt_files, read_tilt_series
from civa.tomograms.tomogram import Tomogram, unpacked


def run(
    positions: Path,
    tomograms: tuple[Path, ...],
    tilt_files: tuple[Path, ...] = (),
    *,
    out: Path,
    box_voxels: int = 32,
    voxel_size_angstrom: float | None = None,
    tomogram_voxel_size_angstrom: float | None = None,
    tilt_range_deg: tuple[float, ...] = (),
    tilt_axis_deg: float | None = None,
    ctf_state: str | None = None,
    invert_contrast: bool | None = None,
) -> None:
    """Tell tilt range, tilt axis, contrast, voxel size and CTF state of every tomogram.

    What is stated goes before what a file says, that before what voxels show; the table says which
    it was, and how far to trust it.

    Parameters
    ----------
    positions
        CSV table of the particles, a row each: id, class, tomogram, position in Å.
    tomograms
        Tomograms that the table names, MRC of any mode; also compressed.
    tilt_files
        Tilt angles, a file per tomogram and named like it: .tlt, .rawtlt, .mdoc, .star, .tomostar.
    out
        CSV table of the tomograms, a row per quantity: value, source, confidence.
    """
    stated = stated_of(tilt_range_deg, tilt_axis_deg, ctf_state, invert_contrast)
    listed = read_particles(positions)
    files = files_of(positions, listed, tomograms)
    told = match_tilt_files(files, tilt_files)
    size = voxel_size_angstrom
    observed, everywhere = list[Observed](), MeanBox(box_voxels)
    for name, rows in rows_by(listed, "tomogram").items():
        with unpacked(files[name], out.parent) as plain:
            opened = Tomogram.open(plain, voxel_size_angstrom=tomogram_voxel_size_angstrom)
            size = size or opened.voxel_size_angstrom  # that of the first, as boxes have it
            own = MeanBox(box_voxels)
            for identity, centre in _sample(positions, listed.iloc[rows], opened, box_voxels, size):
                box = cut_box(opened, centre, box_voxels, size)
                raise_errors(check_box(files[name], identity, box))
                own.add(box)
            seen = Observed(
                name=name,
                voxel_size_angstrom=opened.voxel_size_angstrom,
                labels=opened.labels,
                geometry=measure_geometry(opened),
                contrast=own.contrast,
                series=read_tilt_series(told[name]) if name in told else None,
            )
            gold = state_from_gold(opened, tilts_of(seen, stated))
        everywhere += own
        observed.append(replace(seen, gold=gold))
    is_stated = tomogram_voxel_size_angstrom is not None
    known = properties_of_all(
        positions, observed, stated, everywhere.contrast, voxel_size_stated=is_stated
    )
    ask_for_contrast(known)
    write_csv(out, as_table(known))


def _sample(
    positions: Path, listed: pd.DataFrame, opened: Tomogram, box_voxels: int, size: float
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield ids and centres (3,) z, y, x in voxels of some boxes that lie within a tomogram."""
    angstrom = number_columns(positions, listed, ANGSTROM)
    placed = Placed.of(angstrom, opened.extent, box_voxels, size)
    rows = np.flatnonzero(placed.whole & (listed["class"] != EMPTY).to_numpy())
    for row in spread_rows(rows.tolist(), SAMPLE):
        yield str(listed["id"].iloc[row]), placed.centres[row]
