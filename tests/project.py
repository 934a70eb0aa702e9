"""Copies of the project in which tests run Snakemake."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("civa", "rules", "workflow", "envs", "profiles", "tests/small.yaml")


def copy_repository(target: Path) -> Path:
    for name in PARTS:
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    return target


def snakemake(
    folder: Path,
    *arguments: str,
    config: str = "tests/small.yaml",
    inside: Sequence[str] = (),
) -> str:
    command = [*inside, sys.executable, "-m", "snakemake", "--profile", "profiles/local"]
    done = subprocess.run(
        [*command, "--configfile", config, "--cores", "2", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-5000:]
    return output


def planned(folder: Path, *arguments: str, config: str = "tests/small.yaml") -> dict[str, int]:
    """Rules that a dry run would execute, and how often."""
    output = snakemake(folder, "--dry-run", *arguments, config=config)
    stats = re.search(r"^job\s+count\n[- ]+\n(.*?)^total", output, re.M | re.S)
    lines = stats.group(1).splitlines() if stats else []
    return {line.split()[0]: int(line.split()[1]) for line in lines if line.strip()}
