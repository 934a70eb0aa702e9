"""Tilt angles, and defocus, from the files that lie beside a tilt series.

IMOD and AreTomo write one angle per line (``.tlt``, ``.rawtlt``), SerialEM ``TiltAngle = ...`` per
section (``.mdoc``), RELION and Warp a STAR table per tilt series.

Sources: IMOD's manual of ``tilt`` (TILTFILE), SerialEM's description of ``.mdoc`` files, RELION's
``rlnTomoNominalStageTiltAngle`` and ``rlnTomoYTilt``, WarpTools' ``wrpAngleTilt`` in ``.tomostar``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.imaging import LARGEST_DEFOCUS_UM
from civa.data.star import read_star
from civa.particle_lists.relion import DEFOCUS_ANGSTROM
from civa.tomograms.names import files_meant

STAR_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle", "wrpAngleTilt")
STAR_ENDINGS = (".star", ".tomostar")
MDOC_ANGLE = re.compile(r"^\s*TiltAngle\s*=\s*(\S+)\s*$", re.MULTILINE)
LARGEST_DEG, UPRIGHT_DEG = 90, 30
NARROWEST_DEG = 20  # of a range: less are radians, or no tilt series


@dataclass(frozen=True)
class TiltSeries:
    """What a file says of a tilt series.

    Attributes
    ----------
    angles_deg
        (t,) as they stand in the file.
    defocus_um
        Underfocus is positive: the median of the tilts up to 30 degrees, which the beam crosses
        nearly upright; None where the file states none.
    """

    angles_deg: NDArray[np.float64]
    defocus_um: float | None = None


def read_tilt_series(path: Path) -> TiltSeries:
    """Read the tilt angles of a tilt series, and its defocus where a STAR table has it.

    Raises
    ------
    ValueError
        If the file holds no angles, or some that are none.
    """
    if path.suffix.lower() in STAR_ENDINGS:
        tables = list(read_star(path).values())
        found = next(((t, name) for t in tables for name in STAR_COLUMNS if name in t), None)
        words = [] if found is None else found[0][found[1]].tolist()
        angles = _angles(path, words)
        return TiltSeries(angles, None if found is None else _defocus(path, found[0], angles))
    text = path.read_text(encoding="utf-8", errors="replace")
    is_mdoc = path.suffix.lower() == ".mdoc"
    return TiltSeries(_angles(path, MDOC_ANGLE.findall(text) if is_mdoc else _lines(text)))


def _lines(text: str) -> list[str]:
    """Return the lines that hold something: one with two numbers is no angle."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _angles(path: Path, words: Sequence[object]) -> NDArray[np.float64]:
    numbers = pd.to_numeric(pd.Series(list(words), dtype=object), errors="coerce")
    angles = numbers.to_numpy(dtype=np.float64)
    wrong = ~(np.abs(angles) <= LARGEST_DEG)
    too_narrow = len(angles) > 0 and not wrong.any() and np.ptp(angles) < NARROWEST_DEG
    if len(angles) < 2 or wrong.any() or too_narrow:
        found = f"'{words[int(wrong.argmax())]}'" if wrong.any() else f"{len(angles)} angles"
        found += f" within {np.ptp(angles):g} degrees" if too_narrow else ""
        raise ValueError(
            f"{path} holds no list of tilt angles ({found}): expected two or more numbers from "
            f"-{LARGEST_DEG} to {LARGEST_DEG}, one per line (.tlt, .rawtlt), as TiltAngle (.mdoc) "
            "or in a table of the tilt series (.star, .tomostar)"
        )
    return angles


def _defocus(path: Path, table: pd.DataFrame, angles: NDArray[np.float64]) -> float | None:
    """Defocus in µm from the columns of RELION, in Å; None where they state none."""
    if not set(DEFOCUS_ANGSTROM) <= set(table):
        return None
    both = table[DEFOCUS_ANGSTROM].apply(pd.to_numeric, errors="coerce")
    upright = both.mean(axis=1).to_numpy(dtype=np.float64)[np.abs(angles) <= UPRIGHT_DEG]
    defocus = float(np.median(upright)) / 1e4 if len(upright) else 0.0  # Å per µm
    if defocus > LARGEST_DEFOCUS_UM:
        raise ValueError(
            f"{path} states a defocus of {defocus:g} µm: expected Å in {DEFOCUS_ANGSTROM}, below "
            f"{LARGEST_DEFOCUS_UM} µm"
        )
    return defocus if defocus > 0 else None


def match_tilt_files(names: Iterable[str], files: Sequence[Path]) -> dict[str, Path]:
    """Find the file of tilt angles of every tomogram, by its name; none where there are no files.

    Raises
    ------
    ValueError
        If there are files, but none or several for one of the tomograms.
    """
    found: dict[str, Path] = {}
    for name in names if files else ():
        meant = files_meant(name, files)
        if len(meant) != 1:
            there = [file.name for file in meant or files][:5]
            raise ValueError(
                f"tilt_files: {len(meant)} files are named like the tomogram '{name}': expected "
                f"one; {'they are' if meant else 'there are'} {there}"
            )
        found[name] = meant[0]
    return found
