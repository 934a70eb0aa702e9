"""STAR files of RELION 3.0 to 5, and of programs that write them: Warp 1, WarpTools, the portal.

Positions are ``rlnCoordinateX/Y/Z``, pixels from the corner of the tomogram, or, in RELION 5,
``rlnCenteredCoordinateXAngst``, Å from its centre.  From them the origin is subtracted:
``rlnOriginX/Y/Z`` in pixels of the image (RELION 3.0) or ``rlnOriginXAngst`` in Å.  What a pixel is
depends on the version.

Sources: RELION's src/preprocessing.cpp (0 is the first voxel's middle) and
src/jaz/tomography/particle_set.cpp (`getPosition`, `getMatrix4x4`,
`getParticleCoordDecenteredPixel`), Reference/Conventions of its documentation; of Warp,
ExportParticlesTiltseries.cs and its page "Tomogram and particle files"; of pytom-match-pick,
src/pytom_tm/extract.py.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.data.star import read_star
from civa.particle_lists.particle_list import (
    Extent,
    Frame,
    ParticleList,
    as_names,
    has,
    number_columns,
)

logger = logging.getLogger(__name__)

COORDINATES = [f"rlnCoordinate{axis}" for axis in "XYZ"]
CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
ORIGINS_PIXELS = [f"rlnOrigin{axis}" for axis in "XYZ"]
ORIGINS_ANGSTROM = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
ANGLES = [f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
SUBTOMOGRAM_ANGLES = [f"rlnTomoSubtomogram{name}" for name in ("Rot", "Tilt", "Psi")]
DEFOCUS_ANGSTROM = ["rlnDefocusU", "rlnDefocusV"]
TOMOGRAM_NAMES = ("rlnTomoName", "rlnMicrographName")
# Version -> column of the optics table that holds the size of a pixel of positions.
PIXEL_SIZES = {
    "RELION 3.1": "rlnImagePixelSize",
    "RELION 4": "rlnTomoTiltSeriesPixelSize",
    "RELION 5": "rlnTomoTiltSeriesPixelSize",
    "WarpTools": "rlnImagePixelSize",
}
DEGREES_TWICE = np.rad2deg(1.0)  # some versions of WarpTools multiplied degrees by this once more

Blocks = Mapping[str, pd.DataFrame]


def find_particles(blocks: Blocks) -> pd.DataFrame | None:
    """Return the block of a STAR file that lists particles with positions, if there is one."""
    found = {
        name: table
        for name, table in blocks.items()
        if has(table, COORDINATES) or has(table, CENTRED)
    }
    if len(found) > 1:
        raise ValueError(
            f"the blocks {list(found)} list particles: expected one; write a file for each"
        )
    return next(iter(found.values()), None)


def read(path: Path, blocks: Blocks) -> ParticleList:
    """Read the particles of a STAR file, given its blocks.

    Raises
    ------
    ValueError
        If the file lists no particles with positions, names optics groups that it lacks, or holds
        text in place of a number.
    """
    table = find_particles(blocks)
    if table is None:
        raise ValueError(
            f"{path} lists no particles with positions: expected columns {COORDINATES} or "
            f"{CENTRED}, and found {[*(name for block in blocks.values() for name in block)][:8]}"
        )
    optics = _optics(path, table, blocks)
    dialect = _dialect(table, optics, blocks)
    unit = _unit(path, dialect, table, optics)
    if unit is not None and (wrong := ~(np.isfinite(unit) & (unit > 0))).any():
        raise ValueError(
            f"{path}, particle {int(wrong.argmax()) + 1}: the pixel size is {unit[wrong][0]:g} Å, "
            "expected more than 0"
        )
    turned, within, notes = _rotations(path, table, dialect)
    pixels, angstrom = _origins(path, table)
    if turned is not None:  # of a box that was cut out turned: its origins are turned with it
        pixels, angstrom = (turned.apply(np.array(one)) for one in (pixels, angstrom))
    columns = CENTRED if has(table, CENTRED) else COORDINATES
    positions = number_columns(path, table, columns)
    frame = _frame(columns, positions)
    return ParticleList(
        path=path,
        dialect=dialect,
        table=table,
        tomograms=_tomograms(table),
        positions=positions - pixels,
        shifts_angstrom=-angstrom,
        frame=frame,
        unit_angstrom=None if frame == "fraction" else unit,
        in_voxels=frame == "corner",
        classes=as_names(table["rlnClassNumber"]) if "rlnClassNumber" in table else None,
        defocus_um=_defocus(path, table),
        rotations=within if turned is None or within is None else turned * within,
        notes=notes,
    )


def read_extents(path: Path) -> dict[str, Extent]:
    """Read the sizes of tomograms from RELION's or WarpTools' ``tomograms.star``.

    Raises
    ------
    ValueError
        If the file has no table of tomograms with their sizes.
    """
    sizes = [f"rlnTomoSize{axis}" for axis in "XYZ"]
    for table in read_star(path).values():
        if has(table, ["rlnTomoName", "rlnTomoTiltSeriesPixelSize", *sizes]):
            voxels = number_columns(path, table, sizes).astype(np.int64)
            edges = number_columns(path, table, ["rlnTomoTiltSeriesPixelSize"])[:, 0]
            named = zip(table["rlnTomoName"], voxels, edges, strict=True)
            return {str(name): Extent(size, float(edge)) for name, size, edge in named}
    raise ValueError(
        f"{path} does not state the sizes of tomograms: expected rlnTomoName, rlnTomoSizeX, Y, Z "
        "and rlnTomoTiltSeriesPixelSize, as in RELION's tomograms.star"
    )


def _optics(path: Path, table: pd.DataFrame, blocks: Blocks) -> pd.DataFrame:
    """Return the optics of every particle: what its group says, a row each."""
    groups = next((block for name, block in blocks.items() if name.lower() == "optics"), None)
    if groups is None:
        return pd.DataFrame(index=table.index)
    if "rlnOpticsGroup" not in table or "rlnOpticsGroup" not in groups:
        if len(groups) > 1:
            raise ValueError(
                f"{path} has {len(groups)} optics groups and does not say which particles are of "
                "which: expected rlnOpticsGroup in both tables"
            )
        return groups.iloc[[0] * len(table)].set_index(table.index)
    missing = sorted(set(table["rlnOpticsGroup"]) - set(groups["rlnOpticsGroup"]))
    if missing:
        raise ValueError(
            f"{path} has particles of the optics groups {missing[:5]}, which its table "
            "data_optics lacks: write both together"
        )
    twice = groups["rlnOpticsGroup"][groups["rlnOpticsGroup"].duplicated()].tolist()
    if twice:
        raise ValueError(f"{path} states the optics groups {twice[:5]} twice: state each once")
    known = groups.drop_duplicates("rlnOpticsGroup").set_index("rlnOpticsGroup")
    return known.loc[table["rlnOpticsGroup"]].set_index(table.index)


def _dialect(table: pd.DataFrame, optics: pd.DataFrame, blocks: Blocks) -> str:
    """Name the version: its own columns tell it, and WarpTools by the names of its tomograms."""
    if has(table, CENTRED):
        return "RELION 5"
    names = table["rlnTomoName"] if "rlnTomoName" in table else pd.Series(dtype=str)
    if "general" in blocks or "rlnTomoVisibleFrames" in table:
        is_warp = names.astype(str).str.endswith(".tomostar").any()
        return "WarpTools" if is_warp else "RELION 5"
    if "rlnTomoTiltSeriesPixelSize" in optics:
        return "RELION 4"
    return "RELION 3.1" if len(optics.columns) else "RELION 3.0"


def _frame(columns: list[str], positions: NDArray[np.float64]) -> Frame:
    """Where positions count from; Warp's template matching writes fractions of the tomogram."""
    if columns == CENTRED:
        return "centre"
    lie_within_one = (positions >= 0).all() and (positions <= 1).all()
    return "fraction" if lie_within_one and not (positions % 1 == 0).all() else "corner"


