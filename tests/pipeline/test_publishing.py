"""Products appear together and whole, or not at all; the later of two runs owns them."""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from civa.data.files import write_json
from civa.pipeline.provenance import record_path
from civa.pipeline.publishing import ENDING, Superseded, publishing

KILLED = []  # runs that never came to an end: a generator that is collected would clean up


def begin_and_be_killed(*products: Path) -> None:
    """Start a run that writes its first product and then is no more."""
    run = publishing(products)
    KILLED.append(run)
    run.__enter__()[products[0]].write_text("half")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_products_appear_when_all_are_there(tmp_path: Path) -> None:
    weights, curve = tmp_path / "run" / "weights", tmp_path / "run" / "masks" / "curve"
    with publishing([weights, curve]) as private:
        private[weights].write_text("w")
        private[curve].write_text("c")
        assert not weights.exists()
        assert private[weights].name == "weights"
    assert (weights.read_text(), curve.read_text()) == ("w", "c")
    assert names(tmp_path / "run") == ["masks", "weights"]
    assert names(tmp_path / "run" / "masks") == ["curve"]


def test_what_lies_beside_a_product_comes_with_it(tmp_path: Path) -> None:
    with publishing([tmp_path / "a"]) as private:
        private[tmp_path / "a"].with_name("a.provenance.json").write_text("{}")
    assert names(tmp_path) == ["a.provenance.json"]  # a product may be left out


