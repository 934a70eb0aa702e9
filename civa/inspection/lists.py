"""Particle lists and their tomograms: does every position lie where a particle can be?"""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.findings import Finding, Severity
from civa.data.volume import standardize
from civa.inspection.acquisition import Observed, Stated
from civa.inspection.boxes import check_counts, turn_bright
from civa.inspection.geometry import measure_geometry
from civa.inspection.inspection import EXAMPLES, Inspection, TomogramView, rows_by, spread_rows
from civa.inspection.properties import check_acquisition
from civa.particle_lists.coordinates_csv import ANGSTROM
from civa.particle_lists.particle_list import Extent
from civa.tomograms.boxes import Placed, check_box, cut_box
from civa.tomograms.positions import SAME_PLACE_ANGSTROM, same_places
from civa.tomograms.tilt_angles import TiltSeries, match_tilt_files, read_tilt_series
from civa.tomograms.tomogram import Tomogram, read_extent, unpacked

VIEWS = 3  # tomograms in a picture
PLANES = 5  # of a slice: their mean shows particles that one hides in noise
MOST_BEYOND = 0.1  # share of boxes that are left out without a warning
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
    stated, tilt_files
        How tomograms were taken, and files that say it.
    """

    box_voxels: int = 32
    voxel_size_angstrom: float | None = None
    tomogram_voxel_size_angstrom: float | None = None
    stated: Stated = field(default_factory=Stated)
    tilt_files: Sequence[Path] = ()
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
    sizes = sorted({extent.voxel_size_angstrom for extent in extents.values()})
    if len(sizes) > 1:
        value = f"the tomograms have voxels of {', '.join(f'{one:g}' for one in sizes)} Å"
        remedy = f"their boxes are all resampled to {size:g} Å (another: voxel_size_angstrom)"
        found.findings.append(Finding("advice", source, value, "", remedy))
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
    found.volumes = len(cut)
    found.summary = (
        f"{len(table)} particles in {len(files)} tomogram{'s' * (len(files) > 1)}, "
        f"{len(cut)} boxes of {cutting.box_voxels}³ at {size:g} Å, {len(counts)} classes "
        f"({', '.join(f'{name} {count}' for name, count in counts.items())})"
    )
    sources = cut.groupby("class", sort=False)["tomogram"].nunique().sort_values()
    few, of_class = (int(sources.iloc[0]), sources.index[0]) if len(sources) else (PARTS, "")
    if few < PARTS:
        several = "one tomogram" if few == 1 else f"{few} tomograms"
        whose = "all classes" if len(files) < PARTS else f"class '{of_class}'"
        value = f"the particles of {whose} come from {several}"
        expected = f"{PARTS} or more, so that training, validation and test share none"
        remedy = "scores will be flattering, since boxes of one tomogram are in all parts"
        found.findings.append(Finding("warning", source, value, expected, remedy))
    series, wrong = _tilt_series(source, files, cutting.tilt_files)
    found.findings += wrong
    _Look(found, source, cut, files, extents, series, cutting, size).run(folder, deep=deep)
    return found


def _tilt_series(
    source: Path, files: dict[str, Path], tilt_files: Sequence[Path]
) -> tuple[dict[str, TiltSeries], list[Finding]]:
    """Read the tilt series of every tomogram; return what could be read, and what is wrong."""
    series, findings = dict[str, TiltSeries](), list[Finding]()
    for name in files:
        try:
            told = match_tilt_files([name], tilt_files)
            series |= {of: read_tilt_series(file) for of, file in told.items()}
        except ValueError as error:
            findings.append(Finding("error", source, str(error)))
    return series, findings


def _positions(
    found: Inspection,
    source: Path,
    table: pd.DataFrame,
    extent: Extent,
    cutting: Cutting,
    size: float,
) -> NDArray[np.bool_]:
    """Tell (n,) whose boxes are cut from one tomogram; keep what is wrong with the others."""
    angstrom = table[ANGSTROM].to_numpy(dtype=np.float64)
    placed = Placed.of(angstrom, extent, cutting.box_voxels, size)
    inside = placed.inside
    name = str(table["tomogram"].iloc[0])
    if not inside.all():
        severity: Severity = "error" if placed.mostly_outside else "warning"
        value = (
            f"{(~inside).sum()} of {len(table)} positions lie outside of tomogram '{name}', such "
            f"as {placed.one_outside} (x, y, z in voxels)"
        )
        expected = f"within {extent.voxels.tolist()} voxels of {extent.voxel_size_angstrom:g} Å"
        remedy = "state list_voxel_size_angstrom, or give the tomogram that was picked in"
        first = table[~inside].iloc[0]
        at = source / str(first["list"]) if "list" in table and source.is_dir() else source
        found.findings.append(Finding(severity, at, value, expected, remedy, id=str(first["id"])))
    if (beyond := int((inside & ~placed.whole).sum())) > 0:
        value = f"{beyond} of {len(table)} boxes reach beyond tomogram '{name}'"
        what = "they are padded" if cutting.pad else "they are left out (edges: pad keeps them)"
        severity = "warning" if beyond > MOST_BEYOND * len(table) and not cutting.pad else "advice"
        if beyond > len(table) / 2:
            what += "; so many are a sign of a wrong unit, state list_voxel_size_angstrom"
        found.findings.append(Finding(severity, source, value, "", what))
    return placed.kept(pad=cutting.pad)


def _twice(source: Path, table: pd.DataFrame) -> list[Finding]:
    """Find particles that are listed twice, and places that two classes claim."""
    findings = []
    for name, rows in rows_by(table, "tomogram").items():
        some = table.iloc[rows]
        places = some[ANGSTROM].to_numpy(dtype=np.float64)
        pairs = same_places(places)
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


@dataclass(frozen=True)
class _Look:
    """A look at the voxels: some boxes of every class, and slices of a few tomograms.

    Attributes
    ----------
    table
        The particles whose boxes are to be cut.
    size
        Edge of a box's voxels, Å.
    """

    found: Inspection
    source: Path
    table: pd.DataFrame
    files: dict[str, Path]
    extents: dict[str, Extent]
    series: dict[str, TiltSeries]
    cutting: Cutting
    size: float

    def run(self, folder: Path | None, *, deep: bool) -> None:
        """Look at all boxes, or at those that are shown; keep what is wrong, boxes and slices."""
        classes = rows_by(self.table, "class").values()
        shown = {row for rows in classes for row in spread_rows(rows.tolist(), EXAMPLES)}
        boxes: dict[str, list[NDArray[np.float32]]] = {}
        for number, (name, rows) in enumerate(rows_by(self.table, "tomogram").items()):
            some = [row for row in rows.tolist() if deep or row in shown]
            if not some and number >= VIEWS:
                continue
            with contextlib.ExitStack() as opening:
                try:
                    opened = self._opened(opening, name, folder or Path(tempfile.gettempdir()))
                except ValueError as error:
                    self.found.findings.append(Finding("error", self.files[name], str(error)))
                    continue
                for row in some:
                    box = self._box(opened, name, row)
                    if box is not None and row in shown:
                        boxes.setdefault(str(self.table["class"].iloc[row]), []).append(box)
                if number < VIEWS:
                    self._tilts(name, opened)
                    self._view(name, opened, rows)
        examples = {name: np.stack(some) for name, some in boxes.items()}
        turn_bright(self.source, self.found, examples, self.cutting.stated.invert_contrast)

    def _opened(self, opening: contextlib.ExitStack, name: str, room: Path) -> Tomogram:
        plain = opening.enter_context(unpacked(self.files[name], room))
        voxel = self.extents[name].voxel_size_angstrom
        return Tomogram.open(plain, voxel_size_angstrom=voxel)

    def _centres(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Centres (n, 3) z, y, x in voxels of a tomogram."""
        voxel = self.extents[name].voxel_size_angstrom
        places = self.table[ANGSTROM].iloc[rows].to_numpy(dtype=np.float64)
        return np.asarray(places[:, ::-1] / voxel)

    def _box(self, opened: Tomogram, name: str, row: int) -> NDArray[np.float32] | None:
        """Return a box, mean 0 and standard deviation 1, or None where something is wrong."""
        centre = self._centres(name, np.array([row]))[0]
        box = cut_box(opened, centre, self.cutting.box_voxels, self.size)
        wrong = check_box(self.files[name], str(self.table["id"].iloc[row]), box)
        self.found.findings += wrong
        return None if wrong else standardize(box[None])[0]

    def _tilts(self, name: str, opened: Tomogram) -> None:
        """Compare the tilts that a tomogram's voxels show with what is said of them."""
        if self.cutting.tilt_files and name not in self.series:
            return  # what is wrong with its file is said already
        observed = Observed(
            name=name,
            voxel_size_angstrom=opened.voxel_size_angstrom,
            labels=opened.labels,
            geometry=measure_geometry(opened),
            series=self.series.get(name),
        )
        file = self.files[name]
        self.found.findings += check_acquisition(file, observed, self.cutting.stated)

    def _view(self, name: str, opened: Tomogram, rows: NDArray[np.int64]) -> None:
        edge = self.cutting.box_voxels * self.size / opened.voxel_size_angstrom
        classes = self.table["class"].to_numpy(dtype=np.str_)[rows]
        self.found.views.append(_view(name, opened, self._centres(name, rows), classes, edge))


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
