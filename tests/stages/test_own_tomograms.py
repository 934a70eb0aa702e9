"""Tomograms and lists of several programs, through the command line: one table, the same boxes."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import emfile
import mrcfile
import numpy as np
import pandas as pd
import pytest
import starfile
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.cli import main
from civa.data.imaging import Acquisition, read_acquisitions, read_defocus
from civa.data.particles import read_particles
from civa.data.stack import Stack, read_stack
from civa.optics import TiltRange
from civa.tomograms.positions import same_places

VOXEL = 10.0
SHAPE = (48, 96, 80)  # z, y, x
# Middles x, y, z in voxels, from 0; the last one's box reaches beyond the tomogram.
PLACES = np.array(
    [[20.0, 24, 20], [55.0, 30, 25], [24.25, 70.5, 22.75], [60.0, 75, 26], [50, 50, 5]]
)
CLASSES = np.array([1, 2, 1, 2, 2])
TURNS = Rotation.random(len(PLACES), rng=np.random.default_rng(4))


def density() -> NDArray[np.float64]:
    """Noise, and a dark blob of 1.5 voxels' width at every place."""
    volume = np.random.default_rng(2).normal(scale=0.02, size=SHAPE)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    for place in PLACES:
        apart = ((grid - place[::-1]) ** 2).sum(axis=-1)
        volume -= np.exp(-apart / (2 * 1.5**2))
    return volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a tomogram, `TS_7`, in a folder whose name is no easy one."""
    inside = tmp_path / "my tomograms"
    inside.mkdir()
    with mrcfile.new(inside / "TS_7_10.00Apx.mrc") as mrc:
        mrc.set_data(density().astype(np.float32))
        mrc.voxel_size = VOXEL
    return tmp_path


def angles(sequence: str) -> NDArray[np.float64]:
    return TURNS.as_euler(sequence, degrees=True)


def relion_columns() -> dict[str, NDArray]:
    rot, tilt, psi = TURNS.inv().as_euler("ZYZ", degrees=True).T
    return {
        **{"rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": psi},
        "rlnClassNumber": CLASSES,
    }


def relion_3_1(path: Path) -> None:
    """Pixels of 5 Å, and an origin that takes back what was added."""
    pixels = 2 * PLACES + [1.0, -2, 3]
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [5.0]})
    columns = {f"rlnCoordinate{axis}": pixels[:, i] for i, axis in enumerate("XYZ")}
    origins = {f"rlnOrigin{a}Angst": 5.0 * s for a, s in zip("XYZ", (1, -2, 3), strict=True)}
    particles = pd.DataFrame({"rlnMicrographName": "a/TS_7.mrc.tomostar", **columns, **origins})
    particles = particles.assign(**relion_columns(), rlnOpticsGroup=1)
    starfile.write({"optics": optics, "particles": particles}, path)


def relion_4(path: Path) -> None:
    """Unbinned pixels of 2.5 Å; boxes were turned, and their origins with them."""
    turned = Rotation.random(len(PLACES), rng=np.random.default_rng(9))
    within = turned.inv() * TURNS
    origins = np.array([7.5, -5.0, 2.5])
    pixels = 4 * PLACES + turned.apply(np.tile(origins, (len(PLACES), 1))) / 2.5
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnTomoTiltSeriesPixelSize": [2.5]})
    table: dict[str, object] = {"rlnTomoName": "TS_7"}
    table |= {f"rlnCoordinate{axis}": pixels[:, i] for i, axis in enumerate("XYZ")}
    table |= {f"rlnOrigin{axis}Angst": origins[i] for i, axis in enumerate("XYZ")}
    for column, turns in (("rlnTomoSubtomogram", turned), ("rlnAngle", within)):
        euler = turns.inv().as_euler("ZYZ", degrees=True)
        table |= {f"{column}{n}": euler[:, i] for i, n in enumerate(("Rot", "Tilt", "Psi"))}
    particles = pd.DataFrame(table).assign(rlnClassNumber=CLASSES, rlnOpticsGroup=1)
    starfile.write({"optics": optics, "particles": particles}, path)


def relion_5(path: Path) -> None:
    """Å from the centre of the tomogram."""
    centred = VOXEL * (PLACES - np.array(SHAPE[::-1]) / 2)
    columns = {f"rlnCenteredCoordinate{a}Angst": centred[:, i] for i, a in enumerate("XYZ")}
    particles = pd.DataFrame({"rlnTomoName": "TS_7", **columns, **relion_columns()})
    starfile.write({"particles": particles}, path)


def warptools(path: Path) -> None:
    """Pixels of the images, 4 Å, under the headers of RELION 5."""
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnTomoTiltSeriesPixelSize": [0.8],
            "rlnImagePixelSize": [4.0],
        }
    )
    columns = {f"rlnCoordinate{axis}": 2.5 * PLACES[:, i] for i, axis in enumerate("XYZ")}
    particles = pd.DataFrame({"rlnTomoName": "TS_7.tomostar", **columns, **relion_columns()})
    general = {"rlnTomoSubTomosAre2DStacks": 1}
    tables = {"optics": optics, "particles": particles.assign(rlnOpticsGroup=1)}
    starfile.write({"general": general, **tables}, path)


def warp_matching(path: Path) -> None:
    """Warp's template matching: fractions of the tomogram, 0 and 1 its first and last voxels."""
    parts = PLACES / (np.array(SHAPE[::-1]) - 1)
    columns = {f"rlnCoordinate{axis}": parts[:, i] for i, axis in enumerate("XYZ")}
    particles = pd.DataFrame({"rlnMicrographName": "TS_7.tomostar", **columns, **relion_columns()})
    starfile.write({"": particles}, path)


