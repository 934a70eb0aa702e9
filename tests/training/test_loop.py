"""Schedules, batches, and Eq. (10): each term of the loss is minimised by itself."""

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from civa.civanet.affinity import affinity_loss, pair_offsets, path_groups
from civa.civanet.affinity_network import AffinityNetwork
from civa.civanet.classifier import build_classifier, classification_loss
from civa.training import loop as training
from civa.training.checkpoint import Checkpoint
from civa.training.loop import (
    CLASSIFIER_SCHEDULES,
    IVA_SCHEDULES,
    Schedule,
    autocast,
    batches,
    best_record,
    fit,
    pick_schedule,
    place,
    random_flips,
    set_up_torch,
)

PLAIN = Schedule("adam", 0.05, "constant", batch_size=4, epochs=5)


class Scalar(nn.Module):
    """One parameter, to watch an optimiser's steps."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))


def regression(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = nn.Linear(3, 1)
    inputs = torch.randn(16, 3, generator=generator)
    return model, inputs, inputs.sum(dim=1, keepdim=True)


def train(schedule: Schedule = PLAIN, *, seed: int = 1) -> tuple[nn.Module, list]:
    model, inputs, targets = regression()

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = 0.01 * torch.randn(len(batch), 3, generator=generator)
        return (model(inputs[batch] + noise) - targets[batch]).square().mean()

    return model, fit(model, batch_loss, n=16, schedule=schedule, seed=seed)


def test_published_schedules() -> None:
    # Sec. 5.4: Adam, 0.001, batch 32, about 20 epochs; SGD, 0.0001, batch 1, polynomial, 3.
    assert CLASSIFIER_SCHEDULES["paper"] == Schedule("adam", 1e-3, "constant", 32, 20)
    assert IVA_SCHEDULES["paper"] == Schedule("sgd", 1e-4, "poly", 1, 3)


def test_epochs_of_a_schedule_can_be_replaced() -> None:
    paper = IVA_SCHEDULES["paper"]
    assert pick_schedule(IVA_SCHEDULES, "paper", None) == paper
    assert pick_schedule(IVA_SCHEDULES, "paper", 7) == replace(paper, epochs=7)


def test_schedule_must_be_known() -> None:
    with pytest.raises(ValueError, match=r"schedule must be one of \('paper', .*got 'cosine'"):
        pick_schedule(IVA_SCHEDULES, "cosine", None)


def test_epochs_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"epochs must be at least 1 \(got 0\)"):
        pick_schedule(IVA_SCHEDULES, "paper", 0)


def test_patience_of_a_schedule_can_be_replaced_and_switched_off() -> None:
    schedules = {"plain": replace(PLAIN, patience=7)}
    assert pick_schedule(schedules, "plain", None).patience == 7
    assert pick_schedule(schedules, "plain", None, patience=2).patience == 2
    assert pick_schedule(schedules, "plain", 3, patience=0) == replace(PLAIN, epochs=3)


def test_patience_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match=r"patience must be at least 0.*\(got -1\)"):
        pick_schedule(IVA_SCHEDULES, "paper", None, patience=-1)


def test_minimising_the_sum_is_minimising_each_term() -> None:
    # Eq. (10): L = L_B + L_O.  Neither network's gradient of L depends on the other's term.
    generator = torch.Generator().manual_seed(0)
    volumes = torch.randn(2, 1, 8, 8, 8, generator=generator)
    classifier = build_classifier("gap", classes=2, box_voxels=8).eval()
    network = AffinityNetwork(4, head_channels=4).eval()
    offsets = pair_offsets(2)
    unlike = torch.rand(2, len(offsets), 8, 8, 8, generator=generator) < 0.5
    terms = [
        classification_loss(classifier(volumes), torch.tensor([0, 1])),
        affinity_loss(network(volumes), unlike, ~unlike, path_groups(offsets, (8, 8, 8))),
    ]
    total = terms[0] + terms[1]
    for model, term in zip((classifier, network), terms, strict=True):
        weights = list(model.parameters())
        together = torch.autograd.grad(total, weights, retain_graph=True)
        alone = torch.autograd.grad(term, weights, retain_graph=True)
        assert any(gradient.any() for gradient in alone)
        torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("decay", ["constant", "poly", "exponential", "one_cycle"])
def test_fit_lowers_the_loss(optimizer: str, decay: str) -> None:
    _, history = train(replace(PLAIN, optimizer=optimizer, decay=decay, epochs=10))
    assert [record["epoch"] for record in history] == list(range(1, 11))
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_same_seed_gives_the_same_bits() -> None:
    (one, first), (two, second) = train(seed=1), train(seed=1)
    assert torch.equal(one.weight, two.weight)
    assert [r["loss"] for r in first] == [r["loss"] for r in second]


def test_another_seed_gives_other_weights() -> None:
    assert not torch.equal(train(seed=1)[0].weight, train(seed=2)[0].weight)


def test_fit_does_not_draw_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    model = Scalar()
    fit(model, lambda batch, _: model.value.square(), n=4, schedule=PLAIN, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(broken: float) -> None:
    model = Scalar()
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) in epoch 1: lower the learning"):
        fit(model, lambda batch, _: model.value * broken + broken, n=4, schedule=PLAIN, seed=1)
    assert model.value.item() == 0


class Readings(TorchDispatchMode):
    """Counts how often one value is read from a tensor: on a GPU, each waits for all its work."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def losses_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let losses be read as from a GPU, where reading one waits for everything before it."""
    monkeypatch.setattr(training, "_reading_waits", lambda loss: True, raising=False)


