"""Own boxes and labels -> particle table and stacks."""

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.boxes import BOX_MULTIPLE, Boxes
from civa.data.files import write_csv
from civa.data.findings import raise_errors
from civa.data.imaging import read_acquisitions, states_tilts
from civa.data.own_table import check_own_table
from civa.data.particles import UNANNOTATED, read_tomograms, with_labels
from civa.data.stack import write_batches
from civa.data.volume import standardize
from civa.inspection.acquisition import (
    SAMPLE,
    MeanBox,
    Observed,
    Stated,
    check_stated_once,
    stated_of,
)
from civa.inspection.inspection import rows_by, spread_rows
from civa.inspection.properties import (
    BRIGHT,
    DARK,
    Property,
    as_table,
    properties_of_all,
    values_of,
    with_acquisition,
)
from civa.optics import TiltRange
from civa.pipeline.publishing import PRIVATE

logger = logging.getLogger(__name__)

UNNAMED = "all boxes"  # the tomogram of boxes whose table names none


def run(
    table: Path,
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
    properties: Path,
    voxel_size_angstrom: float | None = None,
    box_voxels: int | None = None,
    tilt_range_deg: tuple[float, ...] = (),
    tilt_axis_deg: float | None = None,
    ctf_state: str | None = None,
    invert_contrast: bool | None = None,
) -> dict[str, str]:
    """Import sub-tomograms that a table lists.

    Columns: ``id``, ``class``, ``path`` (a file relative to the table's folder, or ``N@file`` for
    the N-th volume of a stack) and, optionally, ``mask`` (blank where there is none),
    ``mask_label`` (its value for the particle, of a label map), ``tomogram`` (volumes of one stay
    together in the split), ``defocus_um``, ``tilt_min_deg``, ``tilt_max_deg``, ``tilt_axis_deg``
    and ``ctf_state``.  Files are MRC, also compressed, or EM.  Dark protein is turned bright.

    Parameters
    ----------
    table
        Table of the boxes, a row each, as above.
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label; range and axis of the tilts.
    properties
        CSV table of the tomograms, a row per quantity: value, source, confidence.

    Returns
    -------
    SHA-256 of every box and mask, for the record of what was read.
    """
    stated = stated_of(tilt_range_deg, tilt_axis_deg, ctf_state, invert_contrast)
    rows, findings = check_own_table(table)
    raise_errors(findings)
    for finding in findings:
        logger.warning("%s", finding)
    rows = with_labels(rows.drop(columns="copy_of", errors="ignore"))  # ours, found below
    source = Boxes(table, rows, voxel_size_angstrom, box_voxels)
    _say_edge(table, source)
    written, size = (len(source), *(source.edge,) * 3), source.stored.voxel_size_angstrom
    check_stated_once(rows, stated)
    _check_products(source, (volumes, masks))
    names = _tomograms(rows)
    is_stated = voxel_size_angstrom is not None
    listed = _listed(rows, names)
    known = as_table(_properties(source, names, stated, listed, voxel_size_stated=is_stated))
    write_csv(properties, known)
    values = values_of(known)
    signs = [-1 if values[name]["contrast"] == DARK else 1 for name in names]
    remarks, digests = Counter[str](), list[str]()
    with (
        write_batches(volumes, written, np.float32, voxel_size_angstrom=size) as boxes,
        write_batches(masks, written, np.int8, voxel_size_angstrom=size) as labels,
    ):
        for row, label in enumerate(rows["label"]):
            box = source.read(row)
            digests.append(hashlib.sha256(box.tobytes()).hexdigest())
            boxes[row : row + 1] = signs[row] * standardize(box[None])
            mask = source.mask(row)
            remarks[mask.remark if mask else "none"] += 1
            labels[row : row + 1] = _labelled(
                box.shape, None if mask is None else mask.inside, label
            )
    for remark, count in remarks.items():
        if remark not in ("", "none"):
            logger.warning("%d masks: %s", count, remark)
    rows = with_acquisition(_with_copies(table, rows, digests), names, values)
    write_csv(particles, rows.drop(columns=["mask", "mask_label"], errors="ignore"))
    annotated = len(rows) - remarks["none"]
    logger.info(
        "%d volumes of %d classes, %d with a mask", len(rows), rows["label"].max(), annotated
    )
    return source.digests()


