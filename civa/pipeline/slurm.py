"""What a run and its jobs on a cluster share, and how to find jobs that lost their run."""

import functools
import json
import os
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

HANDED_DOWN = "CIVA_CONFIG"  # environment variable
# id, state, name, comment (which names rule or group), and last the folder: it may hold anything
QUEUE_FORMAT = "%i|%T|%j|%k|%Z"
EXPANDED = frozenset('$`"\\\n')  # what a shell takes apart even inside double quotes
ANSWER_SECONDS = 120  # SLURM's clients give up on a silent controller well before


@dataclass(frozen=True)
class Job:
    """One job of the queue.

    Attributes
    ----------
    work
        Rule or group, and wildcards, as the executor comments the job.
    """

    id: str
    state: str
    name: str
    work: str
    folder: Path


def hand_down(config: dict[str, Any], *, begins: bool) -> None:
    """Let jobs have the configuration that their run began with, whatever became of its file.

    Snakemake reads the file again in every job, hours later.

    Parameters
    ----------
    config
        What was read; in a job it is replaced.
    begins
        Whether this is the process that starts the run, not one of its jobs.
    """
    if begins:
        os.environ[HANDED_DOWN] = json.dumps(config)
    elif HANDED_DOWN in os.environ:
        config.clear()
        config.update(json.loads(os.environ[HANDED_DOWN]))


def keep_asking(executor: ModuleType) -> None:
    """Let an executor ask again after its jobs where a question got no answer.

    Version 2.8.0 drops all jobs of a round in which each of its attempts failed, and then waits for
    nothing for ever.  An answer that names no job leaves them where they are.

    Parameters
    ----------
    executor
        Module of the executor; its ``query_job_status`` is replaced.
    """
    ask = executor.query_job_status

    @functools.wraps(ask)
    async def ask_or_know_nothing(*question: Any) -> tuple[dict[str, str], float]:
        states, seconds = await ask(*question)
        return ({}, 0.0) if states is None else (states, seconds)

    executor.query_job_status = ask_or_know_nothing  # type: ignore[attr-defined]


def check_paths(python: str, others: Iterable[Path]) -> None:
    """Check that a job, started by a shell on another machine, finds what it is started with.

    Snakemake hands the interpreter to that shell as it stands, and every other path in quotes that
    a few characters get out of.

    Raises
    ------
    ValueError
        If the interpreter's path holds a blank or another character that a shell takes apart, or
        another path one of `EXPANDED`.
    """
    if shlex.quote(python) != python:
        raise ValueError(
            f"jobs of a cluster would not find the interpreter {python}: Snakemake starts them by "
            "its path without quotes; let the folder of the environment have no blanks or other "
            "characters that a shell takes apart (make setup puts it into the project's), or run "
            "with profiles/local"
        )
    for path in others:
        strange = sorted(EXPANDED.intersection(str(path)))
        if strange:
            raise ValueError(
                f"jobs of a cluster would not find {path}: a shell takes {' '.join(strange)} "
                "apart; rename its folder, or run with profiles/local"
            )


def parse_queue(listing: str) -> list[Job]:
    """Read what ``squeue --format`` prints for `QUEUE_FORMAT`, a job a line."""
    jobs = []
    for line in listing.splitlines():
        if line.count("|") >= 4:
            number, state, name, work, folder = line.split("|", 4)
            jobs.append(Job(number, state, name, work, Path(folder)))
    return jobs


def jobs_of(folder: Path, prefix: str) -> list[Job]:
    """List the jobs in the queue that were submitted from a folder under a prefix.

    Raises
    ------
    ValueError
        If SLURM is not here, or does not answer.
    """
    own = str(os.getuid())
    listing = _slurm("squeue", "--noheader", f"--user={own}", f"--format={QUEUE_FORMAT}")
    return [
        job
        for job in parse_queue(listing)
        if job.name.startswith(f"{prefix}_") and job.folder.resolve() == folder.resolve()
    ]


def has_submitted(folder: Path) -> bool:
    """Tell whether a run in this folder left traces of jobs that it submitted to SLURM.

    These are the folder of SLURM's logs, which the executor makes before its first job and removes
    when a run ends in order, and marks of unfinished products, which name the job that makes them.
    """
    state = folder / ".snakemake"
    if (state / "slurm_logs").is_dir():
        return True
    marks = (path for path in (state / "incomplete").rglob("*") if path.is_file())
    return any(_names_a_job(mark) for mark in marks)


def _names_a_job(mark: Path) -> bool:
    try:
        content = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # written by no Snakemake that submits jobs
    return isinstance(content, dict) and content.get("external_jobid") is not None


def cancel(jobs: Iterable[Job]) -> None:
    """Cancel jobs; those that have ended meanwhile are no fault."""
    _slurm("scancel", "--quiet", *(job.id for job in jobs))


def _slurm(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_SECONDS,
        )
    except FileNotFoundError as error:
        raise ValueError(
            f"{program} is not on this machine: run this on a login node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"SLURM's {program} did not answer within {ANSWER_SECONDS} s: is its controller up?"
        ) from error
    if done.returncode:
        raise ValueError(
            f"SLURM's {program} failed ({' '.join(done.stderr.split())}): is its controller up?"
        )
    return done.stdout


def caretaker(folder: Path) -> int | None:
    """Return the process of a Snakemake that runs in a folder on this machine, if there is one.

    Those that run inside jobs do not count.
    """
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        is_snakemake = any(Path(word).name == "snakemake" for word in words[:4])
        is_inside_a_job = "remote" in words or "subprocess" in words  # --mode remote
        here = process.info["cwd"] and Path(process.info["cwd"]).resolve() == folder.resolve()
        if is_snakemake and here and not is_inside_a_job and process.info["pid"] != os.getpid():
            return int(process.info["pid"])
    return None
