"""The package installed as a wheel, outside its repository: every verb works there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from civa.cli import VERBS
from civa.data.stack import Stack
from civa.data.volume import write_volume

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]
BUILT_FROM = (
    *("pyproject.toml", "README.md", "LICENSE", "civa"),
    *("workflow", "rules", "envs", "profiles", "examples", "config.yaml"),
)

# All verbs in one process: each would import torch again.
EVERY_HELP = """
import sys
from pathlib import Path
import civa
from civa.cli import VERBS, main, stage_function
print(civa.__file__)
for verb in VERBS:
    print(sys.modules[stage_function(verb).__module__].__file__)
    try:
        main([verb, "--help"])
    except SystemExit as leaving:
        assert leaving.code == 0, verb
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel of this package, and nothing else."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = wheels.glob("civa-*.whl")
    install = [*pip, "install", *offline, "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return target


def python(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the interpreter in another folder, with the installed package first on its path."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_verb_of_a_wheel_explains_itself(installed: Path, tmp_path: Path) -> None:
    done = python(installed, tmp_path, "-c", EVERY_HELP)
    assert done.returncode == 0, done.stderr[-3000:]
    files = [Path(line) for line in done.stdout.splitlines() if line.endswith(".py")]
    assert len(files) == 1 + len(VERBS)
    assert all(file.is_relative_to(installed) for file in files)
    assert all(f"usage: civa {verb} " in done.stdout for verb in VERBS)
    overview = python(installed, tmp_path, str(installed / "bin" / "civa"), "--help")
    assert overview.returncode == 0, overview.stderr
    assert all(f"\n  {verb} " in overview.stdout for verb in VERBS)


def test_a_wheel_holds_every_module_and_all_files_that_they_read(installed: Path) -> None:
    tracked = [path for path in (ROOT / "civa").rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT) for path in tracked if "__pycache__" not in path.parts}
    found = {path.relative_to(installed) for path in (installed / "civa").rglob("*.*")}
    assert expected <= found


@pytest.mark.parametrize("example", ["config.yaml", "examples/consensus.yaml"])
def test_a_wheel_checks_a_configuration_that_we_ship(
    example: str, installed: Path, tmp_path: Path
) -> None:
    shutil.copy(ROOT / example, tmp_path / "mine.yaml")
    done = python(installed, tmp_path, "-m", "civa", "validate", "--config", "mine.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mine.yaml is in order" in done.stderr


def test_a_project_runs_without_a_clone(installed: Path, tmp_path: Path) -> None:
    lists = tmp_path / "data" / "list.csv"
    lists.parent.mkdir()
    rows = [f"{'ab'[i % 2]},t,{20 + i},20,20" for i in range(20)]
    lists.write_text("\n".join(["class,tomogram,x_voxel,y_voxel,z_voxel", *rows]))
    volume = np.random.default_rng(0).normal(size=(40, 40, 60)).astype(np.float32)
    write_volume(lists.with_name("t.mrc"), volume, voxel_size_angstrom=10)
    begun = ["-m", "civa", "init", "project", "--particles", str(lists)]
    done = python(installed, tmp_path, *begun, "--tomograms", str(lists.parent))
    assert done.returncode == 0, done.stderr
    project = tmp_path / "project"
    for profile in ("local", "slurm"):
        words = ["-m", "snakemake", "-n", "--profile", profile]
        planned = python(installed, project, *words)
        assert planned.returncode == 0, planned.stderr[-3000:]
        assert "list_particles" in planned.stdout
        assert re.search(r"^project +1$", planned.stdout, re.MULTILINE)
    words = ["-m", "snakemake", "--profile", "local", "--", "results/mine/volumes.mrcs"]
    config = project / "config.yaml"
    text = config.read_text().replace("box_voxels: 32", "box_voxels: 16")
    config.write_text(text.replace("# invert_contrast", "invert_contrast"))  # noise tells none
    made = python(installed, project, *words)
    assert made.returncode == 0, made.stderr[-3000:]
    assert len(Stack.open(project / "results" / "mine" / "volumes.mrcs")) == 20
    sources = planned_sources(installed, project)
    assert sources and all(
        Path(project, source).resolve().is_relative_to(installed) for source in sources
    )


def planned_sources(installed: Path, project: Path) -> list[str]:
    """Source files on which a rule of the project depends, as Snakemake lists them."""
    words = ["-m", "snakemake", "-n", "--profile", "local", "--forceall", "--printshellcmds"]
    told = python(installed, project, *words, "--", "results/mine/positions.csv").stdout
    return re.findall(r"[^ ,]*civa/stages/list_particles\.py", told)


def test_a_wheel_refuses_a_mistake_in_a_configuration(installed: Path, tmp_path: Path) -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text + "\nsimulatoin: {}\n", encoding="utf-8")
    done = python(installed, tmp_path, "-m", "civa", "validate", "--config", "mine.yaml")
    assert done.returncode == 1
    assert "simulatoin" in done.stderr.splitlines()[-1]


def test_a_wheel_inside_somebody_elses_repository_does_not_take_its_commit(
    installed: Path, tmp_path: Path
) -> None:
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "theirs"], check=True)
    shutil.copytree(installed / "civa", tmp_path / "venv" / "civa")
    asked = "from civa.pipeline.provenance import commit; print(commit())"
    done = python(tmp_path / "venv", tmp_path, "-c", asked)
    assert done.stdout == "unknown\n"
