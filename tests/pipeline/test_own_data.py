"""The files of a user that a configuration names, found before any of them is read by a stage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from civa.data.volume import write_volume
from civa.pipeline import own_data
from civa.pipeline.config import load

LIST = "tomogram,x_voxel,y_voxel,z_voxel,class\nTS_1,20,20,20,1\nTS_2,20,20,20,2\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a list and three tomograms, in which a run begins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(LIST)
    volume = np.zeros((4, 4, 4), np.float32)
    for name in ("TS_1.mrc", "TS_2_10.00Apx.rec", "TS_3.mrc"):
        write_volume(tmp_path / "tomograms" / name, volume, voxel_size_angstrom=10)
    (tmp_path / "tomograms" / "notes.txt").write_text("no tomogram")
    return tmp_path


def config(**extract: Any) -> dict[str, Any]:
    return {"datasets": {"d": {"extract": {"lists": "a.csv", "tomograms": "tomograms", **extract}}}}


@pytest.mark.parametrize(
    "given",
    ["tomograms", "tomograms/*", ["tomograms/TS_1.mrc", "tomograms/TS_2*"], "./tomograms/TS_[12]*"],
)
def test_only_the_tomograms_that_lists_name_are_inputs(folder: Path, given: Any) -> None:
    found = own_data.tomograms(config(tomograms=given), "d")
    assert [path.name for path in found] == ["TS_1.mrc", "TS_2_10.00Apx.rec"]


def test_compressed_tomograms_of_a_folder_are_seen(folder: Path) -> None:
    path = folder / "tomograms" / "TS_1.mrc"
    path.rename(path.with_name("TS_1.mrc.gz"))
    found = own_data.tomograms(config(tomograms="tomograms/"), "d")
    assert found[0].name == "TS_1.mrc.gz"


def test_lists_by_class(folder: Path) -> None:
    for name in ("b.csv", "c.csv"):
        (folder / name).write_text(LIST)
    told = config(lists={"first": "a.csv", "second": ["b.csv", "c.csv"]})
    assert own_data.list_classes(told, "d") == ["first", "second", "second"]
    assert [path.name for path in own_data.lists(told, "d")] == ["a.csv", "b.csv", "c.csv"]
    assert own_data.volume_count(told, "d") == 6
    own_data.check(told, "d")


def test_a_class_may_be_called_by_a_number(folder: Path) -> None:
    text = "seeds: [1]\ndatasets: {d: {extract: {lists: {1: a.csv}, tomograms: tomograms}}}\n"
    (folder / "c.yaml").write_text(text)
    assert own_data.list_classes(load(folder / "c.yaml"), "d") == ["1"]


def test_an_equals_sign_in_a_path_names_no_class(folder: Path) -> None:
    (folder / "run=2").mkdir()
    (folder / "run=2" / "a.csv").write_text(LIST)
    assert own_data.lists_by_class(["run=2/a.csv"]) == ["run=2/a.csv"]
    assert own_data.lists_by_class(["x=run=2/a.csv"]) == {"x": ["run=2/a.csv"]}


def test_an_index_of_dynamo_names_the_files_of_numbers(folder: Path) -> None:
    (folder / "n.csv").write_text(LIST.replace("TS_1", "1").replace("TS_2", "24"))
    (folder / "tomograms.doc").write_text("1 tomograms/TS_3.mrc\n24 /far/away/TS_1.rec\n7 x.rec\n")
    told = config(lists="n.csv", tomogram_files="tomograms.doc")
    assert own_data.tomogram_files(told, "d") == {
        "1": "tomograms/TS_3.mrc",
        "24": "tomograms/TS_1.mrc",
    }
    assert [path.name for path in own_data.tomograms(told, "d")] == ["TS_3.mrc", "TS_1.mrc"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 gone.rec\n24 TS_1\n",
            r"tomograms\.doc names the tomogram gone\.rec, which is not there",
        ),
        ("TS_1.rec\n", r"tomograms\.doc, line 1: 'TS_1\.rec' is no number and file"),
        ("1 a.rec\n\n1 b.rec\n", r"tomograms\.doc, line 3: tomogram 1 stands twice"),
    ],
)
def test_an_index_that_is_none_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "n.csv").write_text(LIST.replace("TS_1", "1").replace("TS_2", "24"))
    (folder / "tomograms.doc").write_text(text)
    with pytest.raises(ValueError, match=message):
        own_data.tomogram_files(config(lists="n.csv", tomogram_files="tomograms.doc"), "d")


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        ({"lists": "gone.star"}, "gone.star does not exist"),
        ({"lists": {"r": "a.csv"}, "class_values": {"r": 1}}, "class_values and class_column say"),
        ({"lists": {"r": "a.csv"}, "class_column": "kind"}, "class_values and class_column say"),
        ({"class_values": {"r": 1, "q": [1, 2]}}, r"gives \['1'\] to several classes"),
        ({"tomograms": "-t"}, "-t begins with '-'"),
        ({"tomograms": "t{5}"}, "Snakemake takes braces for a pattern"),
        ({"tomogram_table": "gone.star"}, "tomogram_table gone.star does not exist"),
    ],
)
def test_what_contradicts_itself_is_refused(
    folder: Path, extract: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        own_data.check(config(**extract), "d")


@pytest.mark.parametrize("given", ["gone", "tomograms/*.map", "empty"])
def test_no_tomogram_is_an_error_that_names_what_was_given(folder: Path, given: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="is no file, folder or pattern that holds tomograms"):
        own_data.tomograms(config(tomograms=given, lists="a.csv"), "d")


def test_volumes_of_a_stack_are_one_file(folder: Path) -> None:
    (folder / "t.csv").write_text("id,class,path,mask\n1,a,1@s.mrcs,\n2,b,000002@s.mrcs,m.mrc\n")
    files = own_data.listed_files(folder / "t.csv")
    assert [path.name for path in files] == ["s.mrcs", "m.mrc"]