def _tomograms(rows: pd.DataFrame) -> list[str]:
    """Return the tomogram (n,) of every box: one for all, where the table names none."""
    return read_tomograms(rows) or [UNNAMED] * len(rows)


def _listed(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, TiltRange]:
    """Return the tilts that the table states of a tomogram, those of its first box."""
    if not states_tilts(rows):
        return {}
    acquisitions, numbers = read_acquisitions(rows)
    first = {name: number for name, number in reversed(list(zip(names, numbers, strict=True)))}
    return {name: acquisitions[number].tilts for name, number in first.items()}


def _check_products(source: Boxes, products: Sequence[Path]) -> None:
    """Stop before a product takes the place of a box or mask, which another stage may have made."""
    files = {Path(name).resolve() for name in source.files()}
    for product in products:
        place = Path(PRIVATE.sub("", str(product)))
        if place.resolve() in files:
            raise ValueError(f"{place} is a box or mask of {source.table}: choose another place")


def _properties(
    source: Boxes,
    names: Sequence[str],
    stated: Stated,
    listed: Mapping[str, TiltRange],
    *,
    voxel_size_stated: bool,
) -> list[Property]:
    """Tell from some boxes of every tomogram how it was taken, and what was done to it."""
    observed, everywhere = list[Observed](), MeanBox(source.edge)
    is_padded = source.edge > source.stored.edge
    for name, rows in rows_by(pd.DataFrame({"tomogram": names}), "tomogram").items():
        own = MeanBox(source.edge)
        for row in spread_rows(rows.tolist(), SAMPLE):
            own.add(source.read(row))
        everywhere += own
        observed.append(
            Observed(
                name=name,
                voxel_size_angstrom=source.stored.voxel_size_angstrom,
                geometry=None if is_padded else own.geometry,
                contrast=own.contrast,
                listed=listed.get(name),
            )
        )
    found = properties_of_all(
        source.table, observed, stated, everywhere.contrast, voxel_size_stated=voxel_size_stated
    )
    return [_bright_unless_told(one) for one in found]


def _bright_unless_told(one: Property) -> Property:
    """Take protein for bright, as RELION has it, where boxes do not tell it."""
    if one.quantity != "contrast" or one.value:
        return one
    logger.warning(
        "boxes of %s do not tell whether protein is dark or bright (%s): it is taken for bright; "
        "state import.invert_contrast",
        *(one.tomogram, one.confidence),
    )
    return replace(one, value=BRIGHT)


def _say_edge(table: Path, source: Boxes) -> None:
    """Say where boxes are cropped or padded."""
    if source.edge != source.stored.edge:
        how = "cropped" if source.edge < source.stored.edge else "padded"
        logger.warning(
            "%s: boxes of %d^3 voxels are %s to %d^3, a multiple of %d, about their middle "
            "(another edge: box_voxels)",
            *(table, source.stored.edge, how, source.edge, BOX_MULTIPLE),
        )


def _labelled(
    shape: tuple[int, ...], inside: NDArray[np.bool_] | None, label: int
) -> NDArray[np.int8]:
    """Return a mask (1, d, h, w) as labels; -1 throughout where there is none."""
    if inside is None:
        return np.full((1, *shape), UNANNOTATED, dtype=np.int8)
    return np.where(inside, label, 0).astype(np.int8)[None]


def _with_copies(table: Path, rows: pd.DataFrame, digests: list[str]) -> pd.DataFrame:
    """Name the first of boxes of equal content in a column ``copy_of``, if there are any."""
    first: dict[str, str] = {}
    origins = [first.setdefault(d, name) for d, name in zip(digests, rows["id"], strict=True)]
    copies = rows.assign(copy_of=origins)
    is_copy = copies["copy_of"] != copies["id"]
    if not is_copy.any():
        return rows
    logger.warning(
        "%s: %d boxes have the content of another, ids %s: the split keeps them together, but "
        "they count twice; leave them out",
        *(table, is_copy.sum(), copies[is_copy][["id", "copy_of"]].to_numpy().tolist()[:5]),
    )
    return copies.assign(copy_of=copies["copy_of"].where(is_copy, ""))
