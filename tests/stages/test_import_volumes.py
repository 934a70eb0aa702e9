"""A user's own boxes and labels, through the command line."""

from pathlib import Path

import emfile
import mrcfile
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from civa.cli import main
from civa.data.imaging import read_acquisitions
from civa.data.particles import UNANNOTATED, read_particles, read_tomograms
from civa.data.stack import Stack, read_stack, write_stack
from civa.data.volume import standardize, write_volume
from civa.optics import TiltRange, missing_wedge

Runner = tuple[int, str]


def box(seed: int, edge: int = 16) -> NDArray[np.float32]:
    """Noise with a bright protein at a corner that no axis flip leaves in place."""
    volume = np.random.default_rng(seed).normal(size=(edge,) * 3)
    volume[2:5, 3:6, 9:14] += 8
    return (40 + 7 * volume).astype(np.float32)


def mask(edge: int = 16) -> NDArray[np.int8]:
    drawn = np.zeros((edge,) * 3, dtype=np.int8)
    drawn[2:5, 3:6, 9:14] = 1
    return drawn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three boxes in a folder whose name is no easy one, and a table beside them."""
    folder = tmp_path / "my boxes é"
    for index, name in enumerate(("a.mrc", "b.rec", "c.map")):
        write_volume(folder / name, box(index), voxel_size_angstrom=13.5)
    write_volume(folder / "masks" / "b.mrc", mask(), voxel_size_angstrom=1)
    table(folder, "007,ribosome,a.mrc,", "008,apo,b.rec,masks/b.mrc", "9,ribosome,c.map,")
    return folder


def table(folder: Path, *rows: str, header: str = "id,class,path,mask") -> None:
    (folder / "table.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def run(folder: Path, *flags: str) -> Runner:
    """Import the folder's table; return the status and the last line of the log."""
    out = folder.parent / "out"
    products = [
        f"--{name}={out / file}"
        for name, file in (
            ("volumes", "volumes.mrcs"),
            ("masks", "masks.mrcs"),
            ("particles", "particles.csv"),
            ("properties", "tomograms.csv"),
        )
    ]
    log = folder.parent / "log.txt"
    arguments = ["import", "--table", str(folder / "table.csv"), *products, *flags]
    status = main([*arguments, "--log", str(log)])
    (*_, last) = log.read_text(encoding="utf-8").splitlines()
    return status, last


def test_the_tomogram_of_a_box_is_kept_as_text(folder: Path) -> None:
    rows = ("1,ribosome,a.mrc,007", "2,apo,b.rec,7", "3,ribosome,c.map,1e2")
    table(folder, *rows, header="id,class,path,tomogram")
    assert run(folder)[0] == 0
    kept = read_particles(folder.parent / "out" / "particles.csv")
    assert read_tomograms(kept) == ["007", "7", "1e2"]


def test_boxes_become_a_stack_in_the_order_of_the_table(folder: Path) -> None:
    status, last = run(folder)
    assert status == 0
    assert "3 volumes of 2 classes, 1 with a mask" in last
    out = folder.parent / "out"
    volumes = read_stack(out / "volumes.mrcs")
    for index in range(3):
        raw = box(index).astype(float)
        np.testing.assert_allclose(volumes[index], (raw - raw.mean()) / raw.std(), atol=1e-4)
    assert (
        Stack.open(out / "volumes.mrcs").voxel_size_angstrom
        == Stack.open(out / "masks.mrcs").voxel_size_angstrom
        == 13.5
    )
    rows = read_particles(out / "particles.csv")
    assert rows["id"].tolist() == ["007", "008", "9"]
    assert rows["label"].tolist() == [1, 2, 1]  # in the order of first appearance


def test_masks_carry_their_class_and_gaps_are_marked(folder: Path) -> None:
    assert run(folder)[0] == 0
    masks = read_stack(folder.parent / "out" / "masks.mrcs")
    assert masks.dtype == np.int8
    np.testing.assert_array_equal(masks[1], 2 * mask())
    assert (masks[[0, 2]] == UNANNOTATED).all()


