"""What may stand in a configuration: its keys, and their meaning, units and ranges."""

import difflib
import functools
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

SCHEMA = files("civa.pipeline") / "config.schema.yaml"  # also where the package is installed

TYPES = {
    "array": "a list, as [a, b]",
    "object": "keys with values",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@functools.cache
def read_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration; ``unit`` is a keyword of our own."""
    return dict(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def setting_keys(section: str) -> dict[str, dict[str, Any]]:
    """Return the keys of a section: key -> its entry, with what it refers to."""
    definitions = read_schema()["$defs"]
    return {
        key: {**definitions.get(str(entry.get("$ref")).rpartition("/")[2], {}), **entry}
        for key, entry in definitions[section]["properties"].items()
    }


def is_within(entry: Mapping[str, Any], value: object) -> bool:
    """Tell whether a single value lies within the range that an entry of the schema states."""
    if "enum" in entry:
        return value in entry["enum"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return (
        math.isfinite(value)
        and value >= entry.get("minimum", -math.inf)
        and value <= entry.get("maximum", math.inf)
        and value > entry.get("exclusiveMinimum", -math.inf)
        and value < entry.get("exclusiveMaximum", math.inf)
        and ("multipleOf" not in entry or value % entry["multipleOf"] == 0)
    )


def range_in_words(entry: Mapping[str, Any]) -> str:
    """Say which values an entry of the schema admits; nothing where any of its type will do."""
    if "enum" in entry:
        return "one of " + ", ".join(str(value) for value in entry["enum"])
    if "items" in entry:
        inner = range_in_words(entry["items"])
        return f"each {inner}" if inner else ""
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and high is not None:
        parts = [f"{low} to {high}"]
    else:
        above, below = entry.get("exclusiveMinimum"), entry.get("exclusiveMaximum")
        bounds = {"at least": low, "above": above, "at most": high, "below": below}
        parts = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
    if "multipleOf" in entry:
        parts.append(f"a multiple of {entry['multipleOf']}")
    return ", ".join(parts)


def explain(error: "ValidationError") -> str:
    """Say in a user's words what is wrong with a value of a configuration."""
    value, wanted = error.instance, error.validator_value
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"it is {value!r}, expected {' or '.join(TYPES[kind] for kind in kinds)}"
    if error.validator == "additionalProperties" and not isinstance(wanted, Mapping):
        known = list(error.schema["properties"])
        unknown = next(key for key in value if key not in known)
        alike = difflib.get_close_matches(str(unknown), known, n=1)
        meant = f": did you mean '{alike[0]}'?" if alike else ""
        return f"there is no key '{unknown}' here{meant} (there are {', '.join(known)})"
    return str(error.message)
