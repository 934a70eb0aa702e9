"""Tomograms and positions in them -> boxes, their particle table and stacks."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.boxes import BOX_MULTIPLE
from civa.data.files import write_csv
from civa.data.findings import raise_errors
from civa.data.imaging import PICK_ERROR
from civa.data.particles import UNANNOTATED, read_particles, with_labels
from civa.data.stack import write_batches
from civa.data.volume import read_shape, standardize
from civa.inspection.inspection import rows_by
from civa.inspection.properties import DARK, read_properties, with_acquisition
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import Extent, number_columns
from civa.tomograms.boxes import Placed, check_box, cut_box, cut_instance
from civa.tomograms.names import by_name, files_of
from civa.tomograms.tomogram import Tomogram, read_extent, unpacked

logger = logging.getLogger(__name__)

EDGES = ("leave-out", "pad")
SAME_SIZE = 1e-3  # relative difference of voxel sizes that shifts no voxel of a box by a tenth


def run(
    positions: Path,
    tomograms: tuple[Path, ...],
    properties: Path,
    instances: tuple[Path, ...] = (),
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
    box_voxels: int = 32,
    voxel_size_angstrom: float | None = None,
    tomogram_voxel_size_angstrom: float | None = None,
    edges: str = "leave-out",
    whole_voxels: bool = False,
    pick_error_voxels: float = 2.0,
) -> None:
    """Cut a box around every position, at sub-voxel precision, with protein bright.

    With ``whole_voxels`` positions move to the nearest voxel of their tomogram: boxes then hold its
    own voxels, and masks fit its grid.  Otherwise, where the voxels of boxes are larger than a
    tomogram's, an anti-alias filter takes out what they cannot hold.  Voxel ``box_voxels // 2`` of
    a box lies at the position.

    Parameters
    ----------
    positions
        CSV table of the particles, a row each: id, class, tomogram, position in Å.
    tomograms
        Tomograms that the table names, MRC of any mode; also compressed.
    properties
        CSV table of the tomograms, as the stage `measure-tomograms` writes it.
    instances
        Whose each voxel is, MRC of labels, named like the tomograms: the number of a particle in
        its list, 0 for nobody's.  Ground truth, where it is known.
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 throughout where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label, tomogram, position in Å; range and
        axis of the tilts, and CTF state where it is known; how far picks may be off.
    """
    if edges not in EDGES:
        raise ValueError(f"edges must be one of {EDGES} (got '{edges}')")
    if box_voxels % BOX_MULTIPLE:
        raise ValueError(f"box_voxels is {box_voxels}: expected a multiple of {BOX_MULTIPLE}")
    listed = read_particles(positions)
    files = files_of(positions, listed, tomograms)
    extents = {name: read_extent(p, tomogram_voxel_size_angstrom) for name, p in files.items()}
    truths = _truths(instances, extents)
    if truths and listed["list"].nunique() > listed["tomogram"].nunique():
        raise ValueError(
            f"{positions}: a tomogram has several lists, so that the numbers of their particles do "
            "not tell whose a voxel is: give one list per tomogram, or no instances"
        )
    size = voxel_size_angstrom or extents[listed["tomogram"].iloc[0]].voxel_size_angstrom
    if whole_voxels:
        listed = _on_voxels(positions, listed, extents, size)
    elif truths:
        logger.warning(
            "boxes are cut between voxels, where masks of whole voxels are interpolated: the best "
            "mask agrees with them by 0.8 to 0.9 (docs/log.md); set extract.whole_voxels"
        )
    kept = _inside(positions, listed, extents, box_voxels, size, pad=edges == "pad")
    table = with_labels(listed[kept].reset_index(drop=True))
    _check_classes(listed, table)
    known = read_properties(properties, listed["tomogram"].unique())
    shape = (len(table), *(box_voxels,) * 3)
    unknown = np.full((1, *shape[1:]), UNANNOTATED, dtype=np.int8)
    with (
        write_batches(volumes, shape, np.float32, voxel_size_angstrom=size) as boxes,
        write_batches(masks, shape, np.int8, voxel_size_angstrom=size) as labels,
    ):
        for name, rows in rows_by(table, "tomogram").items():
            with contextlib.ExitStack() as opening:
                plain = opening.enter_context(unpacked(files[name], volumes.parent))
                opened = Tomogram.open(plain, voxel_size_angstrom=tomogram_voxel_size_angstrom)
                sign = -1 if known[name]["contrast"] == DARK else 1
                centres = _centres(positions, table.iloc[rows], opened.voxel_size_angstrom)
                truth = None
                if name in truths:
                    plain = opening.enter_context(unpacked(truths[name], volumes.parent))
                    truth = Tomogram.open(plain, voxel_size_angstrom=opened.voxel_size_angstrom)
                for row, centre in zip(rows, centres, strict=True):
                    cut = cut_box(opened, centre, box_voxels, size)
                    raise_errors(check_box(files[name], str(table["id"].iloc[row]), cut))
                    boxes[row : row + 1] = sign * standardize(cut[None])
                    labels[row : row + 1] = (
                        unknown
                        if truth is None
                        else _labelled(truth, table.iloc[row], centre, unknown, size)
                    )
    table = with_acquisition(table, table["tomogram"].tolist(), known)
    write_csv(particles, table.assign(**{PICK_ERROR: pick_error_voxels}))


def _labelled(
    truth: Tomogram,
    particle: pd.Series,
    centre: NDArray[np.float64],
    unknown: NDArray[np.int8],
    size: float,
) -> NDArray[np.int8]:
    """Return the labels (1, d, h, w) of a particle's box; ``unknown`` of a place without one."""
    if not particle["number"]:
        return unknown
    inside = cut_instance(truth, int(particle["number"]), centre, unknown.shape[-1], size)
    return np.where(inside, particle["label"], 0).astype(np.int8)[None]


