"""A project of a user's own: a folder with all that Snakemake needs, and nothing replaced."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from civa.cli import main
from civa.data.volume import write_volume


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    volume = np.random.default_rng(0).normal(size=(40, 40, 60)).astype(np.float32)
    write_volume(folder / "t.mrc", volume, voxel_size_angstrom=10)
    for name in ("a", "b", "c"):
        rows = "".join(f"t,{20 + i},20,20\n" for i in range(8))
        (folder / f"{name}.csv").write_text(f"tomogram,x_voxel,y_voxel,z_voxel\n{rows}")
    return folder


def begin(project: Path, *flags: str) -> tuple[int, str]:
    log = project.parent / "log.txt"
    status = main(["init", str(project), *flags, "--log", str(log)])
    return status, log.read_text(encoding="utf-8")


def settings(project: Path) -> dict:
    (data,) = yaml.safe_load((project / "config.yaml").read_text())["datasets"].values()
    return data["extract"]


def test_a_project_of_these_files_is_in_order_as_it_is(data: Path, tmp_path: Path) -> None:
    lists = [f"first={data / 'a.csv'}", f"second={data / 'b.csv'}", f"second={data / 'c.csv'}"]
    status, log = begin(tmp_path / "p", "--particles", *lists, "--tomograms", str(data))
    assert status == 0
    assert f"cd {tmp_path / 'p'} && civa validate --config config.yaml" in log
    told = settings(tmp_path / "p")
    assert told["lists"] == {
        "first": str(data / "a.csv"),
        "second": [str(data / "b.csv"), str(data / "c.csv")],
    }
    assert told["tomograms"] == [str(data)]
    config = tmp_path / "p" / "config.yaml"
    config.write_text(config.read_text().replace("box_voxels: 32", "box_voxels: 16"))
    assert main(["validate", "--config", str(config)]) == 0
    for profile in ("local", "slurm"):
        assert (tmp_path / "p" / profile / "config.yaml").is_file()


def test_files_in_the_project_are_named_from_there(data: Path) -> None:
    assert (
        begin(data, "--particles", str(data / "a.csv"), "--tomograms", str(data / "t.mrc"))[0] == 0
    )
    assert settings(data)["lists"] == ["a.csv"]
    assert settings(data)["tomograms"] == ["t.mrc"]


def test_classes_keep_the_order_in_which_they_are_given(data: Path) -> None:
    given = [f"{name}={data / file}.csv" for name, file in (("z", "a"), ("b", "b"), ("m", "c"))]
    assert begin(data, "--particles", *given)[0] == 0
    assert list(settings(data)["lists"]) == ["z", "b", "m"]


def test_lists_in_the_project_and_elsewhere_go_together(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere.csv").write_bytes((data / "b.csv").read_bytes())
    monkeypatch.chdir(data)
    given = [f"x={tmp_path / 'elsewhere.csv'}", "y=a.csv"]
    assert begin(data, "--particles", *given, "--tomograms", "t.mrc")[0] == 0
    assert (
        settings(data)["lists"] == {"x": "../elsewhere.csv", "y": "a.csv"}
        or Path(settings(data)["lists"]["x"]).is_absolute()
    )
    log = tmp_path / "validate.txt"
    main(["validate", "--config", "config.yaml", "--log", str(log)])
    assert "16 particles in 1 tomogram" in log.read_text() or "listed" in log.read_text()
    assert "unexpected" not in log.read_text()
    assert "Can't mix" not in log.read_text()


def test_a_project_without_files_is_a_form_to_fill_in(tmp_path: Path) -> None:
    assert begin(tmp_path / "p")[0] == 0
    assert settings(tmp_path / "p")["tomograms"] == "tomograms"
    assert set(settings(tmp_path / "p")["lists"]) == {"first", "second"}


def test_nothing_is_replaced(tmp_path: Path) -> None:
    project = tmp_path / "p"
    project.mkdir()
    (project / "config.yaml").write_text("mine")
    status, log = begin(project)
    assert status == 1
    assert "config.yaml stand in" in log
    assert [path.name for path in project.iterdir()] == ["config.yaml"]
    assert (project / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--particles", "gone.star"), "particles: gone.star does not exist"),
        (("--particles", "."), "particles: . is a folder: give the lists in it"),
        (("--tomograms", "~nobody-of-this-name/t"), "begins with '~' and the name of no user"),
        (("--tomograms", "gone"), "tomograms: gone does not exist"),
        (("--tomograms", "."), "tomograms: . holds no tomogram"),
        (("--particles", "a=x.csv", "y.csv"), "give all of them as CLASS=FILE, or none"),
        (("--name", "no"), "'no' cannot name a data set"),
        (("--name", "a b"), "'a b' cannot name a data set"),
        (("--name", "17"), "'17' cannot name a data set"),
        (("--particles", "{x}.csv"), "{x}.csv: Snakemake takes braces for a pattern"),
        (("--particles", "{x}=x.csv"), "'{x}' cannot name a data set or a class"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_written(
    tmp_path: Path, flags: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.csv", "y.csv", "{x}.csv"):
        (tmp_path / name).touch()
    status, log = begin(tmp_path / "p", *flags)
    assert status == 1
    assert message in log
    assert not (tmp_path / "p").exists()
