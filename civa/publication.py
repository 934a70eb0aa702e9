"""Products of a stage appear together and whole, or not at all.

A stage writes into hidden folders beside its products, and all of them move into place when it
has finished.  A run that is killed leaves nothing in their place.  Of two runs that make the same
products (one that Snakemake lost sight of, and its successor) the later one owns them: it finds
the claim of the earlier one, discards its unfinished files and takes its place.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from civa.files import read_json, write_json

# A private folder in a path; without it, the path is that of the product.
PRIVATE = re.compile(r"\.[0-9a-f]{32}\.partial/")


class Superseded(ValueError):
    """Another run has taken over the products of this one."""


@contextlib.contextmanager
def publishing(products: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """Hand out a private path for every product; move what was written there when all is done.

    Whatever else the block writes beside its products moves with them.

    Parameters
    ----------
    products
        Where the products belong; their names are kept.

    Yields
    ------
    Product -> the path to write to.

    Raises
    ------
    Superseded
        If another run took over meanwhile: nothing of this one is moved.
    """
    if not products:
        yield {}
        return
    token = uuid.uuid4().hex
    claim = products[0].with_name(f".{products[0].name}.claim")
    folders = {parent: _private(parent, token) for parent in {path.parent for path in products}}
    abandoned = _owner(claim)
    for parent in folders:
        parent.mkdir(parents=True, exist_ok=True)
        if abandoned is not None:
            shutil.rmtree(_private(parent, abandoned), ignore_errors=True)
    origin = {"host": socket.gethostname(), "pid": os.getpid()}
    write_json(claim, {"token": token, **origin, "slurm_job": os.environ.get("SLURM_JOB_ID")})
    try:
        for folder in folders.values():
            folder.mkdir()
        yield {path: folders[path.parent] / path.name for path in products}
        if _owner(claim) != token:
            raise Superseded(_verdict(claim))
        for parent, folder in folders.items():
            for path in sorted(folder.iterdir()):
                path.replace(parent / path.name)
    except OSError as error:
        if _owner(claim) not in (token, None):
            raise Superseded(_verdict(claim)) from error
        raise
    finally:
        if _owner(claim) == token:
            claim.unlink()
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _private(parent: Path, token: str) -> Path:
    return parent / f".{token}.partial"


def _owner(claim: Path) -> str | None:
    """Return the token in a claim; None if there is no readable one."""
    with contextlib.suppress(OSError, ValueError):
        token = str(read_json(claim).get("token"))
        return token if re.fullmatch("[0-9a-f]{32}", token) else None
    return None


def _verdict(claim: Path) -> str:
    try:
        found = json.dumps({k: v for k, v in read_json(claim).items() if k != "token"})
    except (OSError, ValueError):
        found = "it has finished"
    return (
        f"another run of this stage took over {claim.parent} ({found}): what this one made is "
        "discarded, and nothing needs to be done"
    )