def m(path: Path) -> None:
    """Å from the corner, at two moments."""
    rot, tilt, psi = TURNS.inv().as_euler("ZYZ", degrees=True).T
    table: dict[str, object] = {"wrpSourceName": "TS_7.tomostar", "kind": CLASSES}
    for moment in "12":
        table |= {f"wrpCoordinate{a}{moment}": VOXEL * PLACES[:, i] for i, a in enumerate("XYZ")}
        table |= {f"wrpAngleRot{moment}": rot, f"wrpAngleTilt{moment}": tilt}
        table |= {f"wrpAnglePsi{moment}": psi}
    starfile.write({"": pd.DataFrame(table)}, path)


def dynamo(path: Path) -> None:
    """Voxels from 1, less a shift; a complex number that rounding left behind."""
    rows = np.zeros((len(PLACES), 35))
    rows[:, 3:6] = [0.5, -1.5, 2.0]
    rows[:, 6:9] = -angles("ZXZ")
    rows[:, 19], rows[:, 21] = 7, CLASSES
    rows[:, 23:26] = PLACES + 1 - [0.5, -1.5, 2.0]
    lines = [" ".join(f"{value:.6g}" for value in row) for row in rows]
    lines[2] = lines[2][: lines[2].rindex(" ")] + " 0+1.2e-06i"
    path.write_text("\n".join(lines) + "\n")


def motive_columns() -> dict[str, NDArray | float]:
    phi, the, psi = angles("zxz").T
    shifts = {"x_shift": 0.25, "y_shift": 1.0, "z_shift": -2.0}
    places = {f"orig_{a}": PLACES[:, i] + 1 for i, a in enumerate("xyz")}
    for axis in "xyz":
        places[f"orig_{axis}"] -= shifts[f"{axis}_shift"]
    return {**places, **shifts, "phi": phi, "psi": psi, "the": the, "class": CLASSES}


def stopgap(path: Path) -> None:
    starfile.write({"stopgap_motivelist": pd.DataFrame({"tomo_num": 7, **motive_columns()})}, path)


def em(path: Path) -> None:
    columns = motive_columns()
    rows = np.zeros((len(PLACES), 20), dtype=np.float32)
    names = ["orig_x", "orig_y", "orig_z", "x_shift", "y_shift", "z_shift"]
    for place, name in enumerate(names, start=7):
        rows[:, place] = columns[name]
    for place, name in ((16, "phi"), (17, "psi"), (18, "the"), (19, "class")):
        rows[:, place] = columns[name]
    rows[:, 4] = 7
    emfile.write(path, rows[None])


def csv(path: Path) -> None:
    table = pd.DataFrame({"class": CLASSES, "tomogram": "TS_7"})
    table = table.assign(**{f"{a}_voxel": PLACES[:, i] for i, a in enumerate("xyz")})
    quaternions = TURNS.as_quat()
    table = table.assign(**{f"quaternion_{a}": quaternions[:, i] for i, a in enumerate("xyzw")})
    table.to_csv(path, index=False)


WRITERS: dict[str, Callable[[Path], None]] = {
    **{"relion_3_1.star": relion_3_1, "relion_4.star": relion_4, "relion_5.star": relion_5},
    **{"warptools.star": warptools, "warp_matching.star": warp_matching, "m.star": m},
    **{"dynamo.tbl": dynamo, "stopgap.star": stopgap, "motl.em": em, "plain.csv": csv},
}


