"""The command line: one verb per stage, its flags derived from the stage's signature.

`civa.pipeline.signatures` reads the signature from the source, so that a stage is imported only to
run it.
"""

import argparse
import hashlib
import importlib
import json
import logging
import re
import shlex
import signal
import sys
import time
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from civa import __version__
from civa.data.findings import NotInOrderError
from civa.pipeline.commands import check_ranges, describe
from civa.pipeline.provenance import digests, write_record
from civa.pipeline.publishing import ENDING, PRIVATE, check_places, publishing
from civa.pipeline.signatures import Parameter, signature, stage_module

if typing.TYPE_CHECKING:
    from civa.training.checkpoint import Checkpoint

VERBS = {
    "init": "a folder -> a project of your own: configuration, workflow, profiles",
    "validate": "check a configuration before any long work starts",
    "fetch-structure": "download one entry of the PDB",
    "build-template": "atoms or phantom -> electron potential",
    "simulate": "templates -> one shard of labelled sub-tomograms",
    "simulate-tomogram": "templates -> one tomogram of a crowded specimen, and picks in it",
    "collect": "shards -> one particle table and one stack",
    "import": "own boxes and labels -> particle table and stack",
    "list-particles": "particle lists of other programs -> one table of positions",
    "measure-tomograms": "tomograms and positions -> tilts, contrast and CTF state of each",
    "extract": "tomograms and positions -> boxes, particle table and stacks",
    "split": "70/15/15, class by class",
    "train-classifier": "image-level labels -> classifier",
    "localize": "classifier -> Grad-CAM and Respond-CAM maps",
    "cooccur": "classifier -> cross-image co-occurrence maps",
    "merge": "Grad-CAM and co-occurrence -> merged maps",
    "binarize": "maps -> masks, threshold from validation",
    "mine-pairs": "pseudo labels -> voxel affinity pairs",
    "train-iva": "volumes and pairs -> inter-voxel affinity network",
    "segment": "network and CAM -> segmentation by proposals",
    "crf": "segmentation -> refined segmentation",
    "average": "volumes and class labels -> the average of every class",
    "refine": "averages and poses -> averages of all volumes that show them",
    "align": "averages -> the pose of the target in every volume",
    "export": "volumes and poses -> a folder that RELION reconstructs from",
    "map-back": "averages and poses -> masks",
    "replace-outliers": "masks by alignment and by a network -> the network's for misfits",
    "calibrate": "mapped-back averages -> probability of every voxel, expected IoU of every mask",
    "plot-tomogram": "masks -> a slice of their tomogram, with what is there and was rejected",
    "plot-averages": "averages -> a figure of them beside the truth, with FSC",
    "train-segmenter": "masks, slices or pseudo labels -> a supervised baseline",
    "apply-segmenter": "a supervised baseline -> masks",
    "trivial": "rules that learn nothing -> masks",
    "score": "masks and ground truth -> one row per test image",
    "assess": "products of a run -> its quality ledger",
    "tabulate": "scores -> tables",
    "plot-overview": "masks and scores -> figures",
    "plot-comparison": "masks and scores -> baseline and ours in three slices (Figure 4)",
    "plot-charts": "curves, choices, predictions and scores -> charts",
    "plot-conditions": "results -> scores over conditions that are changed one at a time",
    "report": "results, ledgers and figures -> one page",
    "recover": "after Snakemake was killed: its jobs ended, the folder unlocked",
    "trace": "a product -> the files, commands and commits that it came from",
}


Stage = typing.Callable[..., dict[str, str] | None]


