"""A crowded tomogram, simulated as a whole; boxes and masks cut at picks in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from scipy.spatial.transform import Rotation

from civa.cli import main
from civa.data.stack import read_stack
from civa.data.volume import read_volume, write_volume
from civa.particle_lists.reading import read_particle_list
from civa.simulation.phantoms import phantom
from civa.simulation.specimen import render
from civa.simulation.structures import electron_potential
from civa.tomograms.tomogram import read_extent

VOXEL = 10.0
SHAPE = (48, 96, 112)
NAMES = ("cage", "spike", "globule")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with templates, and a simulated tomogram, `tomogram_1`."""
    folder = tmp_path_factory.mktemp("crowd")
    for name in NAMES:
        atoms = phantom(name)
        template = electron_potential(atoms, voxel_size_angstrom=VOXEL, resolution_angstrom=20)
        write_volume(folder / f"{name}.mrc", template, voxel_size_angstrom=VOXEL / 2)
    assert simulate(folder, "tomogram_1", "--pick-error-voxels", "1.5") == 0
    return folder


def simulate(folder: Path, name: str, *flags: str) -> int:
    words = ["simulate-tomogram", "--templates", *(str(folder / f"{n}.mrc") for n in NAMES)]
    words += ["--tomogram", str(folder / "tomograms" / f"{name}.mrc")]
    words += ["--instances", str(folder / "instances" / f"{name}.mrc")]
    words += ["--particles", str(folder / f"{name}_particles.star")]
    words += ["--picks", str(folder / f"{name}_picks.star")]
    words += ["--classes", "box=cage", "tower=spike", "--others", "globule", "--copies", "12"]
    words += ["--other-copies", "15"]
    words += ["--slab-voxels", *map(str, SHAPE), "--tilts-deg", "-54", "60", "3", *flags]
    return main([*words, "--log", str(folder / "log.txt")])


def test_lists_say_where_particles_are_and_how_they_are_turned(folder: Path) -> None:
    instances, voxel = read_volume(folder / "instances" / "tomogram_1.mrc")
    assert (instances.shape, voxel, instances.dtype) == (SHAPE, VOXEL, np.int16)
    found = read_particle_list(folder / "tomogram_1_particles.star")
    assert found.dialect == "RELION 5"
    assert found.rotations is not None
    extent = read_extent(folder / "tomograms" / "tomogram_1.mrc")
    centres = found.corner_angstrom({"tomogram_1": extent})[:, ::-1] / VOXEL
    templates = {name: read_volume(folder / f"{name}.mrc")[0] for name in NAMES}
    assert len(found) == instances.max() == 39
    for row in range(0, 39, 5):
        turn: Rotation = found.rotations[row]
        whole = np.rint(centres[row]).astype(int)
        body = render(templates[found.table["civaStructure"][row]], turn, centres[row] - whole)
        solid = np.argwhere(body > 0.25 * body.max()) - body.shape[0] // 2 + whole
        own = np.argwhere(instances == row + 1)
        shared = {tuple(v) for v in solid.tolist()} & {tuple(v) for v in own.tolist()}
        assert len(shared) > 0.95 * max(len(solid), len(own))


def test_picks_are_off_and_know_no_angles(folder: Path) -> None:
    truth, picks = (
        starfile.read(folder / f"tomogram_1_{kind}.star") for kind in ("particles", "picks")
    )
    assert not [name for name in picks if "Angle" in name]
    columns = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
    off = (picks[columns] - truth[columns]).abs().to_numpy()
    assert 5 < off.mean() < 10
    assert off.max() <= 15.001
    assert picks["civaClass"].value_counts().to_dict() == {"box": 12, "tower": 12, "none": 15}


def cut(folder: Path, *flags: str) -> int:
    given = ["--tomograms", str(folder / "tomograms" / "tomogram_1.mrc")]
    listed = ["list-particles", "--lists", str(folder / "tomogram_1_picks.star"), *given]
    listed += ["--class-column", "civaClass", "--class-values", "box=box", "tower=tower"]
    assert main([*listed, "--out", str(folder / "positions.csv")]) == 0
    given += ["--positions", str(folder / "positions.csv"), "--box-voxels", "24"]
    known = str(folder / "known.csv")
    assert main(["measure-tomograms", *given, "--invert-contrast", "--out", known]) == 0
    products = {"volumes": "v.mrcs", "masks": "m.mrcs", "particles": "p.csv"}
    out = [word for flag, file in products.items() for word in (f"--{flag}", str(folder / file))]
    log = ["--log", str(folder / "extract.txt")]
    return main(["extract", *given, "--properties", known, *out, "--edges", "pad", *flags, *log])


