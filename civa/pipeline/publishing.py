"""Products of a stage appear together and whole, or not at all.

A stage writes into hidden folders beside its products, and all of them move into place when it
has finished.  A run that is killed leaves nothing in their place.  Of two runs that make the same
products (one that Snakemake lost sight of, and its successor) the later one owns them: it finds
the claim of the earlier one, discards its unfinished files and takes its place.

The claim is read before every move, but reading and moving are two steps: a run that is taken over
between them still puts one file into place, and what it moved before stays.  The later run replaces
all of them when it finishes.  In the same way a claim that changes between its last reading and its
removal is lost, and the later run is then told that another one has finished.  On shared file
systems that cache what they hold, the steps lie further apart.

A product may be a folder.  It takes the place of an older one as a whole, unless that holds files
that no stage wrote: those are somebody's work, and nothing is touched.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import threading
import types
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from civa.data.files import files_below, read_json, write_json
from civa.pipeline.provenance import record_path, recorded_files, was_changed

# What asks a process to end -> why it may have come.
ENDING = {
    signal.SIGTERM: "the job was cancelled or preempted, or reached its time limit (for more: "
    "snakemake --set-resources RULE:runtime=MINUTES)",
    signal.SIGINT: "somebody pressed Ctrl-C",
    signal.SIGHUP: "its terminal was closed (nohup, tmux or a cluster keep it)",
}
# A private folder in a path; without it, the path is that of the product.
PRIVATE = re.compile(r"\.[0-9a-f]{32}\.partial/")


class Superseded(ValueError):
    """Another run has taken over the products of this one."""


class _SignalsHeld:
    """Keep what asks the process to end waiting while files are moved or cleaned up.

    The command line turns signals into exceptions, which would break off a ``finally`` block too
    and leave products half moved.  Where the system's default holds, or outside the main thread,
    nothing is changed: the signal ends the process, and the next run cleans up.
    """

    def __init__(self) -> None:
        self._is_held, self._have_come = True, list[int]()
        in_main_thread = threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in ENDING}
        self._handlers = {n: h for n, h in handlers.items() if callable(h) and in_main_thread}

    def __enter__(self) -> "_SignalsHeld":
        for number in self._handlers:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)
        self._deliver()

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """Let signals interrupt the block, also those that came before."""
        try:
            self._is_held = False
            self._deliver()
            yield
        finally:
            self._is_held = True

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self._is_held:
            self._have_come.append(number)
        else:
            self._handlers[signal.Signals(number)](number, frame)

    def _deliver(self) -> None:
        while self._have_come:
            signal.raise_signal(self._have_come.pop(0))


@contextlib.contextmanager
def publishing(products: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """Hand out a private path for every product; move what was written there when all is done.

    Whatever else the block writes beside its products moves with them.  Signals that ask the
    process to end interrupt the block, but neither the moves nor the clean-up: they take effect
    after them.

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
        If another run took over meanwhile: nothing more of this one is moved.
    ValueError
        If there is a folder with files that no stage wrote in a product's place.
    """
    if not products:
        yield {}
        return
    _refuse_to_delete(products)
    token = uuid.uuid4().hex
    claim = products[0].with_name(f".{products[0].name}.claim")
    folders = {parent: _private(parent, token) for parent in {path.parent for path in products}}
    with _SignalsHeld() as signals:
        _take_over(claim, token, list(folders))
        try:
            for folder in folders.values():
                folder.mkdir()
            with signals.let_through():
                yield {path: folders[path.parent] / path.name for path in products}
            _refuse_to_delete(products)
            _move_all(claim, token, folders)
        except OSError as error:
            if _owner(claim) not in (token, None):
                raise Superseded(_verdict(claim)) from error
            raise
        finally:
            if _owner(claim) == token:
                claim.unlink()
            for folder in folders.values():
                shutil.rmtree(folder, ignore_errors=True)


def _take_over(claim: Path, token: str, parents: Sequence[Path]) -> None:
    """Discard the unfinished files of the run that holds the claim, and claim the products."""
    abandoned = _owner(claim)
    for parent in parents:
        parent.mkdir(parents=True, exist_ok=True)
        if abandoned is not None:
            shutil.rmtree(_private(parent, abandoned), ignore_errors=True)
    origin = {"host": socket.gethostname(), "pid": os.getpid()}
    write_json(claim, {"token": token, **origin, "slurm_job": os.environ.get("SLURM_JOB_ID")})


def _move_all(claim: Path, token: str, folders: Mapping[Path, Path]) -> None:
    """Move every file of the private folders to its place, as long as the claim holds."""
    _check_owner(claim, token)  # also where there is nothing to move
    for parent, folder in folders.items():
        for path in folder.iterdir():
            target = parent / path.name
            if target.exists() and target.is_dir() != path.is_dir():
                kinds = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
                raise ValueError(f"{target} is {kinds[0]}, expected {kinds[1]}: remove it")
    for parent, folder in folders.items():
        for path in sorted(folder.iterdir()):
            _check_owner(claim, token)
            _move(path, parent / path.name)


def _check_owner(claim: Path, token: str) -> None:
    if _owner(claim) != token:
        raise Superseded(_verdict(claim))


def check_places(products: Iterable[Path]) -> None:
    """Check that no product takes the place of what no stage has written, or somebody has changed.

    Of folders, `publishing` checks that.  Snakemake removes the older files of a job before it
    begins.

    Raises
    ------
    ValueError
        If one does.
    """
    for path in products:
        if not path.name:
            raise ValueError(f"'{path}' names no file: give a product the path of one")
        if path.is_dir() or not path.exists():
            continue
        if not record_path(path).exists():
            raise ValueError(
                f"{path} is there and was not written by civa: choose another name, so that "
                "nothing of yours is replaced"
            )
        if was_changed(path):
            raise ValueError(
                f"{path} was changed after civa wrote it: move it, so that nothing of yours is "
                "replaced"
            )


def _refuse_to_delete(products: Sequence[Path]) -> None:
    """Check that folders in the products' places hold only what a stage wrote there."""
    for path in products:
        others = set(files_below(path)) - set(recorded_files(path)) if path.is_dir() else set()
        if others:
            raise ValueError(
                f"{path} is a folder with {len(others)} files that no stage wrote there, such as "
                f"{sorted(others)[:3]}: it would be replaced as a whole; move them, or name "
                "another place"
            )


def _move(source: Path, target: Path) -> None:
    """Put a product in its place; one rename replaces a file, but no folder that holds files."""
    if not (source.is_dir() and target.is_dir()):
        source.replace(target)
        return
    older = source.with_name(f".{target.name}.older")  # it goes with the private folder
    try:
        target.rename(older)
        source.rename(target)
    except BaseException:
        if older.exists() and not target.exists():
            older.rename(target)
        raise


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
