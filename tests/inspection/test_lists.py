"""Positions in tomograms: what is wrong with them is said before a box is cut."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest

from civa.cli import main
from civa.data.volume import write_volume
from civa.inspection.acquisition import Stated
from civa.inspection.inspection import Inspection
from civa.inspection.lists import Cutting, inspect_positions

SHAPE = (40, 90, 100)
FRACTIONS = (0.7, 0.15, 0.15)


def grid(step: int = 20) -> np.ndarray:
    """Places x, y, z in voxels whose boxes of 16 lie inside."""
    axes = [np.arange(10, size - 10, step) for size in reversed(SHAPE)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def tomogram(path: Path, places: np.ndarray, *, sign: float = -1.0) -> Path:
    volume = np.random.default_rng(0).normal(size=SHAPE)
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    for place in places:
        volume += sign * 1.5 * np.exp(-((index - place[::-1]) ** 2).sum(axis=-1) / (2 * 2.5**2))
    write_volume(path, volume.astype(np.float32), voxel_size_angstrom=10)
    return path


def table(places: np.ndarray, **columns: object) -> pd.DataFrame:
    angstrom = {f"{axis}_angstrom": 10 * places[:, i] for i, axis in enumerate("xyz")}
    rows = pd.DataFrame({"id": [f"p{i}" for i in range(len(places))], **angstrom})
    return rows.assign(**{"class": "a", "tomogram": "t", **columns})


def two_classes(count: int) -> list[str]:
    return ["a" if i % 2 else "b" for i in range(count)]


def inspected(
    folder: Path, rows: pd.DataFrame, *, pad: bool = False, **stated: object
) -> Inspection:
    files = {"t": folder / "t.mrc"}
    plan = Cutting(box_voxels=16, pad=pad, stated=Stated(**stated))
    return inspect_positions(Path("list.star"), rows, files, plan, fractions=FRACTIONS)


def said(found: Inspection, severity: str) -> list[str]:
    return [str(one) for one in found.findings if one.severity == severity]


def test_a_good_list_is_told_back_with_examples_and_a_view(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    rows = table(places, **{"class": two_classes(len(places))})
    found = inspected(tmp_path, rows, invert_contrast=True)
    assert found.errors == 0
    assert f"{len(places)} particles in 1 tomogram, {len(places)} boxes of 16³ at 10 Å" in (
        found.summary
    )
    assert set(found.examples) == {"a", "b"}
    (view,) = found.views
    assert view.image.shape == SHAPE[1:]
    assert len(view.places) == (np.abs(places[:, 2] - view.z_voxel) <= 4).sum()
    assert view.edge == 16
    few, filled = said(found, "warning")
    assert "come from one tomogram: expected 3 or more" in few
    assert "tomogram 't' has no missing wedge" in filled  # its noise is white


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("inverted", [None, False, True])
def test_contrast_is_measured_and_compared_with_what_it_is_said_to_be(
    tmp_path: Path, sign: float, inverted: bool | None
) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places, sign=sign)
    rows = table(places, **{"class": two_classes(len(places))})
    found = inspected(tmp_path, rows, invert_contrast=inverted)
    middle = np.mean([boxes[:, 8, 8, 8].mean() for boxes in found.examples.values()])
    what = "dark" if sign < 0 else "bright"
    if inverted is None:
        assert any(f"protein is {what} (measured, " in text for text in said(found, "advice"))
        assert middle > 1
    warned = [text for text in said(found, "warning") if "protein looks" in text]
    assert bool(warned) == (inverted is not None and inverted != (sign < 0))
    if warned:
        assert f"protein looks {what} (" in warned[0]
        assert f"or set it to {str(not inverted).lower()}" in warned[0]


def test_boxes_that_do_not_tell_their_contrast_say_so(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places, sign=0)
    rows = table(places, **{"class": two_classes(len(places))})
    texts = said(inspected(tmp_path, rows), "warning")
    told = re.compile(r"boxes do not tell .*4\.5 are asked\); state inv")
    assert any(told.search(text) for text in texts)


def test_positions_in_another_unit_are_an_error(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    found = inspected(tmp_path, table(4 * places, **{"class": two_classes(len(places))}))
    text = said(found, "error")[0]
    assert "positions lie outside of tomogram 't', such as" in text
    assert "expected within [100, 90, 40] voxels of 10 Å; state list_voxel_size_angstrom" in text


def test_boxes_beyond_the_edge_are_counted(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    places = np.vstack([places, [[3.0, 40, 20], [50, 40, 38]]])
    rows = table(places, **{"class": two_classes(len(places))})
    text = next(one for one in said(inspected(tmp_path, rows), "warning") if "beyond" in one)
    assert f"2 of {len(places)} boxes reach beyond tomogram 't'; they are left out" in text
    many = np.vstack([places, np.tile([[3.0, 40, 20]], (len(places) + 1, 1))])
    rows = table(many, **{"class": two_classes(len(many))})
    texts = said(inspected(tmp_path, rows), "warning")
    assert any("so many are a sign of a wrong unit" in one for one in texts)
    rows = table(places, **{"class": two_classes(len(places))})
    text, _ = said(inspected(tmp_path, rows, pad=True), "advice")
    assert "they are padded" in text


def test_a_particle_outside_is_named_with_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several lists beside each other, as README has them; relative and absolute ones."""
    tomogram(tmp_path / "t.mrc", grid())
    rows = "".join(f"t,{x:g},{y:g},{z:g}\n" for x, y, z in grid())
    for name, more in (("inside.csv", ""), ("outside.csv", "t,900,20,20\n")):
        (tmp_path / name).write_text("tomogram,x_voxel,y_voxel,z_voxel\n" + rows + more)
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.txt"
    given = ["A=inside.csv", f"B={tmp_path / 'outside.csv'}"]
    main(["validate", "--lists", *given, "--tomograms", "t.mrc", "--log", str(log)])
    assert re.search(
        r"warning: \S*outside\.csv, id '\S+': 1 of \d+ positions lie outside", log.read_text()
    )


