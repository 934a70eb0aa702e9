"""How each tomogram was taken, and what was done to it: stated, read from a file, or measured."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from civa.data.findings import Finding
from civa.data.imaging import AXIS, DEFOCUS, STATE, TILTS
from civa.inspection.acquisition import Observed, Stated
from civa.inspection.contrast import TELLING, Contrast
from civa.inspection.geometry import Geometry
from civa.inspection.gold import LARGEST_MISFIT, GoldEvidence
from civa.inspection.gold import TELLING as TELLING_GOLD
from civa.optics import PHASE_FLIPPED, RAW, STATES, TiltRange

logger = logging.getLogger(__name__)

ASSUMED = TiltRange()  # what most tilt series reach
TOLERANCE_DEG = 6.0  # twice the accuracy of a measured end of a tilt range
AXIS_TOLERANCE_DEG = 10.0  # a tilt axis is measured to 2 degrees where there is a wedge
# What IMOD's ctfphaseflip writes into the header of a tilt series (ctfphaseflip.cpp), and
# its tilt takes over into that of the tomogram.
PHASE_FLIPPING = "ctfphaseflip:"
DARK, BRIGHT = "dark", "bright"
SOURCES = ("stated", "file", "measured", "assumed")
EXPECTED = {"contrast": f"{DARK} or {BRIGHT}", STATE: ", ".join(STATES)}
NEEDED = (*TILTS, AXIS, "contrast")  # to cut boxes out of a tomogram, and to average them


@dataclass(frozen=True)
class Property:
    """One thing that is known, or assumed, of a tomogram.

    Attributes
    ----------
    quantity
        ``voxel_size_angstrom``, ``tilt_min_deg``, ``tilt_max_deg``, ``tilt_axis_deg``,
        ``contrast`` (of protein), ``ctf_state`` or ``defocus_um``.
    source
        One of `SOURCES`: the configuration, a file of the user, the voxels, or nothing.
    confidence
        How far to trust it, in words, with the figure behind it.
    """

    tomogram: str
    quantity: str
    value: str
    source: str
    confidence: str


def properties(
    observed: Observed, stated: Stated, all_boxes: Contrast | None, *, voxel_size_stated: bool
) -> list[Property]:
    """Tell all that is known of a tomogram: what is stated goes before files, those before voxels.

    Parameters
    ----------
    all_boxes
        The contrast of the boxes of all tomograms, which tells more than those of one.
    """
    size = Property(
        observed.name,
        "voxel_size_angstrom",
        f"{observed.voxel_size_angstrom:g}",
        "stated" if voxel_size_stated else "file",
        "as stated" if voxel_size_stated else "as the header has it",
    )
    return [
        size,
        *_tilts(observed, stated),
        _axis(observed, stated),
        _contrast(observed, stated, all_boxes),
        _ctf_state(observed, stated),
        *_defocus(observed),
    ]


def tilts_of(observed: Observed, stated: Stated) -> TiltRange:
    """Return the tilts of a tomogram: as stated, else of a file, else as voxels show them."""
    first, last = (float(one.value) for one in _tilts(observed, stated))
    return TiltRange(first, last, float(_axis(observed, stated).value))


def _tilts(observed: Observed, stated: Stated) -> list[Property]:
    first, last, source, confidence = ASSUMED.first_deg, ASSUMED.last_deg, "assumed", "none"
    seen = _seen(observed, stated)
    if stated.tilt_range_deg is not None:
        (first, last), source, confidence = stated.tilt_range_deg, "stated", "as stated"
    elif observed.series is not None:
        angles = observed.series.angles_deg
        first, last = angles.min(), angles.max()
        source, confidence = "file", f"{len(angles)} tilts"
        if seen is not None and _is_mirrored((first, last), seen):
            first, last = -last, -first
            confidence += ", their sign turned to that of the missing wedge"
    elif observed.listed is not None:
        first, last = observed.listed.first_deg, observed.listed.last_deg
        source, confidence = "file", "columns of the table of boxes"
    elif seen is not None and observed.geometry is not None:
        (first, last), source = seen, "measured"
        confidence = f"to 3 degrees; {_wedge(observed.geometry)}"
    elif observed.geometry is not None:
        confidence = f"none: {_wedge(observed.geometry)}"
    return [
        Property(observed.name, name, f"{value:.1f}", source, confidence)
        for name, value in zip(TILTS, (first, last), strict=True)
    ]


def _wedge(geometry: Geometry) -> str:
    if not geometry.is_known:
        return "too few voxels, or empty ones"
    return f"power in the missing wedge {geometry.emptiness:.2f} of the rest"


def _seen(observed: Observed, stated: Stated) -> tuple[float, float] | None:
    """Return the range of tilts that voxels show, about the axis that is stated; None if none."""
    geometry = observed.geometry
    if geometry is None or not geometry.is_measured:
        return None
    axis = geometry.axis_deg if stated.tilt_axis_deg is None else stated.tilt_axis_deg
    return geometry.tilts_about(axis)


def _is_mirrored(tilts: tuple[float, float], seen: tuple[float, float]) -> bool:
    """Whether tilts of the other sign, as some programs count them, fit the wedge better."""
    first, last = seen
    as_read = abs(tilts[0] - first) + abs(tilts[1] - last)
    mirrored = abs(-tilts[1] - first) + abs(-tilts[0] - last)
    return bool(mirrored < as_read)


def _axis(observed: Observed, stated: Stated) -> Property:
    value, source, confidence = ASSUMED.axis_deg, "assumed", "none"
    if stated.tilt_axis_deg is not None:
        value, source, confidence = stated.tilt_axis_deg, "stated", "as stated"
    elif observed.listed is not None:
        value, source = observed.listed.axis_deg, "file"
        confidence = "columns of the table of boxes"
    elif observed.geometry is not None and observed.geometry.is_measured:
        value, source = observed.geometry.axis_deg, "measured"
        confidence = f"to 2 degrees; {_wedge(observed.geometry)}"
    return Property(observed.name, AXIS, f"{value:.1f}", source, confidence)


def _contrast(observed: Observed, stated: Stated, all_boxes: Contrast | None) -> Property:
    found = [one for one in (observed.contrast, all_boxes) if one is not None]
    told = next((one for one in found if one.is_told), None)
    if stated.invert_contrast is not None:
        value = DARK if stated.invert_contrast else BRIGHT
        return Property(observed.name, "contrast", value, "stated", "as stated")
    if told is None:
        most = max((one.confidence for one in found), default=0.0)
        confidence = f"none: {most:.1f} standard deviations, {TELLING:g} are asked"
        return Property(observed.name, "contrast", "", "assumed", confidence)
    where = "its own boxes" if told is observed.contrast else "the boxes of all tomograms"
    confidence = f"{told.confidence:.1f} standard deviations, from {where}"
    value = DARK if told.is_dark else BRIGHT
    return Property(observed.name, "contrast", value, "measured", confidence)


def _ctf_state(observed: Observed, stated: Stated) -> Property:
    if stated.ctf_state is not None:
        return Property(observed.name, STATE, stated.ctf_state, "stated", "as stated")
    if label := _phase_flipping(observed):
        return Property(observed.name, STATE, PHASE_FLIPPED, "file", f"header: {label}")
    gold = observed.gold
    if gold is not None and gold.is_told:
        return Property(observed.name, STATE, gold.state, "measured", _of_gold(gold))
    confidence = "none: no gold tells it" if gold is None else f"none: {_of_gold(gold)}"
    return Property(observed.name, STATE, RAW, "assumed", confidence)


def _phase_flipping(observed: Observed) -> str:
    """Return the label of a header that tells of flipped phases; blank where none does."""
    labels = (label for label in observed.labels if label.lower().startswith(PHASE_FLIPPING))
    return next(labels, "")


def _of_gold(gold: GoldEvidence) -> str:
    figures = f"margin {gold.margin:.1f} ({TELLING_GOLD:g} are asked), misfit {gold.misfit:.1f}"
    return f"{gold.beads} beads of gold, {figures} ({LARGEST_MISFIT:g} at most)"


def _defocus(observed: Observed) -> list[Property]:
    if observed.series is None or observed.series.defocus_um is None:
        if observed.gold is None or not observed.gold.is_told:
            return []
        value = f"{observed.gold.defocus_um:.1f}"
        confidence = f"to 0.5 µm; {_of_gold(observed.gold)}"
        return [Property(observed.name, DEFOCUS, value, "measured", confidence)]
    value = f"{observed.series.defocus_um:.2f}"
    confidence = "median of the tilts up to 30 degrees"
    return [Property(observed.name, DEFOCUS, value, "file", confidence)]


def properties_of_all(
    source: Path,
    observed: Sequence[Observed],
    stated: Stated,
    all_boxes: Contrast | None,
    *,
    voxel_size_stated: bool,
) -> list[Property]:
    """Tell all that is known of several tomograms, and log what `check_acquisition` finds.

    Parameters
    ----------
    source
        The table that names the tomograms, for messages.
    all_boxes
        The contrast of the boxes of all of them.
    """
    for one in observed:
        for finding in check_acquisition(source, one, stated):
            logger.log(finding.level, "%s", finding)
    return [
        known
        for one in observed
        for known in properties(one, stated, all_boxes, voxel_size_stated=voxel_size_stated)
    ]


def check_acquisition(source: Path, observed: Observed, stated: Stated) -> list[Finding]:
    """Compare what is stated of a tomogram with what its header and voxels show."""
    return [*_check_tilts(source, observed, stated), *_check_ctf_state(source, observed, stated)]


def _check_ctf_state(source: Path, observed: Observed, stated: Stated) -> list[Finding]:
    label, gold, findings = _phase_flipping(observed), observed.gold, list[Finding]()
    remedy = "correct ctf_state, or leave it out"
    said = f"{stated.ctf_state}, as stated"
    if label and stated.ctf_state == RAW:
        value = f"the header of tomogram '{observed.name}' says '{label}'"
        findings.append(Finding("warning", source, value, said, remedy))
    if gold is not None and gold.is_told and stated.ctf_state not in (None, gold.state):
        value = f"gold in tomogram '{observed.name}' looks {gold.state} ({_of_gold(gold)})"
        findings.append(Finding("warning", source, value, said, remedy))
    return findings


def _check_tilts(source: Path, observed: Observed, stated: Stated) -> list[Finding]:
    geometry = observed.geometry
    if geometry is None:
        return []
    name = observed.name
    if not geometry.is_known:
        value = f"tomogram '{name}' is too small or too empty to measure its tilts"
        return [Finding("advice", source, value)]
    if not geometry.is_measured:
        value = (
            f"tomogram '{name}' has no missing wedge (power there {geometry.emptiness:.2f} of the "
            f"rest, {geometry.limit:.2g} and more is none)"
        )
        remedy = "give the raw or CTF-corrected tomogram, not one that was denoised or filled"
        return [Finding("warning", source, value, "", remedy)]
    taken = tilts_of(observed, stated)
    first, last = geometry.tilts_about(taken.axis_deg)
    value = (
        f"the voxels of tomogram '{name}' show tilts from {first:.0f} to {last:.0f}° about an axis "
        f"{geometry.axis_deg:.0f}° from y (to 3°)"
    )
    apart = max(abs(taken.first_deg - first), abs(taken.last_deg - last))
    turned = abs((taken.axis_deg - geometry.axis_deg + 90) % 180 - 90)
    said = f"{taken.first_deg:.1f} to {taken.last_deg:.1f}° about {taken.axis_deg:.1f}°"
    if apart > TOLERANCE_DEG or turned > AXIS_TOLERANCE_DEG:
        remedy = "correct tilt_range_deg, tilt_axis_deg or the tilt files, or leave them out"
        return [Finding("warning", source, value, f"{said}, as stated", remedy)]
    if _tilts(observed, stated)[0].source != "measured":
        value += f"; {said} is used, as stated"
    return [Finding("advice", source, value)]


def ask_for_contrast(found: Iterable[Property]) -> None:
    """Ask a user for the contrast of protein, where boxes do not tell it.

    Raises
    ------
    ValueError
        If it is neither stated nor told.
    """
    unknown = [one for one in found if one.quantity == "contrast" and not one.value]
    if unknown:
        raise ValueError(
            f"whether protein is dark or bright is not told by the boxes of tomogram "
            f"'{unknown[0].tomogram}' ({unknown[0].confidence}): state invert_contrast: true where "
            "it is dark, as in tomograms of IMOD, Warp and AreTomo, else false"
        )


def as_table(found: Sequence[Property]) -> pd.DataFrame:
    """Return a row per tomogram and quantity: value, source, confidence."""
    return pd.DataFrame([asdict(one) for one in found])


def values_of(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return tomogram -> quantity -> value, without a CTF state that was only assumed."""
    found: dict[str, dict[str, str]] = {}
    for _, row in table.iterrows():
        if row["value"] and not (row["quantity"] == STATE and row["source"] == "assumed"):
            found.setdefault(row["tomogram"], {})[row["quantity"]] = row["value"]
    return found


