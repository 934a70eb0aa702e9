"""Lists as real programs wrote them: what each says, worked out by hand from its first row."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shared import shared

from civa.particle_lists.particle_list import Extent, as_name
from civa.particle_lists.reading import read_particle_list
from civa.particle_lists.relion import read_extents


def about_z(angle: float) -> NDArray:
    """Turn by an angle in degrees about z, from x towards y."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def about_y(angle: float) -> NDArray:
    """Turn by an angle in degrees about y, from z towards x."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def about_x(angle: float) -> NDArray:
    """Turn by an angle in degrees about x, from y towards z."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def relion(rot: float, tilt: float, psi: float) -> NDArray:
    """RELION's matrix, element by element as its src/euler.cpp has it."""
    ca, cb, cg = np.cos(np.deg2rad([rot, tilt, psi]))
    sa, sb, sg = np.sin(np.deg2rad([rot, tilt, psi]))
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def dynamo(tdrot: float, tilt: float, narot: float) -> NDArray:
    return about_z(-tdrot) @ about_x(-tilt) @ about_z(-narot)


def motive(phi: float, the: float, psi: float) -> NDArray:
    return about_z(psi) @ about_x(the) @ about_z(phi)


# Tomograms of 8 Å where a list counts its voxels.
PLAIN = Extent(np.array([480, 460, 200]), 8.0)
SUBTOMOGRAM_30 = relion(167.68924, 98.103985, -164.55358)
SUBTOMOGRAM_5 = relion(174.931305, 90.261512, -129.54646)

# File, dialect, rows, number of tomograms, classes, first position in Å from the corner, rotation.
LISTS = [
    (
        *("relion3.0.star", "RELION 3.0", 3, 1, None),
        [5.364 * 1028.455, 5.364 * 733.955, 5.364 * 422.955],
        relion(-60.199770, 120.999041, 86.088799),
    ),
    (
        *("portal_relion3.star", "RELION 3.0", 6, 3, {"1"}),
        [1.7005 * (4 - -1.2), 1.7005 * (8 - -2.4), 1.7005 * (12 - -3.2)],
        relion(90, 45, 180),
    ),
    (
        *("relion3.1_downgrade.star", "RELION 3.1", 20, 1, {"1"}),
        [5 * 314.929 - 3.947427, 5 * 918.864 - 0.072427, 5 * 349.444 - 0.072427],
        relion(-16.91486, 175.815434, 47.775756),
    ),
    (
        *("relion3.1_optics.star", "RELION 3.1", 3, 2, {"1"}),
        [2.446 * 915.549 + 0.25289, 2.446 * 1480.63 + 2.69889, 2.446 * 938.008 - 7.24711],
        relion(145.087672, 160.779720, 68.007232),
    ),
    (
        *("relion4.0_pseudosubtomo.star", "RELION 4", 20, 1, {"1"}),
        [1.971 * 1700 - 1.260416, 1.971 * 428 - 2.364176, 1.971 * 944 - 3.783296],
        relion(-61.71449, 150.606435, 110.442075),
    ),
    (
        *("relion5_tutorial_run_data.star", "RELION 5", 20, 1, {"1"}),
        # half of 4000 x 4000 x 2000 pixels of 1.35 Å, and the origin as its box was turned
        np.array([1774.846956, -951.529830, 1127.416439])
        + 1.35 * np.array([2000, 2000, 1000])
        - SUBTOMOGRAM_30 @ [0.028068, 1.040568, 0.365568],
        SUBTOMOGRAM_30 @ relion(-0.2541, 97.317432, 9.022498),
    ),
    (
        *("relion5_class3d.star", "RELION 5", 10, 2, {"1", "2", "3"}),
        np.array([754.828605, -879.58025, 138.065739])
        + 8.0 * np.array([240, 230, 100])
        - SUBTOMOGRAM_5 @ [-3.75772, 4.342283, -3.75772],
        SUBTOMOGRAM_5 @ relion(27.128677, 92.56899, 6.654494),
    ),
    (
        *("warp2_relion5_particles.star", "WarpTools", 20, 1, None),
        [4 * 354.242, 4 * 397.132, 4 * 75.828],
        relion(67.5, 11.7158, 187.5),
    ),
    (
        *("warp_m_particles.star", "M", 20, 1, None),
        [7663.728, 5644.008, 4851.24],
        relion(164.8926, 1.34092, 13.68407),
    ),
    (
        *("dynamo.tbl", "Dynamo", 30, 1, {"0"}),
        [8 * (508.5 - 1.1651 - 1), 8 * (378.5 - 2.3275 - 1), 8 * (318.5 + 3.8319 - 1)],
        dynamo(-32.745, 7.6126, -96.518),
    ),
    (
        *("dynamo_empiar10064_b8.tbl", "Dynamo", 30, 1, {"0"}),
        [8 * (67.75 - 1), 8 * (17.087 - 1), 8 * (81 - 1)],
        np.eye(3),
    ),
    (
        *("stopgap_motl.star", "STOPGAP", 20, 1, {"1", "2", "3"}),
        [8 * (824 + 0.2121 - 1), 8 * (754 + 0.6012 - 1), 8 * (673 + 5.4676 - 1)],
        motive(33.2584, 8.6516, 65.255699),
    ),
    (
        *("em_motl.em", "TOM / AV3", 235, 2, {"0"}),
        [8 * (129 - 0.5 - 1), 8 * (699 - 1), 8 * (-76 - 1)],
        np.eye(3),
    ),
    ("imod_points.mod", "IMOD", 235, 1, {"1", "2"}, [8 * 128.5, 8 * 698.5, 8 * -76], None),
]


