"""Small inputs that went wrong for users of tools like this one: the right value, or a refusal."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from shared import shared

from civa.cli import main
from civa.data.stack import read_stack
from civa.pipeline.config import load
from civa.pipeline.own_data import check_origin


def copied(tmp_path: Path, case: str) -> Path:
    """Copy a case into a folder in which files can be written."""
    folder = tmp_path / case
    shutil.copytree(shared("reports", case), folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
        if is_link(path):  # that was copied as a file which holds its target
            target = path.read_text()
            path.unlink()
            path.symlink_to(target)
    return folder


def is_link(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"../")


def validated(folder: Path, table: str) -> tuple[int, str]:
    """Validate a table, or a configuration; return the status and the log."""
    log = folder.parent / "log.txt"
    flag = "--config" if table.endswith(".yaml") else "--table"
    status = main(["validate", flag, str(folder / table), "--log", str(log)])
    return status, log.read_text(encoding="utf-8")


def imported(folder: Path, table: str, *flags: str) -> tuple[int, str]:
    """Import a table; return the status and the log."""
    log, out = folder.parent / "log.txt", folder.parent / "out"
    arguments = ["import", "--table", str(folder / table), "--volumes", str(out / "volumes.mrcs")]
    arguments += ["--masks", str(out / "masks.mrcs"), "--particles", str(out / "particles.csv")]
    arguments += ["--properties", str(out / "tomograms.csv")]
    status = main([*arguments, *flags, "--log", str(log)])
    return status, log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("case", "table", "summary"),
    [
        ("01_links", "project/particles.csv", r"8 volumes, 2 classes \(4, 4\), 16³ at 13.5 Å, 0"),
        ("07_home", "particles.csv", "8 volumes, 2 classes"),
        ("10_missing_words", "particles.csv", "8 volumes, 2 classes.*1 with masks"),
        ("12_one_stack", "particles.csv", r"8 volumes, 2 classes \(4, 4\), 16³"),
        ("14_byte_masks", "particles.csv", "8 volumes, 2 classes.*6 with masks"),
        ("16_semicolons", "particles.csv", "8 volumes, 2 classes"),
        ("16_semicolons", "tabs.csv", "8 volumes, 2 classes"),
    ],
)
def test_what_is_in_order_is_read(tmp_path: Path, case: str, table: str, summary: str) -> None:
    folder = copied(tmp_path, case)
    status, log = validated(folder, table)
    assert status == 0, log
    assert re.search(
        rf"is in order(?: \(\d+ warnings, above\))?: data: {summary}", log.splitlines()[-1]
    )
    assert imported(folder, table)[0] == 0


@pytest.mark.parametrize(
    ("case", "table", "found"),
    [
        ("02_defocus", "particles.csv", r"defocus_um .*35000\): divide by 10,000, .* look like Å"),
        ("10_missing_words", "classes.csv", r"line 4, id '2': the class 'nan' looks like a miss"),
        ("10_missing_words", "classes.csv", r"line 5, id '3': the class 'None' looks like a miss"),
        ("11_tilt_images", "particles.csv", r"id '0': .*tilts_41_0.mrcs is a stack of 41 images"),
        ("11_tilt_images", "sixteen.csv", r"id '1': .*tilts_16_1.mrcs is a stack of 16 images"),
        ("12_one_stack", "plain.csv", r"particles.mrcs holds 8 volumes: say which"),
        ("13_label_maps", "particles.csv", r"it holds the labels 0, 1, 2, 5: choose the one"),
        ("15_soft_masks", "particles.csv", r"the mask box_2.mrc: it holds values .* as a density"),
        ("15_soft_masks", "particles.csv", r"soft edge, cut at 0.5: 253 voxels"),
        ("15_soft_masks", "particles.csv", r"soft edge, cut at 0.5: 45 voxels"),
        ("23_twice", "particles.csv", r"line 8, id '6': the box box_0.mrc is that of id '0' too"),
        ("23_twice", "particles.csv", r"warning: .*the box has the content of id"),
        (
            "25_commas",
            "particles.csv",
            r"line 2: the row has 4 fields.*expected 3 .*name every col",
        ),
        ("25_commas", "class.csv", r"line 3: the row has 4 fields.*double quotes"),
        ("25_commas", "short.csv", r"line 2: the row has 2 fields"),
        ("27_em", "particles.csv", r"particle_00000.em is an EM file.* set voxel_size_angstrom"),
        ("30_not_in_order", "particles.csv", r"class 'rare' has 1 volumes: too few"),
        ("30_not_in_order", "missing.csv", r"line 8, id '6': .*box_7.mrc does not exist"),
        ("30_not_in_order", "garbage.csv", r"garbage.csv: lists no volume"),
        ("32_names", "particles.csv", r"line 3, id '1': .*'ribosome' and 'Ribosome' differ in wr"),
        ("32_names", "greek.csv", r"line 2, id '0': the class 'α-tubulin' cannot head"),
        ("32_names", "slash.csv", r"line 2, id '0': the class '80S/60S' cannot head"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, case: str, table: str, found: str) -> None:
    folder = copied(tmp_path, case)
    status, log = validated(folder, table)
    assert status == 1
    assert re.search(found, log), log
    assert "is not in order" in log.splitlines()[-1]


def test_one_mask_as_bytes_of_three_kinds_is_one_mask(tmp_path: Path) -> None:
    folder = copied(tmp_path, "14_byte_masks")
    assert imported(folder, "particles.csv")[0] == 0
    masks = read_stack(tmp_path / "out" / "masks.mrcs") > 0
    assert masks.sum(axis=(1, 2, 3))[:3].tolist() == [45, 45, 45]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[2]).all()


def test_blanks_around_names_paths_and_headings_do_not_count(tmp_path: Path) -> None:
    folder = copied(tmp_path, "05_blanks")
    for table in ("particles.csv", "commas.csv"):
        status, log = imported(folder, table)
        assert status == 0
        assert "8 volumes of 1 classes" in log
    status, log = imported(copied(tmp_path, "32_names"), "path.csv")
    assert status == 0
    assert "2 volumes of 2 classes" in log


def test_boxes_of_36_voxels_are_cropped_with_a_word(tmp_path: Path) -> None:
    status, log = imported(copied(tmp_path, "03_box36"), "particles.csv")
    assert status == 0
    assert "36^3 voxels are cropped to 32^3" in log
    assert read_stack(tmp_path / "out" / "volumes.mrcs").shape == (2, 32, 32, 32)


def test_em_files_are_read_once_their_voxel_size_is_stated(tmp_path: Path) -> None:
    folder = copied(tmp_path, "27_em")
    assert imported(folder, "particles.csv", "--voxel-size-angstrom", "8.7")[0] == 0


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path, "07_home")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder.rename(tmp_path / "civa_case")
    status, log = validated(tmp_path / "civa_case", "my.yaml")
    assert status == 0
    assert "8 volumes, 2 classes" in log


def test_another_projects_data_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path, "33_two_projects")
    monkeypatch.chdir(folder)
    assert imported(folder, "first/particles.csv")[0] == 0
    shutil.copytree(tmp_path / "out", folder / "results" / "mine")
    check_origin(load(Path("my.yaml")), "mine")
    with pytest.raises(ValueError, match=r"results/mine was made from other files than second"):
        check_origin(load(Path("second.yaml")), "mine")


def test_content_that_stands_twice_is_kept_in_one_part(tmp_path: Path) -> None:
    folder = copied(tmp_path, "23_twice")
    rows = (folder / "particles.csv").read_text().splitlines()
    (folder / "once.csv").write_text("\n".join(row for row in rows if not row.startswith("6,")))
    status, log = imported(folder, "once.csv")
    assert status == 0
    assert "boxes have the content of another" in log
    volumes = read_stack(tmp_path / "out" / "volumes.mrcs")
    assert any(np.array_equal(volumes[-1], other) for other in volumes[:-1])