def test_a_failure_leaves_the_previous_products(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    weights.write_text("old")
    with pytest.raises(OSError, match="disk is full"), publishing([weights, curve]) as private:
        private[weights].write_text("new")
        raise OSError("the disk is full")
    assert weights.read_text() == "old"
    assert names(tmp_path) == ["weights"]


def test_the_later_of_two_runs_owns_the_products(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    with pytest.raises(Superseded, match=r"another run of this stage took over .*slurm_job"):
        orphan(weights, curve)
    assert not weights.exists()
    assert not curve.exists()
    with publishing([weights, curve]) as again:
        again[weights].write_text("twin")
    assert names(tmp_path) == ["weights"]


def orphan(weights: Path, curve: Path) -> None:
    """A run whose successor starts, writes one product and is killed while it works."""
    with publishing([weights, curve]) as private:
        private[weights].write_text("orphan")
        begin_and_be_killed(weights, curve)
        private[curve].write_text("orphan")  # its folder is gone


def test_an_orphan_that_finishes_after_its_twin_changes_nothing(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    with (
        pytest.raises(Superseded, match="it has finished"),
        publishing([weights, curve]),
        publishing([weights, curve]) as twin,
    ):
        twin[weights].write_text("twin")
        twin[curve].write_text("twin")
    assert (weights.read_text(), curve.read_text()) == ("twin", "twin")
    assert names(tmp_path) == ["curve", "weights"]


def test_files_of_a_killed_run_go_with_the_next(tmp_path: Path) -> None:
    product = tmp_path / "product"
    begin_and_be_killed(product)
    assert len(names(tmp_path)) == 2
    with publishing([product]) as private:
        private[product].write_text("whole")
    assert names(tmp_path) == ["product"]


@pytest.mark.parametrize("claim", ["{", "[]", '{"token": "x/../../precious"}', '{"token": "*"}'])
def test_a_broken_claim_stops_nobody_and_deletes_nothing(tmp_path: Path, claim: str) -> None:
    (tmp_path / ".product.claim").write_text(claim)
    other = tmp_path / f".{'0' * 32}.partial"
    other.mkdir()
    with publishing([tmp_path / "product"]) as private:
        private[tmp_path / "product"].write_text("whole")
    other.rmdir()  # it is still there
    assert names(tmp_path) == ["product"]


def test_a_stage_without_products(tmp_path: Path) -> None:
    with publishing([]) as private:
        assert private == {}


def before_each_move(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]) -> None:
    """Let something happen just before a product is moved to its place."""
    move = Path.replace

    def watched(path: Path, target: Path) -> Path:
        if ".partial" in str(path) and ".partial" not in str(target):
            act(path)
        return move(path, target)

    monkeypatch.setattr(Path, "replace", watched)


def test_a_claim_that_changes_between_two_moves_stops_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    second.write_text("twin")
    claim = tmp_path / ".a.claim"

    def take_over(path: Path) -> None:
        if path.name == "a":  # the last look at the claim was before this move
            claim.write_text(f'{{"token": "{"0" * 32}", "slurm_job": "7"}}')

    before_each_move(monkeypatch, take_over)
    with (
        pytest.raises(Superseded, match=r'took over .*"slurm_job": "7"'),
        publishing([first, second]) as private,
    ):
        private[first].write_text("orphan")
        private[second].write_text("orphan")
    assert (first.read_text(), second.read_text()) == ("orphan", "twin")
    assert names(tmp_path) == [".a.claim", "a", "b"]  # the claim is the other run's


class Asked(BaseException):
    """What SIGTERM raises here."""


@pytest.fixture
def raising() -> Iterator[Any]:
    """A handler of signals that raises, as the command line installs one."""

    def stop(number: int, frame: object) -> None:
        raise Asked

    before = {number: signal.signal(number, stop) for number in ENDING}
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def ask_to_end(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", ENDING)
def test_signals_wait_until_all_products_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raising: Any, number: int
) -> None:
    products = [tmp_path / name for name in "abc"]
    before_each_move(monkeypatch, lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(Asked), publishing(products) as private:
        for product in products:
            private[product].write_text("whole")
    assert names(tmp_path) == ["a", "b", "c"]
    assert signal.getsignal(number) is raising


def test_sigterm_does_not_break_off_the_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raising: Any
) -> None:
    remove = shutil.rmtree

    def interrupted(*arguments: Any, **settings: Any) -> None:
        ask_to_end()
        remove(*arguments, **settings)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    folders = [tmp_path / name for name in "ab"]
    with pytest.raises(Asked) as stopped, publishing([f / "product" for f in folders]) as private:
        for path in private.values():
            path.write_text("half")
        raise OSError("the disk is full")
    assert isinstance(stopped.value.__context__, OSError)  # the first failure is not lost
    assert [names(folder) for folder in folders] == [[], []]


def test_sigterm_before_the_work_begins_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raising: Any
) -> None:
    make = Path.mkdir

    def interrupted(path: Path, *arguments: Any, **settings: Any) -> None:
        make(path, *arguments, **settings)
        ask_to_end()

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(Asked), publishing([tmp_path / "product"]):
        pytest.fail("the stage begins although the job is to end")
    assert names(tmp_path) == []


def test_sigterm_interrupts_the_work_itself(tmp_path: Path, raising: Any) -> None:
    with pytest.raises(Asked), publishing([tmp_path / "product"]) as private:
        private[tmp_path / "product"].write_text("half")
        ask_to_end()
        pytest.fail("the work goes on")
    assert names(tmp_path) == []


def test_products_are_published_outside_the_main_thread_too(tmp_path: Path, raising: Any) -> None:
    def publish() -> None:  # only the main thread may handle signals
        with publishing([tmp_path / "product"]) as private:
            private[tmp_path / "product"].write_text("whole")

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()
    assert names(tmp_path) == ["product"]


def publish_folder(folder: Path, **files: str) -> None:
    """A run whose product is a folder, with its record."""
    with publishing([folder]) as private:
        private[folder].mkdir()
        for name, text in files.items():
            (private[folder] / name).write_text(text)
        write_json(record_path(private[folder]), {"files": sorted(files)})


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_takes_the_place_of_an_older_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "export"
    publish_folder(folder, a="old", b="old")
    publish_folder(folder, b="new", c="new")
    assert contents(folder) == {"b": "new", "c": "new"}
    assert names(tmp_path / "run") == ["export", "export.provenance.json"]


def test_a_failure_leaves_the_previous_folder(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    publish_folder(folder, a="old")
    with pytest.raises(OSError, match="disk is full"), publishing([folder]) as private:
        private[folder].mkdir()
        raise OSError("the disk is full")
    assert contents(folder) == {"a": "old"}
    assert names(tmp_path) == ["export", "export.provenance.json"]


def test_a_folder_that_cannot_be_moved_into_place_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "export"
    publish_folder(folder, a="old")
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if (source.name, target) == ("export", folder):
            raise OSError("no permission")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no permission"):
        publish_folder(folder, a="new")
    assert contents(folder) == {"a": "old"}


def test_a_folder_with_files_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    publish_folder(folder, a="old")
    (folder / "mine").mkdir()
    (folder / "mine" / "map.mrc").write_text("a day's work")
    with pytest.raises(ValueError, match=r"export is a folder with 1 files .*mine/map\.mrc"):
        publish_folder(folder, a="new")
    assert (folder / "mine" / "map.mrc").read_text() == "a day's work"
    assert (folder / "a").read_text() == "old"
    assert names(tmp_path) == ["export", "export.provenance.json"]
    record_path(folder).unlink()
    with pytest.raises(ValueError, match="with 2 files"):  # no stage made this folder
        publish_folder(folder, a="new")


def test_files_that_come_into_a_folder_while_a_run_works_are_kept_too(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    publish_folder(folder, a="old")
    with pytest.raises(ValueError, match=r"map\.mrc"), publishing([folder]) as private:
        private[folder].mkdir()
        (folder / "map.mrc").write_text("a day's work")
    assert contents(folder) == {"a": "old", "map.mrc": "a day's work"}


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    first, folder = tmp_path / "a", tmp_path / "out"
    first.write_text("old")
    folder.mkdir()
    message = r"out is a folder, expected a file: remove it"
    with pytest.raises(ValueError, match=message), publishing([first, folder]) as private:
        private[first].write_text("new")
        private[folder].write_text("masks")
    assert folder.is_dir()
    assert first.read_text() == "old"  # all or nothing
