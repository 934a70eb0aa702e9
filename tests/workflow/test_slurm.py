"""The workflow on a real SLURM: the whole DAG, and what may befall a job."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from project import PARTS, copy_repository, planned, snakemake
from slurm_node import SlurmNode, is_running, missing, wait_for

from civa.data.files import digest, read_json
from civa.data.stack import read_stack
from civa.pipeline.provenance import record_path

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing()), reason=f"SLURM is not installed: {missing()}"),
]

RUN = Path("results") / "small" / "seed1" / "civa-net"
CLASSIFIER = RUN / "classifier.safetensors"
TRAINING_LOG = Path("logs") / "small" / "seed1" / "civa-net" / "train_classifier.log"
STATE = RUN / ".classifier.checkpoint"
LONG = 400  # epochs: about half a minute, long enough to be disturbed
QUICK = ("--slurm-init-seconds-before-status-checks", "5")


@pytest.fixture(scope="module")
def node() -> Iterator[SlurmNode]:
    folder = Path(tempfile.mkdtemp(prefix="civa-"))  # short: it holds sockets
    with SlurmNode(folder) as started:
        yield started
    left = {name: pid for name, pid in started.started.items() if is_running(pid)}
    assert left == {}
    assert started.job_processes() == []
    shutil.rmtree(folder)


def project(folder: Path, **changes: object) -> Path:
    """A copy of the project with a configuration of its own, ``mine.yaml``."""
    copy_repository(folder)
    (folder / "slurm").symlink_to("profiles/slurm")
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    (folder / "mine.yaml").write_text(yaml.safe_dump({**config, **changes}))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose volumes are there and whose classifier takes a while to train."""
    folder = project(tmp_path_factory.mktemp("prepared") / "run", classifier={"epochs": LONG})
    snakemake(folder, "--", "results/small/split.csv", config="mine.yaml")
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a classifier that was trained in peace, without SLURM."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    shutil.copytree(prepared, folder, symlinks=True)
    snakemake(folder, "--", str(CLASSIFIER), config="mine.yaml")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def start(node: SlurmNode, folder: Path, *arguments: str) -> subprocess.Popen:
    """The literal command of the README, with a configuration and shorter waits."""
    command = ["snakemake", "--profile", "slurm", "--configfile", "mine.yaml", *QUICK, *arguments]
    environment = node.environment
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PATH"] = f"{node.folder / 'bin'}:{environment['PATH']}"
    with (folder / "snakemake.out").open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node.clients.append(process)
    return process


def finish(process: subprocess.Popen, folder: Path, seconds: float = 600) -> tuple[int, str]:
    process.wait(seconds)
    return process.returncode, (folder / "snakemake.out").read_text()


def submit(node: SlurmNode, folder: Path, *arguments: str) -> tuple[int, str]:
    return finish(start(node, folder, *arguments), folder)


def civa(node: SlurmNode, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "civa", *arguments],
        cwd=folder,
        env=node.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def training_job(node: SlurmNode, folder: Path) -> str:
    """Wait until the training has written its state; return the id of its job."""
    wait_for("the first epoch", (folder / STATE).exists, 120)
    (job,) = [id for id, work in node.jobs("R").items() if "train_classifier" in work]
    return job


def last_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[-1]


def assert_same_classifier(folder: Path, expected: Path) -> None:
    for name in ("classifier.safetensors", "classifier.json"):
        assert digest(folder / RUN / name) == digest(expected / RUN / name), name
        assert read_json(record_path(folder / RUN / name))["sha256"] == digest(folder / RUN / name)
    curves = [pd.read_csv(f / RUN / "classifier_curve.csv") for f in (folder, expected)]
    pd.testing.assert_frame_equal(*(curve.drop(columns="seconds") for curve in curves))
    assert [path.name for path in (folder / RUN).glob(".*")] == []  # no state, claim or half file


# --- all of it ----------------------------------------------------------------------------------


