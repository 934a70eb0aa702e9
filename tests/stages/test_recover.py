"""After Snakemake was killed; `test_slurm.py` kills it, these look at the decisions."""

import json
import logging
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from civa.pipeline import slurm as cluster
from civa.pipeline.slurm import Job
from civa.stages import recover


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A folder with an empty queue and no Snakemake; what Snakemake is asked for is listed."""
    asked: list[tuple[str, ...]] = []

    def snakemake(config: Path, *arguments: str) -> str:
        asked.append(arguments)
        lines = ["output_file\tdate\trule\tlog-file(s)\tstatus\tplan"]
        lines += [f"{name}\t\t\t\tok\tno update" for name in ("results/a", "results/b")]
        lines += ["results/c\t\t\t\tok\tupdate pending", "results/d\t\t\t\tok\tno update"]
        return "\n".join(lines)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recover, "caretaker", lambda folder: None)
    monkeypatch.setattr(recover, "jobs_of", lambda folder, prefix: [])
    monkeypatch.setattr(recover, "_snakemake", snakemake)
    return asked


def test_a_living_snakemake_is_left_alone(project: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "caretaker", lambda folder: 4711)
    with pytest.raises(ValueError, match=r"process 4711.*nothing to recover.*Ctrl-C"):
        recover.run()
    assert project == []


def test_jobs_are_waited_for_or_cancelled(project: list, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("7", "RUNNING", "civa_a", "rule_crf", Path.cwd())
    queue, cancelled = [[job], [job], []], []
    monkeypatch.setattr(recover, "jobs_of", lambda folder, prefix: queue.pop(0))
    monkeypatch.setattr(recover, "cancel", lambda jobs: cancelled.extend(jobs))
    recover.run(poll_seconds=0)
    assert cancelled == []
    assert queue == []
    queue.extend([[job], []])
    recover.run(drop_jobs=True, poll_seconds=0)
    assert cancelled == [job]


def test_snakemake_is_told_of_finished_products_that_it_does_not_know(project: list) -> None:
    metadata = Path(".snakemake", "metadata")
    metadata.mkdir(parents=True)
    Path("results").mkdir()
    for name in ("a", "b", "c"):  # d has no record: no stage finished it
        Path("results", f"{name}.provenance.json").write_text("{}")
    (metadata / urlsafe_b64encode(b"results/b").decode()).write_text("{}")
    recover.run()
    assert project[0] == ("--unlock",)
    assert project[-1] == ("--touch", "--force", "--cores", "1", "--", "results/a")


def test_nothing_is_touched_where_nothing_was_finished(project: list) -> None:
    recover.run()
    assert project == [("--unlock",), ("--summary",)]


def answer_queue(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> None:
    """Let ``squeue`` be this script, or be on no path; the real question is asked."""
    programs = folder / "programs"
    programs.mkdir()
    if script is not None:
        program = programs / "squeue"
        program.write_text(f"#!/bin/sh\necho asked >> {folder / 'asked'}\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(recover, "jobs_of", cluster.jobs_of)


def leave_trace(kind: str) -> None:
    """Leave in the current folder what a run with SLURM leaves when it is killed."""
    if kind == "logs":
        Path(".snakemake", "slurm_logs", "rule_crf").mkdir(parents=True)
        return
    mark = Path(".snakemake", "incomplete", urlsafe_b64encode(b"results/c").decode())
    mark.parent.mkdir(parents=True)
    mark.write_text(json.dumps({"external_jobid": "7" if kind == "mark" else None}))


SILENT = "echo Unable to contact slurm controller >&2; exit 1"


def test_without_slurm_a_folder_that_never_used_it_is_unlocked(
    project: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer_queue(tmp_path, monkeypatch, None)
    recover.run()
    assert project == [("--unlock",), ("--summary",)]
    assert "no queue could be asked (squeue is not on this machine" in caplog.text


def test_a_silent_controller_does_not_matter_where_nothing_was_submitted(
    project: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer_queue(tmp_path, monkeypatch, SILENT)
    leave_trace("local mark")
    with caplog.at_level(logging.WARNING):
        recover.run()
    assert project == [("--unlock",), ("--summary",)]
    assert "Unable to contact slurm controller" in caplog.text
    assert f"no run in {tmp_path} has submitted a job to SLURM" in caplog.text


@pytest.mark.parametrize("trace", ["logs", "mark"])
def test_a_silent_controller_stops_recovery_where_jobs_were_submitted(
    trace: str, project: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_queue(tmp_path, monkeypatch, SILENT)
    leave_trace(trace)
    expected = r"jobs were submitted from .*Unable to contact.*try again.*--no-queue"
    with pytest.raises(ValueError, match=expected):
        recover.run()
    assert project == []


def test_a_user_who_knows_that_no_job_runs_can_say_so(
    project: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer_queue(tmp_path, monkeypatch, SILENT)
    leave_trace("logs")
    with pytest.raises(ValueError, match="--drop-jobs cancels jobs of the queue"):
        recover.run(queue=False, drop_jobs=True)
    assert project == []
    recover.run(queue=False)
    assert project == [("--unlock",), ("--summary",)]
    assert not (tmp_path / "asked").exists()
    assert "no queue was asked" in caplog.text


def test_a_configuration_that_snakemake_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"snakemake --unlock failed .*check --config"):
        recover._snakemake(Path("none.yaml"), "--unlock")
