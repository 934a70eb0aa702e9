"""What jobs ask for: enough for what was measured, more for more, and steps of round sizes."""

import inspect
import re
from pathlib import Path

import pytest

from civa.cli import stage_function
from civa.evaluation import supervised
from civa.pipeline.commands import shell_command
from civa.pipeline.resources import (
    COSTS,
    GPU_SPEEDUP,
    Cost,
    expectation,
    memory_mb,
    runtime_minutes,
)
from civa.pipeline.runs import BASELINES
from civa.training import loop as training

ROOT = Path(__file__).parents[2]
each_stage = pytest.mark.parametrize("stage", COSTS)


@each_stage
def test_larger_data_sets_ask_for_more(stage: str) -> None:
    asked = [memory_mb(stage, n) for n in (100, 1_000, 10_000)]
    assert asked == sorted(asked)
    times = [runtime_minutes(stage, n) for n in (100, 1_000, 10_000)]
    assert times == sorted(times)


@each_stage
def test_a_second_attempt_asks_for_more(stage: str) -> None:
    assert memory_mb(stage, 1_000, attempt=2) > memory_mb(stage, 1_000)
    assert runtime_minutes(stage, 1_000, attempt=3) > runtime_minutes(stage, 1_000)


@each_stage
def test_requests_are_round_and_leave_room_for_snakemake(stage: str) -> None:
    assert memory_mb(stage, 1) % 500 == 0
    assert memory_mb(stage, 1) >= 600  # its own processes take about 270 MB
    assert runtime_minutes(stage, 1) % 5 == 0
    assert runtime_minutes(stage, 1) > 0


def test_memory_per_volume_grows_with_the_box() -> None:
    # 64^3 has eight times the voxels of 32^3: another 1,000 volumes take as much as another 8,000
    more = memory_mb("merge", 101_000, box_voxels=64) - memory_mb("merge", 100_000, box_voxels=64)
    assert more == pytest.approx(memory_mb("merge", 108_000) - memory_mb("merge", 100_000), abs=500)


MADE_UP = Cost(
    fixed_mb=200,
    buffers_mb=100,
    volume_mb=1,
    volume_seconds=0,
    activations_mb=50,
    batches={"batch_size": 8, "group_size": 16},
)


@pytest.mark.parametrize(
    ("box_voxels", "settings", "used_mb"),
    [
        (32, {"width": 16}, 200 + 100 + 50 + 10),
        (64, {"width": 16}, 200 + 8 * (100 + 50 + 10)),  # imports take what they took
        (96, {"width": 16}, 200 + 27 * (100 + 50 + 10)),
        (64, {"width": 32}, 200 + 8 * (100 + 2 * 50 + 10)),
        (64, {}, 200 + 8 * (100 + 2 * 50 + 10)),  # the paper's width where none is stated
        (32, {"width": 16, "batch_size": 24}, 200 + 3 * (100 + 50) + 10),
        (32, {"width": 16, "batch_size": 8, "group_size": 32}, 200 + 2 * (100 + 50) + 10),
        (32, {"width": 16, "batch_size": 1, "group_size": 1}, 200 + 100 + 50 + 10),
        (96, {"width": 32, "batch_size": 16}, 200 + 27 * (2 * (100 + 2 * 50) + 10)),
    ],
)
def test_memory_is_fixed_or_grows_with_box_batch_width_and_volumes(
    box_voxels: int, settings: dict[str, int], used_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COSTS, "made up", MADE_UP)
    asked = memory_mb("made up", 10, box_voxels=box_voxels, settings=settings)
    wanted = 300 + 1.5 * used_mb  # Snakemake's own, and headroom
    assert asked - 500 < wanted <= asked  # in steps of 500 MB


@each_stage
def test_larger_boxes_ask_for_more_even_of_few_volumes(stage: str) -> None:
    asked = [memory_mb(stage, 1, box_voxels=box) for box in (32, 64, 96)]
    assert asked == sorted(asked)
    draws = stage.startswith("plot_")  # figures are as large as ever
    assert asked[2] >= asked[0] + 1000 or draws or stage in ("split", "simulate_tomogram")


