"""How volumes were imaged, as the particle table says it."""

import numpy as np
import pandas as pd
import pytest

from civa.data.imaging import Acquisition, read_acquisitions, read_defocus, states_tilts
from civa.optics import TiltRange


def rows(**columns: list[object]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"id": [f"v{n}" for n in range(count)], **columns})


def test_volumes_that_were_imaged_alike_share_an_acquisition() -> None:
    table = rows(
        tilt_min_deg=["-54", -60.0, "-54"],
        tilt_max_deg=["60", 60, "60.0"],
        tilt_axis_deg=["0", "-85", 0],
        ctf_state=["raw", "phase-flipped", "raw"],
    )
    found, numbers = read_acquisitions(table)
    assert found == (
        Acquisition(TiltRange(-54, 60, 0), "raw"),
        Acquisition(TiltRange(-60, 60, -85), "phase-flipped"),
    )
    np.testing.assert_array_equal(numbers, [0, 1, 0])


def test_what_a_table_does_not_say_is_assumed() -> None:
    assumed = Acquisition(TiltRange(-50, 50), "deconvolved")
    assert read_acquisitions(rows(x=[1, 2]), assumed)[0] == (assumed,)
    found, _ = read_acquisitions(rows(tilt_min_deg=[-40], tilt_max_deg=[65]), assumed)
    assert found == (Acquisition(TiltRange(-40, 65), "deconvolved"),)
    found, _ = read_acquisitions(rows(ctf_state=["raw"]), assumed)
    assert found == (Acquisition(TiltRange(-50, 50), "raw"),)
    assert not states_tilts(rows(ctf_state=["raw"]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tilt_min_deg": [-60]}, "has no column tilt_max_deg: state both ends"),
        ({"tilt_min_deg": [60], "tilt_max_deg": [-60]}, r"tilt_min_deg is not below tilt_max_deg"),
        ({"tilt_min_deg": [-600], "tilt_max_deg": [60]}, r"from -90 to 90; .*\['v0'\] \(-600\)"),
        ({"tilt_min_deg": ["?"], "tilt_max_deg": [60]}, r"tilt_min_deg must be .*\(\?\): correct"),
        (
            {"tilt_min_deg": [-60], "tilt_max_deg": [60], "tilt_axis_deg": [""]},
            r"tilt_axis_deg must be a number of degrees",
        ),
        ({"ctf_state": ["flipped"]}, r"ctf_state must be one of raw, phase-flipped, .*\('flipped'"),
    ],
)
def test_what_cannot_be_is_refused_by_id(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_acquisitions(rows(**columns))


def test_an_axis_alone_is_taken_with_the_range_that_is_assumed() -> None:
    found, _ = read_acquisitions(rows(tilt_axis_deg=["-85"]), Acquisition(TiltRange(-50, 50)))
    assert found == (Acquisition(TiltRange(-50, 50, -85)),)
    with pytest.raises(ValueError, match=r"tilt_axis_deg must be .*\(abc\)"):
        read_acquisitions(rows(tilt_axis_deg=["abc"]))


def test_defocus_in_angstrom_is_told() -> None:
    assert read_defocus(rows(x=[1])) is None
    np.testing.assert_array_equal(read_defocus(rows(defocus_um=["4", 5.5])), [4, 5.5])
    with pytest.raises(ValueError, match=r"ids \['v0', 'v1'\] \(40000\): divide by 10,000"):
        read_defocus(rows(defocus_um=["40000", "55000"]))
