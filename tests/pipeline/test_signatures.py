"""Signatures are read from the source, and say the same as the imported stage."""

import inspect
import typing
from pathlib import Path

import pytest

from civa.cli import VERBS, stage_function
from civa.pipeline.signatures import defaults, parse_signature, signature
from civa.training.checkpoint import Checkpoint

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}
TYPES |= {"Checkpoint": Checkpoint}


@pytest.mark.parametrize("verb", VERBS)
def test_the_source_says_what_the_imported_function_says(verb: str) -> None:
    imported = inspect.signature(stage_function(verb)).parameters
    read = signature(verb).parameters
    assert [parameter.name for parameter in read] == list(imported)
    for parameter in read:
        other = imported[parameter.name]
        assert parameter.is_required == (other.default is inspect.Parameter.empty)
        assert parameter.default == (None if parameter.is_required else other.default)
        kinds = typing.get_args(other.annotation) or (other.annotation,)  # Path | None, tuple[...]
        assert TYPES[parameter.type] in kinds
        assert parameter.is_list == (typing.get_origin(other.annotation) is tuple)
        if parameter.type == "Path":
            is_product = other.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.kind == ("product" if is_product else "input")
        else:
            assert parameter.kind == ("state" if parameter.type == "Checkpoint" else "setting")


SOURCE = '''
from civa.consensus.map_back import CONTOUR

COUNT = 3

def run(
    volumes: Path, shards: tuple[Path, ...], extra: Path | None = None,
    *, out: Path, level: float = CONTOUR, count: int = COUNT, file: str = "a",
) -> None:
    """Do it.

    In a second paragraph.

    Parameters
    ----------
    volumes, shards
        Two kinds of files,
        on two lines.
    out
        The product.

    Raises
    ------
    ValueError
        Never.
    """
'''


def test_docstrings_are_split_into_what_it_does_and_its_parameters() -> None:
    found = parse_signature(SOURCE)
    assert found.about == "Do it.\n\nIn a second paragraph."
    both = "Two kinds of files, on two lines."
    assert found.texts == {"volumes": both, "shards": both, "out": "The product."}


def test_inputs_products_and_settings_follow_from_types_and_places() -> None:
    found = {p.name: p for p in parse_signature(SOURCE).parameters}
    kinds = {name: parameter.kind for name, parameter in found.items()}
    assert kinds == {
        **dict.fromkeys(("volumes", "shards", "extra"), "input"),
        "out": "product",
        **dict.fromkeys(("level", "count", "file"), "setting"),
    }
    assert [name for name, p in found.items() if p.is_required] == ["volumes", "shards", "out"]
    assert [name for name, p in found.items() if p.is_list] == ["shards"]
    values = [found[name].default for name in ("extra", "level", "count", "file")]
    assert values == [None, 0.25, 3, "a"]  # constants, of another module or of its own


def test_a_default_that_is_no_literal_of_this_package_is_refused() -> None:
    with pytest.raises(ValueError, match="'CUTS' of a stage is not a literal"):
        parse_signature("def run(*, cuts: tuple[float, ...] = CUTS) -> None: ...")


def test_an_unknown_verb_is_named() -> None:
    with pytest.raises(ValueError, match=r"there is no verb 'simulat': expected .*simulat\.py"):
        signature("simulat")


def test_defaults_leave_out_what_must_be_given_and_files() -> None:
    assert defaults("split") == {"fractions": (0.70, 0.15, 0.15), "label_noise": 0.0, "seed": 1}
    assert {"classes", "per_class", "snr", "volumes"}.isdisjoint(defaults("simulate"))
