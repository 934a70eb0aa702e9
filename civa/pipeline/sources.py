"""Which source files a stage consists of, so that editing one reruns just that stage."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def stage_sources(stage: str) -> list[Path]:
    """List a stage's own file and every file of this package that it imports, recursively.

    Parameters
    ----------
    stage
        Module name in ``civa/stages``.

    Raises
    ------
    ValueError
        If there is no such stage.
    """
    start = PACKAGE / "stages" / f"{stage}.py"
    if not start.is_file():
        raise ValueError(f"there is no stage '{stage}' in {start.parent}")
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting.extend(imports(source))
    return sorted(found)


def imports(source: Path) -> list[Path]:
    """List the files of this package that any form of import statement in a file names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):  # import civa.data.files
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):  # from civa.data import files, or from it a name
            if node.level:
                raise ValueError(f"{source} imports relatively: state the whole name of the module")
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    inside = (name.split(".")[1:] for name in sorted(names) if name.startswith(f"{PACKAGE.name}."))
    paths = [PACKAGE.joinpath(*steps).with_suffix(".py") for steps in inside]
    return [path for path in paths if path.is_file()]
