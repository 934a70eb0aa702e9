"""Which files of the package a stage consists of, so that editing one reruns just that stage.

Code is found by its import statements, and so are templates and other data: they lie in a package
of their own, and the module that reads them imports that package (``from civa.report import
templates``), which makes all files in its folder sources.
"""

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
            waiting.extend(imports(source) if source.suffix == ".py" else [])
    return sorted(found)


def imports(source: Path) -> list[Path]:
    """List the files of this package that any form of import statement in a file names."""
    imported: set[str] = set()
    taken_from: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):  # import civa.data.files
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):  # from civa.data import files, or from it a name
            if node.level:
                raise ValueError(f"{source} imports relatively: state the whole name of the module")
            taken_from.add(str(node.module))
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    modules = [place.with_suffix(".py") for place in _inside(imported | taken_from)]
    data = [file for place in _inside(imported) for file in place.rglob("*") if _is_data(file)]
    return sorted({*(path for path in modules if path.is_file()), *data})


def _inside(names: set[str]) -> list[Path]:
    """Return where modules and packages of ours lie, without their suffix."""
    steps = (name.split(".")[1:] for name in names if name.startswith(f"{PACKAGE.name}."))
    return [PACKAGE.joinpath(*parts) for parts in steps]


def _is_data(file: Path) -> bool:
    return file.is_file() and file.suffix not in (".py", ".pyc")
