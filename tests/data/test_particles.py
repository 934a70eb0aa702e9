"""The particle table, and who may see which label."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.particles import (
    ParticleSet,
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
    rows = read_particles(table(tmp_path, "id,class,label\n007,1e3,1\nNA,None,2\n"))
    assert rows["id"].tolist() == ["007", "NA"]
    assert rows["class"].tolist() == ["1e3", "None"]


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
        ("id,label\na,1\n", r"particles\.csv has no column 'class': it holds \['id', 'label'\]"),
        ("id;class\na;x\n", r"particles\.csv has no column 'id': it holds \['id;class'\]"),
        ("id,class\na,x\nb,x\na,y\n", r"particles\.csv: ids must be unique; repeated: \['a'\]"),
        ("id,class\na,x\nb,\nc, \n", r"particles\.csv: .*blank for ids \['b', 'c'\]"),
        ("id,class\na,x\n ,x\n", r"particles\.csv: every volume needs an id; blank in lines \[3\]"),
        ("id,class\na,x\na ,x\n", r"particles\.csv: ids must be unique; repeated: \['a'\]"),
        (
            "id,class\n" + "".join(f"{n},{n}\n" for n in range(128)),
            r"particles\.csv has 128 classes, and masks hold at most 127: is '0' a class",
        ),
        ("", r"particles\.csv"),  # an empty file
        ("id,class\n", r"particles\.csv"),  # a header and no rows
        ("id,class\na,x,y,z,1\nb,x,2\nc,d,e,f,g,h\n", r"particles\.csv"),  # ragged rows
        # more fields than names: pandas takes the first for an index, and classes for ids
        ("id,class\na,x,1\nb,y,2\n", r"particles\.csv"),
    ],
)
def test_a_broken_table_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_particles(table(tmp_path, text))


def test_rows_longer_than_the_header_are_refused_whatever_is_made_of_warnings(
    tmp_path: Path,
) -> None:
    path = table(tmp_path, "id,class,path\na,x,a.mrc,mask.mrc\nb,x,b.mrc,mask.mrc\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"particles\.csv has rows longer than its header"):
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
