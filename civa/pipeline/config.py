"""The configuration: its schema, its contradictions, and what each stage is given.

Sections are stages and keys are a stage's settings.  What the file leaves out, the stage's
own default decides.  A data set or a variant may override any key of any later section.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from civa.data.split import split_counts
from civa.pipeline import own_data
from civa.pipeline.schema import explain, read_schema
from civa.pipeline.signatures import defaults
from civa.simulation.phantoms import PHANTOMS
from civa.simulation.structures import PHANTOM_PREFIX, find_structure

Config = Mapping[str, Any]

IMAGING = (  # settings of the simulation that averaging has to know
    *("max_tilt_deg", "voltage_kv"),
    *("spherical_aberration_mm", "amplitude_contrast"),
)

ORIGINS = ("import", "extract", "simulation", "specimen")  # sections that make volumes
# What keys may be: text, whole numbers, which are taken as text, and YAML's "<<".
NAMES = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "merge"))
BASE = "civa-net"  # the variant that overrides nothing


def _is_integer(_: object, value: object) -> bool:
    """2.0 is none: as a flag of a stage it would be refused, in the middle of a run."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Tell whether a value is a finite number, unlike .nan and .inf, which YAML has too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


class _Careful(yaml.SafeLoader):
    """Refuses what YAML's readers turn into something else without a word.

    Of a key that stands twice they drop the first, the keys ``yes``, ``off`` and ``null`` are no
    text to them, and 010 is 8.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key.value}' stands twice: keep one",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
            if key.tag not in NAMES:
                raise yaml.constructor.ConstructorError(
                    problem=f"'{key.value}' is a {key.tag.rpartition(':')[2]} to YAML, and no "
                    "name: put it in quotes",
                    problem_mark=key.start_mark,
                )
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Refuse 010, 1_0 and 12:30, which YAML reads as 8, 10 and 750."""
        number = super().construct_yaml_int(node)
        if str(number) != node.value.removeprefix("+"):
            raise yaml.constructor.ConstructorError(
                problem=f"{node.value} is {number} to YAML: write that, or put it in quotes",
                problem_mark=node.start_mark,
            )
        return number


_Careful.add_constructor("tag:yaml.org,2002:int", _Careful.construct_yaml_int)


def load(path: Path) -> dict[str, Any]:
    """Read a configuration file and check it.

    Raises
    ------
    ValueError
        If the file is missing, is no YAML mapping, or fails `check`.
    """
    config = read(path)
    check(config, source=str(path))
    return config


def read(path: Path) -> Any:
    """Read a YAML file in which every key stands once, and is a name.

    Raises
    ------
    ValueError
        If the file is missing, is no YAML, or has a key twice or one that is no name; with its
        line.
    """
    if not path.is_file():
        raise ValueError(f"the configuration {path} does not exist: 'civa init' writes one")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Careful)
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable YAML file ({message})") from error


def check(config: Any, *, source: str = "config.yaml") -> None:
    """Check a configuration before any work starts.

    Raises
    ------
    ValueError
        With one message that names the key, the value, what was expected and the remedy.
    """
    schema = read_schema()
    errors = Validator(schema).iter_errors(config)
    first = jsonschema.exceptions.best_match(errors)
    if first is not None:
        where = ".".join(str(step) for step in first.absolute_path) or "top level"
        raise ValueError(f"{source}, {where}: {explain(first)}")
    for dataset in config["datasets"]:
        try:
            _check_dataset(config, dataset)
        except ValueError as error:
            raise ValueError(f"{source}, data set '{dataset}': {error}") from error
    for axis, conditions in config.get("stress_tests", {}).items():
        for condition, dataset in conditions.items():
            if dataset not in config["datasets"]:
                raise ValueError(
                    f"{source}, stress_tests.{axis}: '{condition}' is data set '{dataset}', "
                    f"expected one of {list(config['datasets'])}"
                )
    baselines = schema["properties"]["baselines"]["items"]["enum"]
    for name in config.get("variants", {}):
        try:
            _check_variant(config, name, baselines)
        except ValueError as error:
            raise ValueError(f"{source}, variants.{name}: {error}") from error


def _check_variant(config: Config, name: str, baselines: Sequence[str]) -> None:
    variant, asked = config["variants"][name], config.get("baselines", [])
    if name == BASE:
        raise ValueError(f"'{name}' is the method itself; rename the variant")
    for baseline in baselines:
        if baseline in variant and baseline not in asked:
            raise ValueError(
                f"it changes {baseline}, which 'baselines' ({', '.join(asked) or 'none'}) does "
                "not ask for, so it would have no row; add it there, or take it out here"
            )
    off = sorted(variant["without"]) if list(variant) == ["without"] else []
    if off in (["crf"], ["crf", "iva"]):
        row = "+ CO" if "iva" in off else "+ IVA"
        raise ValueError(
            f"the method without {' and '.join(off)} is the row '{row}' already; leave the "
            "variant out, or let it change something else too"
        )


