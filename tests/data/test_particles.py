"""The particle table, the split, and who may see which label."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.data.particles import (
    PARTS,
    ParticleSet,
    class_names,
    draw_group,
    mislabel,
    read_particles,
    read_split,
    split_counts,
    stratified_split,
)

PAPER = (0.70, 0.15, 0.15)


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\na,1\n", r"particles\.csv has no column 'class': it holds \['id', 'label'\]"),
        ("id;class\na;x\n", r"particles\.csv has no column 'id': it holds \['id;class'\]"),
        ("id,class\na,x\nb,x\na,y\n", r"particles\.csv: ids must be unique; repeated: \['a'\]"),
        ("id,class\na,x\nb,\nc, \n", r"particles\.csv: .*blank for ids \['b', 'c'\]"),
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


def test_class_names_stand_in_the_order_of_their_labels() -> None:
    rows = pd.DataFrame({"label": [2, 1, 2, 3], "class": ["a", "z", "a", "m"]})
    assert class_names(rows) == ["z", "a", "m"]


def test_split_counts_of_the_paper() -> None:
    # Sec. 5: 1000 volumes of a class; 15 % of 1000 = 150 twice, the rest trains
    assert split_counts(1000, PAPER, name="a") == [700, 150, 150]
    # 0.15 x 7 = 1.05 rounds to 1 twice, 5 remain
    assert split_counts(7, PAPER, name="a") == [5, 1, 1]


def test_every_class_is_split_by_itself() -> None:
    classes = ["rare"] * 20 + ["common"] * 200  # 10:1
    parts = stratified_split(classes, PAPER, seed=3)
    counts = pd.crosstab(pd.Series(classes), pd.Series(parts))
    assert counts.loc["rare", list(PARTS)].tolist() == [14, 3, 3]
    assert counts.loc["common", list(PARTS)].tolist() == [140, 30, 30]


def test_the_split_depends_on_the_seed_alone() -> None:
    classes = ["a"] * 40 + ["b"] * 40
    first = stratified_split(classes, PAPER, seed=1)
    np.testing.assert_array_equal(first, stratified_split(classes, PAPER, seed=1))
    assert (first != stratified_split(classes, PAPER, seed=2)).any()
    # shuffled: taking the first 70 % would leave the table's order in the parts
    assert first[:28].tolist() != ["train"] * 28


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)]
)
def test_shares_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="split fractions must be three positive shares of 1"):
        stratified_split(["a"] * 20, fractions, seed=1)


@pytest.mark.parametrize("n", [1, 2, 3])  # 0.15 x 3 = 0.45 rounds to 0
def test_a_class_too_small_for_three_parts_is_named(n: int) -> None:
    with pytest.raises(ValueError, match=f"class 'rare' has {n} volumes: too few"):
        stratified_split(["rare"] * n + ["a"] * 20, PAPER, seed=1)


def test_a_share_of_every_class_is_mislabelled_among_the_members_alone() -> None:
    classes = ["a"] * 40 + ["b"] * 20 + ["c"] * 20
    members = np.arange(0, 80, 2)  # 20, 10 and 10
    told = mislabel(classes, members, 0.2, seed=1)
    wrong = told != np.array(classes)
    assert not wrong[1::2].any()
    assert [int(wrong[part].sum()) for part in (slice(40), slice(40, 60), slice(60, 80))] == [
        4,
        2,
        2,
    ]
    assert set(told) == {"a", "b", "c"}
    np.testing.assert_array_equal(told, mislabel(classes, members, 0.2, seed=1))
    assert (told != mislabel(classes, members, 0.2, seed=2)).any()
    assert mislabel(classes, members, 0.0, seed=1).tolist() == classes


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_wrong_labels_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"label_noise must lie in 0 \.\. 1, 1 excluded \(got"):
        mislabel(["a", "b"], np.arange(2), share, seed=1)


def test_a_single_class_cannot_be_mislabelled() -> None:
    with pytest.raises(ValueError, match="there is no class beside 'a'"):
        mislabel(["a", "a"], np.arange(2), 0.5, seed=1)


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