def test_boxes_have_the_masks_of_their_own_particles(folder: Path) -> None:
    instances = folder / "instances" / "tomogram_1.mrc"
    assert cut(folder, "--instances", str(instances)) == 0
    table = pd.read_csv(folder / "p.csv")
    masks, boxes = read_stack(folder / "m.mrcs"), read_stack(folder / "v.mrcs")
    whole, _ = read_volume(instances)
    assert len(table) == 24
    for row, particle in table.iterrows():
        size = (whole == particle["number"]).sum()
        inside = masks[row] == particle["label"]
        assert set(np.unique(masks[row])) <= {0, particle["label"]}
        assert 0.9 * size <= inside.sum() <= size  # spikes may reach beyond a box of 24
        assert np.abs(np.argwhere(inside).mean(axis=0) - 12).max() < 4
    contrast = boxes[masks > 0].mean() - boxes[masks == 0].mean()
    assert contrast > 0.3  # protein was dark, and is bright


def test_without_a_map_nobody_knows(folder: Path) -> None:
    assert cut(folder) == 0
    assert (read_stack(folder / "m.mrcs") == -1).all()


def test_a_map_that_fits_no_tomogram_is_refused(folder: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "other.mrc", np.zeros(SHAPE, np.int16), voxel_size_angstrom=VOXEL)
    assert cut(folder, "--instances", str(tmp_path / "other.mrc")) == 1
    assert "is named like no tomogram of the lists" in (folder / "extract.txt").read_text()
    small = np.zeros((8, 8, 8), np.int16)
    write_volume(tmp_path / "tomogram_1.mrc", small, voxel_size_angstrom=VOXEL)
    assert cut(folder, "--instances", str(tmp_path / "tomogram_1.mrc")) == 1
    assert "has (8, 8, 8) voxels: expected (48, 96, 112)" in (folder / "extract.txt").read_text()


def test_tomograms_of_a_data_set_differ_and_can_be_made_again(folder: Path) -> None:
    assert simulate(folder, "again") == 0
    one, _ = read_volume(folder / "tomograms" / "tomogram_1.mrc")
    again, _ = read_volume(folder / "tomograms" / "again.mrc")
    np.testing.assert_array_equal(one, again)
    assert simulate(folder, "other", "--number", "2") == 0
    other, _ = read_volume(folder / "tomograms" / "other.mrc")
    assert np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--slab-voxels", "48", "96"), "slab_voxels needs depth, height and width"),
        (("--classes", "box"), "classes must be of the form NAME=STRUCTURE"),
        (("--classes", "box=cage", "tower=cage"), "a structure stands for two classes"),
        (("--classes", "box=cage", "x=ring"), "there is no template of ['ring']"),
        (("--ctf-state", "deconvolved"), "--ctf-state is deconvolved: expected one of raw"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, flags: tuple[str, ...], message: str) -> None:
    words = ["simulate-tomogram", "--templates", *(str(folder / f"{n}.mrc") for n in NAMES)]
    for product in ("tomogram", "instances", "particles", "picks"):
        words += [f"--{product}", str(folder / "none" / product)]
    given = () if flags[0] == "--classes" else ("--classes", "box=cage", "tower=spike")
    assert main([*words, *given, *flags, "--log", str(folder / "log.txt")]) == 1
    assert message in (folder / "log.txt").read_text()
    assert not (folder / "none").exists() or not any((folder / "none").iterdir())


def test_whole_voxels_are_the_tomograms_own(folder: Path) -> None:
    instances = folder / "instances" / "tomogram_1.mrc"
    assert cut(folder, "--instances", str(instances), "--whole-voxels") == 0
    table = pd.read_csv(folder / "p.csv")
    masks, boxes = read_stack(folder / "m.mrcs"), read_stack(folder / "v.mrcs")
    whole, tomogram = (
        read_volume(path)[0] for path in (instances, folder / "tomograms" / "tomogram_1.mrc")
    )
    places = table[["z_angstrom", "y_angstrom", "x_angstrom"]].to_numpy() / VOXEL
    assert np.abs(places - np.rint(places)).max() < 1e-3
    for row, place in enumerate(np.rint(places).astype(int)):
        if (place < 12).any() or (place + 12 > SHAPE).any():
            continue
        part = tuple(slice(at - 12, at + 12) for at in place)
        own = -tomogram[part]
        np.testing.assert_allclose(boxes[row], (own - own.mean()) / own.std(), atol=1e-4)
        assert ((masks[row] > 0) == (whole[part] == table["number"][row])).all()


def test_whole_voxels_are_not_resampled(folder: Path) -> None:
    assert cut(folder, "--whole-voxels", "--voxel-size-angstrom", "12") == 1
    assert "boxes have 12 Å and 'tomogram_1' has 10 Å" in (folder / "extract.txt").read_text()


def test_masks_between_voxels_are_told_of(folder: Path) -> None:
    assert cut(folder, "--instances", str(folder / "instances" / "tomogram_1.mrc")) == 0
    assert "set extract.whole_voxels" in (folder / "extract.txt").read_text()
