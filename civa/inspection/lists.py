"""Particle lists and their tomograms: does every position lie where a particle can be?"""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from civa.data.findings import Finding, Severity
from civa.data.volume import standardize
from civa.inspection.boxes import check_contrast, check_counts
from civa.inspection.geometry import measure_geometry
from civa.inspection.inspection import EXAMPLES, Inspection, TomogramView, rows_by, spread_rows
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import Extent
from civa.tomograms.boxes import MOST_INSIDE, check_box, cut_box, lie_inside
from civa.tomograms.tomogram import Tomogram, read_extent, unpacked

SAME_PLACE_ANGSTROM = 20.0  # particles nearer than this are one, listed twice
VIEWS = 3  # tomograms in a picture
PLANES = 5  # of a slice: their mean shows particles that one hides in noise
AXIS_TOLERANCE_DEG = 10  # of the tilt axis: the wedge that averaging assumes is off by as much
PARTS = 3  # of a split: each needs a tomogram of its own


@dataclass(frozen=True)
class Cutting:
    """How boxes are to be cut.

    Attributes
    ----------
    box_voxels, voxel_size_angstrom
        Of a box; the voxel size of the first tomogram where it is None.
    tomogram_voxel_size_angstrom
        Overrides the headers.
    """

    box_voxels: int = 32
    voxel_size_angstrom: float | None = None
    tomogram_voxel_size_angstrom: float | None = None
    invert_contrast: bool = False
    pad: bool = False


def inspect_positions(
    source: Path,
    table: pd.DataFrame,
    files: dict[str, Path],
    cutting: Cutting,
    *,
    fractions: Sequence[float],
    folder: Path | None = None,
    deep: bool = False,
) -> Inspection:
    """Look at positions in tomograms, and at some of the boxes that will be cut there.

    Parameters
    ----------
    source
        The particle list, for messages.
    table
        Particles as the stage `list-particles` writes them.
    files
        Name of a tomogram in the table -> its file.
    folder
        Where compressed tomograms are unpacked for a while; the system's own if left out.
    deep
        Look at the voxels of all boxes, not of some of each class.
    """
    found = Inspection()
    extents: dict[str, Extent] = {}
    for name, file in files.items():
        try:
            extents[name] = read_extent(file, cutting.tomogram_voxel_size_angstrom)
        except ValueError as error:
            found.findings.append(Finding("error", file, str(error)))
    if len(extents) < len(files):
        return found
    first = extents[str(table["tomogram"].iloc[0])]
    size = cutting.voxel_size_angstrom or first.voxel_size_angstrom
    kept = np.zeros(len(table), dtype=bool)
    for name, rows in rows_by(table, "tomogram").items():
        kept[rows] = _positions(found, source, table.iloc[rows], extents[name], cutting, size)
    found.findings += _twice(source, table)
    cut = table[kept]
    if cut.empty:
        value = f"no box of {cutting.box_voxels} voxels of {size:g} Å fits into a tomogram"
        remedy = "choose a smaller box, or edges: pad"
        found.findings.append(Finding("error", source, value, "", remedy))
    else:
        found.findings += check_counts(source, cut["class"], fractions)
        lost = sorted(set(table["class"]) - set(cut["class"]))
        if lost:
            value = f"no box of the classes {lost} lies within a tomogram"
            remedy = "choose a smaller box, or edges: pad, or leave the classes out"
            found.findings.append(Finding("error", source, value, "", remedy))
    counts = cut["class"].value_counts(sort=False)
    found.summary = (
        f"{len(table)} particles in {len(files)} tomogram{'s' * (len(files) > 1)}, "
        f"{len(cut)} boxes of {cutting.box_voxels}³ at {size:g} Å, {len(counts)} classes "
        f"({', '.join(f'{name} {count}' for name, count in counts.items())})"
    )
    sources = cut.groupby("class", sort=False)["tomogram"].nunique().sort_values()
    few, of_class = (int(sources.iloc[0]), sources.index[0]) if len(sources) else (PARTS, "")
    if few < PARTS:
        several = "one tomogram" if few == 1 else f"{few} tomograms"
        value = f"the particles of class '{of_class}' come from {several}"
        expected = f"{PARTS} or more, so that training, validation and test share none"
        remedy = "scores will be flattering, since boxes of one tomogram are in all parts"
        found.findings.append(Finding("warning", source, value, expected, remedy))
    _look(found, source, cut, files, extents, cutting, size, folder, deep=deep)
    found.findings += check_contrast(source, found, invert_contrast=cutting.invert_contrast)
    return found


def _positions(
    found: Inspection,
    source: Path,
    table: pd.DataFrame,
    extent: Extent,
    cutting: Cutting,
    size: float,
) -> NDArray[np.bool_]:
    """Tell (n,) whose boxes are cut from one tomogram; keep what is wrong with the others."""
    voxel, shape = extent.voxel_size_angstrom, extent.voxels[::-1]
    centres = table[ANGSTROM].to_numpy(dtype=np.float64)[:, ::-1] / voxel
    inside = lie_inside(centres, shape, 1, 1.0)
    whole = lie_inside(centres, shape, cutting.box_voxels, size / voxel)
    name = str(table["tomogram"].iloc[0])
    if not inside.all():
        outside = centres[~inside][0, ::-1].round(1).tolist()
        severity: Severity = "error" if inside.mean() < MOST_INSIDE else "warning"
        value = (
            f"{(~inside).sum()} of {len(table)} positions lie outside of tomogram '{name}', such "
            f"as {outside} (x, y, z in voxels)"
        )
        expected = f"within {extent.voxels.tolist()} voxels of {voxel:g} Å"
        remedy = "state list_voxel_size_angstrom, or give the tomogram that was picked in"
        first = table[~inside].iloc[0]
        at = source.with_name(str(first["list"])) if "list" in table else source
        found.findings.append(Finding(severity, at, value, expected, remedy, id=str(first["id"])))
    if not (whole | ~inside).all():
        value = f"{(inside & ~whole).sum()} boxes reach beyond tomogram '{name}'"
        what = "they are padded" if cutting.pad else "they are left out (edges: pad keeps them)"
        found.findings.append(Finding("advice", source, value, "", what))
    return inside if cutting.pad else whole


