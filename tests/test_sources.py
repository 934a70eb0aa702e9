"""A stage's sources are all files of this package that running it reads."""

import ast
from pathlib import Path

import pytest

from civa.sources import PACKAGE, stage_sources

STAGES = sorted(path.stem for path in (PACKAGE / "stages").glob("[a-z]*.py"))


def imported(source: Path) -> set[Path]:
    """An oracle: the package's files that any form of import statement names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    candidates = {PACKAGE.parent / (name.replace(".", "/") + ".py") for name in names}
    return {path for path in candidates if path.is_file() and path.is_relative_to(PACKAGE)}


@pytest.mark.parametrize("stage", STAGES)
def test_sources_are_closed_under_import(stage: str) -> None:
    sources = set(stage_sources(stage))
    assert PACKAGE / "stages" / f"{stage}.py" in sources
    assert all(imported(source) <= sources for source in sources)


def test_sources_hold_no_more_than_the_stage_needs() -> None:
    # an edit of the network must not rerun the simulation
    names = {path.name for path in stage_sources("simulate")}
    assert {"simulate.py", "simulation.py", "imaging.py", "volume.py", "files.py"} <= names
    assert names.isdisjoint({"voxresnet.py", "training.py", "classifier.py", "cli.py"})


def test_a_module_imported_as_a_whole_is_a_source() -> None:
    names = {path.name for path in stage_sources("plot")}
    assert {"charts.py", "history.py"} <= names


def test_every_stage_has_its_file() -> None:
    from civa.cli import VERBS

    expected = {{"import": "import_volumes"}.get(v, v.replace("-", "_")) for v in VERBS}
    assert set(STAGES) == expected


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match=r"there is no stage 'simulat' in .*stages"):
        stage_sources("simulat")
