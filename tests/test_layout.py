"""The rooms of the package: imports point one way, and a room's ``__init__`` holds a sentence."""

import ast
import tomllib
from pathlib import Path

import pytest

import civa

PACKAGE = Path(civa.__file__).parent
# A room may import from itself and from the rooms before it.  `stages` stands beside `cli`.
ORDER = (
    *("optics", "data", "particle_lists", "tomograms", "inspection", "simulation", "training"),
    *("civanet", "consensus", "evaluation", "pipeline", "report", "stages", "cli", "__main__"),
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imported_rooms(source: Path) -> set[str]:
    """Rooms that a file imports from, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            own = str(node.module)
            names |= {f"{own}.{alias.name}" for alias in node.names} if own == "civa" else {own}
    inside = [name.split(".")[1:] for name in names if name.startswith("civa.")]
    return {steps[0] for steps in inside if not steps[0].startswith("__")}


def test_every_room_has_its_place() -> None:
    rooms = {room(path.relative_to(PACKAGE).parts) for path in MODULES}
    assert rooms == set(ORDER)


@pytest.mark.parametrize("source", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(source: Path) -> None:
    own = ORDER.index(room(source.relative_to(PACKAGE).parts))
    above = {name for name in imported_rooms(source) if ORDER.index(name) > own}
    assert above == set(), f"{source} imports from rooms above its own"


@pytest.mark.parametrize("folder", sorted(path.parent for path in PACKAGE.rglob("__init__.py")))
def test_a_room_begins_with_one_docstring_and_no_code(folder: Path) -> None:
    body = ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
    allowed = 2 if folder == PACKAGE else 1  # the package states its version too
    assert ast.get_docstring(ast.Module(body, [])) and len(body) <= allowed


def test_files_that_are_no_code_are_packaged() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = {
        path
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in PACKAGE.parent.joinpath(*package.split(".")).glob(pattern)
    }
    data = {path for path in PACKAGE.rglob("*.*") if path.suffix not in (".py", ".pyc")}
    assert data and data <= packaged