class Stopped(BaseException):
    """The process was asked to end, by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


def _stop(number: int, frame: types.FrameType | None) -> None:
    raise Stopped(number)


def stage_function(verb: str) -> Stage:
    """Import the function that a verb runs."""
    return importlib.import_module(f"civa.stages.{stage_module(verb)}").run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status, 0 on success."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in VERBS:
        return _overview(arguments)
    verb, rest = arguments[0], arguments[1:]
    if verb == "init" and rest and not rest[0].startswith("-"):
        rest = ["--folder", *rest]  # civa init FOLDER, as everybody writes it
    is_help = not {"-h", "--help"}.isdisjoint(rest)
    values = vars(_parser(verb, explained=is_help).parse_args(rest))
    function = stage_function(verb)
    logger = logging.getLogger("civa")
    if fault := _overwriting(verb, values):
        print(f"civa {verb}: {fault}", file=sys.stderr)
        return 1
    try:
        handlers = _start_logging(values.pop("log"))
    except OSError as error:
        print(f"civa {verb}: cannot write the log: {error}", file=sys.stderr)
        return 1
    previous = {number: signal.getsignal(number) for number in ENDING}
    for number in (n for n, usual in previous.items() if usual != signal.SIG_IGN):
        signal.signal(number, _stop)
    try:
        check_ranges(verb, values)
        _run(verb, function, values, shlex.join(["civa", *arguments]))
    except (ValueError, OSError) as error:
        logger.error("civa %s: %s", verb, " ".join(str(error).split()))
        return 1
    except Stopped as stopped:
        for number in ENDING:  # it ends already: no second interruption
            signal.signal(number, signal.SIG_IGN)
        again = "a training goes on from its last epoch when it is run again"
        reason = f"{ENDING[stopped.signal]}; {again}"
        logger.error("civa %s: stopped by %s: %s", verb, stopped.signal.name, reason)
        return 128 + stopped.signal
    except Exception as error:
        logger.exception("civa %s failed", verb)
        logger.error("civa %s: unexpected error, %s: %s", verb, type(error).__name__, error)
        return 1
    finally:
        for number, usual in previous.items():
            signal.signal(number, usual)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
    return 0


def _overwriting(verb: str, values: Mapping[str, Any]) -> str:
    """Say where a product or the log would take the place of an input, or of another product."""
    parameters = signature(verb).parameters
    read = {p.flag: values[p.name] for p in parameters if p.kind == "input"}
    written = {p.flag: values[p.name] for p in parameters if p.kind == "product"}
    taken = {path.resolve(): flag for flag, given in read.items() for path in _paths([given])}
    for flag, given in {**written, "--log": values["log"]}.items():
        for path in _paths([given]):
            other = taken.setdefault(path.resolve(), flag)
            if other != flag:
                return f"{flag} {path} is the file of {other} too: give it a path of its own"
    if values["log"] is not None and not _may_be_log(values["log"]):
        return f"--log {values['log']} is there and is no log of civa: give it a path of its own"
    return ""


def _may_be_log(path: Path) -> bool:
    """Tell whether a log may be written to a path: nothing is lost there."""
    if not path.is_file():
        return True  # also what is no file: opening it says so
    with path.open("rb") as stream:
        head = stream.read(9)
    return head == b"" or re.fullmatch(rb"\d\d:\d\d:\d\d ", head) is not None


def _run(verb: str, function: Stage, values: dict[str, Any], command: str) -> None:
    kinds = {parameter.name: parameter.kind for parameter in signature(verb).parameters}
    settings = {name: value for name, value in values.items() if kinds[name] == "setting"}
    read = digests(_paths(value for name, value in values.items() if kinds[name] == "input"))
    states = [name for name, value in values.items() if kinds[name] == "state" and value]
    for name in states:
        values[name] = _checkpoint(values[name], verb, settings, read)
    asked = {name: value for name, value in values.items() if kinds[name] == "product"}
    products = {name: value for name, value in asked.items() if value is not None}
    check_places(products.values())
    started = time.monotonic()
    with publishing(list(products.values())) as private:
        written = {name: private[product] for name, product in products.items()}
        # Every flag was declared by the stage itself; what else it read, it returns.
        refused: NotInOrderError | None = None
        also_read: dict[str, str] = {}
        try:
            also_read = function(**{**values, **written}) or {}
        except NotInOrderError as error:
            refused = error
        write_record(
            verb,
            inputs={**read, **also_read},
            outputs=list(written.values()),
            parameters=settings,
            seconds=time.monotonic() - started,
            command=command,
        )
    if refused is not None:
        raise refused
    for name in states:
        values[name].remove()


def _checkpoint(
    path: Path, verb: str, settings: Mapping[str, Any], read: Mapping[str, str]
) -> "Checkpoint":
    """Bind the state of a training to all that shapes it."""
    from civa.data.files import digest  # torch is slow to import: for trainings only
    from civa.pipeline.sources import PACKAGE, stage_sources
    from civa.training.checkpoint import Checkpoint

    sources = stage_sources(stage_module(verb))
    code = {source.relative_to(PACKAGE).as_posix(): digest(source) for source in sources}
    shaped_by = json.dumps([verb, settings, dict(read), code], default=str, sort_keys=True)
    return Checkpoint(path, hashlib.sha256(shaped_by.encode()).hexdigest())


def _paths(values: Iterable[Any]) -> list[Path]:
    """Flatten single files and lists of files; leave out what was not given."""
    lists = (value if isinstance(value, list | tuple) else [value] for value in values)
    return [path for paths in lists for path in paths if path is not None]


def _overview(arguments: list[str]) -> int:
    asked = bool(arguments) and arguments[0] in ("-h", "--help", "--version")
    stream = sys.stdout if asked else sys.stderr
    if arguments[:1] == ["--version"]:
        print(f"civa {__version__}", file=stream)
        return 0
    print("usage: civa VERB [--flag value ...]    civa VERB --help\n", file=stream)
    for verb, purpose in VERBS.items():
        print(f"  {verb:18}{purpose}", file=stream)
    if arguments and not asked:
        print(f"\nciva: there is no verb '{arguments[0]}'", file=stream)
    return 0 if asked else 2


def _parser(verb: str, *, explained: bool = True) -> argparse.ArgumentParser:
    """Derive the flags of a verb from the signature of its stage.

    Parameters
    ----------
    explained
        Whether ``--help`` will be asked for: reading the texts takes longer than the flags.
    """
    parser = argparse.ArgumentParser(
        prog=f"civa {verb}",
        description=signature(verb).about or VERBS[verb],
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=32),
        allow_abbrev=False,
        add_help=False,
    )
    groups = {
        title: parser.add_argument_group(title) for title in ("inputs", "products", "settings")
    }
    for parameter in signature(verb).parameters:
        group = groups.get(f"{parameter.kind}s", groups["settings"])
        text = describe(verb, parameter) if explained else ""
        _add_flag(group, parameter, text.replace("%", "%%"))
    log = "also write messages to this file"
    groups["settings"].add_argument("--log", type=Path, metavar="FILE", help=log)
    groups["settings"].add_argument("-h", "--help", action="help", help="show this and stop")
    return parser


TYPES = {"str": str, "int": int, "float": float, "Path": Path, "Checkpoint": Path}
METAVARS = {"int": "INTEGER", "float": "NUMBER", "str": "TEXT"}


def _add_flag(group: argparse._ArgumentGroup, parameter: Parameter, text: str) -> None:
    of: dict[str, Any] = {"required": parameter.is_required, "default": parameter.default}
    if parameter.type == "bool":
        of["action"] = argparse.BooleanOptionalAction
    else:
        of["type"], of["metavar"] = TYPES[parameter.type], METAVARS.get(parameter.type, "FILE")
    if parameter.is_list:
        of["nargs"], of["action"] = "*", _Collect
    elif parameter.kind == "input" and not parameter.is_required:
        of["nargs"], of["const"] = "?", parameter.default  # a rule names it even where it is absent
    group.add_argument(parameter.flag, **of).help = text  # argparse adds words to that of a bool


class _Collect(argparse.Action):
    """A list, whose flag may be repeated: ``--names a b`` or ``--names=-a --names=b``.

    The second way is for values that look like a flag themselves.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        given = [] if before is self.default else before
        setattr(namespace, self.dest, [*given, *values])


class _Formatter(logging.Formatter):
    """Names products by the place where they belong, not by where they are being written."""

    def format(self, record: logging.LogRecord) -> str:
        return PRIVATE.sub("", super().format(record))


def _start_logging(log: Path | None) -> list[logging.Handler]:
    """Send messages to the terminal and, if asked, to a file that names the last error."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    logger = logging.getLogger("civa")
    logger.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(_Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    return handlers