def test_no_step_waits_for_the_loss_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # 16 volumes in batches of 4, 5 epochs: 20 steps.  SGD: Adam reads its own counter of steps.
    schedule = replace(PLAIN, optimizer="sgd", learning_rate=0.01)
    losses_wait(monkeypatch)
    with Readings() as readings:
        _, history = train(schedule)
    assert len(history) == 5
    assert readings.count == 0


def test_losses_read_epoch_by_epoch_are_those_read_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stepwise, expected = train()
    losses_wait(monkeypatch)
    deferred, history = train()
    assert torch.equal(deferred.weight, stepwise.weight)
    assert [r["loss"] for r in history] == [r["loss"] for r in expected]


@pytest.mark.parametrize("waits", [False, True])
def test_of_an_epoch_with_a_broken_loss_nothing_is_kept(
    waits: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if waits:
        losses_wait(monkeypatch)
    model, checkpoint, measured, steps = Scalar(), Checkpoint(tmp_path / "state", "a"), [], []

    def batch_loss(batch: Tensor, _: torch.Generator) -> Tensor:
        steps.append(batch)
        # 2 steps per epoch: the first of epoch 3 is broken, all later ones too if it is not seen
        return model.value.square() if len(steps) < 5 else model.value * float("nan")

    with pytest.raises(ValueError, match=r"the loss is nan in epoch 3: lower the learning rate"):
        fit(
            model,
            batch_loss,
            n=8,
            schedule=PLAIN,
            seed=1,
            after_epoch=lambda epoch: measured.append(epoch) or {},
            checkpoint=checkpoint,
        )
    assert measured == [1, 2]
    state = checkpoint.load()
    assert state is not None
    assert len(state["history"]) == 2
    assert torch.isfinite(state["model"]["value"])


def test_history_keeps_what_is_measured_after_each_epoch() -> None:
    model = Scalar()
    history = fit(
        model,
        lambda batch, _: model.value.square(),
        n=4,
        schedule=PLAIN,
        seed=1,
        after_epoch=lambda epoch: {"accuracy": epoch / 10},
    )
    assert [record["accuracy"] for record in history] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert set(history[0]) == {"epoch", "loss", "accuracy", "seconds"}


def test_measuring_may_leave_the_network_in_evaluation() -> None:
    model, modes = Scalar(), []

    def batch_loss(batch: Tensor, _: torch.Generator) -> Tensor:
        modes.append(model.training)
        return model.value.square()

    def measure(epoch: int) -> dict[str, float]:
        model.eval()
        return {}

    fit(model, batch_loss, n=4, schedule=PLAIN, seed=1, after_epoch=measure)
    assert modes == [True] * 5


def rates(schedule: Schedule, n: int) -> list[float]:
    """Recover the rate of every step: with a gradient of 1, Adam moves by exactly the rate."""
    model, values = Scalar(), []

    def batch_loss(batch: Tensor, _: torch.Generator) -> Tensor:
        values.append(model.value.item())
        return model.value

    fit(model, batch_loss, n=n, schedule=schedule, seed=1)
    values.append(model.value.item())
    return [before - after for before, after in pairwise(values)]


def test_polynomial_decay_per_step() -> None:
    # 8 volumes in batches of 4, 2 epochs: 4 steps at rate (1 - step / 4) ** 0.9.
    schedule = Schedule("adam", 0.1, "poly", batch_size=4, epochs=2)
    expected = [0.1 * (1 - step / 4) ** 0.9 for step in range(4)]
    assert rates(schedule, 8) == pytest.approx(expected, rel=1e-6)


def test_constant_rate() -> None:
    schedule = Schedule("adam", 0.1, "constant", batch_size=4, epochs=2)
    assert rates(schedule, 8) == pytest.approx([0.1] * 4, rel=1e-6)


def test_exponential_decay_reaches_a_hundredth_over_the_epochs() -> None:
    # 8 volumes in batches of 4, 3 epochs: 6 steps, every one at 0.01 ** (1 / 6) of the last.
    schedule = Schedule("adam", 0.1, "exponential", batch_size=4, epochs=3)
    found = rates(schedule, 8)
    assert found == pytest.approx([0.1 * 0.01 ** (step / 6) for step in range(6)], rel=1e-6)
    assert found[-1] * 0.01 ** (1 / 6) == pytest.approx(0.001)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weight_decay_pulls_unused_weights_to_zero(optimizer: str) -> None:
    # A loss without a gradient: what is left is the penalty's, weight_decay x value.
    values = {}
    for penalty in (0.0, 0.1):
        model = Scalar(1.0)
        schedule = Schedule(optimizer, 0.01, "constant", 4, 5, weight_decay=penalty)
        fit(model, lambda batch, _, m=model: 0 * m.value, n=4, schedule=schedule, seed=1)
        values[penalty] = model.value.item()
    assert values[0.0] == 1
    assert 0.9 < values[0.1] < 1
    if optimizer == "sgd":  # the first two steps: 0.01 x 0.1 x 1, then 0.9 of it and as much more
        model = Scalar(1.0)
        schedule = Schedule("sgd", 0.01, "constant", 4, 2, weight_decay=0.1)
        fit(model, lambda batch, _: 0 * model.value, n=4, schedule=schedule, seed=1)
        assert model.value.item() == pytest.approx(1 - 0.001 - (0.0009 + 0.001 * 0.999))


def keep(figures: list[float], *, patience: int | None = None) -> tuple[list, float, list[float]]:
    """Train one weight that rises by 1 per epoch; return history, kept weight, all weights."""
    model, weights = Scalar(), []

    def measure(epoch: int) -> dict[str, float]:
        weights.append(model.value.item())
        return {"miou": figures[epoch - 1], "other": -figures[epoch - 1]}

    schedule = Schedule("adam", 1.0, "constant", 4, epochs=len(figures), patience=patience)
    history = fit(
        model,
        lambda batch, _: -model.value,
        n=4,
        schedule=schedule,
        seed=1,
        after_epoch=measure,
        keep_best="miou",
    )
    return history, model.value.item(), weights


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([0.2, 0.9, 0.5, 0.1], 2),
        ([0.9, 0.5, 0.2], 1),
        ([0.1, 0.2, 0.9], 3),
        ([0.1, 0.9, 0.9, 0.3], 3),  # ties: the last one
        ([0.0, 0.0, 0.0], 3),
        ([-1.0], 1),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(figures: list[float], best: int) -> None:
    history, kept, weights = keep(figures)
    assert len(set(weights)) == len(history) == len(figures)
    assert kept == weights[best - 1]
    record = best_record(history, "miou")
    assert record["epoch"] == best
    assert record["miou"] == figures[best - 1]


def test_running_statistics_of_the_best_epoch_are_kept_too() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    inputs = 5 + random_inputs()
    states = []

    def measure(epoch: int) -> dict[str, float]:
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"figure": -epoch}

    fit(
        model,
        lambda batch, _: model(inputs[batch]).square().mean(),
        n=16,
        schedule=PLAIN,
        seed=1,
        after_epoch=measure,
        keep_best="figure",
    )
    assert not torch.equal(states[0]["0.running_mean"], states[-1]["0.running_mean"])
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[0][name])


