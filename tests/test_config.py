"""The configuration is strict: every mistake gets one clear message before any work."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from civa import config as civa_config
from civa.cli import stage_function

ROOT = Path(__file__).parents[1]
SMALL = yaml.safe_load((ROOT / "tests" / "small.yaml").read_text())
SCHEMA = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())

# Section -> the stages whose settings it holds.
STAGES = {
    "import": ["import"],
    "simulation": ["simulate", "build-template"],
    "split": ["split"],
    "classifier": ["train-classifier"],
    "localize": ["localize"],
    "cooccurrence": ["cooccur"],
    "merge": ["merge"],
    "binarize": ["binarize"],
    "pairs": ["mine-pairs"],
    "iva": ["train-iva"],
    "segment": ["segment"],
    "crf": ["crf"],
}
# Settings that the rules give, not the configuration.
GIVEN_BY_RULES = {"seed", "threads", "shard", "shards", "name", "assembly", "batch_size"}


def changed(**changes: Any) -> dict[str, Any]:
    """The small configuration with nested changes: simulation__snr=0 sets simulation.snr."""
    config = copy.deepcopy(SMALL)
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = config
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value
    return config


@pytest.mark.parametrize("path", ["config.yaml", "tests/small.yaml"])
def test_shipped_configurations_pass(path: str) -> None:
    civa_config.load(ROOT / path)


def test_examples_pass_once_their_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("paper.yaml", "paper_readings.yaml"):  # these download what is missing
        civa_config.load(ROOT / "examples" / name)
    with pytest.raises(ValueError, match=r"my_particles/particles.csv does not exist"):
        civa_config.load(ROOT / "examples" / "own_data.yaml")
    (tmp_path / "my_particles").mkdir()
    (tmp_path / "my_particles" / "particles.csv").write_text("id,class,path\n")
    civa_config.load(ROOT / "examples" / "own_data.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulatoin": {}}, "simulatoin"),
        ({"crf__smoothness": 3}, "smoothness"),
        ({"crf__iterations": "five"}, "crf.iterations: 'five' is not of type 'integer'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds.*unique"),
        ({"datasets": {}}, "datasets"),
        ({"datasets__small__simulation__snr": 0}, "snr: 0 is less than or equal to the minimum"),
        ({"datasets__small__simulation__snr": -0.1}, "snr: -0.1 is less than"),
        ({"datasets__small__import": {"table": "x.csv"}}, "both 'import' and 'simulation'"),
        ({"datasets__a;rm -rf": {}}, "a;rm -rf"),
        ({"simulation__per_class": 2}, "class 'barrel' has 2 volumes: too few"),
        ({"split__fractions": [0.7, 0.2, 0.2]}, "add up to 1.1, expected 1"),
        ({"simulation__simulated_box_voxels": 16, "simulation__box_voxels": 32}, "smaller than"),
        ({"simulation__max_shift_voxels": 8}, "move targets out of a box of 16"),
        ({"simulation__distractors": []}, "needs a list 'distractors'"),
        ({"simulation__defocus_um": [7, 4]}, "smaller value first"),
        ({"simulation__classes": {"a": "phantom-barrel"}}, "simulation.classes"),
        ({"simulation__classes__barrel": "phantom-teapot"}, "no phantom 'phantom-teapot'"),
        ({"simulation__classes__barrel": "9zzz"}, "'9zzz' is missing: put structures/9zzz.pdb"),
        ({"merge__weights": [0.5, 1.5]}, "1.5 is greater than the maximum of 1"),
        ({"pairs__radius": 1}, "radius: 1 is less than or equal to the minimum"),
        ({"variants__civa-net": {"crf": {"iterations": 2}}}, "is the method itself"),
        ({"variants__v": {"simulation": {"snr": 1}}}, "'simulation' was unexpected"),
    ],
)
def test_mistakes_are_refused_with_their_name(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        civa_config.check(changed(**changes), source="mine.yaml")


def test_messages_name_the_file() -> None:
    with pytest.raises(ValueError, match=r"^mine.yaml, data set 'small': "):
        civa_config.check(changed(simulation__per_class=1), source="mine.yaml")


@pytest.mark.parametrize("text", ["seeds: [", "- a list", ""])
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        civa_config.load(path)


@pytest.mark.parametrize("section", STAGES)
def test_schema_and_stage_signatures_are_in_step(section: str) -> None:
    settings: set[str] = set()
    for verb in STAGES[section]:
        parameters = inspect.signature(stage_function(verb)).parameters.values()
        settings |= {
            p.name
            for p in parameters
            if p.kind is inspect.Parameter.KEYWORD_ONLY and "Path" not in str(p.annotation)
        }
    keys = set(SCHEMA["$defs"][section]["properties"])
    assert keys - settings - {"shards", "table"} == set(), "keys that no stage takes"
    assert settings - keys - GIVEN_BY_RULES == set(), "settings that no key sets"


def test_a_variant_owns_only_what_it_changes() -> None:
    config = changed(variants__v={"segment": {"threshold": 0.5}})
    assert civa_config.home(config, "iva", "v") == civa_config.BASE
    assert civa_config.home(config, "segment", "v") == "v"
    assert civa_config.home(config, "crf", "v") == "v"
    assert [m for v, m in civa_config.rows(config) if v == "v"] == ["iva", "crf"]


def test_later_overrides_win() -> None:
    config = changed(
        crf__iterations=1,
        datasets__small__crf={"iterations": 2},
        variants__v={"crf": {"search": False}},
    )
    assert civa_config.settings(config, "crf", "small", "v")["iterations"] == 2
    assert civa_config.settings(config, "crf", "small", "v")["search"] is False
    assert "search" not in civa_config.settings(config, "crf", "small")


def test_flags_are_quoted_for_the_shell() -> None:
    flags = civa_config.command_flags(
        {"a_b": 1.5, "on": True, "off": False, "none": None, "list": [1, "x y"], "map": {"k": "v;"}}
    )
    assert flags == "--a-b 1.5 --list 1 'x y' --map 'k=v;' --no-off --on"