def test_the_whole_workflow_gives_what_it_gives_without_slurm(
    node: SlurmNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(tmp_path / "my cluster")  # jobs find a folder with a blank
    config = (folder / "mine.yaml").read_text()
    on_gpu = ("train_classifier:gpu=1", "train_segmenter:gpu=1")
    process = start(node, folder, "--set-resources", *on_gpu)
    wait_for("the first job", lambda: bool(node.jobs()), 60)
    # Jobs read the file again: what is changed meanwhile is for the next run.
    (folder / "mine.yaml").write_text(config.replace("epochs: 1", "epochs: 3"))
    status, output = finish(process, folder)
    (folder / "mine.yaml").write_text(config)
    assert status == 0, output[-3000:]
    assert "15 jobs for the cluster" in output
    jobs = used(node, output)
    with capsys.disabled():
        print("\n" + jobs.drop(columns=["submit", "end"], errors="ignore").to_string(index=False))
        if node.accounting:
            spent, worked = pd.to_timedelta(jobs["elapsed"]).dt.total_seconds().sum(), work(folder)
            print(f"{spent:.0f} s in {len(jobs)} jobs, {worked:.0f} s of them inside the stages: ")
            print(f"start-up {(spent - worked) / len(jobs):.1f} s per job")
    assert len(jobs) == 15
    with_gpu = jobs["asked"].str.contains("gpu")
    trainings = ["rule_train_classifier", *["rule_train_segmenter"] * 3]
    assert sorted(jobs.loc[with_gpu, "work"]) == trainings
    assert (jobs["partition"] == np.where(with_gpu, "gpu", "cpu")).all()
    if node.accounting:
        assert (jobs["peak_mb"] < jobs["asked_mb"]).all()
        gpu_jobs = jobs[with_gpu].sort_values("submit")  # one GPU each, and side by side
        assert gpu_jobs["submit"].iloc[1] < gpu_jobs["end"].min()

    alone = project(tmp_path / "alone")
    snakemake(alone, config="mine.yaml")
    for path in sorted(alone.glob("results/small/**/*.mrcs")):
        assert np.array_equal(read_stack(path), read_stack(folder / path.relative_to(alone)))
    for name in ("results.csv", "table1.csv", "summary.md"):
        tables = [f / "results" / "tables" / name for f in (folder, alone)]
        assert tables[0].read_text() == tables[1].read_text()
    assert "Nothing to be done" in submit(node, folder)[1]


def used(node: SlurmNode, output: str) -> pd.DataFrame:
    """Jobs of a run: SLURM's id, what was asked for, and the peak of use where it is known."""
    submitted, works = re.findall(r"SLURM jobid (\d+)", output), node.jobs()
    if node.accounting:
        columns = ["job", "partition", "asked", "submit", "end", "elapsed", "peak"]
        fields = "jobid,partition,reqtres,submit,end,elapsed,maxrss"
        time.sleep(2)  # the last steps reach the database
        listing = node.ask("sacct", "-n", "-P", "-a", "-o", fields)
    else:
        columns = ["job", "partition", "asked"]
        fields = "JobID:|,Partition:|mem=,MinMemory:+,tres-per-job:"
        listing = node.ask("squeue", "-h", "-t", "all", "-O", fields)
    table = pd.DataFrame([line.split("|") for line in listing.splitlines()], columns=columns)
    jobs = table[table["job"].isin(submitted)].copy()
    if node.accounting:  # peaks are those of the steps: 7.batch, 7.0, ...
        peaks = table["peak"].map(_megabytes).groupby(table["job"].str.split(".").str[0]).max()
        jobs["peak_mb"] = jobs["job"].map(peaks)
        jobs = jobs.drop(columns="peak")
    jobs["asked_mb"] = jobs["asked"].str.extract(r"mem=(\d+)M")[0].astype(float)
    jobs["work"] = jobs["job"].map(works).str.replace(r"_wildcards.*", "", regex=True)
    return jobs


def work(folder: Path) -> float:
    """Seconds that stages of jobs worked, imports left out, from the records of their products."""
    records = [read_json(path) for path in folder.glob("results/**/*.provenance.json")]
    here = ("build-template", "tabulate", "report")  # where Snakemake runs
    return sum({r["command"]: r["seconds"] for r in records if r["stage"] not in here}.values())


def _megabytes(size: str) -> float:
    units = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
    return float(size[:-1]) * units[size[-1]] if size and size[-1] in units else 0.0


# --- what may befall a job ----------------------------------------------------------------------


def test_a_job_over_its_memory_is_tried_again_with_more(node: SlurmNode, folder: Path) -> None:
    memory = "train_classifier:mem_mb=300+1200*(attempt-1)"
    status, output = submit(node, folder, "--set-resources", memory, "--", str(CLASSIFIER))
    assert status == 0, output[-3000:]
    assert "Trying to restart job" in output
    assert (folder / CLASSIFIER).is_file()


def test_a_job_past_its_time_names_the_setting(node: SlurmNode, folder: Path) -> None:
    config = yaml.safe_load((folder / "mine.yaml").read_text())
    config["classifier"]["epochs"] = 100_000
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    limit = ("--set-resources", "train_classifier:runtime=1", "--retries", "0")
    status, output = submit(node, folder, *limit, "--", str(CLASSIFIER))
    assert status == 1
    assert "stopped by SIGTERM" in last_line(folder / TRAINING_LOG)
    ending = output[output.index("What went wrong") :]
    for expected in ("RULE:runtime=", str(TRAINING_LOG), "reached its time limit", "SLURM's log:"):
        assert expected in ending
    assert not (folder / CLASSIFIER).exists()
    assert (folder / STATE).exists()


def test_a_cancelled_job_fails_plainly_and_goes_on_in_the_next_run(
    node: SlurmNode, folder: Path, undisturbed: Path
) -> None:
    process = start(node, folder, "--retries", "0", "--", str(CLASSIFIER))
    node.client("scancel", training_job(node, folder))
    status, output = finish(process, folder)
    assert status == 1
    assert "CANCELLED" in output or not node.accounting
    assert "stopped by SIGTERM" in last_line(folder / TRAINING_LOG)
    status, output = submit(node, folder, "--", str(CLASSIFIER))
    assert status == 0, output[-3000:]
    assert "goes on after epoch" in (folder / TRAINING_LOG).read_text()
    assert_same_classifier(folder, undisturbed)


def test_a_requeued_training_ends_with_the_same_bits(
    node: SlurmNode, folder: Path, undisturbed: Path
) -> None:
    process = start(node, folder, "--", str(CLASSIFIER))
    node.client("scontrol", "requeue", training_job(node, folder))  # as preemption does
    status, output = finish(process, folder)
    assert status == 0, output[-3000:]
    assert "Trying to restart job" not in output  # SLURM did it, not Snakemake
    assert "goes on after epoch" in (folder / TRAINING_LOG).read_text()
    assert_same_classifier(folder, undisturbed)


def test_the_controller_may_be_away_for_a_minute(
    node: SlurmNode, folder: Path, undisturbed: Path
) -> None:
    process = start(node, folder, "--", str(CLASSIFIER))
    training_job(node, folder)
    node.stop_daemon("slurmctld")
    time.sleep(60)
    assert process.poll() is None
    node.start("slurmctld", "-D", "-f", str(node.conf))  # with its state
    status, output = finish(process, folder)
    assert status == 0, output[-3000:]
    assert_same_classifier(folder, undisturbed)


def kill_snakemake(node: SlurmNode, folder: Path, *arguments: str) -> str:
    """Start a run, kill Snakemake while the training runs; return the id of the orphan."""
    process = start(node, folder, *arguments, "--", str(RUN / "gradcam.mrcs"))
    job = training_job(node, folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert job in node.jobs("R")
    return job


@pytest.mark.parametrize("drop", [False, True])
def test_one_command_recovers_from_a_killed_snakemake(
    node: SlurmNode, folder: Path, undisturbed: Path, drop: bool
) -> None:
    before = digest(folder / "results" / "small" / "volumes.mrcs")
    orphan = kill_snakemake(node, folder)
    status, output = submit(node, folder, "--", str(RUN / "gradcam.mrcs"))
    assert status != 0
    assert "locked" in output.lower()
    done = civa(node, folder, "recover", "--config", "mine.yaml", *(["--drop-jobs"] * drop))
    assert done.returncode == 0, done.stderr
    assert f"found job {orphan}" in done.stderr
    assert orphan not in node.jobs("R")
    assert (folder / CLASSIFIER).exists() is not drop
    status, output = submit(node, folder, "--", str(RUN / "gradcam.mrcs"))
    assert status == 0, output[-3000:]
    assert ("rule train_classifier:" in output) is drop  # what was finished is not redone
    assert "rule simulate:" not in output
    changed = yaml.safe_load((folder / "mine.yaml").read_text()) | {"classifier": {"epochs": 2}}
    (folder / "changed.yaml").write_text(yaml.safe_dump(changed))
    assert "train_classifier" in planned(folder, str(CLASSIFIER), config="changed.yaml")
    assert digest(folder / "results" / "small" / "volumes.mrcs") == before
    assert_same_classifier(folder, undisturbed)


def test_recovery_leaves_a_living_snakemake_alone(node: SlurmNode, folder: Path) -> None:
    process = start(node, folder, "--", str(CLASSIFIER))
    job = training_job(node, folder)
    done = civa(node, folder, "recover", "--config", "mine.yaml", "--drop-jobs")
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr
    assert job in node.jobs("R")
    assert finish(process, folder)[0] == 0


def test_an_orphan_beside_its_twin_leaves_whole_products(
    node: SlurmNode, folder: Path, undisturbed: Path
) -> None:
    one_core = ("--set-resources", "train_classifier:cpus_per_task=1")  # so that both run at once
    orphan = kill_snakemake(node, folder, *one_core)
    shutil.rmtree(folder / ".snakemake" / "locks")  # somebody in a hurry: no recovery
    process = start(node, folder, *one_core, "--", str(CLASSIFIER))
    wait_for("the twin", lambda: len(node.jobs("R")) == 2, 60)
    assert orphan in node.jobs("R")
    status, output = finish(process, folder)
    assert status == 0, output[-3000:]
    wait_for("the end of the orphan", lambda: orphan not in node.jobs("R,CG"), 120)
    assert_same_classifier(folder, undisturbed)


def test_a_node_without_a_visible_gpu_stops_the_job_at_once(node: SlurmNode, folder: Path) -> None:
    config = yaml.safe_load((folder / "mine.yaml").read_text())
    (folder / "mine.yaml").write_text(yaml.safe_dump({**config, "gpu": "auto"}))
    began = time.monotonic()
    status, output = submit(node, folder, "--retries", "0", "--", str(CLASSIFIER))
    assert status == 1
    assert time.monotonic() - began < 90
    assert "no GPU is visible to PyTorch" in last_line(folder / TRAINING_LOG)
    assert "no GPU is visible to PyTorch" in output[output.index("What went wrong") :]
    assert not (folder / STATE).exists()