def random_inputs() -> Tensor:
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(0))


def test_without_a_figure_the_last_weights_stay() -> None:
    model, weights = Scalar(), []

    def measure(epoch: int) -> dict[str, float]:
        weights.append(model.value.item())
        return {"miou": -epoch}

    schedule = replace(PLAIN, patience=1)
    fit(model, lambda b, _: -model.value, n=4, schedule=schedule, seed=1, after_epoch=measure)
    assert len(weights) == 5  # patience needs a figure to watch
    assert model.value.item() == weights[-1]


@pytest.mark.parametrize(
    ("figures", "patience", "epochs"),
    [
        ([5, 4, 3, 2, 1], 2, 3),  # 2 epochs after the best
        ([5, 4, 5, 4, 3, 9], 2, 5),  # an equal figure starts the count anew
        ([1, 2, 3, 4, 5], 1, 5),
        ([3, 2, 1, 4], 1, 2),
        ([3, 2, 1, 4], None, 4),
        ([3, 2, 1, 4], 3, 4),
    ],
)
def test_patience_ends_the_training(
    figures: list[float], patience: int | None, epochs: int
) -> None:
    history, kept, weights = keep(figures, patience=patience)
    assert len(history) == len(weights) == epochs
    seen = figures[:epochs]
    last_best = max(i for i, figure in enumerate(seen) if figure == max(seen))
    assert kept == weights[last_best]


