"""build-template, simulate, collect and split, through the command line, on small sizes."""

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest

from civa.cli import main
from civa.data.particles import read_particles
from civa.data.stack import Stack, read_stack
from civa.data.volume import read_volume, write_volume

NAMES = ("cage", "spike", "rod")
LISTS = {  # a second flag of a list adds to the first: what a test gives replaces these
    "--classes": ("complex=phantom-cage", "needle=phantom-spike"),
    "--per-class": ("4",),
    "--distractors": ("phantom-rod",),
}
SMALL = {
    "snr": "0.1",
    "voxel_size_angstrom": "20",
    "box_voxels": "16",
    "simulated_box_voxels": "32",
    "max_shift_voxels": "3",
    "tilt_step_deg": "6",
    "neighbour_count": "2",
}
PRODUCTS = {"volumes": "volumes.mrcs", "masks": "masks.mrcs", "particles": "particles.csv"}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("templates é")
    paths = [folder / f"phantom-{name}.mrc" for name in NAMES]
    for path in paths:
        arguments = ["--name", path.stem, "--out", str(path), "--resolution-angstrom", "20"]
        sizes = ["--voxel-size-angstrom", "20", "--box-voxels", "16"]
        assert main(["build-template", *arguments, *sizes]) == 0
    return paths


def simulate(templates: list[Path], out: Path, *more: str) -> tuple[int, str]:
    """Simulate into a folder; return the status and the last line of the log."""
    log = out / "log.txt"
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in SMALL.items()]
    products = [f"--{key}={out / name}" for key, name in PRODUCTS.items()]
    named = {word.partition("=")[0] for word in more}
    lists = [w for flag, words in LISTS.items() if flag not in named for w in (flag, *words)]
    given = ["--templates", *map(str, templates), *lists, *flags, *products]
    status = main(["simulate", *given, *more, f"--log={log}"])
    (*_, last) = log.read_text(encoding="utf-8").splitlines()
    return status, last


def collect(shards: list[Path], out: Path) -> None:
    lists = [
        word
        for key, name in PRODUCTS.items()
        for word in (f"--{key.removesuffix('s')}-shards", *(str(s / name) for s in shards))
    ]
    products = [f"--{key}={out / name}" for key, name in PRODUCTS.items()]
    assert main(["collect", *lists, *products]) == 0


def test_a_template_is_drawn_at_half_the_voxel_size(templates: list[Path]) -> None:
    template, voxel_size = read_volume(templates[0])
    assert voxel_size == 10
    assert template.shape[0] % 2 == 1
    assert template.max() > 0


def test_a_template_of_a_file_is_the_files(tmp_path: Path) -> None:
    path, out = tmp_path / "two atoms.pdb", tmp_path / "two.mrc"
    atom = "ATOM      1  C   ALA A   1    {:8.3f}   0.000   0.000  1.00  0.00           C\n"
    path.write_text(atom.format(0) + atom.format(100))
    assert (
        main(["build-template", "--structure", str(path), "--name", "two", "--out", str(out)]) == 0
    )
    template, _ = read_volume(out)
    # 100 Å apart along x at 5 Å per template voxel: 20 voxels, from -10 to +10
    middle = template.shape[0] // 2
    line = template[middle, middle]
    np.testing.assert_allclose(line[[middle - 10, middle + 10]], template.max(), rtol=1e-3)


def test_a_template_of_a_map_is_the_maps(tmp_path: Path) -> None:
    path, out = tmp_path / "two balls.mrc", tmp_path / "two.mrc"
    density = np.zeros((32, 32, 32), dtype=np.float32)
    density[16, 16, [6, 26]] = 1
    write_volume(path, density, voxel_size_angstrom=5)
    assert main(["build-template", f"--structure={path}", "--name=two", f"--out={out}"]) == 0
    template, voxel_size = read_volume(out)
    assert voxel_size == 5
    # 20 voxels of 5 Å apart along x, about the middle
    middle = template.shape[0] // 2
    line = template[middle, middle]
    np.testing.assert_allclose(line[[middle - 10, middle + 10]], template.max(), rtol=1e-3)
    assert line[middle] < 1e-3 * template.max()


