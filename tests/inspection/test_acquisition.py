"""What is known of a tomogram: value, source and confidence; what is stated goes first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.files import write_csv
from civa.inspection.acquisition import Observed, Stated, check_stated_once, stated_of
from civa.inspection.contrast import Contrast
from civa.inspection.geometry import Geometry
from civa.inspection.gold import GoldEvidence
from civa.inspection.properties import (
    as_table,
    ask_for_contrast,
    check_acquisition,
    properties,
    read_properties,
    with_acquisition,
)
from civa.optics import TiltRange
from civa.tomograms.tilt_angles import TiltSeries

WEDGE = Geometry(axis_deg=2.0, tilts_deg=(-54.0, 60.0), emptiness=0.11)
FILLED = Geometry(axis_deg=40.0, tilts_deg=(-20.0, 30.0), emptiness=0.8)
UNKNOWN = Geometry(0.0, (-90.0, 90.0), float("nan"))
DARK, UNTOLD = Contrast(is_dark=True, confidence=9.0), Contrast(is_dark=False, confidence=2.0)
SEEN = Observed("t", 10.0, geometry=WEDGE, contrast=DARK)


def known(
    observed: Observed, stated: Stated | None = None, all_boxes: Contrast | None = DARK
) -> dict[str, tuple[str, str, str]]:
    found = properties(observed, stated or Stated(), all_boxes, voxel_size_stated=False)
    return {one.quantity: (one.value, one.source, one.confidence) for one in found}


def test_what_is_not_stated_is_measured() -> None:
    found = known(SEEN)
    wedge = "power in the missing wedge 0.11 of the rest"
    assert found == {
        "voxel_size_angstrom": ("10", "file", "as the header has it"),
        "tilt_min_deg": ("-54.0", "measured", f"to 3 degrees; {wedge}"),
        "tilt_max_deg": ("60.0", "measured", f"to 3 degrees; {wedge}"),
        "tilt_axis_deg": ("2.0", "measured", f"to 2 degrees; {wedge}"),
        "contrast": ("dark", "measured", "9.0 standard deviations, from its own boxes"),
        "ctf_state": ("raw", "assumed", "none: no gold tells it"),
    }


def test_a_header_of_imod_tells_of_flipped_phases() -> None:
    label = "ctfPhaseFlip: CTF correction with phase flipping only"
    flipped = replace(SEEN, labels=("TILT: Tomographic reconstruction", label))
    assert known(flipped)["ctf_state"] == ("phase-flipped", "file", f"header: {label}")
    *_, said = check_acquisition(Path("t.mrc"), flipped, Stated(ctf_state="raw"))
    assert said.severity == "warning"
    assert "expected raw, as stated; correct ctf_state" in str(said)
    assert len(check_acquisition(Path("t.mrc"), flipped, Stated())) == 1


def test_gold_tells_state_and_defocus_where_a_sphere_fits() -> None:
    gold = GoldEvidence(4, "phase-flipped", 1.5, 9.0, 50.0, 4.3)
    found = known(replace(SEEN, gold=gold))
    said = "4 beads of gold, margin 9.0 (3.5 are asked), misfit 1.5 (5 at most)"
    assert found["ctf_state"] == ("phase-flipped", "measured", said)
    assert found["defocus_um"] == ("4.3", "measured", f"to 0.5 µm; {said}")
    *_, warned = check_acquisition(Path("t.mrc"), replace(SEEN, gold=gold), Stated(ctf_state="raw"))
    assert "gold in tomogram 't' looks phase-flipped" in str(warned)
    for untold in (replace(gold, margin=2.0), replace(gold, misfit=15.0)):
        found = known(replace(SEEN, gold=untold))
        assert found["ctf_state"][:2] == ("raw", "assumed")
        assert "defocus_um" not in found


def test_what_is_stated_goes_before_what_is_measured() -> None:
    stated = stated_of([-50, 66], -3.0, "phase-flipped", False)
    found = known(SEEN, stated)
    values = {name: (value, source) for name, (value, source, _) in found.items()}
    assert values["tilt_min_deg"] == ("-50.0", "stated")
    assert values["tilt_max_deg"] == ("66.0", "stated")
    assert values["tilt_axis_deg"] == ("-3.0", "stated")
    assert values["contrast"] == ("bright", "stated")
    assert values["ctf_state"] == ("phase-flipped", "stated")


@pytest.mark.parametrize("sign", [1, -1])
def test_tilt_files_go_before_voxels_which_tell_their_sign(sign: int) -> None:
    angles = sign * np.array([-51.0, -3.0, 0.0, 63.0])
    first, source, confidence = known(replace(SEEN, series=TiltSeries(angles)))["tilt_min_deg"]
    assert (first, source) == ("-51.0", "file")
    assert confidence.startswith("4 tilts")
    assert ("sign turned" in confidence) == (sign < 0)
    blind = replace(SEEN, series=TiltSeries(angles), geometry=FILLED)
    assert float(known(blind)["tilt_min_deg"][0]) == angles.min()


def test_defocus_of_a_tilt_series_is_known_of_its_tomogram() -> None:
    series = TiltSeries(np.array([-60.0, 0.0, 60.0]), 4.216)
    assert known(replace(SEEN, series=series))["defocus_um"][:2] == ("4.22", "file")
    assert "defocus_um" not in known(SEEN)


@pytest.mark.parametrize(
    ("geometry", "why"),
    [(FILLED, "wedge 0.80 of the rest"), (UNKNOWN, "too few voxels"), (None, "none")],
)
def test_without_a_wedge_tilts_are_assumed(geometry: Geometry | None, why: str) -> None:
    found = known(replace(SEEN, geometry=geometry))
    for name, value in (("tilt_min_deg", "-60.0"), ("tilt_max_deg", "60.0")):
        assert found[name][:2] == (value, "assumed")
        assert why in found[name][2]
    assert found["tilt_axis_deg"] == ("0.0", "assumed", "none")


def test_contrast_that_one_tomogram_does_not_tell_is_that_of_all_or_asked_for() -> None:
    unsure = replace(SEEN, contrast=UNTOLD)
    value, source, confidence = known(unsure)["contrast"]
    assert (value, source) == ("dark", "measured")
    assert confidence == "9.0 standard deviations, from the boxes of all tomograms"
    found = properties(unsure, Stated(), UNTOLD, voxel_size_stated=True)
    with pytest.raises(ValueError, match=r"tomogram 't' \(none: 2.0 .*4.5.*state invert_contrast"):
        ask_for_contrast(found)
    ask_for_contrast(properties(unsure, Stated(), DARK, voxel_size_stated=True))


@pytest.mark.parametrize(
    ("stated", "severity"),
    [
        (Stated(), "advice"),
        (Stated(tilt_range_deg=(-56, 58)), "advice"),
        (Stated(tilt_range_deg=(-60, 54)), "advice"),  # 6 degrees: measured to 3
        (Stated(tilt_range_deg=(-60, 40)), "warning"),
        (Stated(tilt_axis_deg=90.0), "warning"),
        (Stated(tilt_axis_deg=-85.0, tilt_range_deg=(-54, 60)), "warning"),
    ],
)
def test_what_is_stated_is_compared_with_the_voxels(stated: Stated, severity: str) -> None:
    (finding,) = check_acquisition(Path("l.star"), SEEN, stated)
    assert finding.severity == severity
    assert "show tilts from -54 to 60° about an axis 2° from y" in str(finding)


def test_tilts_about_the_other_end_of_an_axis_change_their_sign() -> None:
    # Measured about -90, stated about 90: one line, and tilts are counted the other way round.
    seen = replace(SEEN, geometry=Geometry(-90.0, (-65.0, 40.0), 0.1))
    about = known(seen, Stated(tilt_axis_deg=90.0))
    assert [about[name][0] for name in ("tilt_min_deg", "tilt_max_deg")] == ["-40.0", "65.0"]
    angles = TiltSeries(np.array([-40.0, 0.0, 65.0]))
    told = known(replace(seen, series=angles), Stated(tilt_axis_deg=90.0))
    assert told["tilt_min_deg"] == ("-40.0", "file", "3 tilts")
    whole = Stated(tilt_axis_deg=90.0, tilt_range_deg=(-40, 65))
    (finding,) = check_acquisition(Path("l"), seen, whole)
    assert finding.severity == "advice"
    assert known(seen, Stated(tilt_axis_deg=-88.0))["tilt_min_deg"][0] == "-65.0"


@pytest.mark.parametrize("tilts", [(0.0, -4.0), (-10.0, 12.0), (-90.0, 89.0)])
def test_a_range_that_no_tilt_series_has_is_not_measured(tilts: tuple[float, float]) -> None:
    found = known(replace(SEEN, geometry=Geometry(0.0, tilts, 0.05)))
    assert found["tilt_min_deg"][:2] == ("-60.0", "assumed")


def test_a_table_of_boxes_goes_before_voxels_and_not_beside_settings() -> None:
    listed = replace(SEEN, listed=TiltRange(-40, 50, 3))
    found = known(listed)
    assert found["tilt_min_deg"] == ("-40.0", "file", "columns of the table of boxes")
    assert found["tilt_axis_deg"][:2] == ("3.0", "file")
    (finding,) = check_acquisition(Path("t.csv"), listed, Stated())
    assert finding.severity == "warning"  # voxels say -54 to 60
    rows = pd.DataFrame({"tilt_min_deg": [-60], "tilt_max_deg": [60]})
    check_stated_once(rows, Stated(ctf_state="raw"))
    with pytest.raises(ValueError, match="tilt_range_deg is set, and the table has a column tilt_"):
        check_stated_once(rows, Stated(tilt_range_deg=(-60, 60)))


def test_defocus_that_some_tomograms_lack_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    tilts = {"tilt_min_deg": "-60", "tilt_max_deg": "60", "tilt_axis_deg": "0"}
    of = {"t": {**tilts, "defocus_um": "4"}, "u": tilts}
    table = with_acquisition(pd.DataFrame({"id": ["a", "b"]}), ["t", "u"], of)
    assert "defocus_um" not in table
    assert "the defocus of 1 of 2 tomograms is known, as of 't': it is used for none" in caplog.text


def test_a_filled_wedge_is_a_warning_with_its_figure() -> None:
    (finding,) = check_acquisition(Path("l"), replace(SEEN, geometry=FILLED), Stated())
    assert finding.severity == "warning"
    assert "power there 0.80 of the rest, 0.4 and more is none" in finding.value


def test_a_table_returns_what_was_not_assumed_and_the_tilts(tmp_path: Path) -> None:
    other = replace(SEEN, name="u", geometry=FILLED, contrast=None)
    found = [
        one
        for seen in (SEEN, other)
        for one in properties(seen, Stated(), DARK, voxel_size_stated=False)
    ]
    write_csv(tmp_path / "t.csv", as_table(found))
    back = read_properties(tmp_path / "t.csv", ["t", "u"])
    assert back["u"]["tilt_max_deg"] == "60.0"
    assert back["t"]["contrast"] == "dark"
    assert "ctf_state" not in back["t"]
    with pytest.raises(ValueError, match=r"does not state \['tilt_min_deg'.*of tomogram 'v'"):
        read_properties(tmp_path / "t.csv", ["v"])
    (tmp_path / "t.csv").write_text("tomogram,value\n")
    with pytest.raises(ValueError, match=r"has no column \['quantity', 'source'\].*rerun"):
        read_properties(tmp_path / "t.csv", [])


@pytest.mark.parametrize("tilts", [[60, -60], [60], [-60, 0, 60]])
def test_a_range_that_is_none_is_refused(tilts: list[float]) -> None:
    with pytest.raises(ValueError, match="expected the first and the last tilt"):
        stated_of(tilts, None, None, None)


def test_a_state_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of raw, phase-flipped"):
        stated_of(None, None, "flipped", None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dark", "Dark", "contrast is 'Dark', expected dark or bright"),
        ("raw", "flipped", "ctf_state is 'flipped', expected raw, phase-flipped"),
        ("-54.0", "abc", "tilt_min_deg is 'abc', expected a number"),
    ],
)
def test_a_table_that_was_edited_wrongly_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    found = properties(SEEN, Stated(ctf_state="raw"), DARK, voxel_size_stated=False)
    write_csv(tmp_path / "t.csv", as_table(found))
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"t\.csv, line \d: " + message):
        read_properties(tmp_path / "t.csv", ["t"])
