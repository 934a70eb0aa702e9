"""A Snakemake that was killed -> its jobs are gone from the queue, and its lock from the folder."""

import logging
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from civa.pipeline.provenance import record_path
from civa.pipeline.slurm import cancel, caretaker, has_submitted, jobs_of

logger = logging.getLogger(__name__)


def run(
    config: Path = Path("config.yaml"),
    *,
    prefix: str = "civa",
    drop_jobs: bool = False,
    queue: bool = True,
    poll_seconds: float = 10,
) -> None:
    """Put the current folder in order after Snakemake was killed; then run it again as before.

    Its jobs run on without it.  They are waited for, so that their work is not lost, or with
    ``--drop-jobs`` cancelled; a training goes on from its last epoch either way.  Then the lock
    is removed, and what the jobs finished is made known to Snakemake.  ``prefix`` is
    slurm-jobname-prefix of the profile.

    After a run without SLURM there is no queue to ask, and the folder is unlocked at once.  Where
    jobs were submitted and SLURM does not answer, nothing is done: a job that still runs would
    write beside the next run.  ``--no-queue`` asks no queue at all.

    Parameters
    ----------
    config
        YAML file: the configuration of the run.
    prefix
        How the names of its jobs begin: slurm-jobname-prefix of the profile.
    drop_jobs
        Cancel its jobs in place of waiting for them.
    queue
        Ask the queue of SLURM for jobs that still run.
    poll_seconds
        Seconds between two looks at the queue.
    """
    folder = Path.cwd()
    process = caretaker(folder)
    if process is not None:
        raise ValueError(
            f"Snakemake still runs in {folder} (process {process}): there is nothing to recover; "
            "let it go on, or end it with Ctrl-C, which cancels its jobs too"
        )
    if queue:
        _end_jobs(folder, prefix, drop_jobs=drop_jobs, poll_seconds=poll_seconds)
    elif drop_jobs:
        raise ValueError("--drop-jobs cancels jobs of the queue: leave it out, or --no-queue")
    else:
        logger.warning("no queue was asked: jobs of %s may still run", folder)
    _snakemake(config, "--unlock")
    finished = _unrecorded(config)
    if finished:
        # Forced targets, none of whose sources has to be made again: only these are touched.
        _snakemake(config, "--touch", "--force", "--cores", "1", "--", *finished)
        logger.info("kept what was finished meanwhile: %s", " ".join(finished))
    logger.info("the folder is in order: run snakemake again as before")


def _end_jobs(folder: Path, prefix: str, *, drop_jobs: bool, poll_seconds: float) -> None:
    """Wait until no job of a folder is left in the queue, or cancel them."""
    try:
        jobs = jobs_of(folder, prefix)
    except ValueError as error:
        _go_on_without_queue(folder, error)
        return
    for job in jobs:
        logger.info("found job %s (%s): %s", job.id, job.state.lower(), job.work)
    if drop_jobs and jobs:
        cancel(jobs)
    waited = time.monotonic()
    while left := jobs_of(folder, prefix):
        if time.monotonic() - waited >= 60:
            waited = time.monotonic()
            logger.info("waiting for %d jobs: %s", len(left), " ".join(job.id for job in left))
        time.sleep(poll_seconds)
    logger.info("no job of %s is left in the queue", folder)


def _go_on_without_queue(folder: Path, error: ValueError) -> None:
    """Refuse to go on where jobs may be in a queue that cannot be asked; else say so only."""
    if has_submitted(folder):
        raise ValueError(
            f"jobs were submitted from {folder}, and SLURM does not say whether one still runs and "
            f"would write beside the next run ({error}): try again when it answers, or add "
            "--no-queue if you know that none runs"
        ) from error
    logger.warning("no queue could be asked (%s)", error)
    logger.warning("no run in %s has submitted a job to SLURM: none can be left", folder)


def _unrecorded(config: Path) -> list[str]:
    """List products that were finished after Snakemake was gone, and so without its record.

    Without one, Snakemake would not notice when their settings change.
    """
    lines = (line.split("\t") for line in _snakemake(config, "--summary").splitlines())
    current = [line[0] for line in lines if line[-1] == "no update"]
    folder = Path(".snakemake", "metadata")
    return [
        name
        for name in current
        if record_path(Path(name)).is_file()
        and not (folder / urlsafe_b64encode(name.encode()).decode()).is_file()
    ]


def _snakemake(config: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--configfile", str(config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise ValueError(f"snakemake {arguments[0]} failed ({reason}): check --config")
    return done.stdout
