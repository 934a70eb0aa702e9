"""The particle table, and who may see which label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.particles import (
    ParticleSet,
    check_particles,
    class_names,
    draw_group,
    read_particles,
    read_predictions,
    read_split,
    read_tomograms,
)


def table(tmp_path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = tmp_path / "particles.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_names_that_look_like_numbers_or_gaps_stay_text(tmp_path: Path) -> None:
    rows = read_particles(table(tmp_path, "id,class,label\n007,1e3,1\nNA,NA,2\n"))
    assert rows["id"].tolist() == ["007", "NA"]
    assert rows["class"].tolist() == ["1e3", "NA"]


def test_a_table_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    # byte order mark and CRLF, as spreadsheets write them
    path = table(tmp_path, "id,class\r\na,ribosome\r\nb,proteasome\r\n", encoding="utf-8-sig")
    rows = read_particles(path)
    assert list(rows.columns) == ["id", "class"]
    assert rows["class"].tolist() == ["ribosome", "proteasome"]


def test_tomograms_are_text_and_none_is_blank(tmp_path: Path) -> None:
    rows = read_particles(table(tmp_path, "id,class,tomogram\na,x,007\nb,x, 7 \n"))
    assert read_tomograms(rows) == ["007", "7"]
    assert read_tomograms(rows.drop(columns="tomogram")) is None
    rows = read_particles(table(tmp_path, "id,class,tomogram\na,x,1\nb,x,\nc,x, \n"))
    with pytest.raises(ValueError, match=r"tomogram is blank for ids \['b', 'c'\].*leave the col"):
        read_tomograms(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\na,1\n", r"has no column \['class'\]: it holds \['id', 'label'\]"),
        ("id,class\na,x\nb,x\na,y\n", r"line 4, id 'a': the id stands in line 2 too"),
        ("id,class\na,x\nb,\nc, \n", r"line 3, id 'b': the class is blank"),
        ("id,class\na,x\n ,x\n", r"line 3: the id is blank"),
        ("id,class\na,x\na ,x\n", r"line 3, id 'a': the id stands in line 2 too"),
        ("id,class\na,x\nb,nan\n", r"line 3, id 'b': the class 'nan' looks like a missing"),
        ("id,class\na,x\nb,None\n", r"line 3, id 'b': the class 'None' looks like a missing"),
        ("id,class\na,Ribosome\nb,ribosome\n", r"line 3, .*'Ribosome' and 'ribosome' differ in"),
        ("id,class\na,1\n\nb,1.0\n", r"line 4, id 'b': the classes '1' and '1.0' differ in"),
        ("id,class\na,80S/60S\n", r"line 2, id 'a': the class '80S/60S' cannot head a column"),
        ("id,class\na,α-tubulin\n", r"line 2, .*'α-tubulin' cannot head .*expected letters"),
        ("id,class,id\na,x,b\n", r"line 1: the columns \['id'\] stand twice"),
        ("id,class,path\na,x\n", r"line 2: the row has 2 fields, \['a', 'x'\]: expected 3 as"),
        ("id,class\na,ribosome, 80S\n", r"line 2: the row has 3 fields.*double quotes"),
        ('id,class\na,"x\n', r"is not a readable CSV table \(unexpected end of data\)"),
        (
            "id,class\n" + "".join(f"{n},{n}\n" for n in range(128)),
            r"particles\.csv: has 128 classes, and masks hold at most 127; is '0' a class",
        ),
        ("", r"is empty"),
        ("id,class\n", r"lists no volume"),
        ("id,class\na,x,y,z,1\nb,x,2\nc,d,e,f,g,h\n", r"line 2: the row has 5 fields"),
    ],
)
def test_a_broken_table_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_particles(table(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "id;class;path\n007;a;x.mrc\n8;b;y.mrc\n",
        "id\tclass\tpath\n007\ta\tx.mrc\n8\tb\ty.mrc\n",
        'id,class,path\n007,"a",x.mrc\n"8",b,"y.mrc"\n',
        " id , class, path\n007 ,a , x.mrc\n8,b,y.mrc \n",
        "\n\nid,class,path\n\n007,a,x.mrc\n  \n8,b,y.mrc\n\n",
        "id,class,path,\n007,a,x.mrc,\n8,b,y.mrc,,\n",
    ],
)
def test_a_table_is_read_as_a_person_would(tmp_path: Path, text: str) -> None:
    rows = read_particles(table(tmp_path, text))
    assert rows.to_dict("list") == {
        "id": ["007", "8"],
        "class": ["a", "b"],
        "path": ["x.mrc", "y.mrc"],
    }


def test_words_for_nothing_are_no_masks(tmp_path: Path) -> None:
    words = ["<NA>", "nan", "None", "", "m.mrc"]
    lines = [f"{i},x,{word}" for i, word in enumerate(words)]
    rows = read_particles(table(tmp_path, "\n".join(["id,class,mask", *lines])))
    assert rows["mask"].tolist() == ["", "", "", "", "m.mrc"]


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    path = table(tmp_path, "id,class\na,x\na,nan\n,X\n")
    _, findings = check_particles(path)
    assert [(one.severity, one.line, one.id) for one in findings] == [
        ("error", 3, "a"),
        ("error", 4, None),
        ("error", 3, "a"),
        ("error", 4, None),
    ]
    with pytest.raises(ValueError, match=r"\(and 3 more: 'civa validate' lists all\)"):
        read_particles(path)


def test_blanks_around_names_do_not_count(tmp_path: Path) -> None:
    rows = read_particles(table(tmp_path, "id,class\na,cage\n b ,cage \n"))
    assert rows["id"].tolist() == ["a", "b"]
    assert rows["class"].tolist() == ["cage", "cage"]


def test_class_names_stand_in_the_order_of_their_labels() -> None:
    rows = pd.DataFrame({"label": [2, 1, 2, 3], "class": ["a", "z", "a", "m"]})
    assert class_names(rows) == ["z", "a", "m"]


def test_a_group_is_drawn_from_its_members_without_replacement() -> None:
    members = np.array([3, 5, 8, 13, 21, 34])
    draws = [draw_group(members, 4, np.random.default_rng(seed)) for seed in range(20)]
    for drawn in draws:
        assert len(set(drawn.tolist())) == 4
        assert set(drawn.tolist()) <= set(members.tolist())
    # P(20 equal draws) = (1 / 15)^19
    assert len({tuple(drawn.tolist()) for drawn in draws}) > 1


def test_a_group_larger_than_its_class_takes_the_whole_class() -> None:
    members = np.array([3, 5, 8])
    assert draw_group(members, 16, np.random.default_rng(0)).tolist() == [3, 5, 8]


def particle_files(tmp_path: Path) -> tuple[Path, Path]:
    particles = table(tmp_path, "id,class,label\na,x,1\nb,y,2\nc,x,1\nd,y,2\n")
    split = tmp_path / "split.csv"
    split.write_text("id,class,part\na,x,train\nb,y,test\nc,x,validation\nd,y,train\n")
    return particles, split


def test_parts_are_indices_into_the_stack(tmp_path: Path) -> None:
    particles, split = particle_files(tmp_path)
    parts, labels = read_split(split, read_particles(particles))
    assert labels.tolist() == [1, 2, 1, 2]
    assert {part: index.tolist() for part, index in parts.items()} == {
        "train": [0, 3],
        "validation": [2],
        "test": [1],
    }


def test_only_training_labels_may_guide_maps(tmp_path: Path) -> None:
    particles = ParticleSet(*particle_files(tmp_path))
    assert particles.held_out.tolist() == [False, True, True, False]
    assert particles.labels.tolist() == [1, 2, 1, 2]
    assert particles.names == ["x", "y"]


def test_labels_are_what_the_split_tells(tmp_path: Path) -> None:
    particles, split = particle_files(tmp_path)
    split.write_text(split.read_text().replace("d,y,train", "d,x,train"))
    assert ParticleSet(particles, split).labels.tolist() == [1, 2, 1, 1]
    split.write_text(split.read_text().replace("d,x,train", "d,z,train"))
    with pytest.raises(ValueError, match=r"split\.csv has the classes \['z'\].*rerun 'split'"):
        ParticleSet(particles, split)


@pytest.mark.parametrize(
    "rows", ["a,x,train\nb,y,test\n", "b,y,test\na,x,train\nc,x,test\nd,y,test\n"]
)
def test_a_split_of_another_table_is_refused(tmp_path: Path, rows: str) -> None:
    particles, split = particle_files(tmp_path)
    split.write_text("id,class,part\n" + rows)
    with pytest.raises(ValueError, match=r"split\.csv does not list the same ids .*rerun 'split'"):
        ParticleSet(particles, split)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("train", "training", r"split\.csv has the parts \['training'\], expected train, valid"),
        (",part", ",fold", r"split\.csv has no column \['part'\].*rerun 'split'"),
    ],
)
def test_a_split_with_strange_parts_is_refused(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    particles, split = particle_files(tmp_path)
    split.write_text(split.read_text().replace(before, after))
    with pytest.raises(ValueError, match=message):
        ParticleSet(particles, split)


def test_predictions_without_a_column_are_refused(tmp_path: Path) -> None:
    particles, _ = particle_files(tmp_path)
    path = tmp_path / "predictions.csv"
    path.write_text("id,predicted\na,1\n")
    message = r"predictions\.csv has no column \['guide', 'confidence'\].*rerun 'localize'"
    with pytest.raises(ValueError, match=message):
        read_predictions(path, read_particles(particles))