def _check_dataset(config: Config, dataset: str) -> None:
    fractions = (defaults("split") | settings(config, "split", dataset))["fractions"]
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"split.fractions {fractions} add up to {sum(fractions):g}, expected 1")
    origins = [name for name in ORIGINS if name in _overrides(config, dataset)]
    if own_data.is_specimen(config, dataset):
        origins = [name for name in origins if name != "extract"]  # it says how boxes are cut
    if len(origins) > 1:
        both = " and ".join(f"'{name}'" for name in origins)
        raise ValueError(f"has both {both}: volumes come from one of them")
    if own_data.is_own(config, dataset):
        own_data.check(config, dataset)
        return
    if own_data.is_specimen(config, dataset):
        _check_specimen(config, dataset)
        return
    values = simulation(config, dataset)
    for key in ("classes", "per_class", "snr"):
        if key not in values:
            raise ValueError(f"simulation.{key} is missing: state it, or use 'import'")
    box, larger = values["box_voxels"], values["simulated_box_voxels"]
    if larger < box:
        raise ValueError(
            f"simulated_box_voxels ({larger}) is smaller than box_voxels ({box}): volumes are cut "
            "out of the simulated box"
        )
    shift = values["max_shift_voxels"]
    if shift >= box / 2:
        raise ValueError(
            f"max_shift_voxels ({shift:g}) would move targets out of a box "
            f"of {box} voxels: expected less than {box / 2:g}"
        )
    if values["neighbours"] == "distractors" and (
        values["neighbour_count"] and not values["distractors"]
    ):
        raise ValueError("neighbours: distractors needs a list 'distractors', or neighbours: none")
    if not math.isfinite(values["snr"]):
        raise ValueError(f"simulation.snr is {values['snr']}: expected a finite number")
    counts = volumes_per_class(values)
    if set(counts) != set(values["classes"]):
        raise ValueError(
            f"simulation.per_class names {sorted(counts)}, expected the classes "
            f"{sorted(values['classes'])}"
        )
    volumes = sum(counts.values())
    if values["shards"] > volumes:
        raise ValueError(f"simulation.shards ({values['shards']}) exceeds the {volumes} volumes")
    low, high = values["defocus_um"]
    if low > high:
        raise ValueError(f"defocus_um [{low}, {high}]: expected the smaller value first")
    for name, count in counts.items():
        split_counts(count, fractions, name=name)
    for structure in structures(config, dataset):
        _check_structure(config, structure)


def _check_specimen(config: Config, dataset: str) -> None:
    values = specimen(config, dataset)
    first, last, step = values["tilts_deg"]
    if not (first < last and step > 0):
        raise ValueError(
            f"specimen.tilts_deg is {[first, last, step]}: expected the first and last tilt, and "
            "the step between tilts, as -60, 60 and 3"
        )
    low, high = values["defocus_um"]
    if low > high:
        raise ValueError(f"specimen.defocus_um [{low}, {high}]: expected the smaller value first")
    given = sorted({"lists", "tomograms", "instances"} & set(settings(config, "extract", dataset)))
    if given:
        raise ValueError(f"extract.{given[0]} says nothing of simulated tomograms: leave it out")
    for structure in structures(config, dataset):
        _check_structure(config, structure)


def local_structure(config: Config, name: str) -> Path | None:
    """Return the structure's file in the configured folder, if it is there."""
    return find_structure(_structures_folder(config), name)


def _structures_folder(config: Config) -> Path:
    return Path(config.get("structures", {}).get("folder", "structures"))


def _check_structure(config: Config, name: str) -> None:
    if name.startswith(PHANTOM_PREFIX):
        if name.removeprefix(PHANTOM_PREFIX) not in PHANTOMS:
            known = [PHANTOM_PREFIX + phantom for phantom in PHANTOMS]
            raise ValueError(f"there is no phantom '{name}': choose from {known}")
        return
    folder, download = _structures_folder(config), config.get("structures", {}).get("download")
    if local_structure(config, name) is None and not download:
        raise ValueError(
            f"structure '{name}' is missing: put {folder / name}.pdb or {folder / name}.cif there, "
            "or set structures.download: true on a machine with network"
        )


def _overrides(config: Config, dataset: str) -> Config:
    """Return what a data set sets by itself; a bare name in the file sets nothing."""
    return config["datasets"][dataset] or {}