def test_particles_that_are_listed_twice_or_in_two_classes_are_named(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    doubled = np.vstack([places, places[:2] + 0.5])
    classes = [*two_classes(len(places)), "b", "b"]  # of "b" and "a"
    texts = said(inspected(tmp_path, table(doubled, **{"class": classes})), "warning")
    n = len(places)
    assert any(f"1 particles of tomogram 't' are listed twice: 'p0' and 'p{n}'" in t for t in texts)
    assert any(f"are of two classes: 'p1' and 'p{n + 1}'" in text for text in texts)


def test_empty_regions_and_small_classes_are_errors(tmp_path: Path) -> None:
    places = grid()
    write_volume(tmp_path / "t.mrc", np.zeros(SHAPE, np.float32), voxel_size_angstrom=10)
    classes = ["a"] * (len(places) - 1) + ["rare"]
    texts = said(inspected(tmp_path, table(places, **{"class": classes})), "error")
    assert any("class 'rare' has 1 volumes: too few" in text for text in texts)
    assert any("id 'p0': the box is constant" in text for text in texts)


def test_a_picture_and_a_table_of_findings_by_the_command_line(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    rows = pd.DataFrame({f"{axis}_voxel": places[:, i] for i, axis in enumerate("xyz")})
    rows.assign(**{"class": two_classes(len(places))}).to_csv(tmp_path / "l.csv", index=False)
    files = {name: tmp_path / name for name in ("findings.csv", "picture.png", "log.txt")}
    arguments = ["validate", "--lists", str(tmp_path / "l.csv")]
    arguments += ["--tomograms", str(tmp_path / "t.mrc"), "--log", str(files["log.txt"])]
    arguments += ["--findings", str(files["findings.csv"]), "--picture", str(files["picture.png"])]
    main(arguments)  # boxes of 32 do not fit: an error
    assert not files["picture.png"].exists()  # there was no box to draw
    assert "is not in order" in files["log.txt"].read_text()
    assert "fits into a tomogram" in files["findings.csv"].read_text()
    config = tmp_path / "c.yaml"
    config.write_text(
        f"seeds: [1]\ndatasets:\n  d:\n    extract:\n      lists: {tmp_path / 'l.csv'}\n"
        f"      tomograms: {tmp_path / 't.mrc'}\n      box_voxels: 16\n"
    )
    arguments[1:5] = ["--config", str(config)]
    assert main(arguments) == 0
    assert files["picture.png"].read_bytes()[:4] == b"\x89PNG"
    listed = pd.read_csv(files["findings.csv"])
    assert set(listed["severity"]) == {"warning", "advice"}  # one tomogram, and dark protein
    assert listed["value"].str.contains("protein is dark (measured", regex=False).any()


def test_tilt_files_of_all_tomograms_are_read(tmp_path: Path) -> None:
    places = grid()
    for name in "abcde":
        tomogram(tmp_path / f"{name}.mrc", places)
        (tmp_path / f"{name}.tlt").write_text("-60\n60\n" if name != "e" else "x\n")
    names = [("abcde")[i % 5] for i in range(len(places))]
    rows = table(places, **{"class": two_classes(len(places)), "tomogram": names})
    files = {name: tmp_path / f"{name}.mrc" for name in "abcde"}
    plan = Cutting(box_voxels=16, tilt_files=[tmp_path / f"{name}.tlt" for name in "abcde"])
    found = inspect_positions(Path("l.star"), rows, files, plan, fractions=FRACTIONS)
    assert [text for text in said(found, "error") if "e.tlt holds no list of tilt angles" in text]


@pytest.mark.parametrize("given", [[], ["--table", "a.csv", "--lists", "b.star"]])
def test_one_thing_is_validated_at_a_time(tmp_path: Path, given: list[str]) -> None:
    log = tmp_path / "log.txt"
    assert main(["validate", *given, "--log", str(log)]) == 1
    assert "give one of --config, --table and --lists" in log.read_text()


def test_a_file_of_the_users_is_not_replaced_by_findings(tmp_path: Path) -> None:
    tomogram(tmp_path / "t.mrc", grid())
    (tmp_path / "l.csv").write_text("tomogram,x_voxel,y_voxel,z_voxel,class\nt,20,20,20,a\n")
    before = (tmp_path / "l.csv").read_text()
    log = tmp_path / "log.txt"
    config = tmp_path / "c.yaml"
    config.write_text(
        f"seeds: [1]\ndatasets: {{d: {{extract: {{lists: {tmp_path / 'l.csv'}, "
        f"tomograms: {tmp_path / 't.mrc'}}}}}}}\n"
    )
    arguments = ["validate", "--config", str(config), "--findings", str(tmp_path / "l.csv")]
    assert main([*arguments, "--log", str(log)]) == 1
    assert "l.csv is there and was not written by civa" in log.read_text()
    assert (tmp_path / "l.csv").read_text() == before


def test_tomograms_of_several_voxel_sizes_are_told(tmp_path: Path) -> None:
    files = {name: tomogram(tmp_path / f"{name}.mrc", grid()) for name in ("t", "u")}
    with mrcfile.open(files["u"], mode="r+") as mrc:
        mrc.voxel_size = 8
    both = pd.concat([table(grid()), table(0.8 * grid(), tomogram="u")], ignore_index=True)
    plan = Cutting(box_voxels=16, stated=Stated())
    found = inspect_positions(Path("list.star"), both, files, plan, fractions=FRACTIONS)
    assert any(
        "voxels of 8, 10 Å; their boxes are all resampled to 10 Å" in one
        for one in said(found, "advice")
    )


def test_a_class_without_a_box_is_an_error(tmp_path: Path) -> None:
    places = grid()
    tomogram(tmp_path / "t.mrc", places)
    places = np.vstack([places, [[3.0, 40, 20], [4, 40, 20]]])
    classes = [*two_classes(len(places) - 2), "edge", "edge"]
    texts = said(inspected(tmp_path, table(places, **{"class": classes})), "error")
    assert any("no box of the classes ['edge'] lies within a tomogram" in text for text in texts)
