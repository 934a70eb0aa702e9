"""Tilt angles from the files that lie beside a tilt series.

IMOD and AreTomo write one angle per line (``.tlt``, ``.rawtlt``), SerialEM ``TiltAngle = ...`` per
section (``.mdoc``), RELION and Warp a STAR table per tilt series.

Sources: IMOD's manual of ``tilt`` (TILTFILE), SerialEM's description of ``.mdoc`` files, RELION's
``rlnTomoNominalStageTiltAngle`` and ``rlnTomoYTilt``, WarpTools' ``wrpAngleTilt`` in ``.tomostar``.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.star import read_star
from civa.tomograms.names import files_meant

STAR_COLUMNS = ("rlnTomoYTilt", "rlnTomoNominalStageTiltAngle", "wrpAngleTilt")
STAR_ENDINGS = (".star", ".tomostar")
MDOC_ANGLE = re.compile(r"^\s*TiltAngle\s*=\s*(\S+)\s*$", re.MULTILINE)
LARGEST_DEG = 90


def read_tilt_angles(path: Path) -> NDArray[np.float64]:
    """Read the tilt angles (t,) of a tilt series in degrees, as they stand in the file.

    Raises
    ------
    ValueError
        If the file holds no angles, or some that are none.
    """
    words = _words(path)
    angles = pd.to_numeric(pd.Series(list(words), dtype=object), errors="coerce").to_numpy(
        dtype=float
    )
    wrong = ~(np.abs(angles) <= LARGEST_DEG)
    if len(angles) < 2 or wrong.any():
        found = f"'{words[int(wrong.argmax())]}'" if wrong.any() else f"{len(angles)} angles"
        raise ValueError(
            f"{path} holds no list of tilt angles ({found}): expected two or more numbers from "
            f"-{LARGEST_DEG} to {LARGEST_DEG}, one per line (.tlt, .rawtlt), as TiltAngle (.mdoc) "
            "or in a table of the tilt series (.star, .tomostar)"
        )
    return angles


def _words(path: Path) -> Sequence[object]:
    """Return what stands in the place of angles."""
    ending = path.suffix.lower()
    if ending in STAR_ENDINGS:
        columns = [
            table[name]
            for table in read_star(path).values()
            for name in STAR_COLUMNS
            if name in table
        ]
        return columns[0].tolist() if columns else []
    text = path.read_text(encoding="utf-8", errors="replace")
    return MDOC_ANGLE.findall(text) if ending == ".mdoc" else text.split()


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
