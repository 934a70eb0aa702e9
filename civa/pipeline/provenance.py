"""What made a product: a record beside it, and a check that nothing changed since."""

import contextlib
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from civa import __version__
from civa.data.files import digest, files_below, read_json, write_json

TRACKED = (
    "numpy",
    "scipy",
    "torch",
    "mrcfile",
    "gemmi",
    "pydensecrf2",
    "pandas",
    "monai",
    "starfile",
)


def record_path(product: Path) -> Path:
    """Return where the record of a product lies: beside it, with ``.provenance.json``."""
    return product.with_name(product.name + ".provenance.json")


def was_changed(product: Path) -> bool:
    """Tell whether a product is another than the one whose record lies beside it."""
    return read_json(record_path(product)).get("sha256") != digest(product)


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return path -> SHA-256 of the content, for those of ``paths`` that are there."""
    return {str(path): digest(path) for path in paths if path.is_file()}


def write_record(
    verb: str,
    *,
    inputs: Mapping[str, str],
    outputs: Iterable[Path],
    parameters: Mapping[str, Any],
    seconds: float,
    command: str,
) -> None:
    """Record beside every output which stage made it, from what, and with which parameters.

    ``inputs`` are `digests` taken when the stage began, of what it read.  The record of a folder
    lists its files.
    """
    record: dict[str, Any] = {
        "stage": verb,
        "command": command,
        "commit": commit(),
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "seconds": round(seconds, 2),
        "versions": versions(),
    }
    for output in outputs:
        if output.exists():
            listing = {"files": files_below(output)} if output.is_dir() else {}
            write_json(record_path(output), {**record, "sha256": digest(output), **listing})


def recorded_files(folder: Path) -> list[str]:
    """List the files that the stage which made a folder wrote there; none if no stage made it."""
    path = record_path(folder)
    return read_json(path).get("files", []) if path.is_file() else []


def versions() -> dict[str, str]:
    """Return the versions of civa, Python and the libraries that shape results."""
    found = {"civa": __version__, "python": platform.python_version()}
    for name in TRACKED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str:
    """Return the commit of this package's source, marked where the source differs from it."""
    git = ["git", "-C", str(Path(__file__).parents[1])]
    asked = (
        ["ls-files", "--error-unmatch", "__init__.py"],  # else the commit is of a repository
        ["rev-parse", "HEAD"],  # in which this package happens to be installed
        ["status", "--porcelain", "--untracked-files=no", "."],
    )
    try:
        _, found, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # an installed package, or no git
    return found.strip() + (" with changes" if changes else "")


def trace(product: Path) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Walk from a product to what it was made from.

    Yields
    ------
    Depth, path, and the record beside the file; an empty one for an input that no stage made.
    A file is described once.
    """
    described: set[Path] = set()
    waiting = [(0, product)]
    while waiting:
        depth, path = waiting.pop()
        if path in described:
            continue
        described.add(path)
        record = read_json(record_path(path)) if record_path(path).is_file() else {}
        yield depth, path, record
        inputs = [_seen_from(path, Path(name)) for name in record.get("inputs", {})]
        waiting += [(depth + 1, made_from) for made_from in reversed(inputs)]


def _seen_from(product: Path, name: Path) -> Path:
    """Return a file that a record names, also from another folder than that in which it ran."""
    if name.is_absolute() or name.exists():
        return name
    above = (folder / name for folder in product.resolve().parents)
    return next((path for path in above if path.exists()), name)


def leaves(product: Path) -> dict[Path, str]:
    """List the files that a product was made from in the end, and that nothing made.

    Returns
    -------
    Path -> SHA-256 of the content that was read, in the order of the walk: files without a
    record, and those whose record names no input (downloads, phantoms).  A product without a
    record is its own and only leaf.
    """
    records = {path: record for _, path, record in trace(product)}
    read = {
        Path(name): str(content)
        for record in records.values()
        for name, content in record.get("inputs", {}).items()
    }
    return {
        path: read.get(path) or record.get("sha256") or digest(path)
        for path, record in records.items()
        if not record.get("inputs")
    }


def verify(product: Path) -> None:
    """Check a product and all that it was made from against their records.

    Raises
    ------
    ValueError
        If a product, or one of its ancestors, changed after what follows was made from it:
        its figures would mix two runs.
    """
    known: dict[Path, str] = {}
    waiting = [product]
    while waiting:
        path = waiting.pop()
        if not record_path(path).is_file():
            continue
        record = read_json(record_path(path))
        _expect(path, record["sha256"], known, maker=record["stage"])
        for name, expected in record["inputs"].items():
            ancestor = Path(name)
            if ancestor.is_file():
                if ancestor not in known:
                    waiting.append(ancestor)
                _expect(ancestor, expected, known, maker=record["stage"])


def _expect(path: Path, expected: str, known: dict[Path, str], *, maker: str) -> None:
    if path not in known:
        known[path] = digest(path)
    if known[path] != expected:
        raise ValueError(
            f"{path} is not the file that stage '{maker}' recorded: it changed since, and scores "
            "would mix two runs; rerun the workflow, or delete the file to have it rebuilt"
        )
