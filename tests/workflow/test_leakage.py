"""What is true of test volumes guides nothing: the workflow with masks and classes of noise.

The commands of the small workflow run twice, as Snakemake lists them.  The second time the masks
of the test part are noise, its classes are wrong, and its true poses are forgotten; the volumes
are the same.  The split stays: it is drawn class by class, from the classes of all volumes.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from project import copy_repository, snakemake
from tiny_set import content

from civa.data.files import read_json, write_csv
from civa.data.particles import class_names
from civa.data.stack import Stack, read_stack, write_stack

pytestmark = pytest.mark.workflow

DATA = ("volumes.mrcs", "masks.mrcs", "particles.csv", "split.csv")
BEFORE = ("build-template", "simulate", "collect", "split")  # they make the data and its split
NOT_RUN = ("tabulate", "report")  # they only put together the scores, the ledger and the figures

# Below results/small: what may differ, and why.  Of the first group only the parts named may.
PARTS_MAY_DIFFER = {
    "seed1/civa-net/predictions.csv": "column label: the class that a volume is said to show",
    "seed1/civa-net/classifier.json": "accuracy on test, and the share of the largest class",
    "seed1/civa-net/calibration.json": "how honest probabilities are on test",
    "trivial/*.mrcs": "a rule predicts no class: its masks carry the true one",
}
MAY_DIFFER = {
    "trivial/*.csv": "scores of test images",
    "seed1/*/scores/*.csv": "scores of test images",
    "seed1/civa-net/ledger.csv": "quality ledger: scores of test images, balance of the classes",
    "seed1/civa-net/figures/overview.png": "test images, chosen by their scores",
    "seed1/civa-net/figures/compare.png": "test images, chosen by their scores",
    "seed1/civa-net/figures/confusion.png": "classes of test images",
    "seed1/civa-net/figures/distributions.png": "scores of test images",
    "seed1/civa-net/figures/refinement.png": "scores of test images",
}
TIMES = "*_curve.csv"  # trainings write how many seconds every epoch took
TIMED = "*/figures/training.png"  # its titles say how many seconds that was in all

RUN = """
import shlex, sys
from civa.cli import main
for line in sys.stdin:
    if main(shlex.split(line)):
        sys.exit(line)
