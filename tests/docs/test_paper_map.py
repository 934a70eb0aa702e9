"""docs/paper_map.md says where each equation is, and says it truly."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs" / "paper_map.md"
CLAIM = re.compile(r"^(?:Eq\. \((\d+)\), Sec\.|(L_O) \(unnumbered)", re.MULTILINE)
NOTE = re.compile(r"\b(ASSUME|DEVIATION)\b")
EQUATIONS = [*(f"Eq. ({number})" for number in range(1, 11)), "L_O"]
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def modules() -> list[Path]:
    return sorted((ROOT / "civa").rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def definitions(tree: ast.AST, prefix: str) -> dict[str, ast.AST]:
    """Return functions, classes and methods by their dotted name."""
    found: dict[str, ast.AST] = {}
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            name = f"{prefix}.{node.name}"
            found |= {name: node, **definitions(node, name)}
    return found


@cache
def package() -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for path in modules():
        found |= definitions(ast.parse(path.read_text(encoding="utf-8")), dotted(path))
    return found


@cache
def claims() -> dict[str, list[str]]:
    """Return, for every equation, the functions whose docstring claims it."""
    found: dict[str, list[str]] = {}
    for name, node in package().items():
        for number, loss in CLAIM.findall(ast.get_docstring(node) or ""):
            found.setdefault(loss or f"Eq. ({number})", []).append(name)
    return found


@cache
def table(title: str) -> list[dict[str, str]]:
    """Return the rows of the table under a heading."""
    section = MAP.read_text(encoding="utf-8").split(f"## {title}", 1)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(header, row, strict=True)) for row in rows]


def steps() -> list[dict[str, str]]:
    headings = ("Equations", "Steps without a number", "Beyond the paper")
    return [row for heading in headings for row in table(heading)]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def schema() -> dict:
    path = ROOT / "civa" / "pipeline" / "config.schema.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def is_config_key(key: str) -> bool:
    section, _, name = key.partition(".")
    described = schema()["properties"].get(section, {})
    section = described.get("$ref", "").rpartition("/")[-1]
    return bool(described) and (not name or name in schema()["$defs"][section]["properties"])


@pytest.mark.parametrize("equation", EQUATIONS)
def test_one_function_claims_each_equation(equation: str) -> None:
    assert len(claims().get(equation, [])) == 1, claims().get(equation)


def test_no_other_equation_is_claimed() -> None:
    assert set(claims()) == set(EQUATIONS)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_the_table_names_the_function_that_claims_the_equation(equation: str) -> None:
    named = [
        row["function"] for row in table("Equations") if row["equation"].split(",")[0] == equation
    ]
    assert named == [f"`{name}`" for name in claims()[equation]]


def test_functions_of_the_map_exist() -> None:
    named = [name for row in steps() for name in quoted(row["function"])]
    assert len(named) == len(steps())
    assert [name for name in named if name not in package()] == []


def test_tests_of_the_map_exist() -> None:
    for row in steps():
        (test,) = quoted(row["test"])
        path, name = test.split("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_config_keys_of_the_map_are_in_the_schema() -> None:
    named = [key for row in steps() for key in quoted(row["config keys"])]
    assert named
    assert [key for key in named if not is_config_key(key)] == []


def test_every_equation_names_a_config_key() -> None:
    assert [row["equation"] for row in table("Equations") if not quoted(row["config keys"])] == []


def test_every_note_in_the_code_has_its_row() -> None:
    files = [*modules(), ROOT / "config.yaml", *sorted((ROOT / "examples").glob("*.yaml"))]
    written = Counter(
        (note, path.relative_to(ROOT).as_posix())
        for path in files
        for note in NOTE.findall(path.read_text(encoding="utf-8"))
    )
    rows = table("Notes: what the paper leaves open, and where we leave it")
    assert Counter((row["note"], quoted(row["where"])[0]) for row in rows) == written


def test_rows_of_notes_name_what_they_are_about() -> None:
    for row in table("Notes: what the paper leaves open, and where we leave it"):
        file, name = quoted(row["where"])
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        if file.endswith(".yaml"):
            assert is_config_key(name), name
            key = name.split(".")[1]
            assert any(line.strip().startswith(f"{key}:") and row["note"] in line for line in lines)
        else:
            assert any(re.search(rf"\b{name}\b", line) for line in lines), name
        assert all(row.values()), row