def _truths(instances: Sequence[Path], extents: Mapping[str, Extent]) -> dict[str, Path]:
    """Return the map of instances of every tomogram that has one.

    Raises
    ------
    ValueError
        If one is of no tomogram, or has another shape than its tomogram.
    """
    found = by_name(instances)
    for name, path in found.items():
        if name not in extents:
            raise ValueError(
                f"{path} is named like no tomogram of the lists, which are {sorted(extents)[:5]}: "
                "name maps of instances like their tomograms"
            )
        shape = read_shape(path)
        expected = tuple(extents[name].voxels[::-1].tolist())
        if shape != expected:
            raise ValueError(f"{path} has {shape} voxels: expected {expected}, as its tomogram")
    return found


def _check_classes(listed: pd.DataFrame, table: pd.DataFrame) -> None:
    """Stop where a class has no box left."""
    lost = sorted(set(listed["class"]) - set(table["class"]))
    if lost:
        raise ValueError(
            f"no box of the classes {lost} lies within a tomogram: choose a smaller box, or edges: "
            "pad, or leave the classes out"
        )


def _on_voxels(
    positions: Path, listed: pd.DataFrame, extents: Mapping[str, Extent], size: float
) -> pd.DataFrame:
    """Move positions to the nearest voxel of their tomograms.

    Raises
    ------
    ValueError
        If boxes have voxels of another size than a tomogram.
    """
    moved = np.array(number_columns(positions, listed, ANGSTROM))  # (n, 3)
    for name, rows in rows_by(listed, "tomogram").items():
        voxel = extents[name].voxel_size_angstrom
        if not np.isclose(size, voxel, rtol=SAME_SIZE):
            raise ValueError(
                f"whole_voxels asks for the tomogram's own voxels, but boxes have {size:g} Å and "
                f"'{name}' has {voxel:g} Å: leave out voxel_size_angstrom, or whole_voxels"
            )
        moved[rows] = voxel * np.rint(moved[rows] / voxel)
    return listed.assign(**dict(zip(ANGSTROM, moved.T, strict=True)))


def _centres(positions: Path, table: pd.DataFrame, voxel_size_angstrom: float) -> NDArray:
    """Positions (n, 3) z, y, x in voxels of a tomogram."""
    return number_columns(positions, table, ANGSTROM)[:, ::-1] / voxel_size_angstrom


def _inside(
    positions: Path,
    listed: pd.DataFrame,
    extents: Mapping[str, Extent],
    box_voxels: int,
    size: float,
    *,
    pad: bool,
) -> NDArray[np.bool_]:
    """Tell (n,) which boxes are to be cut: whole ones, or all whose middle lies inside.

    Raises
    ------
    ValueError
        If most positions of a tomogram lie outside of it: their frame or unit is another.
    """
    inside, kept = np.zeros(len(listed), dtype=bool), np.zeros(len(listed), dtype=bool)
    for name, rows in rows_by(listed, "tomogram").items():
        extent = extents[name]
        angstrom = number_columns(positions, listed.iloc[rows], ANGSTROM)
        placed = Placed.of(angstrom, extent, box_voxels, size)
        inside[rows], kept[rows] = placed.inside, placed.kept(pad=pad)
        if placed.mostly_outside:
            raise ValueError(
                f"{(~placed.inside).sum()} of {len(rows)} positions lie outside of the tomogram "
                f"'{name}' of {extent.voxels.tolist()} voxels of {extent.voxel_size_angstrom:g} Å, "
                f"as {placed.one_outside} (x, y, z): their unit or frame is another; see "
                f"{positions} and list_voxel_size_angstrom"
            )
    logger.info("%d boxes of %d^3 voxels of %g Å", kept.sum(), box_voxels, size)
    if not inside.all():
        logger.warning("%d positions lie outside of their tomogram: left out", (~inside).sum())
    if (beyond := int((inside & ~kept).sum())) > 0:
        logger.warning(
            "%d boxes reach beyond their tomogram and are left out (to pad them: edges: pad)",
            beyond,
        )
    return kept