@pytest.mark.parametrize(
    ("file", "dialect", "rows", "tomograms", "classes", "position", "matrix"),
    LISTS,
    ids=[row[0] for row in LISTS],
)
def test_a_list_says_what_its_program_meant(
    file: str,
    dialect: str,
    rows: int,
    tomograms: int,
    classes: set[str] | None,
    position: list[float],
    matrix: NDArray | None,
) -> None:
    found = read_particle_list(shared("particle-lists", file))
    assert (found.dialect, len(found)) == (dialect, rows)
    extents = dict.fromkeys(found.tomograms.tolist(), PLAIN)
    if file == "relion5_tutorial_run_data.star":
        extents |= read_extents(shared("particle-lists", "relion5_tutorial_tomograms.star"))
    assert len(set(found.tomograms)) == tomograms
    assert (None if found.classes is None else set(found.classes)) == classes
    np.testing.assert_allclose(found.corner_angstrom(extents)[0], position, atol=0.02)
    if matrix is None:
        assert found.rotations is None
    else:
        assert found.rotations is not None
        np.testing.assert_allclose(found.rotations[0].as_matrix(), matrix, atol=1e-4)


@pytest.mark.parametrize(
    "file",
    ["relion5_tutorial_tomograms.star", "warp2_relion5_tomograms.star", "pytom_relion5_tilts.star"],
)
def test_a_table_of_tomograms_or_tilts_is_no_particle_list(file: str) -> None:
    with pytest.raises(ValueError, match=rf"{file} lists no particles with positions: expected"):
        read_particle_list(shared("particle-lists", file))


def test_positions_in_angstrom_go_before_those_in_voxels(tmp_path: Path) -> None:
    columns = [f"{axis}_{unit}" for unit in ("angstrom", "voxel") for axis in "xyz"]
    (tmp_path / "l.csv").write_text(",".join(columns) + "\n100,110,120,1,2,3\n")
    found = read_particle_list(tmp_path / "l.csv")
    assert found.corner_angstrom().tolist() == [[100, 110, 120]]
    assert found.notes == ("has positions in voxels too: those in Å are taken",)


@pytest.mark.parametrize(("number", "name"), [(24.0, "24"), (-1.0, "-1"), ("1.5", "1.5")])
def test_numbers_become_names_as_a_person_writes_them(number: object, name: str) -> None:
    assert as_name(number) == name


def test_a_motive_list_that_ends_within_its_header_is_named(tmp_path: Path) -> None:
    whole = shared("particle-lists", "em_motl.em").read_bytes()
    (tmp_path / "l.em").write_bytes(whole[:100])
    with pytest.raises(ValueError, match="ends within its header"):
        read_particle_list(tmp_path / "l.em")


def test_full_turns_are_no_sign_of_angles_multiplied_twice(tmp_path: Path) -> None:
    columns = ["rlnMicrographName", *(f"rlnCoordinate{a}" for a in "XYZ")]
    columns += [f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
    rows = ["t 1 2 3 370 90 0", "t 4 5 6 10 90 0"]
    text = "data_\n\nloop_\n" + "".join(f"_{name}\n" for name in columns) + "\n".join(rows)
    (tmp_path / "l.star").write_text(text + "\n")
    found = read_particle_list(tmp_path / "l.star")
    assert found.rotations is not None
    assert (found.rotations[0].inv() * found.rotations[1]).magnitude() < 1e-6
    assert found.notes == ()


def test_an_optimisation_set_leads_to_its_particles(tmp_path: Path) -> None:
    named = shared("particle-lists", "warp2_relion5_particles.star").read_bytes()
    (tmp_path / "matching.star").write_bytes(named)
    chosen = tmp_path / "set.star"
    chosen.write_bytes(shared("particle-lists", "warp2_relion5_optimisation_set.star").read_bytes())
    assert len(read_particle_list(chosen)) == 20
    (tmp_path / "matching.star").unlink()
    with pytest.raises(ValueError, match=r"set\.star names matching\.star, which lies neither"):
        read_particle_list(chosen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ".join(["1"] * 3 + ["a.b"] + ["1"] * 31) + "\n", "'a.b' is no number"),
        (",".join(["1"] * 35) + "\n", "looks like a table of Dynamo with commas"),
        ("1 tomograms/a.rec\n24 b c.mrc\n", "maps numbers to tomograms.*give it as tomogram_files"),
        (
            "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateX #2\n1 2\n",
            r"has the columns \['rlnCoordinateX'\] twice",
        ),
        ("data_\r\rloop_\r_rlnCoordinateX #1\r1\r", "is not a readable STAR file|no block"),
    ],
)
def test_lists_that_cannot_be_meant_say_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l").write_bytes(text.encode())
    with pytest.raises(ValueError, match=message):
        read_particle_list(tmp_path / "l")