def listed(folder: Path, *lists: str, flags: tuple[str, ...] = ()) -> pd.DataFrame | str:
    """List particles; return the table, or the last line of the log where it fails."""
    log, out = folder / "log.txt", folder / "positions.csv"
    arguments = ["list-particles", "--lists", *(str(folder / name) for name in lists)]
    tomograms = sorted(map(str, (folder / "my tomograms").iterdir()))
    arguments += ["--tomograms", *tomograms, "--out", str(out), *flags]
    status = main([*arguments, "--log", str(log)])
    if status:
        assert not out.exists()
        return log.read_text(encoding="utf-8").splitlines()[-1]
    return pd.read_csv(out, dtype={"id": str, "class": str, "tomogram": str})


def extracted(folder: Path, *flags: str, dark: bool = True) -> tuple[int, str]:
    """Cut boxes at the positions that were listed; return the status and the log."""
    tomograms = sorted(map(str, (folder / "my tomograms").iterdir()))
    given = ["--positions", str(folder / "positions.csv"), "--tomograms", *tomograms]
    given += ["--box-voxels", "16", "--log", str(folder / "extract.txt")]
    contrast = "--invert-contrast" if dark else "--no-invert-contrast"
    known = str(folder / "tomograms.csv")
    log = folder / "extract.txt"
    if main(["measure-tomograms", *given, contrast, "--out", known]):
        return 1, log.read_text(encoding="utf-8")
    products = {"volumes": "volumes.mrcs", "masks": "masks.mrcs", "particles": "particles.csv"}
    arguments = ["extract", *given, "--properties", known]
    for name, file in products.items():
        arguments += [f"--{name}", str(folder / file)]
    status = main([*arguments, *flags])
    return status, log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WRITERS)
def test_every_program_gives_the_same_particles_and_boxes(folder: Path, name: str) -> None:
    WRITERS[name](folder / name)
    column = ("--class-column", "kind") if name == "m.star" else ()
    table = listed(folder, name, flags=("--class-values", "barrel=1", "cage=2", *column))
    assert isinstance(table, pd.DataFrame), table
    assert table["class"].tolist() == ["barrel", "cage", "barrel", "cage", "cage"]
    assert set(table["tomogram"]) == {"TS_7_10.00Apx"}
    np.testing.assert_allclose(
        table[["x_angstrom", "y_angstrom", "z_angstrom"]], VOXEL * PLACES, atol=0.01
    )
    found = Rotation.from_quat(table[[f"quaternion_{axis}" for axis in "xyzw"]])
    assert (found.inv() * TURNS).magnitude().max() < 1e-3

    status, log = extracted(folder)
    assert status == 0
    assert "4 boxes of 16^3 voxels of 10 Å" in log
    assert "1 boxes reach beyond their tomogram and are left out" in log
    boxes = read_stack(folder / "volumes.mrcs")
    for box in boxes:
        middle = np.unravel_index(box.argmax(), box.shape)
        assert middle == (8, 8, 8)
        mirrored = box[1:, 1:, 1:][::-1, ::-1, ::-1]  # a blob in its middle is its own mirror image
        near = (slice(4, 11),) * 3
        assert np.corrcoef(box[1:, 1:, 1:][near].ravel(), mirrored[near].ravel())[0, 1] > 0.97


def test_boxes_of_larger_voxels_keep_the_middle(folder: Path) -> None:
    csv(folder / "a.csv")
    assert isinstance(listed(folder, "a.csv"), pd.DataFrame)
    grid = ("--voxel-size-angstrom", "13.28", "--edges", "pad")
    status, log = extracted(folder, *grid, dark=False)
    assert status == 0
    assert "5 boxes of 16^3 voxels of 13.28 Å" in log
    stack = Stack.open(folder / "volumes.mrcs")
    assert (len(stack), round(stack.voxel_size_angstrom, 2)) == (5, 13.28)
    for box in stack[:]:
        assert np.unravel_index(box.argmin(), box.shape) == (
            8,
            8,
            8,
        )  # said to be bright: left
    assert (read_stack(folder / "masks.mrcs") == -1).all()


def test_what_is_known_of_a_tomogram_stands_in_a_table_and_beside_every_box(folder: Path) -> None:
    csv(folder / "a.csv")
    listed(folder, "a.csv")
    (folder / "TS_7.tlt").write_text("-63\n0\n51\n")
    given = ["--positions", str(folder / "positions.csv"), "--box-voxels", "16", "--tomograms"]
    given += map(str, (folder / "my tomograms").iterdir())
    told = ["--tilt-files", str(folder / "TS_7.tlt"), "--ctf-state", "phase-flipped"]
    out = folder / "tomograms.csv"
    assert main(["measure-tomograms", *given, *told, "--out", str(out)]) == 0
    known = pd.read_csv(out, dtype=str).set_index("quantity")
    assert set(known["tomogram"]) == {"TS_7_10.00Apx"}
    assert known["value"].to_dict() == {
        **{"voxel_size_angstrom": "10", "contrast": "dark", "ctf_state": "phase-flipped"},
        **{"tilt_min_deg": "-63.0", "tilt_max_deg": "51.0", "tilt_axis_deg": "0.0"},
    }
    assert known["source"].to_dict() == {
        **{"voxel_size_angstrom": "file", "contrast": "measured", "ctf_state": "stated"},
        **{"tilt_min_deg": "file", "tilt_max_deg": "file", "tilt_axis_deg": "assumed"},
    }
    products = {"volumes": "v.mrcs", "masks": "m.mrcs", "particles": "p.csv"}
    flags = [word for name, file in products.items() for word in (f"--{name}", str(folder / file))]
    assert main(["extract", *given, "--properties", str(out), *flags]) == 0
    (acquisition,), numbers = read_acquisitions(read_particles(folder / "p.csv"))
    assert acquisition == Acquisition(TiltRange(-63, 51), "phase-flipped")
    assert (numbers == 0).all()
    assert (read_stack(folder / "v.mrcs")[:, 8, 8, 8] > 3).all()  # dark blobs, turned bright


