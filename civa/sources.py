"""Which source files a stage consists of, so that editing one reruns just that stage."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent


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
            waiting.extend(_imports(source))
    return sorted(found)


def _imports(source: Path) -> list[Path]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [node.module for node in imports if node.module and node.module.startswith("civa.")]
    whole = [node for node in imports if node.module == "civa"]  # from civa import charts
    names += [f"civa.{alias.name}" for node in whole for alias in node.names]
    paths = [PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py") for name in names]
    return [path for path in paths if path.is_file()]