def read_properties(path: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read what `as_table` made, as `values_of` has it.

    Raises
    ------
    ValueError
        If the table lacks a tomogram of ``names``, or something that is to be known of one.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = {"tomogram", "quantity", "value", "source"} - set(table)
    if missing:
        raise ValueError(
            f"{path} has no column {sorted(missing)}: it holds {list(table.columns)}; rerun "
            "'measure-tomograms'"
        )
    wrong = table[~table.apply(_is_sound, axis=1)]
    if len(wrong):
        row = wrong.iloc[0]
        raise ValueError(
            f"{path}, line {wrong.index[0] + 2}: {row['quantity']} is '{row['value']}', expected "
            f"{EXPECTED.get(row['quantity'], 'a number')}: correct it"
        )
    found = values_of(table)
    for name in names:
        lacking = [one for one in NEEDED if one not in found.get(name, {})]
        if lacking:
            raise ValueError(
                f"{path} does not state {lacking} of tomogram '{name}': rerun 'measure-tomograms'"
            )
    return found


def _is_sound(row: pd.Series) -> bool:
    """Whether a quantity has a value that it can have, or none."""
    quantity, value = row["quantity"], row["value"]
    if quantity == "contrast":
        return value in (DARK, BRIGHT, "")
    if quantity == STATE:
        return value in (*STATES, "")
    return not value or bool(np.isfinite(pd.to_numeric(value, errors="coerce")))


def with_acquisition(
    table: pd.DataFrame, names: Sequence[str], known: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """Add columns that averaging reads: how the tomogram (n,) of every volume was taken.

    What the table states itself is kept.
    """
    columns = [*TILTS, AXIS]
    columns += [name for name in (STATE, DEFOCUS) if all(name in of for of in known.values())]
    some = [name for name, of_one in known.items() if DEFOCUS in of_one]
    if some and DEFOCUS not in columns and DEFOCUS not in table:
        logger.warning(
            "the defocus of %d of %d tomograms is known, as of '%s': it is used for none; state "
            "that of all",
            *(len(some), len(known), some[0]),
        )
    missing = [column for column in columns if column not in table]
    return table.assign(**{column: [known[name][column] for name in names] for column in missing})