def test_defocus_of_a_list_comes_in_micrometres(folder: Path) -> None:
    relion_3_1(folder / "a.star")
    blocks = starfile.read(folder / "a.star", always_dict=True)
    blocks["particles"]["rlnDefocusU"], blocks["particles"]["rlnDefocusV"] = 41000.0, 39000.0
    starfile.write(blocks, folder / "a.star")
    table = listed(folder, "a.star")
    assert table["defocus_um"].tolist() == [4.0] * len(PLACES)
    assert extracted(folder)[0] == 0
    found = read_defocus(read_particles(folder / "particles.csv"))
    assert found is not None
    assert (found == 4).all()
    blocks["particles"]["rlnDefocusU"] = blocks["particles"]["rlnDefocusV"] = 0.0  # never fitted
    starfile.write(blocks, folder / "a.star")
    assert "defocus_um" not in listed(folder, "a.star")


def test_origins_in_angstrom_stay_so_whatever_a_pixel_is_said_to_be(folder: Path) -> None:
    relion_3_1(folder / "a.star")
    right = listed(folder, "a.star")
    blocks = starfile.read(folder / "a.star", always_dict=True)
    blocks["optics"]["rlnImagePixelSize"] = 2.5  # wrong
    starfile.write(blocks, folder / "a.star")
    stated = listed(folder, "a.star", flags=("--list-voxel-size-angstrom", "5"))
    pd.testing.assert_frame_equal(right, stated)
    blocks["optics"] = blocks["optics"].drop(columns="rlnImagePixelSize")
    starfile.write(blocks, folder / "a.star")
    stated = listed(folder, "a.star", flags=("--list-voxel-size-angstrom", "5"))
    pd.testing.assert_frame_equal(right, stated)


def test_sizes_before_binning_are_for_positions_from_the_centre_only(folder: Path) -> None:
    csv(folder / "a.csv")
    right = listed(folder, "a.csv")
    sizes = {f"rlnTomoSize{a}": [4 * n] for a, n in zip("XYZ", SHAPE[::-1], strict=True)}
    table = pd.DataFrame({"rlnTomoName": ["TS_7"], "rlnTomoTiltSeriesPixelSize": [2.5], **sizes})
    starfile.write({"global": table}, folder / "tomograms.star")
    given = ("--tomogram-table", str(folder / "tomograms.star"))
    pd.testing.assert_frame_equal(right, listed(folder, "a.csv", flags=given))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda b: b.update(more=b["particles"].head(2)),
            r"the blocks \['particles', 'more'\] list particles: expected one",
        ),
        (
            lambda b: b.update(
                optics=pd.concat([b["optics"], 2 * b["optics"].assign(rlnOpticsGroup=0.5)])
            ),
            r"states the optics groups \[1.*\] twice",
        ),
    ],
)
def test_star_files_that_contradict_themselves_are_refused(
    folder: Path, change: Callable[[dict[str, pd.DataFrame]], None], message: str
) -> None:
    relion_3_1(folder / "a.star")
    blocks = starfile.read(folder / "a.star", always_dict=True)
    change(blocks)
    starfile.write(blocks, folder / "a.star")
    assert re.search(message, str(listed(folder, "a.star")))


def test_particles_that_are_listed_twice_stay_together(folder: Path) -> None:
    csv(folder / "a.csv")
    rows = pd.read_csv(folder / "a.csv")
    near = rows.head(2).assign(x_voxel=rows["x_voxel"].head(2) + 0.5)
    pd.concat([rows, near]).to_csv(folder / "a.csv", index=False)
    table = listed(folder, "a.csv").fillna("")
    count = len(rows)
    assert table["copy_of"].tolist() == [""] * count + table["id"].head(2).tolist()


