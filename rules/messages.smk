# What a run says before it starts, and when it fails.  Functions and handlers, no rules.

import atexit
import time
from collections import Counter
from pathlib import Path

from snakemake.resources import GroupResources


def runs_here(job):
    """Whether a step runs where Snakemake runs; in a dry run, Snakemake says so of all."""
    made_by = job.rule
    is_small = made_by.name in workflow._localrules or made_by.norun
    return made_by.group is None and is_small


def asked_of_cluster(job):
    """Cores, GPUs, memory and time of a job; a dry run's own figures are those of one machine."""
    found = job.resources
    if job.is_group():
        found = GroupResources.basic_layered(
            toposorted_jobs=job.toposorted,
            constraints=workflow.global_resources,
            run_local=False,
        )
    return tuple(found.get(key, 0) for key in ("_cores", "gpu", "mem_mb", "runtime"))


def print_submission():
    """Print the jobs for the cluster by their steps, and what each asks for."""
    if not workflow.group_settings.group_components:
        return  # only profiles of clusters join the components of groups
    dag = workflow.dag
    jobs = {
        id(unit): unit
        for job in dag.needrun_jobs(exclude_finished=False)
        if not runs_here(job)
        for unit in [dag._group.get(job, job)]
    }
    kinds = Counter()
    for job in jobs.values():
        steps = Counter(step.rule.name for step in (job if job.is_group() else [job]))
        names = ", ".join(
            f"{n} {name}" if n > 1 else name for name, n in sorted(steps.items())
        )
        kinds[(*asked_of_cluster(job), names)] += 1
    hours = sum(n * minutes for (_, _, _, minutes, _), n in kinds.items()) / 60
    print(f"\n{len(jobs)} jobs for the cluster, {hours:.0f} hours at most together:")
    print(f"{'jobs':>5} {'cores':>5} {'gpus':>4} {'mem_mb':>7} {'minutes':>7}  steps")
    for (cores, gpus, memory, minutes, names), n in sorted(kinds.items()):
        print(f"{n:5} {cores:5} {gpus:4} {memory:7} {minutes:7}  {names}")


def print_failures():
    """Print the last word of every step that failed, and where more is to be read."""
    print("\nWhat went wrong, by the last line of each log:")
    for job in workflow.scheduler.failed:
        for step in job if job.is_group() else [job]:
            begun = [Path(log) for log in step.log if is_recent(Path(log))]
            if not all(Path(product).exists() for product in step.output):
                for log in begun:
                    print(f"  {log}: {last_word(log)}")
    for log in sorted(Path(".snakemake/slurm_logs").rglob("*.log")):
        if is_recent(log):
            print(f"  SLURM's log: {log}")
    print(
        "Memory (MB) and time (minutes) of a rule:  --set-resources RULE:mem_mb=8000 "
        "RULE:runtime=600\n"
        "Tables and report of what is finished:  --config partial=True -- tables report"
    )


def last_word(log):
    """The last line of a stage's log: of a failure, a sentence that names the verb."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    killed = " [killed without a last word, most often for its memory: see mem_mb]"
    return lines[-1] + ("" if "civa " in lines[-1] else killed)


def is_recent(log):
    """Whether a log was written since this run began."""
    return log.is_file() and log.stat().st_mtime >= BEGUN


BEGUN = time.time()
atexit.register(lambda: workflow.dag and workflow.dryrun and print_submission())


onstart:
    print_submission()


onerror:
    print_failures()
