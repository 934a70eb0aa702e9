"""A stage's sources are all files of this package that running it reads."""

import ast
from pathlib import Path

import pytest

from civa.pipeline import sources
from civa.pipeline.sources import PACKAGE, stage_sources

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
    found = set(stage_sources(stage))
    assert PACKAGE / "stages" / f"{stage}.py" in found
    assert all(imported(source) <= found for source in found if source.suffix == ".py")


def test_sources_hold_no_more_than_the_stage_needs() -> None:
    # an edit of the network must not rerun the simulation
    names = {path.name for path in stage_sources("simulate")}
    assert {"simulate.py", "specimen.py", "tilt_series.py", "volume.py", "files.py"} <= names
    assert names.isdisjoint({"voxresnet.py", "loop.py", "classifier.py", "cli.py"})


def test_a_module_imported_as_a_whole_is_a_source() -> None:
    plots = PACKAGE / "report" / "plots"
    assert {plots / "scores.py", plots / "training.py"} <= set(stage_sources("plot_charts"))


def test_templates_style_and_captions_are_sources_of_the_report_and_of_nothing_else() -> None:
    folder = PACKAGE / "report" / "templates"
    data = {path for path in folder.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert {"page.html.j2", "style.css", "icon.png", "overview.rst"} <= {p.name for p in data}
    assert data <= set(stage_sources("report"))
    words = {*data, PACKAGE / "report" / "page.py", PACKAGE / "report" / "sections.py"}
    others = {stage for stage in STAGES if words & set(stage_sources(stage))} - {"report"}
    assert others == set()


@pytest.mark.parametrize(
    ("statement", "names_data"),
    [
        ("from civa.report import templates", True),
        ("import civa.report.templates", True),
        ("from civa.report import tables", False),
        ("from civa import __version__", False),
        ("import civa", False),
        ("from jinja2 import templates", False),
    ],
)
def test_data_is_a_source_where_its_own_package_is_imported(
    statement: str, names_data: bool, tmp_path: Path
) -> None:
    source = tmp_path / "stage.py"
    source.write_text(statement + "\n")
    style = PACKAGE / "report" / "templates" / "style.css"
    assert (style in sources.imports(source)) == names_data


def test_every_stage_has_its_file() -> None:
    from civa.cli import VERBS

    expected = {{"import": "import_volumes"}.get(v, v.replace("-", "_")) for v in VERBS}
    assert set(STAGES) == expected


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(ValueError, match=r"there is no stage 'simulat' in .*stages"):
        stage_sources("simulat")


@pytest.mark.parametrize(
    "statement",
    [
        "from civa.consensus.alignment import search",
        "from civa.consensus import alignment",
        "from civa.consensus import fourier, alignment as a",
        "import civa.consensus.alignment",
        "import civa.consensus.alignment as a",
        "def later():\n    from civa.consensus import alignment",
    ],
)
def test_every_form_of_import_is_found(statement: str, tmp_path: Path) -> None:
    source = tmp_path / "stage.py"
    source.write_text(statement + "\n")
    assert PACKAGE / "consensus" / "alignment.py" in sources.imports(source)


def test_a_relative_import_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "stage.py"
    source.write_text("from . import alignment\n")
    with pytest.raises(ValueError, match="imports relatively"):
        sources.imports(source)
