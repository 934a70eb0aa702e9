"""A configuration is checked before any long work, with one message that says what to do."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from civa.cli import main
from civa.data.volume import write_volume

ROOT = Path(__file__).parents[2]
Edit = Callable[[dict[str, Any]], object]

VALID: dict[str, Any] = {
    "seeds": [1, 2],
    "datasets": {"low": {"simulation": {"snr": 0.03}}, "high": {"simulation": {"snr": 0.05}}},
    "simulation": {
        "classes": {"complex": "phantom-cage", "needle": "phantom-spike"},
        "distractors": ["phantom-rod"],
        "per_class": 20,
        "max_shift_voxels": 5,
    },
    "split": {"fractions": [0.7, 0.15, 0.15]},
    "variants": {"published": {"segment": {"threshold": 0.5}}},
}


def atoms(*along_x: float) -> str:
    line = "ATOM      1  C   ALA A   1    {:8.3f}   0.000   0.000  1.00  0.00           C\n"
    return "".join(line.format(x) for x in along_x)


def validate(tmp_path: Path, text: str) -> tuple[int, str]:
    """Write and validate a configuration; return the status and the last line of the log."""
    path, log = tmp_path / "config.yaml", tmp_path / "log.txt"
    path.write_text(text, encoding="utf-8")
    status = main(["validate", "--config", str(path), "--log", str(log)])
    (*_, last) = log.read_text(encoding="utf-8").splitlines()
    return status, last


def validate_edited(tmp_path: Path, edit: Edit) -> tuple[int, str]:
    config = copy.deepcopy(VALID)
    edit(config)
    return validate(tmp_path, yaml.safe_dump(config, sort_keys=False))


def test_a_valid_configuration_is_told_back(tmp_path: Path) -> None:
    status, last = validate(tmp_path, yaml.safe_dump(VALID, sort_keys=False))
    assert status == 0
    assert last.endswith("config.yaml is in order")
    told = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "low: 40 volumes at SNR 0.03" in told  # 2 classes of 20
    assert "high: 40 volumes at SNR 0.05" in told


def test_the_configuration_that_we_ship_is_in_order(tmp_path: Path) -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert validate(tmp_path, text)[0] == 0


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        # keys
        (lambda c: c.update(simulaton={}), ["top level", "'simulaton'"]),
        (lambda c: c["simulation"].update(per_clas=3), ["simulation", "'per_clas'"]),
        (lambda c: c["datasets"]["low"].update(crff={}), ["datasets.low", "'crff'"]),
        (lambda c: c["variants"].update(a={"simulation": {}}), ["variants.a", "'simulation'"]),
        (lambda c: c.pop("seeds"), ["'seeds' is a required property"]),
        (lambda c: c.pop("datasets"), ["'datasets' is a required property"]),
        # types and bounds
        (lambda c: c.update(seeds=[]), ["seeds"]),
        (lambda c: c.update(seeds=[1, 1]), ["seeds", "[1, 1]"]),
        (lambda c: c.update(seeds=[-1]), ["seeds.0", "-1"]),
        (lambda c: c["simulation"].update(per_class="ten"), ["simulation.per_class", "'ten'"]),
        (lambda c: c["simulation"].update(per_class=True), ["simulation.per_class", "True"]),
        (lambda c: c["simulation"].update(box_voxels=30), ["simulation.box_voxels", "30"]),
        (lambda c: c["simulation"].update(simulated_box_voxels=65), ["box_voxels", "65"]),
        (lambda c: c["simulation"].update(imaging="ghost"), ["simulation.imaging", "'ghost'"]),
        (lambda c: c["simulation"].update(neighbours="some"), ["simulation.neighbours", "'some'"]),
        (lambda c: c["simulation"].update(voxel_size_angstrom=0), ["voxel_size_angstrom", "0"]),
        (lambda c: c["datasets"]["low"]["simulation"].update(snr=0), ["low.simulation.snr", "0"]),
        (lambda c: c["datasets"]["low"]["simulation"].update(snr=float("nan")), ["snr", "nan"]),
        (lambda c: c["datasets"].update({"a b": {}}), ["'a b'"]),
        (lambda c: c["datasets"].update({"../up": {}}), ["'../up'"]),
        # contradictions
        (lambda c: c["split"].update(fractions=[0.7, 0.2, 0.2]), ["add up to 1.1, expected 1"]),
        (lambda c: c["split"].update(fractions=[0.7, 0.3]), ["split.fractions"]),
        (lambda c: c["simulation"].update(per_class=3), ["class 'complex' has 3 volumes: too few"]),
        (lambda c: c["simulation"].update(simulated_box_voxels=24), ["24", "box_voxels (32)"]),
        (lambda c: c["simulation"].update(max_shift_voxels=16), ["max_shift_voxels (16)", "32"]),
        (lambda c: c["simulation"].update(defocus_um=[7, 4]), ["defocus_um [7, 4]", "smaller"]),
        (lambda c: c["simulation"].update(distractors=[]), ["needs a list 'distractors'"]),
        (lambda c: c["datasets"]["low"].clear(), ["data set 'low'", "simulation.snr is missing"]),
        (lambda c: c["simulation"].pop("classes"), ["simulation.classes is missing"]),
        (lambda c: c["variants"].update({"civa-net": {"crf": {"search": True}}}), ["'civa-net'"]),
        # the schema allows a data set without overrides
        (lambda c: c["datasets"].update(low=None), ["data set 'low'", "simulation.snr is missing"]),
        # the default shift of 8 voxels is too far for a box of 16
        (
            lambda c: (
                c["simulation"].update(box_voxels=16) or c["simulation"].pop("max_shift_voxels")
            ),
            ["max_shift_voxels (8)", "16"],
        ),
        # structures
        (lambda c: c["simulation"]["classes"].update(x="phantom-x"), ["no phantom 'phantom-x'"]),
        (lambda c: c["simulation"]["classes"].update(x="1abc"), ["'1abc' is missing: put", ".pdb"]),
        (
            lambda c: c["simulation"].update(voxel_size_angstrom=4),  # 32 x 4 = 128 Å
            ["Å across but the box only 128 Å", "phantom-cage"],
        ),
        # own volumes
        (lambda c: c["datasets"].update(own={"import": {}}), ["'table' is a required property"]),
        (lambda c: c["datasets"].update(own={"import": {"table": "no.csv"}}), ["no.csv", "put"]),
        (
            lambda c: c["datasets"]["low"].update({"import": {"table": "no.csv"}}),
            ["has both 'import' and 'simulation'"],
        ),
    ],
)
def test_the_last_line_says_what_is_wrong(tmp_path: Path, edit: Edit, expected: list[str]) -> None:
    status, last = validate_edited(tmp_path, edit)
    assert status == 1
    assert "config.yaml" in last or "structure" in last
    for word in expected:
        assert word in last


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "seeds: [1", "seeds:\n\t- 1\n", "a: b: c", "!!python/object:os.system x"]
)
def test_what_is_no_configuration_is_named_in_the_last_line(tmp_path: Path, text: str) -> None:
    status, last = validate(tmp_path, text)
    assert status == 1
    assert "config.yaml" in last


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert main(["validate", "--config", str(tmp_path / "none.yaml"), "--log", str(log)]) == 1
    assert "none.yaml" in log.read_text(encoding="utf-8").splitlines()[-1]


def with_folder(folder: Path, **section: object) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        config["simulation"]["classes"]["own"] = "1abc"
        config["structures"] = {"folder": str(folder), **section}

    return edit


def test_own_structures_are_read_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "1abc.pdb"
    path.write_text(atoms(0, 50))
    assert validate_edited(tmp_path, with_folder(tmp_path))[0] == 0
    path.write_text("<html>404</html>")
    status, last = validate_edited(tmp_path, with_folder(tmp_path))
    assert status == 1
    assert "1abc.pdb holds no atom" in last


def test_a_structure_larger_than_the_box_is_named(tmp_path: Path) -> None:
    (tmp_path / "1abc.pdb").write_text(atoms(0, 400))  # the box: 32 voxels of 10 Å
    status, last = validate_edited(tmp_path, with_folder(tmp_path))
    assert status == 1
    assert "structure '1abc' is 400 Å across but the box only 320 Å: use larger voxels" in last


def test_a_structure_to_be_downloaded_is_no_fault(tmp_path: Path) -> None:
    assert validate_edited(tmp_path, with_folder(tmp_path, download=True))[0] == 0
    assert "1abc is to be downloaded" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_what_the_pdb_cannot_have_is_not_to_be_downloaded(tmp_path: Path) -> None:
    def edit(config: dict) -> None:
        with_folder(tmp_path, download=True)(config)
        config["simulation"]["classes"]["own"] = "tric_10A"

    status, last = validate_edited(tmp_path, edit)
    assert status == 1
    assert "structure 'tric_10A' is missing and cannot be downloaded" in last
    assert "tric_10A.mrc" in last


def test_own_volumes_need_no_simulation(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{i},{'xy'[i % 2]},{i}.mrc" for i in range(8)]
    table.write_text("\n".join(["id,class,path", *rows]))
    config = {"seeds": [1], "datasets": {"own": {"import": {"table": str(table)}}}}
    status, last = validate(tmp_path, yaml.safe_dump(config))
    assert status == 1
    assert "is not in order: errors 8, warnings 0" in last
    for i in range(8):
        box = np.random.default_rng(i).normal(size=(16,) * 3).astype(np.float32)
        write_volume(tmp_path / f"{i}.mrc", box, voxel_size_angstrom=10)
    status, last = validate(tmp_path, yaml.safe_dump(config))
    assert status == 0
    assert last.endswith("own: 8 volumes, 2 classes (4, 4), 16³ at 10 Å, 0 with masks")
