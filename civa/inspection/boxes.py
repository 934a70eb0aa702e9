"""A table of boxes: is every box, mask and number what it should be?"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.boxes import Boxes
from civa.data.findings import Finding, FindingError
from civa.data.own_table import check_own_table
from civa.data.split import split_counts
from civa.data.volume import standardize
from civa.inspection.acquisition import MeanBox, Observed, Stated, check_stated_once
from civa.inspection.contrast import TELLING, Contrast, contrast_of
from civa.inspection.inspection import EXAMPLES, Inspection, spread_rows
from civa.inspection.properties import check_acquisition
from civa.tomograms.empty_places import EMPTY


def inspect_boxes(
    table: Path,
    *,
    fractions: Sequence[float],
    voxel_size_angstrom: float | None = None,
    box_voxels: int | None = None,
    stated: Stated | None = None,
    deep: bool = False,
) -> Inspection:
    """Look at all that a table of boxes names: every header, and the voxels of some or all.

    Parameters
    ----------
    fractions
        Shares of training, validation and test, which every class must reach.
    voxel_size_angstrom, box_voxels, stated
        As the import is told.
    deep
        Read the voxels of all boxes and masks, not of some of each class.
    """
    found = Inspection()
    try:
        rows, findings = check_own_table(table)
    except FindingError as error:
        found.findings.append(error.finding)
        return found
    found.findings += findings
    if "path" not in rows or "class" not in rows:
        return found
    found.findings += check_counts(table, rows["class"], fractions)
    source = Boxes(table, rows, voxel_size_angstrom, box_voxels)
    there = [number for number in range(len(rows)) if _tried(found, source.geometry, number)]
    if not there:
        return found
    source.first = there[0]
    readable = [number for number in there if _tried(found, source.check_geometry, number)]
    examples, masks = _read(found, source, rows, readable, deep=deep)
    counts = rows["class"].value_counts(sort=False)
    found.volumes = len(rows)
    found.summary = (
        f"{len(rows)} volumes, {len(counts)} classes ({', '.join(map(str, counts))}), "
        f"{source.edge}³ at {source.stored.voxel_size_angstrom:g} Å, {masks} with masks"
    )
    stated = stated or Stated()
    turn_bright(table, found, examples, stated.invert_contrast)
    try:
        check_stated_once(rows, stated)
    except ValueError as error:
        found.findings.append(Finding("error", table, str(error)))
        return found
    if source.edge <= source.stored.edge:  # padded boxes show the edge of what was padded
        mean = MeanBox(source.edge)
        for box in (box for some in examples.values() for box in some):
            mean.add(box)
        observed = Observed("of the boxes", source.stored.voxel_size_angstrom, mean.geometry)
        found.findings += check_acquisition(table, observed, stated)
    return found


def check_counts(path: Path, classes: pd.Series, fractions: Sequence[float]) -> list[Finding]:
    """Tell which classes are too small to be split, and whether there is one only."""
    findings = []
    for name, count in classes.value_counts(sort=False).items():
        try:
            split_counts(int(count), fractions, name=str(name))
        except ValueError as error:
            findings.append(Finding("error", path, str(error)))
    if classes.nunique() < 2:
        value = f"there is one class, {classes.unique().tolist()}"
        remedy = "add volumes of other particles, or boxes without any as a class of their own"
        findings.append(Finding("error", path, value, "two or more", remedy))
    return findings


def turn_bright(
    path: Path, found: Inspection, examples: dict[str, NDArray[np.float32]], invert: bool | None
) -> None:
    """Keep examples with protein bright, and compare its contrast with what it is said to be.

    Parameters
    ----------
    examples
        Class -> some of its boxes (m, d, h, w), as they are stored.
    invert
        Whether protein is said to be dark; None where nothing is said.
    """
    if not set(examples) - {EMPTY}:
        return
    boxes = np.concatenate([some for name, some in examples.items() if name != EMPTY])
    contrast = contrast_of(boxes.mean(axis=0, dtype=np.float64))
    is_dark = contrast.is_dark and contrast.is_told if invert is None else invert
    found.examples = {name: -some if is_dark else some for name, some in examples.items()}
    found.findings += _check_contrast(path, contrast, invert, of=len(boxes))


def _check_contrast(
    path: Path, contrast: Contrast, invert: bool | None, *, of: int
) -> list[Finding]:
    figure = f"{contrast.confidence:.1f} standard deviations, {TELLING:g} are asked"
    look = "look at the picture: are particles in the middle?"
    what = "dark" if contrast.is_dark else "bright"
    if contrast.is_told and invert is None:
        value = f"protein is {what} (measured, {figure})"
        value += ", and is turned bright" if contrast.is_dark else ""
        return [Finding("advice", path, value)]
    if contrast.is_told and contrast.is_dark != invert:
        remedy = f"leave invert_contrast out, or set it to {str(not invert).lower()}; {look}"
        expected = f"{'dark' if invert else 'bright'} protein, as stated"
        return [Finding("warning", path, f"protein looks {what} ({figure})", expected, remedy)]
    if not contrast.is_told and invert is None:
        value = f"{of} boxes do not tell whether protein is dark or bright ({figure})"
        return [Finding("warning", path, value, "", f"state invert_contrast, and {look}")]
    return []


def _tried(found: Inspection, look: Callable[[int], object], number: int) -> bool:
    """Look at the header of a box; keep what is wrong, and tell whether nothing is."""
    try:
        look(number)
    except FindingError as error:
        found.findings.append(error.finding)
        return False
    return True


def _read(
    found: Inspection,
    source: Boxes,
    rows: pd.DataFrame,
    readable: Sequence[int],
    *,
    deep: bool,
) -> tuple[dict[str, NDArray[np.float32]], int]:
    """Read boxes and masks; return some boxes of each class, and how many rows name a mask."""
    of_class = defaultdict(list)
    for number in readable:
        of_class[rows["class"].iloc[number]].append(number)
    masked = rows["mask"] != "" if "mask" in rows else pd.Series(False, index=rows.index)
    shown = {name: set(spread_rows(numbers, EXAMPLES)) for name, numbers in of_class.items()}
    remarks, digests = defaultdict[str, int](int), dict[str, str]()
    examples: dict[str, NDArray[np.float32]] = {}
    for name, numbers in of_class.items():
        kept = []
        for number in numbers if deep else sorted(shown[name]):
            try:
                box = source.read(number)
                mask = source.mask(number)
            except FindingError as error:
                found.findings.append(error.finding)
                continue
            if number in shown[name]:
                kept.append(standardize(box[None])[0])
            remarks[mask.remark if mask else ""] += 1
            identity = str(rows["id"].iloc[number])
            origin = digests.setdefault(hashlib.sha256(box.tobytes()).hexdigest(), identity)
            if origin != identity:
                value = f"the box has the content of id '{origin}'"
                line = int(rows.index[number])
                remedy = "list every box once; the split keeps copies together"
                warned = Finding("warning", source.table, value, "", remedy, line, identity)
                found.findings.append(warned)
        if kept:
            examples[name] = np.stack(kept)
    found.findings += [
        Finding("warning", source.table, f"{count} masks looked at: {remark}")
        for remark, count in remarks.items()
        if remark
    ]
    return examples, int(masked.sum())
