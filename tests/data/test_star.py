"""STAR files: what is written comes back, from our reader and from others."""

from pathlib import Path

import gemmi
import pandas as pd
import pytest

from civa.data.star import read_star, write_star

# What an id of a user's table may look like, and what a reader of STAR may take it for.
IDS = (
    *("007", "1e5", "-0", "TS_01/12", "part 3", " a  b ", "it's", '6" wide', """a "b" 'c'"""),
    *("#5", "a#5", "100%", "%41", "nan", "NaN", "<NA>", "", "_rlnX", "data_x", "loop_", "Ä"),
    *("a\tb", "a\nb", "$x", ";x", "x;y", "[1]", "1,5", "?", ".", "True"),
)


def particles() -> pd.DataFrame:
    columns = {"rlnTomoParticleName": list(IDS), "rlnClassNumber": range(1, len(IDS) + 1)}
    return pd.DataFrame(columns).assign(rlnAngleRot=-123.456789, rlnOriginXAngst=1.25e-7)


def test_every_id_and_number_comes_back(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"particles": particles()})
    found = read_star(tmp_path / "a.star")["particles"]
    assert found["rlnTomoParticleName"].tolist() == list(IDS)
    assert found["rlnClassNumber"].tolist() == list(range(1, len(IDS) + 1))
    assert found["rlnAngleRot"].tolist() == [-123.456789] * len(IDS)  # nine digits
    assert found["rlnOriginXAngst"].tolist() == [1.25e-7] * len(IDS)


@pytest.mark.parametrize("text", IDS)
def test_an_id_that_stands_alone_comes_back(tmp_path: Path, text: str) -> None:
    table = pd.DataFrame({"rlnTomoParticleName": [text], "rlnOpticsGroup": [1]})
    write_star(tmp_path / "a.star", {"particles": table})
    found = read_star(tmp_path / "a.star")["particles"]
    assert found.to_dict("records") == [{"rlnTomoParticleName": text, "rlnOpticsGroup": 1}]


def test_another_reader_finds_the_same_values(tmp_path: Path) -> None:
    table = pd.DataFrame({"rlnTomoParticleName": ["007", "part 3", "it's"], "rlnTwo": [1, 2, 3]})
    write_star(tmp_path / "a.star", {"optics": table[:1], "particles": table})
    document = gemmi.cif.read(str(tmp_path / "a.star"))
    assert [block.name for block in document] == ["optics", "particles"]
    rows = document[1].find(["_rlnTomoParticleName", "_rlnTwo"])
    assert [[gemmi.cif.as_string(value) for value in row] for row in rows] == [
        *(["007", "1"], ["part 3", "2"], ["it%27s", "3"])
    ]


def test_comments_stand_at_the_top_and_nothing_tells_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    write_star(path, {"particles": particles()}, comments=["of x.mrcs", "two\nlines"])
    assert path.read_text().splitlines()[:2] == ["# of x.mrcs", "# two lines"]
    assert "Created by" not in path.read_text()
    assert len(read_star(path)["particles"]) == len(IDS)


@pytest.mark.parametrize("table", [particles()[:0], particles().assign(rlnAngleRot=None)])
def test_a_table_that_would_not_come_back_is_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="'particles' has no row or lacks values"):
        write_star(tmp_path / "a.star", {"particles": table})


def test_a_block_without_a_loop_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_text("data_general\n\n_rlnTomoName  007\n_rlnVoltage 300\n")
    found = read_star(tmp_path / "a.star")["general"]
    assert found.to_dict("records") == [{"rlnTomoName": "007", "rlnVoltage": 300}]


@pytest.mark.parametrize(
    "content", [None, "", "id,class\n1,x\n", "data_x\nloop_\n_rlnA\n1 2 3\n1 2\n"]
)
def test_what_is_no_star_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "a.star"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"a\.star"):
        read_star(path)
