"""What the command line of a stage says, and the shell command of a rule that runs it."""

from collections.abc import Mapping
from typing import Any

from civa.pipeline.schema import is_within, range_in_words, read_schema, setting_keys
from civa.pipeline.signatures import Parameter, defaults, signature

# Verb -> the definitions of the schema that hold its settings.
SECTIONS = {
    "fetch-structure": ("structures",),
    "build-template": ("simulation", "specimen", "structures"),
    "simulate": ("simulation",),
    "simulate-tomogram": ("specimen",),
    "import": ("import",),
    "list-particles": ("extract",),
    "measure-tomograms": ("extract",),
    "extract": ("extract",),
    "split": ("split",),
    "train-classifier": ("classifier",),
    "localize": ("localize",),
    "cooccur": ("cooccurrence",),
    "merge": ("merge",),
    "binarize": ("binarize",),
    "mine-pairs": ("pairs",),
    "train-iva": ("iva",),
    "segment": ("segment",),
    "crf": ("crf",),
    "average": ("average",),
    "align": ("align",),
    "map-back": ("map_back",),
    "train-segmenter": ("baseline",),
    "plot-tomogram": ("extract",),
}
# Settings that a rule gives, as Snakemake's placeholders, unless the configuration has them.
JOB = {
    "seed": "{wildcards.seed}",
    "threads": "{threads}",
    "gpu": "{params.gpu}",
    "checkpoint": "{params.checkpoint:q}",
}
# What these are is the same for every stage that takes them.
COMMON = {
    "seed": "of all random numbers: the same seed gives the same bits on a CPU",
    "threads": "CPU threads, or processes where a stage starts them; results are bit-identical "
    "only at equal numbers of threads",
    "checkpoint": "keep the state of the training in this file after every epoch, to go on from "
    "if it is stopped; removed at the end",
}


def configured(verb: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a verb that the configuration has: name -> the schema's entry."""
    keys = {
        key: entry
        for section in SECTIONS.get(verb, ())
        for key, entry in setting_keys(section).items()
    }
    settings = [p.name for p in signature(verb).parameters if p.kind == "setting"]
    return {name: keys[name] for name in settings if name in keys}


def check_ranges(verb: str, values: Mapping[str, Any]) -> None:
    """Check that settings lie within what the configuration's schema admits.

    Raises
    ------
    ValueError
        If one does not.
    """
    for name, entry in configured(verb).items():
        value, default = values.get(name), defaults(verb).get(name)
        if value is None or value == default:
            continue
        items = value if isinstance(value, list | tuple) else [value]
        limits = entry.get("items", {}) if isinstance(value, list | tuple) else entry
        if not all(is_within(limits, item) for item in items):
            unit = f" {entry['unit']}" if "unit" in entry else ""
            shown = " ".join(map(str, items))
            raise ValueError(
                f"--{name.replace('_', '-')} is {shown}: expected {range_in_words(limits)}{unit}"
            )


def describe(verb: str, parameter: Parameter) -> str:
    """Return what ``--help`` says of a parameter: meaning, unit, range and default.

    Settings of the configuration are described in its schema, those of every job in `COMMON`, all
    others, and files, in the docstring of the stage.
    """
    entry = configured(verb).get(parameter.name, {})
    if parameter.name == "gpu":
        entry = read_schema()["properties"]["gpu"]
    texts = {**COMMON, **signature(verb).texts}
    text = str(entry.get("description") or texts.get(parameter.name, "")).removesuffix(".")
    if text[1:2].islower():  # not CSV, and not (n, d, h, w)
        text = text[0].lower() + text[1:]
    facts = [str(entry["unit"])] if "unit" in entry else []
    facts += [words] if (words := range_in_words(entry)) else []
    if parameter.kind in ("setting", "input") and not parameter.is_required:
        facts.append(f"default: {_shown(parameter.default)}")
    return text + (f" ({'; '.join(facts)})" if facts else "")


def _shown(default: Any) -> str:
    """A default as it would be typed."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    values = default if isinstance(default, tuple) else (default,)
    return " ".join(str(value) for value in values if value not in (None, "")) or "none"


def shell_command(verb: str, **given: str) -> str:
    """Return the shell command of a rule that runs a stage, with Snakemake's placeholders.

    A rule's inputs and outputs have the names of the stage's parameters.  Settings of the
    configuration come from the rule's ``params.flags``.

    Parameters
    ----------
    given
        Placeholders of settings that the rule states by itself.

    Raises
    ------
    ValueError
        If the stage has no parameter of a name in ``given``.
    """
    parameters, from_configuration = signature(verb).parameters, configured(verb)
    unknown = sorted(set(given) - {parameter.name for parameter in parameters})
    if unknown:
        raise ValueError(f"the stage '{verb}' takes no {unknown}")
    settings = {**{k: v for k, v in JOB.items() if k not in from_configuration}, **given}
    words = ["python -m civa", verb]
    for parameter in parameters:
        name = parameter.name
        files = {"input": f"{{input.{name}:q}}", "product": f"{{output.{name}:q}}"}
        placeholder = files.get(parameter.kind) or settings.get(name)
        words += [f"{parameter.flag} {placeholder}"] if placeholder else []
    words += ["{params.flags}"] if from_configuration else []
    return " ".join([*words, "--log {log:q}"])
