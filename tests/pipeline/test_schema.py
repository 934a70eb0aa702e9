"""Every key of the configuration is described once, with its unit; defaults stand elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from civa.pipeline.schema import range_in_words, read_schema, setting_keys

ROOT = Path(__file__).parents[2]
UNITS = {  # by the end of a key's name
    "_angstrom": "Å",
    "_voxels": "voxels",
    "_deg": "degrees",
    "_um": "µm",
    "_kv": "kV",
    "_mm": "mm",
    "epochs": "epochs",
    "batch_size": "volumes",
    "fraction": "share",
    "fractions": "share",
}
SEEDS = {"seed", "seeds"}  # numbers without a unit


def resolved(entry: dict[str, Any]) -> dict[str, Any]:
    name = str(entry.get("$ref")).rpartition("/")[2]
    return {**read_schema()["$defs"].get(name, {}), **entry}


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that a configuration may have, with its entry; references are not followed."""
    for name, entry in schema.get("properties", {}).items():
        yield f"{path}{name}", resolved(entry)
        yield from keys(entry, f"{path}{name}.")
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict):
        yield from keys(inner, f"{path}*.")


def all_keys() -> dict[str, dict[str, Any]]:
    found = dict(keys(read_schema()))
    for section, entry in read_schema()["$defs"].items():
        found |= dict(keys(entry, f"{section}."))
    return found


def is_number(entry: dict[str, Any]) -> bool:
    several = [entry, *entry.get("anyOf", []), entry.get("items", {})]
    kinds = [kind for one in several for kind in [one.get("type", [])]]
    flat = {k for kind in kinds for k in (kind if isinstance(kind, list) else [kind])}
    return bool(flat & {"number", "integer"})


def test_the_walk_finds_the_keys() -> None:
    found = all_keys()
    assert {"datasets.*.stands_for", "variants.*.without", "crf.guide_sigma", "gpu"} <= set(found)
    assert len(found) > 130


def test_every_key_is_described() -> None:
    bare = [key for key, entry in all_keys().items() if len(entry.get("description", "")) < 5]
    assert bare == []


def test_every_number_has_a_unit_and_that_of_its_name() -> None:
    for key, entry in all_keys().items():
        name = key.rpartition(".")[2]
        if not is_number(entry) or name in SEEDS:
            continue
        assert "unit" in entry, key
        for ending, unit in UNITS.items():
            assert not name.endswith(ending) or entry["unit"] == unit, key


def test_the_schema_states_no_default() -> None:
    for key, entry in all_keys().items():
        assert "default" not in entry, f"{key}: its default stands in the signature of its stage"
        assert not re.search(r"default\W+\w*\d", entry["description"]), key


@pytest.mark.parametrize("path", ["config.yaml", *sorted((ROOT / "examples").glob("*.yaml"))])
def test_comments_of_configurations_restate_no_default(path: str | Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    comments = [line.partition("#")[2] for line in text.splitlines()]
    assert [c for c in comments if re.search(r"\bdefaults?\b.*\d", c)] == []


def test_sections_are_the_same_wherever_they_stand() -> None:
    properties = read_schema()["properties"]
    for place in ("datasets", "variants"):
        for name, entry in properties[place]["additionalProperties"]["properties"].items():
            if name in properties:
                assert entry == properties[name], (place, name)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"enum": ["auto", "never"]}, "one of auto, never"),
        ({"minimum": 0.5, "maximum": 100}, "0.5 to 100"),
        ({"minimum": 16, "maximum": 128, "multipleOf": 8}, "16 to 128, a multiple of 8"),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, "above 0, below 1"),
        ({"exclusiveMinimum": 0, "maximum": 90}, "above 0, at most 90"),
        ({"minimum": 0, "exclusiveMaximum": 1}, "at least 0, below 1"),
        ({"maximum": 0}, "at most 0"),
        ({"items": {"minimum": 0, "maximum": 1}}, "each 0 to 1"),
        ({"type": "array", "items": {"type": "string"}}, ""),
        ({"type": "boolean"}, ""),
    ],
)
def test_ranges_in_words(entry: dict[str, Any], words: str) -> None:
    assert range_in_words(entry) == words


def test_a_key_has_what_it_refers_to() -> None:
    width = setting_keys("iva")["width"]
    assert (width["minimum"], width["unit"]) == (4, "channels")
    assert width["description"] != setting_keys("iva")["epochs"]["description"]


def test_the_schema_is_one_that_a_validator_takes() -> None:
    jsonschema.Draft202012Validator.check_schema(read_schema())