def test_a_table_without_masks_is_enough(folder: Path) -> None:
    table(folder, "1,x,a.mrc", "2,y,b.rec", header="id,class,path")
    assert run(folder)[0] == 0
    assert (read_stack(folder.parent / "out" / "masks.mrcs") == UNANNOTATED).all()


def test_dark_protein_can_be_turned_bright(folder: Path) -> None:
    assert run(folder)[0] == 0
    upright = read_stack(folder.parent / "out" / "volumes.mrcs").copy()
    assert run(folder, "--invert-contrast")[0] == 0
    inverted = read_stack(folder.parent / "out" / "volumes.mrcs")
    np.testing.assert_allclose(inverted, -upright, atol=1e-6)


def with_particle(seed: int, sign: float, edge: int = 32) -> NDArray[np.float32]:
    """Noise tilted from -50 to 66 degrees, and a particle in its middle."""
    noise = np.random.default_rng(seed).normal(size=(edge,) * 3)
    noise[12:20, 12:20, 12:20] += 0.6 * sign
    wedge = missing_wedge(edge, TiltRange(-50, 66))
    return np.fft.ifftn(np.fft.fftn(noise) * wedge).real.astype(np.float32)


@pytest.mark.parametrize("sign", [-1, 1])
def test_contrast_and_tilts_of_boxes_are_measured(folder: Path, sign: float) -> None:
    rows = [f"{i},{'xy'[i % 2]},box{i}.mrc,t{i % 2}" for i in range(24)]
    for i in range(len(rows)):
        write_volume(folder / f"box{i}.mrc", with_particle(i, sign), voxel_size_angstrom=10)
    table(folder, *rows, header="id,class,path,tomogram")
    assert run(folder)[0] == 0
    out = folder.parent / "out"
    assert (
        read_stack(out / "volumes.mrcs")[:, 12:20, 12:20, 12:20].mean(axis=0) > 0.2
    ).mean() > 0.9
    known = pd.read_csv(out / "tomograms.csv").set_index(["tomogram", "quantity"])
    for name in ("t0", "t1"):
        assert known.loc[(name, "contrast"), "value"] == ("dark" if sign < 0 else "bright")
        assert known.loc[(name, "contrast"), "source"] == "measured"
    acquisitions, numbers = read_acquisitions(read_particles(out / "particles.csv"))
    assert len(acquisitions) <= 2
    assert (numbers[::2] == numbers[0]).all()
    for one in acquisitions:
        assert one.tilts.first_deg == pytest.approx(-50, abs=3)
        assert one.tilts.last_deg == pytest.approx(66, abs=3)
        assert one.tilts.axis_deg == pytest.approx(0, abs=2)


def test_what_a_table_says_of_tilts_is_kept(folder: Path) -> None:
    header = "id,class,path,tilt_min_deg,tilt_max_deg"
    table(folder, "1,x,a.mrc,-40,50", "2,y,b.rec,-60,60", header=header)
    assert run(folder, "--ctf-state", "raw")[0] == 0
    found, _ = read_acquisitions(read_particles(folder.parent / "out" / "particles.csv"))
    assert [one.tilts for one in found] == [TiltRange(-40, 50), TiltRange(-60, 60)]
    assert {one.ctf_state for one in found} == {"raw"}


def test_a_product_never_takes_the_place_of_a_box(folder: Path) -> None:
    content = (folder / "a.mrc").read_bytes()
    status, last = run(folder, "--volumes", str(folder / "a.mrc"))
    assert status == 1
    assert "a.mrc is there and was not written by civa" in last
    assert (folder / "a.mrc").read_bytes() == content