def _unit(
    path: Path, dialect: str, table: pd.DataFrame, optics: pd.DataFrame
) -> NDArray[np.float64] | None:
    """Length (n,) of the unit of positions in Å, where the file says it."""
    if has(table, CENTRED):
        return np.ones(len(table))
    if dialect in PIXEL_SIZES:
        name = PIXEL_SIZES[dialect]
        return number_columns(path, optics, [name])[:, 0] if name in optics else None
    if has(table, ["rlnDetectorPixelSize", "rlnMagnification"]):
        pixels, magnifications = number_columns(
            path, table, ["rlnDetectorPixelSize", "rlnMagnification"]
        ).T
        with np.errstate(divide="ignore"):
            return 1e4 * pixels / magnifications  # µm over the magnification: Å per pixel
    for name in ("rlnDetectorPixelSize", "rlnPixelSize"):  # pytom-match-pick: in Å
        if name in table:
            return number_columns(path, table, [name])[:, 0]
    return None


def _origins(path: Path, table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Origins (n, 3) in the unit of positions, and those in Å; zeros where there are none."""
    none = np.zeros((len(table), 3))
    if has(table, ORIGINS_ANGSTROM):
        return none, number_columns(path, table, ORIGINS_ANGSTROM)
    if has(table, ORIGINS_PIXELS):
        return number_columns(path, table, ORIGINS_PIXELS), none
    return none, none


def _defocus(path: Path, table: pd.DataFrame) -> NDArray[np.float64] | None:
    """Defocus (n,) in µm, the mean of both axes of astigmatism; None where it is not stated.

    A column of zeros states nothing: programs write it where no CTF was fitted.
    """
    if not has(table, DEFOCUS_ANGSTROM):
        return None
    defocus = number_columns(path, table, DEFOCUS_ANGSTROM).mean(axis=1) / 1e4  # Å per µm
    unstated = int((defocus <= 0).sum())
    if unstated and unstated < len(defocus):
        logger.warning(
            "%s: %d of %d particles state no defocus above 0: it is left out for all",
            *(path, unstated, len(defocus)),
        )
    return None if unstated else defocus


def _tomograms(table: pd.DataFrame) -> NDArray[np.str_]:
    for column in TOMOGRAM_NAMES:
        if column in table:
            return np.array([str(name) for name in table[column]], dtype=np.str_)
    return np.full(len(table), "", dtype=np.str_)


def _rotations(
    path: Path, table: pd.DataFrame, dialect: str
) -> tuple[Rotation | None, Rotation | None, tuple[str, ...]]:
    """Return what turns boxes, what turns references within them, and what is to be said of it.

    RELION 4 and 5 cut boxes out turned by the subtomogram's angles: the particle's rotation is
    that of its box times that within it.
    """
    notes: tuple[str, ...] = ()
    turned = within = None
    if has(table, SUBTOMOGRAM_ANGLES):
        turned = euler_matrix(number_columns(path, table, SUBTOMOGRAM_ANGLES))
    if has(table, ANGLES):
        angles = number_columns(path, table, ANGLES)
        are_large = (np.abs(angles) > 360).any() or (np.abs(angles[:, 1]) > 180).any()
        if dialect == "WarpTools" and are_large:
            angles = angles / DEGREES_TWICE
            notes = ("angles beyond 360 degrees: taken as degrees that were multiplied by 57.3",)
        within = euler_matrix(angles)
    elif turned is not None:
        within = Rotation.identity(len(table))
    return turned, within, notes


def euler_matrix(angles_deg: NDArray[np.float64]) -> Rotation:
    """Return what RELION's rot, tilt, psi (n, 3) in degrees stand for, x, y, z.

    Its matrix A = Rz(-psi) Ry(-tilt) Rz(-rot) turns the reference onto the particle (src/euler.cpp,
    `Euler_angles2matrix`; particle_set.cpp, `getMatrix4x4`).
    """
    return Rotation.from_euler("ZYZ", angles_deg, degrees=True).inv()
