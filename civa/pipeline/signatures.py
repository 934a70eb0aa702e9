"""The signature of every stage, read from its source.

A stage is a module ``civa.stages.<verb>`` with one function ``run``.  Its positional
parameters are input files, its keyword-only paths are products, and the other keyword-only
parameters are settings.  A training also takes a checkpoint: the file in which it keeps its state
while it runs.  No stage is imported here: torch takes seconds, and both ``--help`` and Snakemake,
in every job, need no more than the signature.
"""

import ast
import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from civa.pipeline.sources import PACKAGE


@dataclass(frozen=True)
class Parameter:
    """One parameter of a stage.

    Attributes
    ----------
    kind
        ``input``, ``product``, ``setting`` or ``state`` (a checkpoint).
    type
        Name of the type of one value: ``str``, ``int``, ``float``, ``bool``, ``Path``.
    is_list
        Whether any number of values may be given.
    default
        None where it is required, too.
    """

    name: str
    kind: str
    type: str
    is_list: bool
    is_required: bool
    default: Any

    @property
    def flag(self) -> str:
        """The parameter on the command line."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True)
class Signature:
    """What a stage's function takes, and what its docstring says about it.

    Attributes
    ----------
    about
        The docstring up to its section ``Parameters``.
    texts
        Parameter -> its text in that section, on one line.
    """

    about: str
    parameters: tuple[Parameter, ...]
    texts: dict[str, str]


def stage_module(verb: str) -> str:
    """Return the name of a verb's module in ``civa/stages``."""
    return {"import": "import_volumes"}.get(verb, verb.replace("-", "_"))


@functools.cache
def signature(verb: str) -> Signature:
    """Read the signature of a verb's stage.

    Raises
    ------
    ValueError
        If there is no such stage.
    """
    path = PACKAGE / "stages" / f"{stage_module(verb)}.py"
    if not path.is_file():
        raise ValueError(f"there is no verb '{verb}': expected {path}")
    return parse_signature(path.read_text(encoding="utf-8"))


def parse_signature(source: str) -> Signature:
    """Read the signature and the docstring of the function ``run`` in a source text."""
    tree = ast.parse(source)
    (run,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"
    )
    inputs, others = run.args.args, run.args.kwonlyargs
    required: list[ast.expr | None] = [None] * (len(inputs) - len(run.args.defaults))
    parameters = [
        _parameter(tree, argument, default, kind_of_path)
        for arguments, defaults, kind_of_path in (
            (inputs, required + run.args.defaults, "input"),
            (others, run.args.kw_defaults, "product"),
        )
        for argument, default in zip(arguments, defaults, strict=True)
    ]
    about, _, section = inspect.cleandoc(ast.get_docstring(run) or "").partition(
        "\n\nParameters\n----------\n"
    )
    return Signature(about, tuple(parameters), _texts(section))


def _parameter(
    tree: ast.Module, argument: ast.arg, default: ast.expr | None, kind_of_path: str
) -> Parameter:
    assert argument.annotation is not None
    names = [node.id for node in ast.walk(argument.annotation) if isinstance(node, ast.Name)]
    (item,) = (name for name in names if name != "tuple")
    kind = {"Checkpoint": "state", "Path": kind_of_path}.get(item, "setting")
    value = None if default is None else _value(default, tree)
    return Parameter(argument.arg, kind, item, "tuple" in names, default is None, value)


def _value(default: ast.expr, tree: ast.Module) -> Any:
    """Evaluate a default: a literal, a path, or a constant of this package."""
    names = {node.id for node in ast.walk(default) if isinstance(node, ast.Name)} - {"Path"}
    known = {name: _constant(name, tree) for name in names}
    code = compile(ast.Expression(default), "<default>", "eval")
    return eval(code, {"__builtins__": {}, "Path": Path}, known)  # of our own source


def _constant(name: str, tree: ast.Module) -> Any:
    """Find the literal that a module assigns to a name, or imports under it."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            steps = str(node.module).split(".")[1:]
            source = PACKAGE.joinpath(*steps).with_suffix(".py").read_text(encoding="utf-8")
            return _constant(name, ast.parse(source))
    raise ValueError(f"the default '{name}' of a stage is not a literal of this package")


def _texts(section: str) -> dict[str, str]:
    """Split a numpydoc section into parameter -> text."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if re.fullmatch(r"-+", line):  # the next section has begun
            for name in names:
                del found[name]
            break
        if line[:1].strip():
            names = line.split(", ")
            found |= dict.fromkeys(names, "")
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def defaults(verb: str) -> dict[str, Any]:
    """Return the settings of a verb that may be left out, and what they are then."""
    optional = [p for p in signature(verb).parameters if p.kind == "setting" and not p.is_required]
    return {parameter.name: parameter.default for parameter in optional}
