"""pyproject.toml, constraints.txt and envs/civa.yaml describe one environment."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in parsed}


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return requirements([line for line in lines if line and not line.startswith("#")])


def test_every_dependency_is_pinned_inside_its_range() -> None:
    pins = constraints()
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    for name, requirement in requirements(wanted).items():
        (pin,) = pins[name].specifier
        assert pin.operator == "==", f"{name} is not pinned to one version"
        assert requirement.specifier.contains(pin.version), f"{name} {pin.version} is out of range"


def test_the_conda_environment_asks_for_the_same_ranges() -> None:
    environment = yaml.safe_load((ROOT / "envs" / "civa.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert {n: str(r.specifier) for n, r in requirements(pip).items()} == {
        n: str(r.specifier) for n, r in requirements(PROJECT["dependencies"]).items()
    }
    assert f"python {PROJECT['requires-python']}" in environment["dependencies"]


def test_torch_is_pinned_so_that_no_unneeded_build_is_fetched() -> None:
    assert str(constraints()["torch"].specifier) == "==2.13.0"