def seeds(config: Config, dataset: str) -> list[int]:
    """Return the seeds of a data set: its own, or everybody's."""
    return list(_overrides(config, dataset).get("seeds", config["seeds"]))


def volumes_per_class(simulation: Config) -> dict[str, int]:
    """Return how many volumes of every class are to be simulated."""
    asked = simulation["per_class"]
    if isinstance(asked, Mapping):
        return {str(name): int(count) for name, count in asked.items()}
    return {name: int(asked) for name in simulation["classes"]}


def volume_count(config: Config, dataset: str) -> int:
    """Return how many volumes a data set has, before any is there."""
    if own_data.is_own(config, dataset):
        return own_data.volume_count(config, dataset)
    if own_data.is_specimen(config, dataset):
        values = specimen(config, dataset)
        return len(values["classes"]) * int(values["copies"]) * int(values["tomograms"])
    return sum(volumes_per_class(settings(config, "simulation", dataset)).values())


def box_voxels(config: Config, dataset: str) -> int:
    """Return the edge of a data set's boxes, before any is there."""
    if own_data.is_own(config, dataset):
        return own_data.box_voxels(config, dataset)
    if own_data.is_specimen(config, dataset):
        return int((defaults("extract") | settings(config, "extract", dataset))["box_voxels"])
    return int(simulation(config, dataset)["box_voxels"])


def targets(config: Config, dataset: str) -> list[str]:
    """List the structures that the classes of a simulated data set show, each once."""
    section = "specimen" if own_data.is_specimen(config, dataset) else "simulation"
    shown = settings(config, section, dataset)["classes"].values()
    several = [[one] if isinstance(one, str) else one for one in shown]
    return list(dict.fromkeys(name for names in several for name in names))


def structures(config: Config, dataset: str) -> list[str]:
    """List the structures that a simulated data set needs, each once."""
    if own_data.is_specimen(config, dataset):
        others = specimen(config, dataset)["others"]
    else:
        others = simulation(config, dataset)["distractors"]
    return list(dict.fromkeys([*targets(config, dataset), *others]))


def settings(
    config: Config, section: str, dataset: str | None = None, variant: str = BASE
) -> dict[str, Any]:
    """Return a section with the overrides of a data set and of a variant, in this order."""
    merged = dict(config.get(section) or {})
    if dataset is not None:
        merged |= _overrides(config, dataset).get(section) or {}
    overridden = config.get("variants", {}).get(variant, {})
    merged |= overridden.get(section) or {}
    if section == "merge" and "co" in overridden.get("without", []):
        # w1 = 1: the merged map is Grad-CAM alone, also where validation has no mask
        merged |= {"weights": [1.0], "default_weight": 1.0}
    return merged


def simulation(config: Config, dataset: str) -> dict[str, Any]:
    """Return the settings of a data set's simulation; what the file leaves out, by its default."""
    return defaults("simulate") | settings(config, "simulation", dataset)


def specimen(config: Config, dataset: str) -> dict[str, Any]:
    """Return the settings of simulated tomograms; what the file leaves out, by its default."""
    return {"tomograms": 1} | defaults("simulate-tomogram") | settings(config, "specimen", dataset)


def tomogram_names(config: Config, dataset: str) -> list[str]:
    """Return the names of a data set's simulated tomograms."""
    count = int(specimen(config, dataset)["tomograms"])
    return [f"tomogram_{number}" for number in range(1, count + 1)]


def command_flags(values: Mapping[str, Any]) -> str:
    """Turn settings into flags of a stage, quoted for the shell; null leaves the default.

    Flags are sorted: the order of keys in a file must not make a stage run again.

    Raises
    ------
    ValueError
        If a value is ``--``, which ends the flags of a command wherever it stands.
    """
    words: list[str] = []
    for key, value in sorted(values.items()):
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, Mapping):
            items = [(n, v if isinstance(v, list) else [v]) for n, v in value.items()]
            words += _flag_words(flag, [f"{n}={'+'.join(map(str, v))}" for n, v in items])
        elif isinstance(value, list | tuple):
            words += _flag_words(flag, [str(item) for item in value])
        elif value is not None:
            words += _flag_words(flag, [str(value)])
    return " ".join(words)


def _flag_words(flag: str, values: Sequence[str]) -> list[str]:
    """Return a flag and its values; one that looks like a flag itself has to be joined to it."""
    if "--" in values:
        raise ValueError(f"the value '--' of {flag} would end the command's flags: use another one")
    if any(value.startswith("-") for value in values):
        return [f"{flag}={shlex.quote(value)}" for value in values]
    return [flag, *(shlex.quote(value) for value in values)]


def as_yaml(config: Config) -> str:
    """Return the configuration as YAML, keys in their order."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