def test_a_map_of_dark_protein_is_refused(tmp_path: Path) -> None:
    path, out, log = (tmp_path / name for name in ("dark.map", "t.mrc", "log.txt"))
    write_volume(path, np.full((8, 8, 8), -1, dtype=np.float32), voxel_size_angstrom=5)
    flags = [f"--structure={path}", "--name=dark", f"--out={out}", f"--log={log}"]
    assert main(["build-template", *flags]) == 1
    assert "invert its contrast" in log.read_text(encoding="utf-8").splitlines()[-1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("phantom-ribosome", (), "there is no phantom 'ribosome': choose from"),
        ("phantom-spike", ("--voxel-size-angstrom", "1"), "voxels but the box has 32: use larger"),
    ],
)
def test_impossible_templates_are_refused(
    tmp_path: Path, name: str, more: tuple[str, ...], message: str
) -> None:
    out, log = tmp_path / "t.mrc", tmp_path / "log.txt"
    assert (
        main(["build-template", "--name", name, "--out", str(out), "--log", str(log), *more]) == 1
    )
    assert message in log.read_text(encoding="utf-8").splitlines()[-1]
    assert not out.exists()


def test_a_shard_holds_every_class_with_its_labels(templates: list[Path], tmp_path: Path) -> None:
    status, last = simulate(templates, tmp_path)
    assert status == 0
    assert "8 volumes" in last
    volumes, masks = (read_stack(tmp_path / PRODUCTS[name]) for name in ("volumes", "masks"))
    assert volumes.shape == masks.shape == (8, 16, 16, 16)
    assert (volumes.dtype, masks.dtype) == (np.float32, np.int8)
    assert Stack.open(tmp_path / "volumes.mrcs").voxel_size_angstrom == 20
    assert mrcfile.validate(tmp_path / "volumes.mrcs")
    np.testing.assert_allclose(volumes.std(axis=(1, 2, 3)), 1, atol=1e-4)
    rows = read_particles(tmp_path / "particles.csv")
    assert rows["class"].tolist() == ["complex"] * 4 + ["needle"] * 4
    assert rows["label"].tolist() == [1] * 4 + [2] * 4
    assert rows["id"].is_unique
    # a mask holds background and its own label, in every volume
    for mask, label in zip(masks, rows["label"], strict=True):
        assert set(np.unique(mask)) == {0, label}


def test_what_made_each_volume_is_recorded(templates: list[Path], tmp_path: Path) -> None:
    assert simulate(templates, tmp_path, "--seed", "3")[0] == 0
    rows = read_particles(tmp_path / "particles.csv")
    np.testing.assert_allclose(rows["snr_measured"], 0.1, rtol=0.05)
    assert rows["defocus_um"].between(4, 7).all()
    assert rows["defocus_um"].is_unique
    assert (rows["seed"] == 3).all()
    assert rows["index"].tolist() == list(range(8))
    assert set(" ".join(rows["neighbours"]).split()) == {"phantom-rod"}
    quaternions = rows[[f"quaternion_{axis}" for axis in "xyzw"]]
    np.testing.assert_allclose(np.square(quaternions).sum(axis=1), 1)
    assert rows[["shift_z", "shift_y", "shift_x"]].abs().to_numpy().max() <= 3


@pytest.mark.parametrize("imaging", ["tilt_series", "convolution"])
def test_shards_join_to_the_same_bits(templates: list[Path], tmp_path: Path, imaging: str) -> None:
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    assert simulate(templates, whole, f"--imaging={imaging}")[0] == 0
    shards = [tmp_path / f"shard{i}" for i in range(3)]  # 8 volumes: 3 + 3 + 2
    for i in (2, 0, 1):
        more = (f"--imaging={imaging}", f"--shard={i}", "--shards=3")
        assert simulate(templates, shards[i], *more)[0] == 0
    collect(shards, joined)
    for name in ("volumes.mrcs", "masks.mrcs"):
        assert read_stack(whole / name).tobytes() == read_stack(joined / name).tobytes()
        assert Stack.open(joined / name).voxel_size_angstrom == 20
    assert (whole / "particles.csv").read_bytes() == (joined / "particles.csv").read_bytes()


