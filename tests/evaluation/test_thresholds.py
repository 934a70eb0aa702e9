"""Limits of the quality ledger: verdicts, what is expected, advice and reasons."""

import numpy as np
import pytest
import yaml

from civa.evaluation.thresholds import LIMITS, Limit, config_keys
from civa.pipeline.schema import SCHEMA

UP = Limit("share", "%", 80, 40, "why", "what")
DOWN = Limit("empty", "%", 2, 10, "why", "what")


@pytest.mark.parametrize(
    ("limit", "value", "verdict"),
    [
        (UP, 100, "green"),
        (UP, 80, "green"),
        (UP, 79.9, "amber"),
        (UP, 40, "amber"),
        (UP, 39.9, "red"),
        (DOWN, 0, "green"),
        (DOWN, 2, "green"),
        (DOWN, 2.1, "amber"),
        (DOWN, 10, "amber"),
        (DOWN, 10.1, "red"),
        (UP, np.nan, "n/a"),
        (DOWN, np.nan, "n/a"),
    ],
)
def test_verdicts_at_and_beside_the_limits(limit: Limit, value: float, verdict: str) -> None:
    assert limit.verdict(value) == verdict


def test_limits_say_what_is_expected() -> None:
    assert UP.expected == "at least 80; red below 40"
    assert DOWN.expected == "at most 2; red above 10"


def test_limits_count_from_what_guessing_reaches() -> None:
    # of the 50 % between a coin's 50 % and 100 %: 80 % of them is 40, 40 % is 20.
    limit = UP.above(50)
    assert (limit.green, limit.red) == (90, 70)
    assert UP.above(0) == UP


def test_advice_names_keys_that_the_configuration_has() -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    known = set()
    for section, content in schema["$defs"].items():
        known |= {f"{section}.{key}" for key in content.get("properties", {})}
    named = {key for limit in LIMITS.values() for key in config_keys(limit.advice)}
    assert len(named) > 15
    assert named <= known


def test_reasons_are_one_sentence_each() -> None:
    for limit in LIMITS.values():
        assert limit.reason
        assert "\n" not in limit.reason
        assert not limit.reason.endswith(".")
