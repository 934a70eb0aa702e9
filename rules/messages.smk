# What a run says before it starts, and when it fails.  Functions and handlers, no rules.
#
# Snakemake has no public way to the jobs of a plan or to those that failed, so these functions look
# at its inside.  Runs were tried with 9.27.1, dry runs also with 9.0.1, 9.3.5, 9.9.0, 9.14.8, 9.20.0
# and 9.26.1; with another version a message may be missing, and one line says so, but nothing that is
# said here can end a run.

import atexit
import functools
import sys
import time
from collections import Counter
from pathlib import Path

import snakemake
from snakemake.exceptions import WorkflowError

TRIED_WITH = "9.0.1 to 9.27.1"


def never_fatal(what):
    """Let a function that prints a message give it up in one line, whatever happens inside."""

    def wrap(say):
        @functools.wraps(say)
        def said():
            try:
                say()
            except Exception as error:
                version = getattr(snakemake, "__version__", "?")
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                print(
                    f"{what} could not be made with Snakemake {version} (tried with "
                    f"{TRIED_WITH}): {reason}",
                    file=sys.stderr,
                )

        return said

    return wrap


def runs_here(job):
    """Whether a step runs where Snakemake runs; in a dry run, Snakemake says so of all."""
    made_by = job.rule
    is_small = made_by.name in workflow._localrules or made_by.norun
    return made_by.group is None and is_small


def asked_of_cluster(job):
    """Cores, GPUs, memory and time of a job; a dry run's own figures are those of one machine."""
    found = job.resources
    if job.is_group():
        # Here, not above: in another version it may be elsewhere, which must end no run.
        from snakemake.resources import GroupResources

        found = GroupResources.basic_layered(
            toposorted_jobs=job.toposorted,
            constraints=workflow.global_resources,
            run_local=False,
        )
    return tuple(found.get(key, 0) for key in ("_cores", "gpu", "mem_mb", "runtime"))


@never_fatal("the table of jobs")
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


@never_fatal("the list of results")
def print_results():
    """Print where the results of a run are that has made its report, and what its ledgers say."""
    page = Path("results/report.html")
    if not is_recent(page):
        return
    from civa.evaluation.thresholds import VERDICTS  # numpy: not for every job's plan

    for ledger in map(Path, of_main_runs(rules.assess.output)):
        if ledger.is_file():
            rows = ledger.read_text(encoding="utf-8").splitlines()
            found = {word: sum(f",{word}," in row for row in rows) for word in VERDICTS}
            told = ", ".join(f"{n} {word}" for word, n in found.items() if n)
            print(f"masks    {ledger.parent}/masks/consensus.mrcs, crf.mrcs")
            print(f"quality  {told}: {ledger}")
    print(f"report   {page}")


def print_failures():
    """Print the last word of every step that failed, and where more is to be read."""
    print("\nWhat went wrong, by the last line of each log:")
    print_last_words()
    print_where_more_is()


@never_fatal("the list of steps that failed")
def print_last_words():
    """Print the last line of every log of a step that did not end well."""
    for job in workflow.scheduler.failed:
        for step in job if job.is_group() else [job]:
            begun = [Path(log) for log in step.log if is_recent(Path(log))]
            if not all(Path(product).exists() for product in step.output):
                for log in begun:
                    print(f"  {log}: {last_word(log)}")


@never_fatal("the list of SLURM's logs")
def print_where_more_is():
    """Print where SLURM's logs lie, and the settings that help most often."""
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


@never_fatal("the plan of jobs")
def print_plan():
    """Print the jobs of a dry run when it ends."""
    if workflow.dag and workflow.dryrun:
        print_submission()
        if workflow.group_settings.group_components:  # a profile of a cluster
            try:
                refuse_paths()
            except WorkflowError as error:
                print(f"\nNothing would be submitted: {error}")


BEGUN = time.time()
atexit.register(print_plan)


onstart:
    inspect_new_data()
    if workflow.non_local_exec:
        refuse_paths()
        outlast_controller()
    print_submission()


onsuccess:
    print_results()


onerror:
    print_failures()
