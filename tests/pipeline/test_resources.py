"""What jobs ask for: enough for what was measured, more for more, and steps of round sizes."""

import inspect
import re
from pathlib import Path

import pytest

from civa.evaluation import supervised
from civa.pipeline.resources import COSTS, GPU_SPEEDUP, memory_mb, runtime_minutes
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


def test_memory_grows_with_the_box() -> None:
    # 64^3 has eight times the voxels of 32^3: as much as eight times the volumes
    assert memory_mb("merge", 1_000, box_voxels=64) == memory_mb("merge", 8_000)


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
    from civa.cli import stage_function

    for stage, cost in COSTS.items():
        verb = re.sub(r"train_(vox|unet).*", "train_segmenter", stage).replace("_", "-")
        uses = "gpu" in inspect.signature(stage_function(verb)).parameters
        assert uses == cost.gpu, stage


def test_every_rule_for_the_cluster_says_what_it_needs() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    bodies = re.findall(r"^rule (\w+):\n(.*?)(?=^(?:use )?rule |\Z)", text, re.M | re.S)
    assert len(bodies) > 20
    for name, body in bodies:
        assert ("needs(" in body) != ("localrule: True" in body), name
        # those that can use a GPU ask for one, the others never do
        assert ("--gpu {params.gpu}" in body) == ("gpu=GPUS" in body), name