def _twice(source: Path, table: pd.DataFrame) -> list[Finding]:
    """Find particles that are listed twice, and places that two classes claim."""
    findings = []
    for name, rows in rows_by(table, "tomogram").items():
        some = table.iloc[rows]
        places = some[ANGSTROM].to_numpy(dtype=np.float64)
        pairs = KDTree(places).query_pairs(SAME_PLACE_ANGSTROM, output_type="ndarray")
        if not len(pairs):
            continue
        ids, classes = some["id"].to_numpy(), some["class"].to_numpy()
        differ = classes[pairs[:, 0]] != classes[pairs[:, 1]]
        for of, what in ((~differ, "are listed twice"), (differ, "are of two classes")):
            if of.any():
                one, other = ids[pairs[of][0]]
                value = (
                    f"{of.sum()} particles of tomogram '{name}' {what}: '{one}' and '{other}' lie "
                    f"within {SAME_PLACE_ANGSTROM:g} Å"
                )
                remedy = "list every particle once, with one class"
                findings.append(Finding("warning", source, value, "", remedy))
    return findings


def _geometry(source: Path, name: str, opened: Tomogram) -> Finding:
    """Say how a tomogram was tilted, as its voxels show it."""
    geometry = measure_geometry(opened)
    if not geometry.is_known:
        value = f"tomogram '{name}' is too small or too empty to measure its tilts"
        return Finding("advice", source, value)
    if not geometry.is_measured:
        value = (
            f"tomogram '{name}' has no missing wedge (power there {geometry.emptiness:.2f} of "
            "the rest)"
        )
        remedy = "give the raw or CTF-corrected tomogram, not one that was denoised or filled"
        return Finding("warning", source, value, "", remedy)
    first, last = geometry.tilts_deg
    value = (
        f"tomogram '{name}' was tilted from {first:.0f} to {last:.0f}° about an axis "
        f"{geometry.axis_deg:.0f}° from y (measured, to 3°)"
    )
    if abs(geometry.axis_deg) > AXIS_TOLERANCE_DEG:
        remedy = "averaging takes the axis for y: turn the tomogram and its list"
        return Finding("warning", source, value, "an axis along y", remedy)
    remedy = f"set average.max_tilt_deg: {min(abs(first), abs(last)):.0f}, if it is not stated"
    return Finding("advice", source, value, "", remedy)


def _look(
    found: Inspection,
    source: Path,
    table: pd.DataFrame,
    files: dict[str, Path],
    extents: dict[str, Extent],
    cutting: Cutting,
    size: float,
    folder: Path | None,
    *,
    deep: bool,
) -> None:
    """Cut some boxes of every class, and slices of a few tomograms with their particles."""
    shown = {
        row
        for rows in rows_by(table, "class").values()
        for row in spread_rows(rows.tolist(), EXAMPLES)
    }
    boxes: dict[str, list[NDArray[np.float32]]] = {}
    for number, (name, rows) in enumerate(rows_by(table, "tomogram").items()):
        some = [row for row in rows.tolist() if deep or row in shown]
        if not some and number >= VIEWS:
            continue
        voxel = extents[name].voxel_size_angstrom
        centres = table[ANGSTROM].to_numpy(dtype=np.float64)[:, ::-1] / voxel
        with contextlib.ExitStack() as opening:
            try:
                room = folder or Path(tempfile.gettempdir())
                plain = opening.enter_context(unpacked(files[name], room))
                opened = Tomogram.open(plain, voxel_size_angstrom=voxel)
            except ValueError as error:
                found.findings.append(Finding("error", files[name], str(error)))
                continue
            for row in some:
                box = cut_box(opened, centres[row], cutting.box_voxels, size)
                wrong = check_box(files[name], str(table["id"].iloc[row]), box)
                found.findings += wrong
                if wrong or row not in shown:
                    continue
                box = standardize(box[None])[0]
                boxes.setdefault(str(table["class"].iloc[row]), []).append(
                    -box if cutting.invert_contrast else box
                )
            if number < VIEWS:
                found.findings.append(_geometry(source, name, opened))
                edge = cutting.box_voxels * size / voxel
                classes = table["class"].to_numpy(dtype=np.str_)[rows]
                found.views.append(_view(name, opened, centres[rows], classes, edge))
    found.examples = {name: np.stack(some) for name, some in boxes.items()}


def _view(
    name: str, opened: Tomogram, centres: NDArray, classes: NDArray[np.str_], edge: float
) -> TomogramView:
    """Return the slice of a tomogram that most boxes cross in their middle half."""
    depth, height, width = opened.shape
    near = np.abs(centres[:, 0][None] - np.arange(depth)[:, None]) <= edge / 4  # (d, m)
    z = int(near.sum(axis=1).argmax())
    start = max(0, min(z - PLANES // 2, depth - PLANES))
    slab = opened.window(
        np.array([start, 0, 0]), np.array([min(start + PLANES, depth), height, width])
    )
    return TomogramView(
        name=name,
        image=slab.mean(axis=0),
        z_voxel=z,
        places=centres[near[z]][:, :0:-1],  # x, y
        classes=classes[near[z]],
        edge=edge,
    )
