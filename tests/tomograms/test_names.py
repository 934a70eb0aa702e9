"""Names of tomograms as lists have them, and the files that they mean."""

from pathlib import Path

import pytest

from civa.tomograms.names import bare, by_name, match_tomograms, undecorated

FILES = [
    Path("tomograms") / name
    for name in ("TS_17_10.00Apx.mrc", "TS_1_10.00Apx.mrc", "rec_TS_03.mrc.gz", "b.rec")
]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("TS_17.tomostar", 0),
        ("TS_1", 1),
        ("/far/away/TS_1.mrc.tomostar", 1),
        ("C:\\data\\TS_17.tomostar", 0),
        ("TS_17_5.36Apx.mrc", 0),
        ("TS_03", 2),
        ("3", 2),
        ("17", 0),
        ("b", 3),
        ("b.mrc", 3),
    ],
)
def test_a_name_means_one_file(name: str, file: int) -> None:
    assert match_tomograms([name], FILES) == {name: FILES[file]}


def test_a_name_that_is_the_whole_of_a_files_goes_first() -> None:
    files = [Path("TS_1.mrc"), Path("TS_1_bin4.mrc")]
    assert match_tomograms(["TS_1"], files) == {"TS_1": files[0]}


def test_a_version_is_not_the_number_of_a_tomogram() -> None:
    files = [Path("TS_01_v2.mrc"), Path("TS_05.mrc")]
    assert match_tomograms(["1"], files) == {"1": files[0]}
    with pytest.raises(ValueError, match=r"no file: \['2'\]"):
        match_tomograms(["2"], files)


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "TS_1.mrc").touch()
    (tmp_path / "link.mrc").symlink_to("TS_1.mrc")
    with pytest.raises(ValueError, match="are the same tomogram"):
        by_name([tmp_path / "TS_1.mrc", tmp_path / "link.mrc"])
    with pytest.raises(ValueError, match="is a folder"):
        by_name([tmp_path])


def test_particles_without_a_tomogram_are_told() -> None:
    with pytest.raises(ValueError, match="some particles name no tomogram"):
        match_tomograms(["TS_1", ""], FILES)


def test_one_half_of_the_data_is_not_the_other() -> None:
    halves = [Path("TS_1_even.mrc"), Path("TS_2_half1.mrc")]
    assert match_tomograms(["TS_1", "TS_1_even_10.00Apx"], halves) == {
        "TS_1": halves[0],
        "TS_1_even_10.00Apx": halves[0],
    }
    for name in ("TS_1_odd", "TS_2_half2"):
        with pytest.raises(ValueError, match="have no file"):
            match_tomograms([name], halves)


def test_a_file_that_stands_for_several_names_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    match_tomograms(["TS_17", "TS_17.tomostar"], FILES)
    assert caplog.text == ""
    match_tomograms(["TS_17", "b"], FILES, {"b": FILES[0]})
    assert "stands for several names, ['TS_17', 'b']: are they one tomogram?" in caplog.text


def test_several_files_are_refused_by_name() -> None:
    files = [Path("TS_1_10.00Apx.mrc"), Path("TS_1_5.00Apx.mrc")]
    with pytest.raises(ValueError, match=r"'TS_1\.tomostar' may be any of .*10\.00Apx.*5\.00Apx"):
        match_tomograms(["TS_1.tomostar"], files)


def test_what_a_user_states_comes_first() -> None:
    stated = {"TS_1": Path("elsewhere.mrc")}
    assert match_tomograms(["TS_1", "b"], FILES, stated) == {"TS_1": stated["TS_1"], "b": FILES[3]}


def test_names_without_a_file_are_listed_with_those_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"2 tomograms of the list have no file: \['x', 'y'\].*TS"):
        match_tomograms(["x", "b", "y", "x"], FILES)


def test_a_number_is_no_part_of_another() -> None:
    with pytest.raises(ValueError, match=r"no file: \['7'\]"):
        match_tomograms(["7"], FILES)


@pytest.mark.parametrize(
    ("name", "stem", "plain"),
    [
        ("a/007.mrc", "007", "007"),
        ("rec_TS_01_half1.mrc", "rec_TS_01_half1", "TS_01"),
        (".mrc", ".mrc", ".mrc"),
        ("tomo_bin4_13.28Apx.rec.gz", "tomo_bin4_13.28Apx", "tomo"),
    ],
)
def test_what_a_name_is_without_endings(name: str, stem: str, plain: str) -> None:
    assert (bare(name), undecorated(name)) == (stem, plain)