def test_classes_may_have_their_own_numbers_of_volumes(
    templates: list[Path], tmp_path: Path
) -> None:
    # in the order of the classes, whatever the order of the numbers
    more = ("--per-class", "needle=1", "complex=4")
    status, last = simulate(templates, tmp_path / "whole", *more)
    assert status == 0
    assert "5 volumes" in last
    rows = read_particles(tmp_path / "whole" / "particles.csv")
    assert rows["id"].tolist() == [*(f"complex_{i:05d}" for i in range(4)), "needle_00000"]
    assert rows["label"].tolist() == [1, 1, 1, 1, 2]
    assert rows["structure"].tolist() == ["phantom-cage"] * 4 + ["phantom-spike"]
    masks = read_stack(tmp_path / "whole" / "masks.mrcs")
    assert masks.max(axis=(1, 2, 3)).tolist() == [1, 1, 1, 1, 2]
    # a shard may hold one class only
    shards = [tmp_path / f"shard{i}" for i in range(3)]
    for i, shard in enumerate(shards):
        assert simulate(templates, shard, *more, f"--shard={i}", "--shards=3")[0] == 0
    collect(shards, tmp_path / "joined")
    for name in ("volumes.mrcs", "masks.mrcs", "particles.csv"):
        pair = [(tmp_path / folder / name) for folder in ("whole", "joined")]
        if name.endswith(".csv"):
            assert pair[0].read_bytes() == pair[1].read_bytes()
        else:
            assert read_stack(pair[0]).tobytes() == read_stack(pair[1]).tobytes()