def test_a_stack_that_is_cut_short_is_named(folder: Path) -> None:
    write_stack(folder / "s.mrcs", np.stack([box(0), box(1)]), voxel_size_angstrom=13.5)
    whole = (folder / "s.mrcs").read_bytes()
    (folder / "s.mrcs").write_bytes(whole[: len(whole) // 2])
    table(folder, "1,x,1@s.mrcs", "2,y,2@s.mrcs", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "s.mrcs" in last
    assert "cut short" in last


def test_a_stated_voxel_size_overrides_the_headers(folder: Path) -> None:
    write_volume(folder / "a.mrc", box(0), voxel_size_angstrom=0)
    status, last = run(folder)
    assert status == 1
    assert "a.mrc" in last
    assert "--voxel-size-angstrom" in last
    assert run(folder, "--voxel-size-angstrom", "9")[0] == 0
    assert Stack.open(folder.parent / "out" / "volumes.mrcs").voxel_size_angstrom == 9


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_box_with_no_numbers_is_named(folder: Path, value: float) -> None:
    content = bytearray((folder / "b.rec").read_bytes())
    content[1024:1028] = np.array(value, "<f4").tobytes()  # the first voxel after the header
    (folder / "b.rec").write_bytes(content)
    status, last = run(folder)
    assert status == 1
    assert "b.rec holds NaN or infinite voxels" in last


def test_a_constant_box_is_named(folder: Path) -> None:
    write_volume(folder / "b.rec", np.full((16,) * 3, 0.1, np.float32), voxel_size_angstrom=13.5)
    status, last = run(folder)
    assert status == 1
    assert "constant" in last
    assert "b.rec" in last  # which of a thousand boxes?


@pytest.mark.parametrize(
    ("edge", "voxel_size", "expected"),
    [(24, 13.5, "c.map is 24^3 at 13.5 Å: expected 16^3 at 13.5 Å"), (16, 10.0, "at 10 Å")],
)
def test_boxes_that_differ_are_named(
    folder: Path, edge: int, voxel_size: float, expected: str
) -> None:
    write_volume(folder / "c.map", box(2, edge), voxel_size_angstrom=voxel_size)
    status, last = run(folder)
    assert status == 1
    assert "c.map" in last
    assert expected in last


def test_boxes_must_be_cubes(folder: Path) -> None:
    volume = np.random.default_rng(0).normal(size=(16, 16, 8)).astype(np.float32)
    write_volume(folder / "a.mrc", volume, voxel_size_angstrom=10)
    table(folder, "1,x,a.mrc", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "line 2, id '1'" in last
    assert "a.mrc is 16 x 16 x 8 voxels: expected a cube" in last


@pytest.mark.parametrize(
    ("edge", "flags", "fitted", "word"),
    [
        (20, (), 16, "20^3 voxels are cropped to 16^3, a multiple of 8, about their middle"),
        (17, (), 16, "17^3 voxels are cropped to 16^3"),
        (12, (), 16, "12^3 voxels are padded to 16^3"),
        (20, ("--box-voxels", "24"), 24, "20^3 voxels are padded to 24^3"),
    ],
)
def test_boxes_that_cannot_be_halved_thrice_are_fitted_about_their_middle(
    folder: Path, edge: int, flags: tuple[str, ...], fitted: int, word: str
) -> None:
    volume = np.random.default_rng(0).normal(size=(edge,) * 3).astype(np.float32)
    volume[(edge // 2,) * 3] = 30
    inside = np.zeros((edge,) * 3, dtype=np.int8)
    inside[(edge // 2,) * 3] = 1
    write_volume(folder / "a.mrc", volume, voxel_size_angstrom=10)
    write_volume(folder / "m.mrc", inside, voxel_size_angstrom=10)
    table(folder, "1,x,a.mrc,m.mrc")
    assert run(folder, *flags)[0] == 0
    assert word in (folder.parent / "log.txt").read_text()
    (found,) = read_stack(folder.parent / "out" / "volumes.mrcs")
    (drawn,) = read_stack(folder.parent / "out" / "masks.mrcs")
    assert found.shape == drawn.shape == (fitted,) * 3
    for values in (found, drawn):
        assert np.unravel_index(values.argmax(), values.shape) == (fitted // 2,) * 3
    assert drawn.sum() == 1


def test_a_mask_of_another_voxel_size_is_told(folder: Path) -> None:
    write_volume(folder / "masks" / "b.mrc", mask(), voxel_size_angstrom=8)
    assert run(folder)[0] == 0
    log = (folder.parent / "log.txt").read_text(encoding="utf-8")
    assert "1 masks: header states voxels of 8 Å: taken for those of the box" in log


def test_a_mask_of_another_shape_is_named(folder: Path) -> None:
    write_volume(folder / "masks" / "b.mrc", mask(24), voxel_size_angstrom=1)
    status, last = run(folder)
    assert status == 1
    assert "line 3, id '008': the mask b.mrc is 24 x 24 x 24 voxels: expected 16^3" in last


@pytest.mark.parametrize("escape", ["../secret.mrc", "/secret.mrc", "masks/../../secret.mrc"])
def test_paths_stay_in_the_folder_of_the_table(folder: Path, escape: str) -> None:
    write_volume(folder.parent / "secret.mrc", box(0), voxel_size_angstrom=10)
    name = escape if escape.startswith(("..", "masks")) else str(folder.parent) + escape
    table(folder, f"1,x,{name}", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "leads out of the table's folder" in last


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        (["1,x"], "id,class", "has no column 'path'"),
        (["1,x,none.mrc"], "id,class,path", "none.mrc does not exist"),
        (["1,x,"], "id,class,path", "line 2, id '1': the path is blank"),
        (
            ["1,x,a.mrc", "1,y,b.rec"],
            "id,class,path",
            "line 3, id '1': the id stands in line 2 too",
        ),
        (["1,,a.mrc"], "id,class,path", "line 2, id '1': the class is blank"),
        (["1,x,table.csv"], "id,class,path", "table.csv is not a readable MRC"),
        ([], "id,class,path", "table.csv"),  # no rows
    ],
)
def test_broken_tables_end_with_what_is_wrong(
    folder: Path, rows: list[str], header: str, expected: str
) -> None:
    table(folder, *rows, header=header)
    status, last = run(folder)
    assert status == 1
    assert expected in last


def test_a_failed_import_leaves_no_product(folder: Path) -> None:
    table(folder, "1,x,a.mrc,", "2,x,none.mrc,")
    assert run(folder)[0] == 1
    assert not list((folder.parent).glob("out/*"))


def test_the_product_table_is_what_later_stages_read(folder: Path) -> None:
    assert run(folder)[0] == 0
    rows = pd.read_csv(folder.parent / "out" / "particles.csv", dtype=str)
    assert "mask" not in rows.columns  # a path that would mean nothing beside the stack


def test_volumes_of_a_stack_are_named_by_their_number(folder: Path) -> None:
    boxes = np.stack([box(seed) for seed in range(3)])
    write_stack(folder / "all.mrcs", boxes, voxel_size_angstrom=13.5)
    table(folder, "1,x,000003@all.mrcs", "2,y,1@all.mrcs", header="id,class,path")
    assert run(folder)[0] == 0
    found = read_stack(folder.parent / "out" / "volumes.mrcs")
    np.testing.assert_allclose(found[0], standardize(boxes[2:])[0], atol=1e-5)
    np.testing.assert_allclose(found[1], standardize(boxes[:1])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all.mrcs", "holds 3 volumes: say which, counted from 1, as 000001@all.mrcs"),
        ("4@all.mrcs", "holds 3 volumes, and none of number 4"),
        ("0@all.mrcs", "holds 3 volumes, and none of number 0"),
        ("1@a.mrc", "a.mrc is one volume and no stack: name it without '1@'"),
    ],
)
def test_a_volume_that_a_stack_lacks_is_named(folder: Path, name: str, expected: str) -> None:
    boxes = np.stack([box(seed) for seed in range(3)])
    write_stack(folder / "all.mrcs", boxes, voxel_size_angstrom=13.5)
    table(folder, "1,x,1@all.mrcs", f"2,y,{name}", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "line 3, id '2'" in last
    assert expected in last


def test_em_files_need_a_voxel_size(folder: Path) -> None:
    emfile.write(folder / "a.em", box(0))
    emfile.write(folder / "b.em", box(1))
    table(folder, "1,x,a.em", "2,y,b.em", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "a.em is an EM file, which does not state its voxel size" in last
    assert run(folder, "--voxel-size-angstrom", "8.704")[0] == 0
    found = read_stack(folder.parent / "out" / "volumes.mrcs")
    np.testing.assert_allclose(found[1], standardize(box(1)[None])[0], atol=1e-5)


def images(path: Path, count: int) -> None:
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(np.random.default_rng(0).normal(size=(count, 16, 16)).astype(np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = 13.5


@pytest.mark.parametrize("count", [16, 41])
def test_stacks_of_images_are_no_boxes(folder: Path, count: int) -> None:
    images(folder / "p_stack2d.mrcs", count)
    table(folder, "1,x,p_stack2d.mrcs", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert f"p_stack2d.mrcs is a stack of {count} images" in last
    assert "export 3-D sub-tomograms" in last


def test_a_volume_whose_space_group_is_that_of_images_is_a_volume(folder: Path) -> None:
    images(folder / "a.mrc", 16)
    table(folder, "1,x,a.mrc", header="id,class,path")
    assert run(folder)[0] == 0


def test_a_box_that_is_listed_twice_is_refused_with_both_ids(folder: Path) -> None:
    table(folder, "1,x,a.mrc", "2,y,b.rec", "3,y,a.mrc", header="id,class,path")
    status, last = run(folder)
    assert status == 1
    assert "line 4, id '3': the box a.mrc is that of id '1' too" in last


def test_copies_are_named_and_stay_in_one_part(folder: Path) -> None:
    for index in range(12):
        write_volume(folder / f"{index}.mrc", box(index), voxel_size_angstrom=13.5)
    for index in range(12):  # a copy of every box, under another id and class
        (folder / f"copy{index}.mrc").write_bytes((folder / f"{index}.mrc").read_bytes())
    rows = [f"{i},{'xy'[i % 2]},{i}.mrc" for i in range(12)]
    rows += [f"c{i},{'xy'[i % 2]},copy{i}.mrc" for i in range(12)]
    table(folder, *rows, header="id,class,path")
    assert run(folder)[0] == 0
    assert "12 boxes have the content of another" in (folder.parent / "log.txt").read_text()
    out = folder.parent / "out"
    assert read_particles(out / "particles.csv")["copy_of"].tolist()[11:14] == ["", "0", "1"]
    arguments = ["split", "--particles", str(out / "particles.csv"), "--out", str(out / "s.csv")]
    assert main(arguments) == 0
    parts = pd.read_csv(out / "s.csv")["part"].tolist()
    assert parts[:12] == parts[12:]


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        (
            ["1,x,a.mrc,35000"],
            "id,class,path,defocus_um",
            "divide by 10,000, since they look like Å",
        ),
        (["1,x,a.mrc,0"], "id,class,path,defocus_um", r"it is not for ids ['1'] (0): correct it"),
        (["1,x,a.mrc,a.mrc"], "id,class,path,mask", "the mask a.mrc: it holds values from"),
        (["1,x,a.mrc,flat.mrc"], "id,class,path,mask", "the mask flat.mrc: all voxels are 0"),
    ],
)
def test_other_columns_are_checked(
    folder: Path, rows: list[str], header: str, expected: str
) -> None:
    flat = np.zeros((16,) * 3, dtype=np.int8)
    write_volume(folder / "flat.mrc", flat, voxel_size_angstrom=13.5)
    table(folder, *rows, header=header)
    status, last = run(folder)
    assert status == 1
    assert expected in last


def test_a_label_map_is_read_by_the_label_that_is_chosen(folder: Path) -> None:
    drawn = 3 * mask()
    drawn[-1, -1, -3:] = [1, 2, 2]
    write_volume(folder / "labels.mrc", drawn, voxel_size_angstrom=13.5)
    table(folder, "1,x,a.mrc,labels.mrc")
    status, last = run(folder)
    assert status == 1
    assert "it holds the labels 0, 1, 2, 3: choose the one of the particle" in last
    table(folder, "1,x,a.mrc,labels.mrc,3", header="id,class,path,mask,mask_label")
    assert run(folder)[0] == 0
    np.testing.assert_array_equal(read_stack(folder.parent / "out" / "masks.mrcs")[0], mask())


def test_links_may_lead_out_of_the_folder(folder: Path) -> None:
    scratch = folder.parent / "scratch"
    (folder / "a.mrc").rename(scratch.with_suffix(".mrc"))
    (folder / "a.mrc").symlink_to(scratch.with_suffix(".mrc"))
    assert run(folder)[0] == 0