def test_no_stage_asks_for_less_than_was_measured() -> None:
    # Peaks of all processes of a job, volumes of 32^3: networks of width 16 (docs/results.md) ...
    measured = {"train_classifier": 1195, "localize": 996, "cooccur": 711, "train_iva": 1095}
    measured |= {"segment": 1310, "train_unet_slice": 1679, "train_voxresnet_full": 1490}
    # ... and stages that read stacks a few volumes at a time (bench/memory.py; docs/log.md)
    measured |= {"merge": 501, "binarize": 166, "mine_pairs": 346, "crf": 517, "score": 154}
    measured |= {"trivial": 260, "apply_segmenter": 685, "average": 1196, "align": 752}
    measured |= {"map_back": 849, "calibrate": 448, "assess": 175}
    for stage, peak_mb in measured.items():
        assert memory_mb(stage, 1_000, settings={"width": 16}) > peak_mb, stage


def test_a_stage_that_streams_hardly_asks_for_more_where_there_are_more_volumes() -> None:
    few, many = (memory_mb("merge", volumes) for volumes in (1_000, 16_000))
    assert few <= many <= few + 500


def test_batches_are_settings_of_the_stages_and_were_measured_at_their_defaults() -> None:
    for stage, cost in COSTS.items():
        for name, size in cost.batches.items():
            parameters = inspect.signature(stage_function(stage)).parameters
            assert parameters[name].default == size, (stage, name)


def test_a_wider_network_takes_four_times_as_long() -> None:
    narrow, wide = (
        runtime_minutes("train_iva", 100_000, settings={"width": width}) for width in (16, 32)
    )
    assert wide == pytest.approx(4 * narrow, rel=0.01)


def test_epochs_of_the_configuration_count() -> None:
    short, long = (
        runtime_minutes("train_classifier", 100_000, settings={"epochs": n}) for n in (6, 60)
    )
    assert long == pytest.approx(10 * short, rel=0.01)
    default = runtime_minutes("train_classifier", 100_000)
    assert runtime_minutes("train_classifier", 100_000, settings={"epochs": None}) == default


def test_a_gpu_shortens_what_runs_on_it_and_nothing_else() -> None:
    cpu, gpu = (runtime_minutes("train_iva", 10**6, on_gpu=on) for on in (False, True))
    assert cpu == pytest.approx(GPU_SPEEDUP * gpu, rel=0.01)
    assert runtime_minutes("crf", 10**6, on_gpu=True) == runtime_minutes("crf", 10**6)


def test_default_epochs_are_those_of_the_schedules() -> None:
    assert COSTS["train_classifier"].epochs == training.CLASSIFIER_SCHEDULES["one_cycle"].epochs
    assert COSTS["train_iva"].epochs == training.IVA_SCHEDULES["one_cycle"].epochs
    for name, (network, _) in BASELINES.items():
        schedule = supervised.SEGMENTER_SCHEDULES[network]
        assert COSTS[f"train_{name}"].epochs == schedule.epochs, name


def test_stages_that_use_a_gpu_are_those_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage, cost in COSTS.items():
        verb = re.sub(r"train_(vox|unet).*", "train_segmenter", stage.removesuffix("_first"))
        verb = verb.replace("_", "-")
        uses = "gpu" in inspect.signature(stage_function(verb)).parameters
        assert uses == cost.gpu, stage


def test_every_rule_for_the_cluster_says_what_it_needs() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    bodies = re.findall(r"^rule (\w+):\n(.*?)(?=^(?:use )?rule |\Z)", text, re.M | re.S)
    assert len(bodies) > 20
    for name, body in bodies:
        assert ("needs(" in body) != ("localrule: True" in body), name
        # those that can use a GPU ask for one, the others never do
        (verb,) = re.findall(r'\bciva\(\s*"([\w-]+)"', body)
        takes_one = "--gpu {params.gpu}" in shell_command(verb)
        assert takes_one == ("gpu=GPUS" in body) == ("gpu=GPU_USE" in body), name


def test_what_is_expected_grows_with_the_data() -> None:
    small = expectation(1000, 32, 1, {"train_classifier": {"epochs": 24}})
    large = expectation(4000, 32, 2, {"train_classifier": {"epochs": 24}})
    assert large.disk_gb == pytest.approx(8 * small.disk_gb)
    assert large.minutes == pytest.approx(8 * small.minutes)
    assert small.memory_mb <= large.memory_mb < 1.5 * small.memory_mb
    assert str(small).startswith("1.0 GB on disk, jobs of up to 2,")
    assert "h on two CPU cores" in str(large)
