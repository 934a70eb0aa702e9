"""The configuration is strict: every mistake gets one clear message before any work."""

import copy
import gzip
import inspect
import shlex
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from civa import cli
from civa.cli import stage_function
from civa.data.volume import write_volume
from civa.evaluation.supervised import SEGMENTER_SCHEDULES
from civa.pipeline import config as civa_config
from civa.pipeline.commands import SECTIONS
from civa.pipeline.runs import BASELINES, METHODS, methods
from civa.pipeline.schema import read_schema
from civa.pipeline.signatures import parse_signature
from civa.training.loop import CLASSIFIER_SCHEDULES, IVA_SCHEDULES

ROOT = Path(__file__).parents[2]
SMALL = yaml.safe_load((ROOT / "tests" / "small.yaml").read_text())
SCHEMA = read_schema()

# Keys of a section that none of its stages takes: they say what there is to be read.
NOT_SETTINGS = {
    *("table", "folder", "download", "lists", "tomograms", "tomogram_table", "tilt_files"),
    "instances",
}
# Settings that the rules give, or that keep their default; not of the configuration.
GIVEN_BY_RULES = {
    *("seed", "threads", "gpu", "shard", "name", "number"),
    *("network", "supervision", "list_classes"),
    *("retries", "judge"),
}


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [1]\nsplit: {seed: 1}\nsplit: {seed: 2}\n", r"'split' stands twice.* line 3"),
        ("seeds: [1]\nsplit:\n  seed: 1\n  seed: 2\n", r"'seed' stands twice.* line 4"),
        ("seeds: [1]\ndatasets:\n  yes: {}\n", r"'yes' is a bool to YAML, and no name.* line 3"),
        ("seeds: [1]\ndatasets:\n  010: {}\n", r"010 is 8 to YAML.* line 3"),
        ("seeds: [1]\nnull: 2\n", r"'null' is a null to YAML.* line 2"),
    ],
)
def test_keys_that_yaml_drops_or_turns_are_named_with_their_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml .*" + message):
        civa_config.load(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simulation__shards": 2.0}, r"simulation\.shards: it is 2\.0, expected a whole number"),
        ({"seeds": [1.0]}, r"seeds\.0: it is 1\.0, expected a whole number"),
        ({"simulation__max_shift_voxels": float("inf")}, r"it is inf, expected a number"),
        ({"crf__smooth_weight": float("nan")}, r"crf\.smooth_weight: it is nan, expected"),
    ],
)
def test_numbers_are_finite_and_whole_ones_have_no_point(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        civa_config.check(changed(**changes))


def test_examples_pass_once_their_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("paper.yaml", "paper_readings.yaml", "consensus.yaml", "stress_tests.yaml"):
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
        ({"crf__iterations": "five"}, "crf.iterations: it is 'five', expected a whole number"),
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
        ({"simulation__classes__barrel": ["phantom-barrel", "phantom-cup"]}, "'phantom-cup'"),
        ({"simulation__classes__barrel": ["phantom-barrel"]}, "simulation.classes.barrel"),
        ({"split__label_noise": 1}, "split.label_noise: 1 is"),
        (
            {"stress_tests": {"noise": {"none": "small", "some": "other"}}},
            r"stress_tests.noise: 'some' is data set 'other', expected one of \['small'\]",
        ),
        ({"stress_tests": {"noise": {"none": "small"}}}, "stress_tests.noise"),
        ({"simulation__classes__barrel": "9zzz"}, "'9zzz' is missing: put structures/9zzz.pdb"),
        ({"merge__weights": [0.5, 1.5]}, "1.5 is greater than the maximum of 1"),
        ({"pairs__radius": 1}, "radius: 1 is less than or equal to the minimum"),
        ({"variants__civa-net": {"crf": {"iterations": 2}}}, "is the method itself"),
        ({"variants__v": {"simulation": {"snr": 1}}}, "there is no key 'simulation' here"),
        # parts that are switched off
        ({"variants__v": {}}, "variants.v: .*non-empty"),
        ({"variants__v": {"without": []}}, "variants.v.without: .*non-empty"),
        ({"variants__v": {"without": ["cam"]}}, "'cam' is not one of"),
        ({"variants__v": {"without": ["co", "co"]}}, "variants.v.without: .*non-unique"),
        ({"variants__v": {"without": "co"}}, "it is 'co', expected a list"),
        ({"without": ["co"]}, "there is no key 'without' here"),  # of a variant only
        ({"datasets__small__without": ["co"]}, "there is no key 'without' here"),
        # baselines
        ({"baselines": ["unet_full"]}, "'unet_full' is not one of"),
        ({"baselines": ["unet_slice", "unet_slice"]}, "baselines: .*non-unique"),
        ({"datasets__small__baselines": ["unet_slice"]}, "there is no key 'baselines' here"),
        ({"unet_slice": {"network": "voxresnet"}}, "unet_slice: .*there is no key 'network' here"),
        ({"unet_slice": {"width": 6}}, "unet_slice.width: 6 is not a multiple of 4"),
        ({"voxresnet_full": {"width": 0}}, "voxresnet_full.width: 0 is less than"),
        ({"voxresnet_full": {"schedule": "paper"}}, "voxresnet_full.schedule: 'paper'"),
        ({"voxresnet_full": {"patience": -1}}, "voxresnet_full.patience: -1 is less than"),
        ({"voxresnet_pseudo": {"epochs": 0}}, "voxresnet_pseudo.epochs: 0 is less than"),
        ({"voxresnet_pseudo": {"flips": 1}}, "voxresnet_pseudo.flips: it is 1, expected"),
        ({"variants__v": {"unet_slice": {"rate": 1}}}, "variants.v.unet_slice: .*'rate'"),
        # what a data set stands for, its seeds and its classes
        ({"datasets__small__stands_for": "snr001"}, "small.stands_for: 'snr001' is not one of"),
        ({"stands_for": "real"}, "there is no key 'stands_for' here"),
        ({"datasets__small__seeds": []}, "datasets.small.seeds"),
        ({"datasets__small__seeds": [1, 1]}, "datasets.small.seeds: .*non-unique"),
        ({"datasets__small__seeds": [-1]}, "datasets.small.seeds.0: -1 is less than"),
        ({"partial": "yes"}, "partial: it is 'yes', expected true or false"),
        ({"classifier__balance": "no"}, "classifier.balance: it is 'no', expected true or false"),
        # numbers of volumes
        ({"simulation__per_class": {"barrel": 8}}, "per_class: "),
        ({"simulation__per_class": {"barrel": 8, "wishbone": 0}}, "per_class"),
        ({"simulation__per_class": {"barrel": 8, "wishbone": 2}}, "class 'wishbone' has 2 vol"),
        (
            {"simulation__per_class": {"barrel": 8, "spoon": 8}},
            r"per_class names \['barrel', 'spoon'\], expected the classes \['barrel', 'wishbone'\]",
        ),
        (
            {"simulation__per_class": {"barrel": 8, "wishbone": 8, "spoon": 8}},
            "per_class names .*'spoon'.*expected the classes",
        ),
        (
            {"simulation__per_class": {"barrel": 8, "wishbone": 9}, "simulation__shards": 18},
            r"simulation.shards \(18\) exceeds the 17 volumes",
        ),
    ],
)
def test_mistakes_are_refused_with_their_name(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        civa_config.check(changed(**changes), source="mine.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"baselines": []},
        {"baselines": ["voxresnet_full", "unet_slice", "voxresnet_pseudo"]},
        {"voxresnet_full": {"width": 12, "schedule": "voxresnet", "epochs": 3, "patience": 2}},
        {"unet_slice": {"schedule": "one_cycle", "flips": False, "epochs": None}},
        {"voxresnet_pseudo": {"patience": None}},
        {"voxresnet_pseudo": {"patience": 0}},
        {"datasets__small__unet_slice": {"width": 4}},
        {"variants__v": {"voxresnet_full": {"schedule": "unet"}}},
        {"variants__v": {"without": ["co"]}},
        {"variants__v": {"without": ["iva"]}},
        {"variants__v": {"without": ["co", "iva", "crf"]}},
        {"variants__v": {"without": ["crf"], "segment": {"threshold": 0.5}}},
        {"datasets__small__stands_for": "real"},
        {"datasets__small__seeds": [0, 3]},
        {"partial": True},
        {"split__label_noise": 0.2},
        {"stress_tests": {"noise (%)": {"0 %": "small", "5 %": "small"}}},
        {"simulation__classes__barrel": ["phantom-barrel", "phantom-cage"]},
        {"classifier__balance": True},
        {"datasets__small__classifier": {"balance": False}},
        {"simulation__per_class": {"wishbone": 9, "barrel": 8}},
        {"datasets__small__simulation__per_class": {"barrel": 8, "wishbone": 20}},
        {"simulation__per_class": {"barrel": 8, "wishbone": 9}, "simulation__shards": 17},
    ],
)
def test_what_is_meant_to_work_is_accepted(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    civa_config.check(changed(**changes))


@pytest.mark.parametrize(
    ("off", "row"), [(["crf"], "+ IVA"), (["iva", "crf"], "+ CO"), (["crf", "iva"], "+ CO")]
)
def test_variants_whose_rows_are_there_already_are_refused(off: list[str], row: str) -> None:
    with pytest.raises(ValueError, match=r"^config\.yaml, variants\.v: ") as error:
        civa_config.check(changed(variants__v={"without": off}))
    assert f"is the row '{row}' already; leave the variant out" in str(error.value)
    # that row is the method's own
    titles = {METHODS[name].title for name in methods(changed(), civa_config.BASE)}
    assert any(title.startswith(row) for title in titles)


def test_a_variant_of_a_baseline_that_nobody_asked_for_is_refused() -> None:
    wider = {"variants__v": {"unet_slice": {"width": 8}}}
    with pytest.raises(ValueError, match=r"^config\.yaml, variants\.v: it changes unet_slice"):
        civa_config.check(changed(**wider, baselines=["voxresnet_full"]))
    civa_config.check(changed(**wider, baselines=["unet_slice"]))


def test_numbers_of_volumes_are_one_for_all_or_one_for_each() -> None:
    simulation = {"classes": {"a": "1abc", "b": "2abc"}}
    assert civa_config.volumes_per_class({**simulation, "per_class": 5}) == {"a": 5, "b": 5}
    each = civa_config.volumes_per_class({**simulation, "per_class": {"b": 2, "a": 3}})
    assert each == {"a": 3, "b": 2}


def test_seeds_of_a_data_set_come_before_those_of_all() -> None:
    config = {"seeds": [1, 2], "datasets": {"own": {"seeds": [7]}, "none": None, "empty": {}}}
    assert civa_config.seeds(config, "own") == [7]
    assert civa_config.seeds(config, "none") == civa_config.seeds(config, "empty") == [1, 2]


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_box_of_own_volumes_is_that_of_their_header(
    dtype: type, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    write_volume(tmp_path / "plain.mrc", np.zeros((24, 24, 24), dtype), voxel_size_angstrom=10)
    (tmp_path / "box.mrc").write_bytes(pack((tmp_path / "plain.mrc").read_bytes()))
    (tmp_path / "table.csv").write_text("id,class,path\n1,x,box.mrc\n")
    config = {"datasets": {"own": {"import": {"table": str(tmp_path / "table.csv")}}}}
    assert civa_config.box_voxels(config, "own") == 24


@pytest.mark.parametrize("content", [None, b"no MRC", (24, 24, 48)])
def test_own_volumes_that_the_import_will_refuse_do_not_stop_the_plan(
    content: Any, tmp_path: Path
) -> None:
    path = tmp_path / "box.mrc"
    if isinstance(content, tuple):
        write_volume(path, np.zeros(content, np.float32), voxel_size_angstrom=10)
    elif content is not None:
        path.write_bytes(content)
    (tmp_path / "table.csv").write_text("id,class,path\n1,x,box.mrc\n")
    config = {"datasets": {"own": {"import": {"table": str(tmp_path / "table.csv")}}}}
    assert civa_config.box_voxels(config, "own") == 32


def test_a_structure_in_a_sub_folder_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = changed(simulation__classes__barrel="emd1234")
    with pytest.raises(ValueError, match="'emd1234' is missing"):
        civa_config.check(config)
    path = Path("structures") / "maps" / "emd1234.mrc"
    path.parent.mkdir(parents=True)
    path.touch()
    civa_config.check(config)
    assert civa_config.local_structure(config, "emd1234") == path


def test_a_key_that_is_mistyped_is_told_what_was_meant() -> None:
    with pytest.raises(ValueError, match="no key 'iteration' here: did you mean 'iterations'"):
        civa_config.check(changed(crf__iteration=5))


def test_messages_name_the_file() -> None:
    with pytest.raises(ValueError, match=r"^mine.yaml, data set 'small': "):
        civa_config.check(changed(simulation__per_class=1), source="mine.yaml")


@pytest.mark.parametrize("text", ["seeds: [", "- a list", ""])
def test_what_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        civa_config.load(path)


def settings_of(verb: str) -> set[str]:
    parameters = inspect.signature(stage_function(verb)).parameters.values()
    named = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    of_files = ("Path", "Checkpoint")
    return {p.name for p in named if not any(kind in str(p.annotation) for kind in of_files)}


@pytest.mark.parametrize("verb", SECTIONS)
def test_every_setting_of_a_stage_is_a_key_of_its_sections(verb: str) -> None:
    keys = {key for name in SECTIONS[verb] for key in SCHEMA["$defs"][name]["properties"]}
    assert settings_of(verb) - keys - GIVEN_BY_RULES == set(), "settings that no key sets"


@pytest.mark.parametrize("section", sorted({n for names in SECTIONS.values() for n in names}))
def test_every_key_of_a_section_is_a_setting_of_its_stages(section: str) -> None:
    verbs = [verb for verb, names in SECTIONS.items() if section in names]
    settings = {name for verb in verbs for name in settings_of(verb)}
    keys = set(SCHEMA["$defs"][section]["properties"])
    assert keys - settings - NOT_SETTINGS == set(), "keys that no stage takes"


def test_every_section_has_its_stages() -> None:
    sections = {name for name, entry in SCHEMA["$defs"].items() if "properties" in entry}
    assert sections == {name for names in SECTIONS.values() for name in names}


def test_what_the_file_leaves_out_of_a_simulation_has_its_default() -> None:
    values = civa_config.simulation(changed(simulation__tilt_step_deg=2), "small")
    assert (values["tilt_step_deg"], values["defocus_um"]) == (2, (4.0, 7.0))
    assert "snr" in values and "snr" not in civa_config.defaults("simulate")


def test_every_baseline_has_its_section_wherever_sections_stand() -> None:
    places = [
        SCHEMA["properties"],
        SCHEMA["properties"]["datasets"]["additionalProperties"]["properties"],
        SCHEMA["properties"]["variants"]["additionalProperties"]["properties"],
    ]
    assert set(SCHEMA["properties"]["baselines"]["items"]["enum"]) == set(BASELINES)
    for place in places:
        for name in BASELINES:
            assert place[name] == {"$ref": "#/$defs/baseline"}


@pytest.mark.parametrize(
    ("section", "schedules"),
    [
        ("baseline", SEGMENTER_SCHEDULES),
        ("classifier", CLASSIFIER_SCHEDULES),
        ("iva", IVA_SCHEDULES),
    ],
)
def test_schedules_of_the_schema_are_those_of_the_code(
    section: str, schedules: dict[str, Any]
) -> None:
    assert set(SCHEMA["$defs"][section]["properties"]["schedule"]["enum"]) == set(schedules)


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
        {
            "a_b": 1.5,
            "on": True,
            "off": False,
            "none": None,
            "list": [1, "x y"],
            "map": {"k": "v;", "m": ["x", "y"]},
        }
    )
    assert flags == "--a-b 1.5 --list 1 'x y' --map 'k=v;' m=x+y --no-off --on"


def settings_stage(
    *,
    text: str = "text",
    number: float | None = 0.5,
    count: int = 3,
    names: tuple[str, ...] = ("default",),
    numbers: tuple[float, ...] = (1.0,),
    classes: tuple[str, ...] = (),
    on: bool = True,
) -> None:
    """Take a setting of every kind."""


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """The flags of `settings_stage`."""
    source = inspect.getsource(settings_stage).replace("settings_stage", "run")
    monkeypatch.setattr(cli, "signature", lambda verb: parse_signature(source))
    return cli._parser("score", explained=False)


# what a shell or argparse could take for something else
NASTY = ["", "-", "-x", "--on", "--no-on", "-1", "-1e-05", "-x y", "a b", "a=b", "'", '"', "$HOME"]
NASTY += ["`id`", "a\nb", "*", "~", "\\", "ü", ";", "--text=a", "#", "!!", "--text"]


@pytest.mark.parametrize(
    "given",
    [
        *({"text": text} for text in NASTY),
        *({"names": [text, "b"]} for text in NASTY),
        *({"names": ["b", text]} for text in NASTY),
        *({"number": x, "numbers": [x, 2.0]} for x in (-1.0, -1e-05, -1.5e300, 2e-7, 0.0)),
        {"names": [], "numbers": []},
        {"numbers": [-1.0, -2.0], "count": -3, "on": False},
        {"names": NASTY, "on": True, "text": "-x"},
    ],
)
def test_a_stage_is_given_what_the_configuration_says(
    given: dict[str, Any], parser: ArgumentParser
) -> None:
    words = shlex.split(civa_config.command_flags(given))
    values = vars(parser.parse_args(words))
    defaults = vars(parser.parse_args([]))
    assert values == defaults | given


def test_a_mapping_whose_key_begins_with_a_dash_is_given_too(parser: ArgumentParser) -> None:
    flags = civa_config.command_flags({"classes": {"-a": "1abc", "b": ["x", "y"]}})
    values = vars(parser.parse_args(shlex.split(flags)))
    assert values["classes"] == ["-a=1abc", "b=x+y"]


@pytest.mark.parametrize("values", [{"text": "--"}, {"names": ["a", "--"]}])
def test_a_value_that_ends_all_flags_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"the value '--' of --(text|names) would end"):
        civa_config.command_flags(values)
