"""Atoms to potential: what is conserved, which way is up, and which files are refused."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from civa.simulation.structures import (
    MAP_SUFFIXES,
    OVERSAMPLING,
    PROTEIN_POTENTIAL,
    STRUCTURE_SUFFIXES,
    Atoms,
    electron_potential,
    find_structure,
    map_potential,
    read_atoms,
)

SHARED = Path(__file__).parents[3] / "shared" / "structures"
HALF_TURN = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
"""


def pdb_line(
    x: float, y: float, z: float, *, element: str = "C", residue: str = "ALA", occupancy: float = 1
) -> str:
    """One atom in the columns of the PDB format, version 3.3."""
    return (
        f"ATOM      1  {element:<3} {residue} A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"{occupancy:6.2f}  0.00          {element:>2}\n"
    )


def cloud(seed: int = 0, n: int = 60) -> Atoms:
    """Atoms without any symmetry, far from the origin of their file."""
    generator = np.random.default_rng(seed)
    positions = generator.normal(scale=(40, 25, 15), size=(n, 3)) + (300, -200, 55)
    return Atoms(positions, generator.uniform(1, 9, size=n))


def potential(atoms: Atoms) -> np.ndarray:
    return electron_potential(atoms, voxel_size_angstrom=10, resolution_angstrom=10)


def test_the_potential_sums_to_the_scattering_of_all_atoms() -> None:
    atoms = cloud()
    # sharing and blurring move density, and neither makes nor loses any
    assert potential(atoms).sum() == pytest.approx(atoms.weights.sum(), rel=1e-5)