def test_one_number_is_that_of_every_class(templates: list[Path], tmp_path: Path) -> None:
    for name, numbers in (("one", ["3"]), ("each", ["complex=3", "needle=3"])):
        assert simulate(templates, tmp_path / name, "--per-class", *numbers)[0] == 0
    files = [tmp_path / name / "particles.csv" for name in ("one", "each")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(read_particles(files[0])) == 6


def test_more_shards_than_volumes_are_refused(templates: list[Path], tmp_path: Path) -> None:
    # 9 shards of 8 volumes: the last would be empty
    status, message = simulate(templates, tmp_path, "--shard=8", "--shards=9")
    assert status == 1
    assert "9 shards of 8 volumes" in message


def test_another_seed_makes_other_volumes(templates: list[Path], tmp_path: Path) -> None:
    for seed in ("1", "2"):
        assert simulate(templates, tmp_path / seed, "--seed", seed)[0] == 0
    first, second = (read_stack(tmp_path / seed / "volumes.mrcs") for seed in ("1", "2"))
    for one, other in zip(first, second, strict=True):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5


def test_neighbours_come_from_where_they_are_asked(templates: list[Path], tmp_path: Path) -> None:
    seen = {}
    for where in ("all", "none"):
        assert simulate(templates, tmp_path / where, f"--neighbours={where}")[0] == 0
        rows = pd.read_csv(tmp_path / where / "particles.csv", keep_default_na=False)
        seen[where] = set(" ".join(rows["neighbours"]).split())
    # 16 draws out of 3 structures miss one of them with probability 3 (2/3)^16 = 0.5 %
    assert seen == {"all": {f"phantom-{name}" for name in NAMES}, "none": set()}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--snr=0",), "--snr is 0.0: expected above 0"),
        (("--snr=nan",), "--snr is nan: expected above 0"),
        (("--simulated-box-voxels=33",), "-voxels is 33: expected 16 to 256, a multiple of 2"),
        (("--simulated-box-voxels=16", "--box-voxels=24"), "must not be smaller than"),
        (("--box-voxels=4",), "--box-voxels is 4: expected 16 to 128, a multiple of 8 voxels"),
        (("--imaging=ghost",), "--imaging is ghost: expected one of tilt_series, convolution"),
        (("--neighbours=distractor",), "is distractor: expected one of"),  # misspelt, not "all"
        (("--classes", "complex"), "complex"),  # no structure stated
        (("--classes", "a=phantom-ghost"), "phantom-ghost"),  # no such template
        (("--distractors", "phantom-ghost"), "phantom-ghost"),
        (("--shard=3", "--shards=3"), "shard"),  # shards count from 0
        (("--defocus-um", "5"), "defocus"),
        (("--per-class", "complex=4"), "expected the classes ['complex', 'needle']"),
        (("--per-class", "complex=4", "spoon=4"), "per_class names ['complex', 'spoon']"),
        (("--per-class", "4", "4"), "per_class '4' is not of the form NUMBER or NAME=NUMBER"),
        (("--per-class", "0"), "per_class must be positive numbers"),
        (("--per-class", "complex=4", "needle=few"), "per_class must be positive numbers"),
    ],
)
def test_impossible_simulations_are_refused(
    templates: list[Path], tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    status, last = simulate(templates, tmp_path, *more)
    assert status == 1
    assert "civa simulate: " in last
    assert message in last
    assert not (tmp_path / "volumes.mrcs").exists()


def test_a_class_may_show_several_structures_in_turn(templates: list[Path], tmp_path: Path) -> None:
    first, second, *_ = (path.stem for path in templates)
    classes = ("--classes", f"mixed={first}+{second}", f"pure={first}")
    assert simulate(templates, tmp_path, *classes)[0] == 0
    rows = pd.read_csv(tmp_path / "particles.csv")
    assert rows["class"].tolist() == ["mixed"] * 4 + ["pure"] * 4
    assert rows["structure"].tolist() == [first, second] * 2 + [first] * 4
    assert rows["label"].tolist() == [1] * 4 + [2] * 4


def test_distractors_that_are_asked_for_must_be_given(
    templates: list[Path], tmp_path: Path
) -> None:
    status, last = simulate(templates, tmp_path, "--distractors")
    assert status == 1
    assert "distractors" in last


def test_the_split_lists_every_particle_once(templates: list[Path], tmp_path: Path) -> None:
    assert simulate(templates, tmp_path)[0] == 0
    particles, out = tmp_path / "particles.csv", tmp_path / "split.csv"
    fractions = ("--fractions", "0.5", "0.25", "0.25")
    assert main(["split", "--particles", str(particles), "--out", str(out), *fractions]) == 0
    rows = pd.read_csv(out, dtype=str)
    assert rows["id"].tolist() == read_particles(particles)["id"].tolist()
    # 4 of each class: 2, 1 and 1
    counts = pd.crosstab(rows["class"], rows["part"])
    assert counts[["train", "validation", "test"]].to_numpy().tolist() == [[2, 1, 1]] * 2


def test_a_split_tells_wrong_labels_of_training_volumes_alone(
    templates: list[Path], tmp_path: Path
) -> None:
    assert simulate(templates, tmp_path)[0] == 0
    particles, out, log = (tmp_path / name for name in ("particles.csv", "split.csv", "s.log"))
    flags = ["--fractions", "0.5", "0.25", "0.25", "--label-noise", "0.5", f"--log={log}"]
    assert main(["split", "--particles", str(particles), "--out", str(out), *flags]) == 0
    told, true = pd.read_csv(out, dtype=str), read_particles(particles)["class"]
    assert (told["class"] != true).sum() == 2  # half of two training volumes in each of two classes
    assert (told.loc[told["class"] != true, "part"] == "train").all()
    assert "2 training volumes are given a wrong class" in log.read_text()


def test_a_split_without_enough_volumes_names_the_class(
    templates: list[Path], tmp_path: Path
) -> None:
    assert simulate(templates, tmp_path, "--per-class=2")[0] == 0
    out, log = tmp_path / "split.csv", tmp_path / "split.log"
    arguments = [f"--particles={tmp_path / 'particles.csv'}", f"--out={out}", f"--log={log}"]
    assert main(["split", *arguments]) == 1
    assert "class 'complex' has 2 volumes: too few" in log.read_text().splitlines()[-1]
    assert not out.exists()
