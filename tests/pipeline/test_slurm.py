"""The queue as SLURM lists it; whose jobs they are; who looks after them."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import snakemake_executor_plugin_slurm as executor

from civa.pipeline import slurm as cluster
from civa.pipeline.slurm import (
    HANDED_DOWN,
    Job,
    caretaker,
    check_paths,
    hand_down,
    jobs_of,
    keep_asking,
    parse_queue,
)

LISTING = """7|RUNNING|civa_a1b2|rule_train_iva_wildcards_snr005_1|/data/my | project
8|PENDING|civa_a1b2|group_refine_snr005_1|/data/my | project
9|RUNNING|other_c3|rule_crf|/data/my | project
10|RUNNING|civa_d4|rule_crf|/data/another
slurm_load_jobs warning
"""


def answer(folder: Path, program: str, script: str) -> None:
    """Put a program of this name on a path of its own."""
    path = folder / program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_jobs_have_the_configuration_that_their_run_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HANDED_DOWN, "")  # put back afterwards
    begun = {"seeds": [1], "datasets": {"a": None, "b": {"simulation": {"snr": 0.05}}}}
    hand_down(dict(begun), begins=True)
    edited = {"seeds": [1, 2], "crf": {"iterations": 3}}
    hand_down(edited, begins=False)
    assert edited == begun
    assert list(edited["datasets"]) == ["a", "b"]


def test_without_anything_handed_down_the_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HANDED_DOWN, raising=False)
    config = {"seeds": [1]}
    hand_down(config, begins=False)
    assert config == {"seeds": [1]}


@pytest.mark.parametrize("python", ["/my project/bin/python", "/a$b/python", "/a'b/python", "/(a)"])
def test_an_interpreter_that_a_shell_takes_apart_is_refused(python: str) -> None:
    with pytest.raises(ValueError, match=r"would not find the interpreter .* have no blanks"):
        check_paths(python, [])


@pytest.mark.parametrize("name", ["a$HOME", "a`id`", 'a"b', "a\\b"])
def test_a_folder_that_a_shell_takes_apart_in_quotes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="rename its folder"):
        check_paths("/usr/bin/python3", [Path("/data/plain"), Path("/data", name)])


def test_folders_that_jobs_find_are_none_to_refuse() -> None:
    # tried on a SLURM: a blank, and an apostrophe with a blank
    check_paths("/opt/civa-1.0_x/bin/python3.11", [Path("/data/my project"), Path("/data/it's b")])


def test_a_listing_is_read_whatever_the_folder_is_called() -> None:
    jobs = parse_queue(LISTING)
    assert [job.id for job in jobs] == ["7", "8", "9", "10"]
    work = "rule_train_iva_wildcards_snr005_1"
    assert jobs[0] == Job("7", "RUNNING", "civa_a1b2", work, Path("/data/my | project"))


def test_jobs_of_a_folder_are_those_under_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_slurm", lambda *words: LISTING)
    assert [job.id for job in jobs_of(Path("/data/my | project"), "civa")] == ["7", "8"]
    assert jobs_of(Path("/data"), "civa") == []


def test_without_slurm_the_place_to_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="squeue is not on this machine: run this on a login node"):
        jobs_of(tmp_path, "civa")


def test_a_silent_controller_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, "squeue", "echo Unable to contact slurm controller >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(ValueError, match="Unable to contact slurm controller"):
        jobs_of(tmp_path, "civa")


def test_a_controller_that_does_not_answer_at_all_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path, "squeue", "exec sleep 30")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"SLURM's squeue did not answer within 0\.2 s"):
        jobs_of(tmp_path, "civa")


def test_cancelling_names_every_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(tmp_path, "scancel", f'echo "$@" > {tmp_path / "asked"}')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    cluster.cancel(parse_queue(LISTING)[:2])
    assert (tmp_path / "asked").read_text().split() == ["--quiet", "7", "8"]


@pytest.mark.parametrize(("words", "counts"), [([], True), (["--mode", "remote"], False)])
def test_a_snakemake_in_the_folder_looks_after_it(
    tmp_path: Path, words: list[str], counts: bool
) -> None:
    program = tmp_path / "snakemake"
    program.write_text("import time; time.sleep(30)")
    assert caretaker(tmp_path) is None
    process = subprocess.Popen([sys.executable, str(program), *words], cwd=tmp_path)
    try:
        time.sleep(0.5)
        assert caretaker(tmp_path) == (process.pid if counts else None)
        assert caretaker(Path(os.sep)) is None
    finally:
        process.kill()
        process.wait()


def test_an_executor_without_an_answer_keeps_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, log = executor.query_job_status, logging.getLogger("test")
    monkeypatch.setattr(executor, "query_job_status", ask)  # taken back afterwards
    assert asyncio.run(executor.query_job_status("false", log)) == (None, None)
    keep_asking(executor)
    assert asyncio.run(executor.query_job_status("false", log)) == ({}, 0.0)
    states, seconds = asyncio.run(executor.query_job_status("echo '7|RUNNING'", log))
    assert states == {"7": "RUNNING"}
    assert seconds > 0
