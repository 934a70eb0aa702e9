"""One verb per stage; flags from its signature; failures that say what to do."""

import inspect
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from civa import __version__, cli
from civa.cli import VERBS, main
from civa.data.files import read_json
from civa.pipeline.provenance import record_path
from civa.pipeline.signatures import parse_signature
from civa.training.checkpoint import Checkpoint


def stand_in(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """Let 'split' be another function, with the flags that its source states."""
    stated = parse_signature(textwrap.dedent(inspect.getsource(run)))
    monkeypatch.setattr(cli, "stage_function", lambda verb: run)
    monkeypatch.setattr(cli, "signature", lambda verb: stated)


def fake_stage(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let 'split' fail with ``error``."""

    def run(particles: Path, *, out: Path) -> None:
        raise error

    stand_in(monkeypatch, run)


SPLIT = ["split", "--particles", "p.csv", "--out", "o.csv"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: civa {verb}" in shown
    assert "--log" in shown


def test_help_is_grouped_by_what_a_flag_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    about, _, rest = capsys.readouterr().out.partition("\ninputs:\n")
    inputs, _, rest = rest.partition("\nproducts:\n")
    products, _, settings = rest.partition("\nsettings:\n")
    assert "keep the proposal that the CAM chooses" in about
    assert "Parameters" not in about
    assert "--weights FILE" in inputs and "affinity network, safetensors" in inputs
    assert "--segmentation FILE" in products
    for words in ("--threshold NUMBER", "above 0, below 1", "default: 32", "--log FILE", "--help"):
        assert words in settings


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_asking_for_help_succeeds(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    expected = [__version__] if arguments == ["--version"] else list(VERBS)
    assert all(word in shown.out for word in expected)


@pytest.mark.parametrize("arguments", [[], ["simulat"], ["--simulate"]])
def test_an_unknown_verb_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "simulate" in shown.err  # the list of verbs
    assert not arguments or f"there is no verb '{arguments[0]}'" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["split"],  # required flags are missing
        [*SPLIT, "--seeed", "1"],  # misspelt
        [*SPLIT, "--see", "1"],  # abbreviated: would change its meaning with the next flag
        [*SPLIT, "--seed", "one"],  # wrong type
    ],
)
def test_wrong_flags_are_usage_errors(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2


def test_flags_follow_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def run(
        table: Path,
        shards: tuple[Path, ...],
        extra: Path | None = None,
        *,
        out: Path,
        size: float | None = None,
        names: tuple[str, ...] = (),
        deep: bool = True,
        count: int = 3,
    ) -> None:
        seen.extend([table, list(shards), extra, out.name, size, list(names), deep, count])

    stand_in(monkeypatch, run)
    files = ["--table", "a", "--shards", "b", "c", "--out", "d"]
    given = [*files, "--size", "2.5", "--names", "x=1", "007", "--no-deep"]
    assert main(["split", *given]) == 0
    a, b, c = (Path(letter) for letter in "abc")
    assert seen == [a, [b, c], None, "d", 2.5, ["x=1", "007"], False, 3]


def test_a_rule_may_name_inputs_that_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def run(
        table: Path,
        extra: Path | None = None,
        templates: tuple[Path, ...] = (),
        place: Path = Path("here"),
        *,
        out: Path,
    ) -> None:
        seen.extend([extra, list(templates), place])

    stand_in(monkeypatch, run)
    empty = ["--extra", "--templates", "--place"]
    assert main(["split", "--table", "a", *empty, "--out", "d"]) == 0
    assert main(["split", "--table", "a", "--out", "d"]) == 0
    assert seen == [None, [], Path("here")] * 2


@pytest.mark.parametrize(
    "error", [ValueError("size 0: expected 1, state it"), OSError("disk full")]
)
def test_what_a_user_can_cause_ends_the_log_with_its_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    log = tmp_path / "logs" / "split.log"
    fake_stage(monkeypatch, error)
    assert main([*SPLIT, "--log", str(log)]) == 1
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert line.endswith(f"civa split: {error}")


def test_our_own_faults_leave_a_traceback_and_name_the_stage_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "split.log"
    fake_stage(monkeypatch, KeyError("spike"))
    assert main([*SPLIT, "--log", str(log)]) == 1
    text = log.read_text(encoding="utf-8")
    assert "Traceback" in text
    # users and Snakemake show the last line: a bare "KeyError: 'spike'" says nothing
    assert "civa split: unexpected error" in text.splitlines()[-1]


def test_a_log_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main([*SPLIT, "--log", str(blocked / "split.log")]) == 1
    assert str(blocked) in capsys.readouterr().err


def test_a_log_is_begun_anew_and_closed(tmp_path: Path) -> None:
    log = tmp_path / "split.log"
    for _ in range(2):
        assert main([*SPLIT[:2], str(tmp_path / "none.csv"), *SPLIT[3:], "--log", str(log)]) == 1
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert "none.csv" in line


def twenty(folder: Path) -> Path:
    """A table of particles that can be split."""
    particles = folder / "particles.csv"
    particles.write_text("id,class\n" + "".join(f"{i},x\n" for i in range(20)))
    return particles


@pytest.mark.parametrize("flag", ["--log", "--out"])
def test_a_file_of_the_users_is_not_replaced(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    particles, notes = twenty(tmp_path), tmp_path / "notes.txt"
    notes.write_text("mine\n")
    out = ["--out", str(tmp_path / "split.csv")]
    assert main(["split", "--particles", str(particles), *out, flag, str(notes)]) == 1
    assert f"{notes} is there and " in capsys.readouterr().err
    assert notes.read_text() == "mine\n"


def test_a_product_that_somebody_changed_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    particles, out = twenty(tmp_path), tmp_path / "split.csv"
    command = ["split", "--particles", str(particles), "--out", str(out)]
    assert main(command) == main(command) == 0
    out.write_text("mine\n")
    assert main(command) == 1
    assert "was changed after civa wrote it" in capsys.readouterr().err
    assert out.read_text() == "mine\n"


def test_what_is_no_file_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    particles, pipe = twenty(tmp_path), tmp_path / "pipe"
    os.mkfifo(pipe)
    for out, message in ((str(pipe), "was not written by civa"), ("", "names no file")):
        assert main(["split", "--particles", str(particles), "--out", out]) == 1
        assert message in capsys.readouterr().err
    assert pipe.is_fifo()


def test_a_stage_leaves_a_record_beside_its_products(tmp_path: Path) -> None:
    folder = tmp_path / "a b; 'c' é"  # paths reach the stage as they are
    folder.mkdir()
    particles, out = twenty(folder), folder / "split.csv"
    assert main(["split", "--particles", str(particles), "--out", str(out), "--seed", "5"]) == 0
    record = read_json(record_path(out))
    assert record["stage"] == "split"
    assert list(record["inputs"]) == [str(particles)]
    assert record["parameters"]["seed"] == 5
    assert record["parameters"].keys().isdisjoint({"out", "particles", "log"})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"--out": "particles.csv"}, "--out particles.csv is the file of --particles"),
        ({"--out": "link.csv"}, "--out link.csv is the file of --particles"),
        ({"--log": "particles.csv"}, "--log particles.csv is the file of --particles"),
        ({"--log": "split.csv"}, "--log split.csv is the file of --out"),
    ],
)
def test_what_is_written_never_takes_the_place_of_what_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("particles.csv").write_text("id,class\na,x\n")
    Path("link.csv").symlink_to("particles.csv")
    flags = {"--particles": "particles.csv", "--out": "split.csv", **changed}
    assert main(["split", *(word for pair in flags.items() for word in pair)]) == 1
    assert f"civa split: {named} too: give it a path of its own" in capsys.readouterr().err
    assert Path("particles.csv").read_text() == "id,class\na,x\n"
    assert not Path("split.csv").exists()


def test_a_failed_stage_leaves_no_record(tmp_path: Path) -> None:
    particles, out = tmp_path / "particles.csv", tmp_path / "split.csv"
    particles.write_text("id,class\na,x\n")  # too few to split
    assert main(["split", "--particles", str(particles), "--out", str(out)]) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["particles.csv"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "runtime"),  # what SLURM sends before it kills
        (signal.SIGINT, "Ctrl-C"),
        (signal.SIGHUP, "terminal"),
    ],
)
def test_a_stage_that_is_asked_to_end_says_so_in_its_last_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals, reason: str
) -> None:
    def run(particles: Path, *, out: Path) -> None:
        out.write_text("half")
        os.kill(os.getpid(), number)
        time.sleep(5)

    stand_in(monkeypatch, run)
    usual = signal.signal(number, signal.default_int_handler)  # nohup may have had it ignored
    log, out = tmp_path / "split.log", tmp_path / "out.csv"
    status = main(["split", "--particles", "p.csv", "--out", str(out), "--log", str(log)])
    assert status == 128 + number
    assert signal.signal(number, usual) is signal.default_int_handler
    last = log.read_text(encoding="utf-8").splitlines()[-1]
    assert f"civa split: stopped by {number.name}" in last
    assert reason in last
    assert [path.name for path in tmp_path.iterdir()] == ["split.log"]


def test_a_stage_that_is_asked_to_end_while_its_products_move_leaves_them_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(particles: Path, *, out: Path) -> None:
        out.write_text("whole")

    move = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == "out.csv":  # the first of two: the record follows it
            os.kill(os.getpid(), signal.SIGTERM)
        return move(path, target)

    stand_in(monkeypatch, run)
    monkeypatch.setattr(Path, "replace", interrupted)
    particles, out = tmp_path / "p.csv", tmp_path / "out.csv"
    particles.write_text("id,class\n")
    assert main(["split", "--particles", str(particles), "--out", str(out)]) == 143
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["out.csv", "out.csv.provenance.json", "p.csv"]


def test_a_state_belongs_to_the_inputs_settings_and_code_that_shape_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    identities = []

    def run(
        volumes: Path, *, out: Path, epochs: int = 1, checkpoint: Checkpoint | None = None
    ) -> None:
        assert checkpoint is not None
        identities.append(checkpoint.identity)
        checkpoint.save({"epoch": 1})
        out.write_text("done")

    stand_in(monkeypatch, run)
    volumes, state = tmp_path / "volumes", tmp_path / "state"
    volumes.write_text("a")
    command = ["split", "--volumes", str(volumes), "--out", str(tmp_path / "o")]
    command += ["--checkpoint", str(state)]
    assert main(command) == main(command) == 0
    assert main([*command, "--epochs", "2"]) == 0
    volumes.write_text("b")
    assert main(command) == 0
    assert identities[0] == identities[1]
    assert len(set(identities)) == 3
    assert not state.exists()  # products are there: nothing to go on with
    assert "checkpoint" not in read_json(record_path(tmp_path / "o"))["parameters"]


def test_help_and_the_snakefile_do_not_import_torch() -> None:
    # torch takes seconds to import, and Snakemake starts the command line for every job
    program = "import sys, civa.cli, civa.pipeline.sources; sys.exit('torch' in sys.modules)"
    root = Path(cli.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


def test_the_module_runs_as_a_program() -> None:
    root = Path(cli.__file__).parents[1]
    command = [sys.executable, "-m", "civa", "simulat"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no verb 'simulat'" in done.stderr