"""


def listed_commands(folder: Path, config: str) -> list[list[str]]:
    """Return the commands of the workflow, without 'civa', in an order in which they can run."""
    output = snakemake(folder, "--dry-run", "--printshellcmds", config=config)
    job = (
        r"^ +input: (.*)\n +output: (.*)\n(?:(?! +input:).*\n)*?Shell command: python -m civa (.*)$"
    )
    jobs = [(i.split(", "), o.split(", "), c) for i, o, c in re.findall(job, output, re.M)]
    assert len(jobs) == output.count("Shell command: python -m civa")
    makers = {file: number for number, (_, outputs, _) in enumerate(jobs) for file in outputs}
    graph = {
        number: {makers[file] for file in inputs if file in makers}
        for number, (inputs, _, _) in enumerate(jobs)
    }
    ordered = [jobs[number][2] for number in TopologicalSorter(graph).static_order()]
    return [shlex.split(text) for text in ordered if text.split()[0] not in NOT_RUN]


def run_commands(folder: Path, commands: list[list[str]]) -> None:
    """Run commands one after the other in one interpreter: starting it takes longer than most."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(map(shlex.join, commands)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def replace_truth(results: Path) -> None:
    """Replace what is known of the test volumes: noise for masks, wrong classes, no pose."""
    split = pd.read_csv(results / "split.csv", dtype=str)
    table = pd.read_csv(results / "particles.csv", dtype={"id": str, "class": str})
    test = (split["part"] == "test").to_numpy()
    names = class_names(table)
    labels = table["label"].to_numpy().copy()
    labels[test] = labels[test] % len(names) + 1
    classes = np.array(names)[labels - 1]
    poses = [name for name in table if name.startswith(("shift_", "quaternion_"))]
    table.loc[test, [*poses, "structure"]] = [*(0.5 for _ in poses), "unknown"]
    write_csv(results / "particles.csv", table.assign(**{"class": classes}, label=labels))
    write_csv(results / "split.csv", split.assign(**{"class": classes}))
    voxel_size = Stack.open(results / "masks.mrcs").voxel_size_angstrom
    masks = np.array(read_stack(results / "masks.mrcs"))
    generator = np.random.default_rng(0)
    masks[test] = generator.integers(0, len(names) + 1, size=masks[test].shape)
    write_stack(results / "masks.mrcs", masks, voxel_size_angstrom=voxel_size)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of the data set as it is, and with noise in place of what is true of test."""
    folders = [copy_repository(tmp_path_factory.mktemp(name)) for name in ("true", "noise")]
    config = yaml.safe_load((folders[0] / "tests" / "small.yaml").read_text())
    config["baselines"] = [*config["baselines"], "voxresnet_consensus"]
    config["voxresnet_consensus"] = config["voxresnet_full"]
    # Groups of whole classes: no draw leaves out, by luck, what does not belong there.
    config["cooccurrence"] = {"group_size": 16}
    (folders[0] / "small.yaml").write_text(yaml.safe_dump(config))
    commands = listed_commands(folders[0], "small.yaml")
    run_commands(folders[0], commands)
    true, noise = (folder / "results" / "small" for folder in folders)
    shutil.copytree(true / "templates", noise / "templates")
    for name in DATA:
        shutil.copy(true / name, noise / name)
    replace_truth(noise)
    run_commands(folders[1], [words for words in commands if words[0] not in BEFORE])
    return true, noise


def products(results: Path) -> set[str]:
    """Name the files below a folder of results, but for the records beside them and the data."""
    files = (path for path in results.rglob("*") if path.is_file())
    names = {str(path.relative_to(results)) for path in files}
    made_before = {name for name in names if name.startswith(("templates/", "shards/"))} | {*DATA}
    return {name for name in names - made_before if not name.endswith(".provenance.json")}


def matches(name: str, patterns: Mapping[str, str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def test_the_probe_replaces_what_is_true_of_test_volumes_alone(runs: tuple[Path, Path]) -> None:
    true, noise = runs
    tested = (pd.read_csv(true / "split.csv")["part"] == "test").to_numpy()
    assert tested.sum() == 2
    assert (true / "volumes.mrcs").read_bytes() == (noise / "volumes.mrcs").read_bytes()
    masks = [read_stack(results / "masks.mrcs") for results in runs]
    assert ((masks[0] != masks[1]).any(axis=(1, 2, 3)) == tested).all()
    for table in ("particles.csv", "split.csv"):
        classes = [pd.read_csv(results / table)["class"] for results in runs]
        assert ((classes[0] != classes[1]) == tested).all()


def test_nothing_changes_but_what_is_listed(runs: tuple[Path, Path]) -> None:
    true, noise = runs
    assert products(true) == products(noise)
    listed = {**MAY_DIFFER, **PARTS_MAY_DIFFER}
    compared = {name for name in products(true) if not matches(name, listed)}
    for name in compared:
        if fnmatch(name, TIMED):
            continue
        if fnmatch(name, TIMES):
            curves = [pd.read_csv(results / name).drop(columns="seconds") for results in runs]
            assert curves[0].equals(curves[1]), name
        else:
            assert content(true / name) == content(noise / name), name
    run = "seed1/civa-net/"
    networks = ("iva", "voxresnet_full", "unet_slice", "voxresnet_pseudo", "voxresnet_consensus")
    assert {f"{run}{name}.safetensors" for name in ("classifier", *networks)} <= compared
    methods = ("gradcam", "respondcam", "cooccurrence", "crf", "consensus", "consensus_tuned")
    for method in (*methods, *networks, "consensus_network"):
        assert {f"{run}masks/{method}.mrcs", f"{run}masks/{method}.json"} <= compared
    others = ("averages.mrcs", "averages.csv", "alignment.csv", "probability.mrcs", "pairs.npz")
    assert {run + name for name in others} <= compared
    assert {f"trivial/{rule}.json" for rule in ("ball", "lowpass", "centre", "blob")} <= compared


def test_of_predictions_only_the_label_changes(runs: tuple[Path, Path]) -> None:
    tables = [pd.read_csv(results / "seed1/civa-net/predictions.csv") for results in runs]
    changed = tables[0]["label"] != tables[1]["label"]
    assert changed.sum() == 2
    assert tables[0].drop(columns="label").equals(tables[1].drop(columns="label"))


@pytest.mark.parametrize(
    ("name", "on_test"),
    [
        ("classifier.json", {"test_accuracy", "test_class_accuracy", "chance"}),
        ("calibration.json", {"before", "after", "reject"}),
    ],
)
def test_of_records_only_figures_on_test_change(
    runs: tuple[Path, Path], name: str, on_test: set[str]
) -> None:
    true, noise = (read_json(results / "seed1" / "civa-net" / name) for results in runs)
    assert set(true) == set(noise) >= on_test
    changed = {key for key in true if json.dumps(true[key]) != json.dumps(noise[key])}
    assert changed <= on_test


@pytest.mark.parametrize("rule", ["ball", "lowpass", "centre", "blob"])
def test_masks_of_trivial_rules_change_their_label_alone(
    runs: tuple[Path, Path], rule: str
) -> None:
    true, noise = (np.array(read_stack(results / "trivial" / f"{rule}.mrcs")) for results in runs)
    assert ((true > 0) == (noise > 0)).all()
    assert (true != noise).any(axis=(1, 2, 3)).sum() == 2


def test_what_is_listed_does_change(runs: tuple[Path, Path]) -> None:
    true, _ = runs
    # Two volumes that exchange their classes may leave the number of right answers as it was.
    unsure = {f"seed1/civa-net/{name}" for name in ("classifier.json", "figures/confusion.png")}
    for pattern in {*MAY_DIFFER, *PARTS_MAY_DIFFER} - unsure:
        names = [name for name in products(true) if fnmatch(name, pattern)]
        pairs = [[content(results / name) for results in runs] for name in names]
        assert any(first != second for first, second in pairs), pattern
    scores = [*true.glob("trivial/*.csv"), *true.glob("seed1/*/scores/*.csv")]
    assert len(scores) == 4 + 12 + 2 + 2 + 1  # trivial rules, methods and the three variants
    for path in scores:
        tables = [pd.read_csv(results / path.relative_to(true)) for results in runs]
        assert (tables[0]["true_voxels"] != tables[1]["true_voxels"]).all(), path.name