def test_decay_counts_the_steps_that_are_taken() -> None:
    # 9 volumes in batches of 4: the last batch, of one, is left out, so 2 steps per epoch.
    schedule = Schedule("adam", 0.1, "poly", batch_size=4, epochs=2)
    expected = [0.1 * (1 - step / 4) ** 0.9 for step in range(4)]
    assert rates(schedule, 9) == pytest.approx(expected, rel=1e-6)


def test_batches_are_shuffled_and_hold_everything_once() -> None:
    found = [batch.tolist() for batch in batches(10, 4, torch.Generator().manual_seed(0))]
    assert [len(batch) for batch in found] == [4, 4, 2]
    joined = list(chain.from_iterable(found))
    assert sorted(joined) == list(range(10))
    assert joined != list(range(10))


@pytest.mark.parametrize(("n", "size", "lengths"), [(9, 4, [4, 4]), (3, 1, [1, 1, 1]), (1, 4, [1])])
def test_a_last_batch_of_one_is_left_out_where_statistics_need_more(
    n: int, size: int, lengths: list[int]
) -> None:
    found = list(batches(n, size, torch.Generator().manual_seed(0)))
    assert [len(batch) for batch in found] == lengths


def test_flips_take_all_eight_mirrors_about_equally_often() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_flips(generator) for _ in range(800)]
    assert len(set(drawn)) == 8
    assert {axis for axes in drawn for axis in axes} == {-3, -2, -1}
    assert all(60 < drawn.count(axes) < 140 for axes in set(drawn))


@pytest.mark.usefixtures("settings_restored")
def test_prepare_seeds_torch_and_sets_the_threads() -> None:
    device = set_up_torch(3, 1)
    first = torch.rand(2)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    set_up_torch(3, 1)
    assert torch.equal(torch.rand(2), first)


def test_placing_a_network_changes_its_layout_and_not_its_output() -> None:
    network = AffinityNetwork(4, head_channels=4).eval()
    volumes = torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(volumes)
        torch.testing.assert_close(place(network, torch.device("cpu"))(volumes), before)
    weight = network.backbone.stages[0][2].weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_cpu_computes_in_single_precision() -> None:
    with autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32


no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize(("gpu", "allotted"), [("required", ""), ("auto", "0"), ("required", "1")])
def test_a_job_that_asked_for_a_gpu_does_not_fall_back_in_silence(
    gpu: str, allotted: str, monkeypatch: pytest.MonkeyPatch, settings_restored: None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allotted)
    message = f"no GPU is visible to PyTorch .*CUDA_VISIBLE_DEVICES='{allotted}'.*gpu: never"
    with pytest.raises(ValueError, match=message):
        set_up_torch(1, 1, gpu)


@no_gpu
@pytest.mark.parametrize(
    ("gpu", "allotted"), [("auto", ""), ("auto", "-1"), ("never", "0"), ("never", "")]
)
def test_without_a_gpu_the_cpu_serves(
    gpu: str, allotted: str, monkeypatch: pytest.MonkeyPatch, settings_restored: None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allotted)
    assert set_up_torch(1, 1, gpu) == torch.device("cpu")


def test_uses_of_a_gpu_have_names(settings_restored: None) -> None:
    with pytest.raises(ValueError, match=r"gpu must be one of .*got 'cuda'"):
        set_up_torch(1, 1, "cuda")
