"""Tilt angles from the files of several programs."""

from pathlib import Path

import numpy as np
import pytest
from shared import shared

from civa.tomograms.tilt_angles import match_tilt_files, read_tilt_series

ANGLES = [-54.0, 0.01, 60.0]
IMOD = " -54.00\n   0.01\n  60.00\n"
MDOC = "PixelSpacing = 2.1\n\n" + "".join(
    f"[ZValue = {n}]\nTiltAngle = {angle}\nStagePosition = 1 2\n" for n, angle in enumerate(ANGLES)
)
TOMOSTAR = "data_\n\nloop_\n_wrpMovieName #1\n_wrpAngleTilt #2\na.mrc -54\nb.mrc 0.01\nc.mrc 60\n"
RELION = (
    "data_TS_01\n\nloop_\n_rlnMicrographName #1\n_rlnTomoNominalStageTiltAngle #2\n"
    "a.mrc -54\nb.mrc 0.01\nc.mrc 60\n"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("a.tlt", IMOD), ("a.rawtlt", IMOD), ("a.mrc.mdoc", MDOC)),
        *(("a.tomostar", TOMOSTAR), ("a.star", RELION)),
    ],
)
def test_every_program_says_the_same_angles(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    np.testing.assert_allclose(read_tilt_series(tmp_path / name).angles_deg, ANGLES)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tlt", "", r"a\.tlt holds no list of tilt angles \(0 angles\): expected two or more"),
        ("a.tlt", "1\nx\n", r"\('x'\)"),
        ("a.tlt", "1\n200\n", r"\('200'\)"),
        ("a.tlt", "-45 1\n-42 2\n", r"\('-45 1'\)"),  # angle and order
        ("a.tlt", "-1.0\n0\n1.0\n", r"3 angles within 2 degrees"),  # radians
        ("a.tlt", "5\n5\n", r"2 angles within 0 degrees"),
        ("a.mdoc", "PixelSpacing = 2\n", r"\(0 angles\)"),
        ("a.star", "data_\n\nloop_\n_rlnX #1\n1\n2\n", r"\(0 angles\)"),
    ],
)
def test_what_is_no_list_of_angles_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_tilt_series(tmp_path / name)


def test_defocus_is_that_of_the_upright_tilts(tmp_path: Path) -> None:
    rows = [(-60, 9e4, 9e4), (-20, 39000, 41000), (0, 41000, 43000), (20, 40000, 42000)]
    text = "data_TS\n\nloop_\n_rlnTomoYTilt #1\n_rlnDefocusU #2\n_rlnDefocusV #3\n"
    text += "".join("{} {} {}\n".format(*row) for row in rows)
    (tmp_path / "a.star").write_text(text)
    assert read_tilt_series(tmp_path / "a.star").defocus_um == pytest.approx(4.1)
    (tmp_path / "a.tlt").write_text(IMOD)
    assert read_tilt_series(tmp_path / "a.tlt").defocus_um is None


@pytest.mark.parametrize(
    ("name", "tilts", "ends", "defocus"),
    [
        ("relion5_tutorial_TS_01_tilts.star", 40, (-57, 60), 3.897),
        ("pytom_relion5_tilts.star", 35, (-50.99, 51), 3.070),
    ],
)
def test_tables_of_relion_5_are_read(
    name: str, tilts: int, ends: tuple[float, float], defocus: float
) -> None:
    found = read_tilt_series(shared("particle-lists", name))
    assert len(found.angles_deg) == tilts
    assert (found.angles_deg.min(), found.angles_deg.max()) == pytest.approx(ends, abs=0.02)
    assert found.defocus_um == pytest.approx(defocus, abs=0.001)


def test_a_defocus_that_none_has_is_refused(tmp_path: Path) -> None:
    text = "data_TS\n\nloop_\n_rlnTomoYTilt #1\n_rlnDefocusU #2\n_rlnDefocusV #3\n"
    (tmp_path / "a.star").write_text(text + "-30 300000 300000\n0 300000 300000\n")
    with pytest.raises(ValueError, match="states a defocus of 30 µm: expected Å"):
        read_tilt_series(tmp_path / "a.star")


def test_files_are_matched_by_the_name_of_their_tomogram() -> None:
    files = [Path("TS_1.mrc.mdoc"), Path("TS_12.mrc.mdoc")]
    found = match_tilt_files(["TS_12_10.00Apx", "rec_TS_1"], files)
    assert found == {"TS_12_10.00Apx": files[1], "rec_TS_1": files[0]}
    assert match_tilt_files(["TS_3"], []) == {}
    with pytest.raises(ValueError, match=r"0 files are named like the tomogram 'TS_3'.*there are"):
        match_tilt_files(["TS_3"], files)
    with pytest.raises(ValueError, match=r"2 files are named like .*'TS_1'.*they are \['TS_1.tlt'"):
        match_tilt_files(["TS_1"], [Path("TS_1.tlt"), Path("a/TS_1.rawtlt")])
