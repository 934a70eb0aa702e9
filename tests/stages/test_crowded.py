"""A crowded tomogram of other programs: three lists of the same particles give the same boxes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from scipy.spatial.transform import Rotation
from shared import shared

from civa.cli import main
from civa.data.stack import Stack, read_stack
from civa.data.volume import read_volume

CLASSES = {"3cf3": 1, "1bxn": 2, "1qvr": 3, "3j9i": 4}
VOXEL = 10.0
SIZE = np.array([256, 256, 100])  # x, y, z


@pytest.fixture(scope="module")
def particles() -> pd.DataFrame:
    table = pd.read_csv(shared("crowded", "tomogram1", "particles.csv"), dtype={"class": str})
    return table[table["class"].isin(CLASSES)].reset_index(drop=True)


def angles(table: pd.DataFrame) -> dict[str, np.ndarray]:
    turns = Rotation.from_quat(table[["qx", "qy", "qz", "qw"]].to_numpy())
    euler = turns.inv().as_euler("ZYZ", degrees=True)
    return {f"rlnAngle{name}": euler[:, i] for i, name in enumerate(("Rot", "Tilt", "Psi"))}


def places(table: pd.DataFrame) -> np.ndarray:
    return table[["x_angstrom", "y_angstrom", "z_angstrom"]].to_numpy()


def relion_5(path: Path, table: pd.DataFrame) -> None:
    centred = places(table) - VOXEL * SIZE / 2
    columns = {f"rlnCenteredCoordinate{a}Angst": centred[:, i] for i, a in enumerate("XYZ")}
    rows = pd.DataFrame({"rlnTomoName": "tomogram_1", **columns, **angles(table)})
    rows["rlnClassNumber"] = table["class"].map(CLASSES)
    starfile.write({"particles": rows}, path)


def relion_3_1(path: Path, table: pd.DataFrame) -> None:
    pixels = places(table) / VOXEL
    columns = {f"rlnCoordinate{a}": pixels[:, i] for i, a in enumerate("XYZ")}
    rows = pd.DataFrame({"rlnMicrographName": "tomogram_1.mrc", **columns, **angles(table)})
    rows = rows.assign(rlnClassNumber=table["class"].map(CLASSES), rlnOpticsGroup=1)
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [VOXEL]})
    starfile.write({"optics": optics, "particles": rows}, path)


def dynamo(path: Path, table: pd.DataFrame) -> None:
    rows = np.zeros((len(table), 35))
    turns = Rotation.from_quat(table[["qx", "qy", "qz", "qw"]].to_numpy())
    rows[:, 6:9] = -turns.as_euler("ZXZ", degrees=True)
    rows[:, 19], rows[:, 21] = 1, table["class"].map(CLASSES)
    rows[:, 23:26] = places(table) / VOXEL + 1
    np.savetxt(path, rows, fmt="%.8g")


def boxes(folder: Path, name: str) -> np.ndarray:
    """List and cut the particles of a list; return the boxes."""
    given = ["--tomograms", str(folder / "tomogram_1.mrc.gz")]
    values = [f"{name}={number}" for name, number in CLASSES.items()]
    listed = ["list-particles", "--lists", str(folder / name), *given, "--out"]
    assert main([*listed, str(folder / "p.csv"), "--class-values", *values]) == 0
    out = folder / f"out_{name}"
    known = str(folder / "tomograms.csv")
    given += ["--positions", str(folder / "p.csv")]
    assert main(["measure-tomograms", *given, "--out", known]) == 0
    cut = ["extract", *given, "--properties", known]
    products = {"volumes": "v.mrcs", "masks": "m.mrcs", "particles": "p.csv"}
    flags = [word for flag, file in products.items() for word in (f"--{flag}", str(out / file))]
    assert main([*cut, *flags]) == 0
    return read_stack(out / "v.mrcs")


def measured_flipped(folder: Path) -> pd.DataFrame:
    """Measure the same specimen in the tomogram whose phases were flipped."""
    packed = shared("crowded", "tomogram1", "tomogram_phaseflipped.mrc.gz")
    flipped = folder / "flipped" / "tomogram_1.mrc.gz"
    flipped.parent.mkdir()
    flipped.write_bytes(packed.read_bytes())
    given = ["--positions", str(folder / "p.csv"), "--tomograms", str(flipped)]
    out = flipped.with_name("tomograms.csv")
    assert main(["measure-tomograms", *given, "--out", str(out)]) == 0
    return pd.read_csv(out).set_index("quantity")


def test_three_dialects_give_identical_boxes_of_the_right_classes(
    particles: pd.DataFrame, tmp_path: Path
) -> None:
    packed = shared("crowded", "tomogram1", "tomogram_raw.mrc.gz")
    (tmp_path / "tomogram_1.mrc.gz").write_bytes(packed.read_bytes())
    writers = {"a.star": relion_5, "b.star": relion_3_1, "c.tbl": dynamo}
    stacks = []
    for name, write in writers.items():
        write(tmp_path / name, particles)
        stacks.append(boxes(tmp_path, name))
    np.testing.assert_array_equal(stacks[0], stacks[1])
    np.testing.assert_array_equal(stacks[0], stacks[2])

    known = pd.read_csv(tmp_path / "tomograms.csv").set_index("quantity")
    truth = {"tilt_min_deg": -54, "tilt_max_deg": 60, "tilt_axis_deg": 0}
    for name, value in truth.items():
        measured = float(known.loc[name, "value"])
        print(f"{name}: {measured:g} measured ({known.loc[name, 'confidence']}), {value} in truth")
        assert abs(measured - value) <= 3
    print(f"contrast: {known.loc['contrast', 'value']} ({known.loc['contrast', 'confidence']})")
    assert known.loc["contrast", ["value", "source"]].tolist() == ["dark", "measured"]
    states = {"raw": known, "phase-flipped": measured_flipped(tmp_path)}
    for state, table in states.items():
        found = table.loc["ctf_state"]
        print(f"ctf_state: {found['value']} ({found['source']}, {found['confidence']}), {state}")
        # Half of each bead of gold has overflowed its bytes: no sphere fits, and that is said.
        assert found["source"] == "assumed"
        assert "beads of gold" in found["confidence"]

    cut = pd.read_csv(tmp_path / "out_a.star" / "p.csv", dtype={"class": str})
    assert set(cut["class"]) == set(CLASSES)
    assert Stack.open(tmp_path / "out_a.star" / "v.mrcs").voxel_size_angstrom == VOXEL
    # The middle of every box lies where the packer put the particle.
    labels, _ = read_volume(shared("crowded", "tomogram1", "labels.mrc.gz"))
    tomogram, _ = read_volume(packed)
    index = np.rint(cut[["z_angstrom", "y_angstrom", "x_angstrom"]].to_numpy() / VOXEL).astype(int)
    inside = np.array([(labels[tuple(slice(i - 2, i + 3) for i in at)] > 0).any() for at in index])
    assert inside.mean() > 0.98
    whole = np.flatnonzero(
        (cut[["x_angstrom", "y_angstrom", "z_angstrom"]] % VOXEL == 0).all(axis=1)
    )
    for row in whole[:3]:  # at whole voxels a box is a copy
        z, y, x = index[row]
        part = -tomogram[z - 16 : z + 16, y - 16 : y + 16, x - 16 : x + 16].astype(float)
        np.testing.assert_allclose(stacks[0][row], (part - part.mean()) / part.std(), atol=1e-3)