def test_defocus_of_a_list_is_checked_and_shared_by_empty_places(folder: Path) -> None:
    csv(folder / "a.csv")
    rows = pd.read_csv(folder / "a.csv")
    rows.assign(defocus_um=4.5).to_csv(folder / "a.csv", index=False)
    flags = ("--empty-places", "3", "--box-voxels", "16")
    assert (listed(folder, "a.csv", flags=flags)["defocus_um"] == 4.5).all()
    (folder / "positions.csv").unlink()
    rows.assign(defocus_um=30000).to_csv(folder / "a.csv", index=False)
    assert "defocus_um must be a number of µm from 0.05" in str(listed(folder, "a.csv"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,class\na,x\n", r"has no column \['tomogram', 'x_angstrom'.*make it with 'list-part"),
        (
            "id,class,tomogram,x_angstrom,y_angstrom,z_angstrom\na,x,gone,1,1,1\n",
            r"names the tomograms \['gone'\], and the files are those of \['TS_7_10",
        ),
    ],
)
def test_a_table_of_positions_that_is_none_is_named(folder: Path, table: str, message: str) -> None:
    (folder / "positions.csv").write_text(table)
    status, log = extracted(folder)
    assert status == 1
    assert re.search(message, log.splitlines()[-1])


def test_damaged_tomograms_are_named(folder: Path) -> None:
    csv(folder / "a.csv")
    (plain,) = (folder / "my tomograms").iterdir()
    packed = bytearray(gzip.compress(plain.read_bytes()))
    packed[5000:5100] = bytes(range(100))
    listed(folder, "a.csv")
    plain.with_name(plain.name + ".gz").write_bytes(packed)
    content = plain.read_bytes()
    plain.unlink()
    status, log = extracted(folder)
    assert status == 1
    assert "cannot be unpacked" in log.splitlines()[-1]
    plain.with_name(plain.name + ".gz").unlink()
    damaged = bytearray(content)
    damaged[0:4] = (-80).to_bytes(4, "little", signed=True)  # nx
    plain.write_bytes(damaged)
    status, log = extracted(folder)
    assert status == 1
    assert "its header states [-80, 96, 48] voxels: it is damaged" in log.splitlines()[-1]


def test_empty_places_hold_no_particle_of_any_class(folder: Path) -> None:
    csv(folder / "a.csv")
    flags = ("--class-values", "barrel=1", "--empty-places", "4", "--box-voxels", "16")
    table = listed(folder, "a.csv", flags=flags)
    assert table["class"].tolist() == ["barrel", "barrel", *["empty"] * 4]
    assert table["id"].is_unique
    empty = table.loc[2:, ["x_angstrom", "y_angstrom", "z_angstrom"]].to_numpy() / VOXEL
    apart = np.linalg.norm(empty[:, None] - PLACES, axis=-1)
    assert apart.min() >= 8  # of particles of other classes too
    size = np.array(SHAPE[::-1])
    assert ((empty >= 8) & (empty <= size - 8)).all()
    assert extracted(folder)[0] == 0
    again = listed(folder, "a.csv", flags=flags)
    pd.testing.assert_frame_equal(table, again)


def test_a_tomogram_without_room_says_how_many_empty_places_it_has(folder: Path) -> None:
    csv(folder / "a.csv")
    flags = ("--empty-places", "500", "--box-voxels", "40")
    table = listed(folder, "a.csv", flags=flags)
    count = (table["class"] == "empty").sum()
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert f"has room for {count} places without a particle; 500 were asked for" in log
    rows = pd.read_csv(folder / "a.csv").assign(**{"class": "empty"})
    rows.to_csv(folder / "a.csv", index=False)
    (folder / "positions.csv").unlink()
    assert "a class is called 'empty'" in str(listed(folder, "a.csv", flags=flags))


def test_contrast_that_voxels_do_not_tell_is_asked_for(folder: Path) -> None:
    csv(folder / "a.csv")
    listed(folder, "a.csv")
    (plain,) = (folder / "my tomograms").iterdir()
    with mrcfile.open(plain, "r+") as mrc:
        mrc.set_data(np.random.default_rng(1).normal(size=SHAPE).astype(np.float32))
    log, out = folder / "l.txt", folder / "tomograms.csv"
    arguments = ["measure-tomograms", "--positions", str(folder / "positions.csv")]
    arguments += ["--box-voxels", "16", "--tomograms", str(plain), "--log", str(log)]
    assert main([*arguments, "--out", str(out)]) == 1
    last = log.read_text(encoding="utf-8").splitlines()[-1]
    assert "4.5 are asked): state invert_contrast: true where it is dark, as in" in last
    assert not out.exists()


def test_compressed_tomograms_are_read_and_left_alone(folder: Path) -> None:
    csv(folder / "a.csv")
    (plain,) = (folder / "my tomograms").iterdir()
    first = listed(folder, "a.csv"), extracted(folder), read_stack(folder / "volumes.mrcs")
    packed = plain.with_name(plain.name + ".gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    second = listed(folder, "a.csv"), extracted(folder), read_stack(folder / "volumes.mrcs")
    np.testing.assert_array_equal(first[2], second[2])
    assert list((folder / "my tomograms").iterdir()) == [packed]
    assert not list(folder.glob(".unpacked*"))


def test_one_list_per_class(folder: Path) -> None:
    for number, name in ((1, "first"), (2, "second")):
        csv(folder / f"{name}.csv")
        table = pd.read_csv(folder / f"{name}.csv")
        table[table["class"] == number].drop(columns="class").to_csv(
            folder / f"{name}.csv", index=False
        )
    flags = ("--list-classes", "barrel", "cage")
    table = listed(folder, "first.csv", "second.csv", flags=flags)
    assert isinstance(table, pd.DataFrame)
    assert table["class"].tolist() == ["barrel"] * 2 + ["cage"] * 3
    assert table["id"].tolist() == [f"TS_7_10.00Apx_{i:05d}" for i in range(1, 6)]
    assert table["list"].tolist() == ["first.csv"] * 2 + ["second.csv"] * 3
    assert table["number"].tolist() == [1, 2, 1, 2, 3]


def test_particles_of_no_asked_class_are_left_out_and_counted(folder: Path) -> None:
    dynamo(folder / "d.tbl")
    table = listed(folder, "d.tbl", flags=("--class-values", "barrel=1+9"))
    assert isinstance(table, pd.DataFrame)
    assert table["number"].tolist() == [1, 3]
    assert (
        "3 particles of other classes, or of none, are left out, such as particle"
        in (folder / "log.txt").read_text()
    )


def test_angles_multiplied_twice_are_understood_with_a_word(folder: Path) -> None:
    warptools(folder / "w.star")
    blocks = starfile.read(folder / "w.star")
    for name in ("Rot", "Tilt", "Psi"):
        blocks["particles"][f"rlnAngle{name}"] *= 180 / np.pi
    starfile.write(blocks, folder / "w.star", overwrite=True)
    table = listed(folder, "w.star")
    assert isinstance(table, pd.DataFrame)
    found = Rotation.from_quat(table[[f"quaternion_{axis}" for axis in "xyzw"]])
    assert (found.inv() * TURNS).magnitude().max() < 1e-3
    assert "degrees that were multiplied by 57.3" in (folder / "log.txt").read_text()


def test_positions_from_the_corner_of_voxels_by_option(folder: Path) -> None:
    csv(folder / "a.csv")
    table = listed(folder, "a.csv", flags=("--first-voxel", "0.5"))
    assert isinstance(table, pd.DataFrame)
    np.testing.assert_allclose(table["x_angstrom"], VOXEL * (PLACES[:, 0] - 0.5), atol=0.01)


def test_voxels_of_another_binning_by_option(folder: Path) -> None:
    csv(folder / "a.csv")
    table = listed(folder, "a.csv", flags=("--list-voxel-size-angstrom", "2.5"))
    assert isinstance(table, pd.DataFrame)
    np.testing.assert_allclose(table["x_angstrom"], 2.5 * PLACES[:, 0], atol=0.01)


def test_positions_in_another_unit_are_refused_with_the_figure(folder: Path) -> None:
    csv(folder / "a.csv")
    listed(folder, "a.csv", flags=("--list-voxel-size-angstrom", "40"))
    status, log = extracted(folder)
    assert status == 1
    assert (
        "5 of 5 positions lie outside of the tomogram 'TS_7_10.00Apx' of [80, 96, 48] voxels" in log
    )
    assert "list_voxel_size_angstrom" in log.splitlines()[-1]
    assert not (folder / "volumes.mrcs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id,class\n1,a\n", "is no particle list that is known.*'id', 'class'"),
        ("x_voxel,y_voxel,z_voxel\n1,2\n", r"line 2: the row has 2 fields.*expected 3"),
        ("x_voxel,y_voxel,z_voxel\n1,2,3,4\n", r"line 2: the row has 4 fields.*expected 3"),
        (
            "class,x_voxel,y_voxel,z_voxel\na,1,,3\n",
            r"particle 1: y_voxel is '', expected a number",
        ),
        ("class,x_voxel,y_voxel,z_voxel\na,1,nan,3\n", r"particle 1: y_voxel is 'nan', expected"),
        ("x_voxel,y_voxel,z_voxel\n1,2,3\n", "does not say of which class its particles are"),
        ("class,x_voxel,y_voxel,z_voxel\n", "lists no volume"),
        ("data_\n\nloop_\n_rlnMicrographName #1\nTS_7\n", "lists no particles with positions"),
        (
            "class,x_angstrom,y_angstrom,z_angstrom\na,1,2,3\na,1e300,2,3\n",
            r"particle 2: its position is .*expected one within a tomogram",
        ),
        ("class,tomogram,x_voxel,y_voxel,z_voxel\na,,1,2,3\nb,TS_7,1,2,3\n", "name no tomogram"),
        ("\0\1\2\3", "is a binary file that is no particle list"),
    ],
)
def test_what_is_no_list_is_refused_by_name(folder: Path, text: str, message: str) -> None:
    (folder / "bad.csv").write_text(text)
    last = listed(folder, "bad.csv")
    assert isinstance(last, str)
    assert pd.Series([last]).str.contains(rf"bad\.csv.*{message}").all(), last


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--class-values", "A=1", "A=2"), "class_values names 'A' twice"),
        (("--class-values", "A=1", "B=1"), r"class_values gives ['1'] to several classes"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(
    folder: Path, flags: tuple[str, ...], message: str
) -> None:
    dynamo(folder / "d.tbl")
    last = listed(folder, "d.tbl", flags=("--list-voxel-size-angstrom", str(VOXEL), *flags))
    assert message in last


def test_a_tomogram_and_its_file_may_hold_equals_signs(folder: Path) -> None:
    (folder / "run=2").mkdir()
    inside = folder / "run=2" / "a=b.mrc"
    inside.write_bytes((folder / "my tomograms" / "TS_7_10.00Apx.mrc").read_bytes())
    (folder / "l.csv").write_text("class,tomogram,x_voxel,y_voxel,z_voxel\na,X=1,20,24,20\n")
    table = listed(
        folder, "l.csv", flags=("--tomogram-files", f"X=1={inside}", "--empty-places", "2")
    )
    assert isinstance(table, pd.DataFrame)
    assert table["tomogram"].unique().tolist() == ["a=b"]


def test_a_tomogram_may_be_stated_by_another_path_to_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`listed` gives whole paths; the statement's is relative."""
    monkeypatch.chdir(folder)
    (folder / "l.csv").write_text("class,tomogram,x_voxel,y_voxel,z_voxel\na,X,20,24,20\n")
    table = listed(folder, "l.csv", flags=("--tomogram-files", "X=my tomograms/TS_7_10.00Apx.mrc"))
    assert isinstance(table, pd.DataFrame)
    assert table["tomogram"].tolist() == ["TS_7_10.00Apx"]


def test_a_class_that_is_called_empty_but_for_its_case_is_refused(folder: Path) -> None:
    (folder / "l.csv").write_text("class,x_voxel,y_voxel,z_voxel\nEmpty,20,24,20\n")
    assert "a class is called 'empty'" in listed(folder, "l.csv", flags=("--empty-places", "2"))


def test_micrometres_in_a_column_of_angstrom_are_refused(folder: Path) -> None:
    relion_3_1(folder / "l.star")
    blocks = starfile.read(folder / "l.star")
    blocks["particles"] = blocks["particles"].assign(rlnDefocusU=3.1, rlnDefocusV=3.0)
    starfile.write(blocks, folder / "l.star", overwrite=True)
    assert "multiply by 10,000, since they look like µm" in listed(folder, "l.star")


def test_a_compressed_tomogram_under_a_plain_name_is_told(folder: Path) -> None:
    csv(folder / "l.csv")
    (tomogram,) = (folder / "my tomograms").iterdir()
    tomogram.write_bytes(gzip.compress(tomogram.read_bytes()))
    listed(folder, "l.csv")
    status, log = extracted(folder)
    assert status == 1
    assert "it is compressed: end its name in .gz or .bz2" in log


def test_thousands_of_particles_at_one_place_are_paired_with_the_first() -> None:
    places = np.zeros((4000, 3))
    places[-1] = 15.0 / np.sqrt(3)
    pairs = same_places(places)
    assert len(pairs) == 3999
    assert (pairs[:, 0] == 0).all()
    assert pairs[:, 1].tolist() == list(range(1, 4000))


def test_delimiters_blanks_and_a_mark_at_the_beginning_do_not_matter(folder: Path) -> None:
    text = "class ; x_voxel;y_voxel ;z_voxel\r\n a ;20; 24;20\r\n\r\nb;55;30;25\r\n"
    (folder / "a.csv").write_text("\ufeff" + text, encoding="utf-8")
    table = listed(folder, "a.csv")
    assert isinstance(table, pd.DataFrame)
    assert table["class"].tolist() == ["a", "b"]
    assert table["y_angstrom"].tolist() == [240, 300]


def test_a_list_that_is_not_there_is_named(folder: Path) -> None:
    last = listed(folder, "gone.star")
    assert isinstance(last, str)
    assert "gone.star does not exist" in last


def test_a_column_that_a_list_lacks_is_named_with_those_it_has(folder: Path) -> None:
    csv(folder / "a.csv")
    last = listed(folder, "a.csv", flags=("--class-column", "kind"))
    assert isinstance(last, str)
    assert "a.csv (CSV) has no column 'kind': it has ['class', 'tomogram'" in last


def test_no_particle_of_the_values_asked_for(folder: Path) -> None:
    csv(folder / "a.csv")
    last = listed(folder, "a.csv", flags=("--class-values", "cage=7"))
    assert isinstance(last, str)
    assert "has the classes ['1', '2'], and none of ['7']" in last


def test_tomograms_of_one_name_are_refused(folder: Path) -> None:
    csv(folder / "a.csv")
    (plain,) = (folder / "my tomograms").iterdir()
    plain.with_suffix(".rec").write_bytes(plain.read_bytes())
    last = listed(folder, "a.csv")
    assert isinstance(last, str)
    assert "have one name, 'TS_7_10.00Apx': rename one" in last


def test_voxels_that_are_no_numbers_are_named_with_the_particle(folder: Path) -> None:
    csv(folder / "a.csv")
    listed(folder, "a.csv")
    (plain,) = (folder / "my tomograms").iterdir()
    with mrcfile.mmap(plain, mode="r+") as mrc:
        mrc.data[20, 24, 20] = np.nan
    status, log = extracted(folder)
    assert status == 1
    assert "id 'TS_7_10.00Apx_00001': the box holds NaN" in log.splitlines()[-1]
    assert not (folder / "volumes.mrcs").exists()


def test_labels_count_the_classes_that_have_boxes(folder: Path) -> None:
    csv(folder / "a.csv")
    rows = pd.read_csv(folder / "a.csv")
    rows["class"] = ["edge" if i == 4 else "ab"[i % 2] for i in range(5)]
    rows.iloc[::-1].to_csv(folder / "a.csv", index=False)  # the lost class comes first
    listed(folder, "a.csv")
    status, log = extracted(folder)
    assert status == 1
    assert "no box of the classes ['edge'] lies within a tomogram" in log.splitlines()[-1]


@pytest.mark.parametrize("flags", [("--first-voxel", "0.5"), ("--list-voxel-size-angstrom", "2")])
def test_voxels_do_not_apply_to_positions_in_angstrom(folder: Path, flags: tuple[str, ...]) -> None:
    for name in ("m.star", "relion_5.star", "warp_matching.star"):
        WRITERS[name](folder / name)
        column = ("--class-column", "kind") if name == "m.star" else ()
        last = listed(folder, name, flags=(*flags, *column))
        assert isinstance(last, str)
        assert "positions that do not count voxels" in last


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rlnImagePixelSize", 0.0, "particle 1: the pixel size is 0 Å, expected more than 0"),
        ("rlnImagePixelSize", "abc", "rlnImagePixelSize is 'abc', expected a number"),
        ("rlnOpticsGroup", 7, r"particles of the optics groups \[1\]"),
    ],
)
def test_optics_that_say_nothing_are_named(
    folder: Path, column: str, value: object, message: str
) -> None:
    relion_3_1(folder / "r.star")
    blocks = starfile.read(folder / "r.star", always_dict=True)
    blocks["optics"] = pd.DataFrame({**pd.DataFrame(blocks["optics"], index=[0]), column: [value]})
    starfile.write(blocks, folder / "r.star", overwrite=True)
    last = listed(folder, "r.star")
    assert isinstance(last, str)
    assert pd.Series([last]).str.contains(rf"r\.star.*{message}").all(), last


def test_one_optics_group_holds_for_particles_that_name_none(folder: Path) -> None:
    relion_3_1(folder / "r.star")
    blocks = starfile.read(folder / "r.star", always_dict=True)
    blocks["particles"] = blocks["particles"].drop(columns="rlnOpticsGroup")
    starfile.write(blocks, folder / "r.star", overwrite=True)
    table = listed(folder, "r.star")
    assert isinstance(table, pd.DataFrame)
    np.testing.assert_allclose(table["x_angstrom"], VOXEL * PLACES[:, 0], atol=0.01)


@pytest.mark.parametrize(("flag", "value"), [("--edges", "wrap"), ("--box-voxels", "20")])
def test_settings_that_cannot_be_are_refused(folder: Path, flag: str, value: str) -> None:
    csv(folder / "a.csv")
    listed(folder, "a.csv")
    status, log = extracted(folder, "--box-voxels", "16", flag, value)
    if flag == "--edges":
        assert status == 1
        assert "--edges is wrap: expected one of leave-out, pad" in log
