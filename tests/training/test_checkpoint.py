"""A stopped training goes on where it was; nothing else is taken for its state."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from civa.training.checkpoint import Checkpoint
from civa.training.loop import Schedule, fit

PLAN = Schedule("adam", 0.005, "one_cycle", batch_size=4, epochs=6)
DECAYS = ("constant", "poly", "exponential", "one_cycle")


class Stop(Exception):
    """The machine goes down."""


def network() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))


def train(
    schedule: Schedule,
    checkpoint: Checkpoint | None = None,
    *,
    stop_in: int | None = None,
    keep_best: str | None = None,
) -> tuple[nn.Module, list]:
    """Train with all sources of chance: shuffles, augmentation, dropout."""
    model = network()
    inputs = torch.randn(18, 3, generator=torch.Generator().manual_seed(0))
    epochs = 0

    def batch_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        if stop_in is not None and epochs == stop_in - 1 and batch[0] > 4:
            raise Stop
        noise = 0.1 * torch.randn(len(batch), 3, generator=generator)
        return (model(inputs[batch] + noise).sum(1) - inputs[batch].sum(1)).square().mean()

    def after_epoch(epoch: int) -> dict[str, float]:
        nonlocal epochs
        epochs = epoch
        return {"quality": -abs(epoch - 3.0)}  # the third epoch is the best

    history = fit(
        model,
        batch_loss,
        n=len(inputs),
        schedule=schedule,
        seed=1,
        after_epoch=after_epoch,
        keep_best=keep_best,
        checkpoint=checkpoint,
    )
    return model, history


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def figures(history: list) -> list:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("keep_best", [None, "quality"])
def test_a_stopped_training_ends_with_the_bits_of_an_undisturbed_one(
    tmp_path: Path, decay: str, optimizer: str, keep_best: str | None
) -> None:
    plan = replace(PLAN, decay=decay, optimizer=optimizer)
    checkpoint = Checkpoint(tmp_path / "state", "a")
    undisturbed, expected = train(plan, keep_best=keep_best)
    with pytest.raises(Stop):
        train(plan, checkpoint, stop_in=3, keep_best=keep_best)
    with pytest.raises(Stop):  # a second time, in a later epoch
        train(plan, checkpoint, stop_in=5, keep_best=keep_best)
    torch.manual_seed(99)  # another process has another global state
    resumed, history = train(plan, checkpoint, keep_best=keep_best)
    assert same(resumed, undisturbed)
    assert figures(history) == figures(expected)


def test_epochs_that_were_finished_are_not_trained_again(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state", "a")
    with pytest.raises(Stop):
        train(PLAN, checkpoint, stop_in=5)
    state = checkpoint.load()
    assert state is not None
    assert [record["epoch"] for record in state["history"]] == [1, 2, 3, 4]
    seconds = [record["seconds"] for record in state["history"]]
    _, history = train(PLAN, checkpoint)
    assert [record["seconds"] for record in history[:4]] == seconds


def test_patience_counts_from_the_best_epoch_also_after_a_stop(tmp_path: Path) -> None:
    plan = replace(PLAN, patience=2)
    checkpoint = Checkpoint(tmp_path / "state", "a")
    with pytest.raises(Stop):
        train(plan, checkpoint, stop_in=5, keep_best="quality")
    _, history = train(plan, checkpoint, keep_best="quality")
    assert len(history) == 5  # the best is the third
    _, again = train(plan, checkpoint, keep_best="quality")  # killed before its products appeared
    assert figures(again) == figures(history)


def test_the_state_of_another_training_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoint(tmp_path / "state", "a").save({"x": torch.ones(2)})
    with caplog.at_level("INFO"):
        assert Checkpoint(tmp_path / "state", "b").load() is None
    assert "belongs to other inputs, settings or code" in caplog.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"cos\nsystem\n(S'true'\ntR."])
def test_what_is_no_checkpoint_is_not_believed_nor_unpickled(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    assert Checkpoint(path, "a").load() is None
    assert "is no checkpoint" in caplog.text


def test_a_pickle_of_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    torch.save({"identity": "a", "state": Path("code")}, path)  # any class will do
    assert Checkpoint(path, "a").load() is None


def test_no_state_is_no_fault(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state", "a")
    assert checkpoint.load() is None
    checkpoint.remove()
