"""A Snakemake that was killed -> its jobs are gone from the queue, and its lock from the folder."""

import logging
import subprocess
import sys
import time
from pathlib import Path

from civa.cluster import cancel, caretaker, jobs_of

logger = logging.getLogger(__name__)


def run(
    config: Path = Path("config.yaml"),
    *,
    prefix: str = "civa",
    drop_jobs: bool = False,
    poll_seconds: float = 10,
) -> None:
    """Put the current folder in order after Snakemake was killed; then run it again as before.

    Its jobs run on without it.  They are waited for, so that their work is not lost, or with
    ``--drop-jobs`` cancelled; a training goes on from its last epoch either way.  Then the lock
    is removed.  ``prefix`` is slurm-jobname-prefix of the profile.
    """
    folder = Path.cwd()
    process = caretaker(folder)
    if process is not None:
        raise ValueError(
            f"Snakemake still runs in {folder} (process {process}): there is nothing to recover; "
            "let it go on, or end it with Ctrl-C, which cancels its jobs too"
        )
    jobs = jobs_of(folder, prefix)
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
    unlock = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", str(config)]
    done = subprocess.run(unlock, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise ValueError(f"the lock of {folder} was not removed ({reason}): check --config")
    logger.info("the folder is unlocked: run snakemake again as before")