def test_the_centre_of_mass_lies_on_the_centre_of_the_map() -> None:
    drawn = potential(cloud())
    assert drawn.shape[0] % 2 == 1
    # the trilinear shares of a point have their mean on the point
    assert ndimage.center_of_mass(drawn) == pytest.approx([drawn.shape[0] // 2] * 3, abs=1e-2)


def test_one_atom_has_the_width_of_the_resolution_and_the_voxel() -> None:
    # Blur 0.225 x 10 Å with a voxel's box, 10 / sqrt(12) Å: sigma^2 = 5.06 + 8.33 = 13.4 Å^2,
    # in template voxels of 5 Å: 0.536.  The centred atom sits on one voxel.
    drawn = potential(Atoms(np.zeros((1, 3)), np.ones(1))).astype(float)
    middle = drawn.shape[0] // 2
    along = np.arange(drawn.shape[0]) - middle
    variance = (drawn.sum(axis=(0, 1)) * along**2).sum()
    assert variance == pytest.approx((0.225**2 + 1 / 12) * 100 / 5**2, rel=0.02)


@pytest.mark.parametrize(
    ("axis", "plane"),
    # a positive quarter turn about z takes x to y; arrays are z, y, x: axis 2 towards axis 1
    [("z", (2, 1)), ("x", (1, 0)), ("y", (0, 2))],
)
def test_turning_the_atoms_turns_the_map(axis: str, plane: tuple[int, int]) -> None:
    atoms = cloud()
    turned = Rotation.from_euler(axis, 90, degrees=True).apply(atoms.positions)
    expected = np.rot90(potential(atoms), axes=plane)
    np.testing.assert_allclose(potential(Atoms(turned, atoms.weights)), expected, atol=1e-4)


def test_the_map_has_the_hand_of_the_file() -> None:
    # three arms of 60 Å along +x, +y, +z, each heavier than the last; stumps opposite to them
    arms = 60.0 * np.eye(3)
    atoms = Atoms(np.concatenate([arms, -arms]), np.array([6, 7, 8, 2, 2, 2.0]))
    drawn = potential(atoms)
    middle = drawn.shape[0] // 2
    at = np.rint(atoms.centred().positions * OVERSAMPLING / 10).astype(int) + middle  # x, y, z
    brightness = [drawn[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].sum() for x, y, z in at]
    # voxels of 5 Å and a sigma of 3.7 Å: a 3^3 cube around an end holds most of its weight
    assert np.argsort(brightness[:3]).tolist() == [0, 1, 2]
    assert min(brightness[:3]) > 2 * max(brightness[3:])


def test_diameter_is_twice_the_farthest_atom_from_the_centre() -> None:
    # weights 3 and 1 at x = 0 and 40: centre at 10, farthest atom 30 away
    atoms = Atoms(np.array([[0.0, 5, 5], [40, 5, 5]]), np.array([3.0, 1.0]))
    assert atoms.diameter_angstrom == pytest.approx(60)


def test_atoms_scatter_by_element_and_occupancy(tmp_path: Path) -> None:
    path = tmp_path / "two.pdb"
    path.write_text(pdb_line(1, 2, 3) + pdb_line(4, 5, 6, element="O", occupancy=0.5))
    atoms = read_atoms(path)
    np.testing.assert_allclose(atoms.positions, [[1, 2, 3], [4, 5, 6]])
    # f_e(0) of neutral C and O: 2.509 and 1.983 Å (International Tables C, table 4.3.1.1)
    np.testing.assert_allclose(atoms.weights, [2.509, 1.983 / 2], rtol=0.01)


def test_hydrogen_and_water_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "wet.pdb"
    dry = pdb_line(1, 2, 3)
    wet = pdb_line(2, 2, 3, element="H") + pdb_line(9, 9, 9, element="O", residue="HOH")
    path.write_text(dry + wet)
    np.testing.assert_allclose(read_atoms(path).positions, [[1, 2, 3]])


def test_the_biological_assembly_is_expanded(tmp_path: Path) -> None:
    path = tmp_path / "half.pdb"
    path.write_text(HALF_TURN + pdb_line(10, 2, 3) + pdb_line(14, 2, 3))
    deposited = read_atoms(path, assembly="deposited").positions
    np.testing.assert_allclose(deposited, [[10, 2, 3], [14, 2, 3]])
    whole = read_atoms(path).positions
    # half a turn about z: (x, y, z) -> (-x, -y, z)
    np.testing.assert_allclose(np.sort(whole[:, 0]), [-14, -10, 10, 14])
    np.testing.assert_allclose(whole[:, 2], 3)


def test_a_real_assembly_has_the_symmetry_of_its_entry() -> None:
    path = SHARED / "1f1b.pdb"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    deposited, whole = read_atoms(path, assembly="deposited"), read_atoms(path)
    # REMARK 350 of 1f1b: a dodecamer, three operators on chains A to D
    assert len(whole.weights) == 3 * len(deposited.weights)
    # the three-fold axis is along z: turning the complex by 120 degrees changes nothing
    centred = whole.centred()
    turned = Rotation.from_euler("z", 120, degrees=True).apply(centred.positions)
    drawn = potential(centred)
    np.testing.assert_allclose(
        potential(Atoms(turned, whole.weights)), drawn, atol=0.01 * drawn.max()
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pdb", "", "holds no atom"),
        ("none.pdb", "HEADER    TRANSFERASE\nEND\n", "holds no atom"),
        ("none.cif", "data_none\n", "holds no atom"),
        ("page.pdb", "<!DOCTYPE html>\n<html>404</html>\n", "holds no atom"),
        ("page.cif", "<!DOCTYPE html>\n<html>404</html>\n", "is not a readable PDB or mmCIF"),
        ("noise.cif", "\x00\x01\x02" * 500, "is not a readable PDB or mmCIF"),
        ("notes.txt", pdb_line(1, 2, 3), "is not a readable PDB or mmCIF"),
        ("sea.pdb", pdb_line(1, 2, 3, element="O", residue="HOH"), "only hydrogen and water"),
        ("ghost.pdb", pdb_line(1, 2, 3, occupancy=0), "occupancy"),
        ("nan.pdb", pdb_line(1, 2, 3).replace("   1.000", "     nan"), "coordinate"),
    ],
)
def test_files_without_a_structure_are_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        read_atoms(path)


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1f1b\.pdb does not exist: put the structure there"):
        read_atoms(tmp_path / "1f1b.pdb")


def test_an_unknown_assembly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'biological' or 'deposited' \(got 'monomer'\)"):
        read_atoms(tmp_path / "x.pdb", assembly="monomer")


@pytest.mark.parametrize("suffix", [*STRUCTURE_SUFFIXES, *MAP_SUFFIXES])
def test_a_structure_is_found_in_any_format_and_case(tmp_path: Path, suffix: str) -> None:
    assert find_structure(tmp_path, "1ABC") is None
    path = tmp_path / f"1abc{suffix}"
    path.write_text(pdb_line(1, 2, 3))
    assert find_structure(tmp_path, "1ABC") == path
    assert find_structure(tmp_path, "1ab") is None


def test_a_structure_is_found_in_a_sub_folder(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "older").mkdir()
    path = tmp_path / "maps" / "tric_10A.mrc"
    path.touch()
    (tmp_path / "maps" / "older" / "ribosome.mrc").touch()
    assert find_structure(tmp_path, "tric_10A") == path
    assert find_structure(tmp_path, "ribosome") is None  # one level only
    assert find_structure(tmp_path, "maps") is None  # a folder is no structure


def test_the_folder_itself_comes_before_its_sub_folders(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    for place in ("b", "a", "."):  # each is preferred to those before it
        path = tmp_path / place / "1abc.mrc"
        path.touch()
        assert find_structure(tmp_path, "1abc") == path
    (tmp_path / "1abc.cif").touch()
    assert find_structure(tmp_path, "1abc") == tmp_path / "1abc.cif"  # atoms before a map


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert find_structure(tmp_path / "none", "1abc") is None


def blob(edge: int, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Return a ball at z, y, x, in voxels, its border shared."""
    distances = np.linalg.norm(np.moveaxis(np.indices((edge,) * 3), 0, -1) - centre, axis=-1)
    return np.clip(radius + 0.5 - distances, 0, 1)


def volume_angstrom3(template: np.ndarray, voxel_size_angstrom: float) -> float:
    inside = template > 0.25 * template.max()
    return float(inside.sum() * (voxel_size_angstrom / OVERSAMPLING) ** 3)


def test_a_map_comes_to_lie_with_its_centre_of_mass_in_the_middle() -> None:
    # two balls of unequal weight, far off the middle of the map
    density = 2 * blob(40, (12, 20, 25), 4) + blob(40, (22, 14, 25), 4)
    template = map_potential(density, 5, voxel_size_angstrom=10, resolution_angstrom=20)
    assert template.ndim == 3
    assert len(set(template.shape)) == 1
    assert template.shape[0] % 2 == 1
    assert template.min() >= 0
    middle = template.shape[0] // 2
    assert ndimage.center_of_mass(template) == pytest.approx([middle] * 3, abs=0.05)


def test_a_map_keeps_its_directions() -> None:
    # the heavier ball lies at (-z, +y) of the lighter one: the template must not be turned
    density = 3 * blob(40, (14, 24, 20), 4) + blob(40, (26, 14, 20), 4)
    template = map_potential(density, 5, voxel_size_angstrom=10, resolution_angstrom=10)
    heavier = ndimage.center_of_mass(template > 0.6 * template.max())
    middle = template.shape[0] // 2
    # balls 12 and 10 map voxels apart; the heavier lies a quarter of that from the centre of mass
    assert np.subtract(heavier, middle) == pytest.approx([-3, 2.5, 0], abs=0.2)


def test_the_inside_of_a_map_has_the_potential_of_protein() -> None:
    for units, shift in ((1, 0), (1e-3, 0), (40, -1e-9)):
        density = units * blob(32, (16, 16, 16), 8) + shift
        template = map_potential(density, 4, voxel_size_angstrom=8, resolution_angstrom=10)
        inside = template[template > 0.25 * template.max()]
        assert inside.mean() == pytest.approx(PROTEIN_POTENTIAL * 4**3, rel=1e-5)


def test_maps_and_atoms_of_one_body_scatter_alike() -> None:
    # A ball of 36 Å of protein, one carbon (2.509 Å) per 38.6 Å^3: 0.065 in all.
    grid = np.stack(np.meshgrid(*[np.arange(-40, 40, 38.6 ** (1 / 3))] * 3, indexing="ij"), -1)
    positions = grid.reshape(-1, 3)
    positions = positions[np.linalg.norm(positions - positions.mean(axis=0), axis=1) < 36]
    atoms = Atoms(positions, np.full(len(positions), 2.509))
    scale = {"voxel_size_angstrom": 10, "resolution_angstrom": 20}
    drawn = electron_potential(atoms, **scale)
    found = map_potential(blob(32, (16, 16, 16), 36 / 3), 3, **scale)
    assert volume_angstrom3(found, 10) == pytest.approx(volume_angstrom3(drawn, 10), rel=0.1)
    # inside, the contour counts the blurred border too: the middle is brighter than the mean
    assert found.sum() == pytest.approx(drawn.sum(), rel=0.5)


@pytest.mark.parametrize("voxel", [6.0, 10.0, 13.7])
@pytest.mark.parametrize("map_voxel", [3.0, 6.0])
def test_the_volume_of_a_map_does_not_depend_on_voxels(voxel: float, map_voxel: float) -> None:
    edge = round(180 / map_voxel)
    density = blob(edge, (edge / 2, edge / 2.2, edge / 2), 60 / map_voxel)
    template = map_potential(density, map_voxel, voxel_size_angstrom=voxel, resolution_angstrom=12)
    # a blurred edge falls to a quarter 0.67 sigma outside
    sigma = np.hypot(0.225 * 12, voxel / np.sqrt(12))
    expected = 4 / 3 * np.pi * (60 + 0.67 * sigma) ** 3
    assert volume_angstrom3(template, voxel) == pytest.approx(expected, rel=0.04)


def test_a_map_is_blurred_to_the_resolution() -> None:
    density = np.zeros((33, 33, 33))
    density[16, 16, 16] = 1
    widths = []
    for resolution in (20, 40):
        template = map_potential(
            density, 4, voxel_size_angstrom=10, resolution_angstrom=resolution
        ).astype(float)
        along = 5.0 * (np.arange(template.shape[0]) - template.shape[0] // 2)
        profile = template.sum(axis=(0, 1))
        widths.append((profile * along**2).sum() / profile.sum())
    # variance: (0.225 x resolution)^2, and that of the voxel, 100 / 12
    expected = [(0.225 * resolution) ** 2 + 100 / 12 for resolution in (20, 40)]
    assert widths == pytest.approx(expected, rel=0.05)


def test_a_body_that_fills_its_map_is_not_cut_when_blurred() -> None:
    density = np.ones((20, 20, 20))
    scale = {"voxel_size_angstrom": 10, "resolution_angstrom": 40}
    tight = map_potential(density, 2, **scale)
    loose = map_potential(np.pad(density, 30), 2, **scale)
    assert tight.shape == loose.shape
    np.testing.assert_allclose(tight, loose, atol=0.02 * loose.max())


def test_what_is_below_zero_is_solvent() -> None:
    density = blob(32, (16, 16, 16), 6)
    holes = density - 5 * blob(32, (4, 4, 4), 2)
    scale = {"voxel_size_angstrom": 10, "resolution_angstrom": 20}
    np.testing.assert_allclose(
        map_potential(holes, 5, **scale),
        map_potential(np.where(holes < 0, 0, density), 5, **scale),
        atol=1e-3,
    )


@pytest.mark.parametrize("density", [np.zeros((8, 8, 8)), -blob(8, (4, 4, 4), 2)])
def test_a_map_of_inverted_contrast_is_refused(density: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no positive density: invert its contrast, protein pos"):
        map_potential(density, 5, voxel_size_angstrom=10, resolution_angstrom=20)
