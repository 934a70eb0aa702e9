"""The workflow itself: a small run, what reruns after which change, and repeatability."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
import pytest
import yaml
from project import PARTS, ROOT, copy_repository, planned, snakemake

from civa import cli
from civa.data.stack import read_stack
from civa.data.volume import write_volume
from civa.report.paper_results import TABLES
from civa.report.results import read_results
from civa.report.sections import ORDER

pytestmark = pytest.mark.workflow

AFTER_SCORES = {
    *("score", "assess", "plot_overview", "plot_comparison", "plot_charts"),
    *("tables", "report", "all"),
}
AFTER_CRF = {"crf", *AFTER_SCORES}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the small configuration has run."""
    folder = copy_repository(tmp_path_factory.mktemp("run"))
    snakemake(folder)
    return folder


@pytest.fixture
def restored(run: Path) -> Callable[[str], Path]:
    """Hand out files of the run to be edited; they are put back afterwards."""
    saved: dict[Path, bytes] = {}

    def hand_out(name: str) -> Path:
        saved[run / name] = (run / name).read_bytes()
        return run / name

    yield hand_out
    for path, content in saved.items():
        path.write_bytes(content)


def test_every_row_has_a_score(run: Path) -> None:
    results = read_results(run / "results" / "tables" / "results.csv")
    miou = results[results["score"] == "miou"]
    assert miou["mean"].between(0, 100).all()
    assert (miou["n"] == 2).all()  # 8 per class, 15 % of them for the test: one each
    assert miou["method"].value_counts()["blob"] == 1
    variants = miou.groupby("variant")["method"].agg(list)
    assert len(variants["civa-net"]) == 4 + 5 + 2 + 3  # trivial, paper, ours, baselines
    assert variants["cut-half"] == ["iva", "crf"]
    assert variants["without-co"] == ["iva", "crf"]
    assert variants["without-iva"] == ["crf"]


def test_every_result_can_be_traced_to_files_commands_and_commits(run: Path) -> None:
    scores = "results/small/seed1/civa-net/scores/crf.csv"
    done = subprocess.run(
        [sys.executable, "-m", "civa", "trace", "--file", scores],
        cwd=run,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    for part in ("civa crf --volumes", "civa train-iva", "civa simulate", "commit", "sha256"):
        assert part in done.stderr, part


def test_tables_and_report_of_what_is_finished(
    run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("partial") / "run"
    shutil.copytree(run, folder)
    removed = folder / "results" / "small" / "seed1" / "civa-net"
    for name in ("scores/voxresnet_full.csv", "masks/voxresnet_full.mrcs", "ledger.csv"):
        (removed / name).unlink()
    snakemake(folder, "--config", "partial=True", "--", "tables", "report")
    table = (folder / "results" / "tables" / "table3.md").read_text()
    assert "seed 1 failed, or is not finished" in table
    assert not (removed / "masks" / "voxresnet_full.mrcs").exists()
    assert "n/a" in (folder / "results" / "report.html").read_text()


def test_a_second_run_has_nothing_to_do(run: Path) -> None:
    assert "Nothing to be done" in snakemake(run)


def test_touching_reruns_nothing(run: Path) -> None:
    for path in [*run.glob("civa/**/*.py"), *run.glob("results/**/*.mrcs"), run / PARTS[-1]]:
        path.touch()
    assert planned(run) == {}


def test_editing_the_crf_reruns_the_crf_and_what_follows(
    run: Path, restored: Callable[[str], Path]
) -> None:
    source = restored("civa/civanet/crf.py")
    source.write_text(source.read_text() + "\n# edited\n")
    jobs = planned(run)
    assert set(jobs) == AFTER_CRF
    assert jobs["crf"] == 4  # the method and its variants
    assert jobs["score"] == 4


def test_editing_sentences_and_style_of_the_report_reruns_the_report_alone(
    run: Path, restored: Callable[[str], Path]
) -> None:
    for name in ("in_short.html.j2", "style.css", "captions/overview.rst"):
        template = restored(f"civa/report/templates/{name}")
        template.write_text(template.read_text() + "\n")
    assert planned(run) == {"report": 1, "all": 1}


def test_editing_a_crf_value_reruns_the_crf_and_what_follows(
    run: Path, restored: Callable[[str], Path]
) -> None:
    path = restored("tests/small.yaml")
    config = yaml.safe_load(path.read_text())
    config["crf"]["iterations"] = 3
    path.write_text(yaml.safe_dump(config))
    assert set(planned(run)) == AFTER_CRF


def test_editing_the_contour_cuts_the_pasted_averages_anew_and_aligns_nothing(run: Path) -> None:
    assert "align" not in planned(run)
    config = yaml.safe_load((run / "tests" / "small.yaml").read_text())
    (run / "contour.yaml").write_text(yaml.safe_dump({**config, "map_back": {"contour": 0.3}}))
    jobs = planned(run, config="contour.yaml")
    after = {"calibrate", "score", "assess", "plot_charts", "plot_averages", "plot_overview"}
    after |= {"tables", "report", "all"}
    assert set(jobs) == {"map_back", *after}
    assert jobs["score"] == 2


def test_a_network_taught_by_pasted_masks_is_chosen_on_them_too(run: Path) -> None:
    config = yaml.safe_load((run / "tests" / "small.yaml").read_text())
    config["baselines"] = [*config["baselines"], "voxresnet_consensus"]
    (run / "taught.yaml").write_text(yaml.safe_dump(config))
    output = snakemake(run, "--dry-run", "--printshellcmds", config="taught.yaml")
    (command,) = re.findall(r"civa train-segmenter .*voxresnet_consensus.*", output)
    pasted = "results/small/seed1/civa-net/masks/consensus.mrcs"
    assert f"--annotations {pasted} --masks {pasted} " in command  # no ground truth
    (command,) = re.findall(r"civa replace-outliers .*", output)
    assert (
        f"--aligned {pasted} --network {pasted.replace('consensus', 'voxresnet_consensus')} "
        in (command)
    )


def test_the_command_line_takes_the_commands_of_all_rules(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    config["baselines"] = [*config["baselines"], "voxresnet_consensus"]
    (folder / "own").mkdir()
    rows = [f"{name}{i},{name},{name}{i}.mrc" for name in "xy" for i in range(9)]
    (folder / "own" / "p.csv").write_text("\n".join(["id,class,path", *rows]) + "\n")
    for row in rows:
        (folder / "own" / row.rpartition(",")[2]).touch()
    config["datasets"]["mine"] = {"import": {"table": "own/p.csv", "invert_contrast": True}}
    (folder / "own" / "l.csv").write_text("kind,x_voxel,y_voxel,z_voxel\n" + 9 * "1,2,3,4\n")
    (folder / "own" / "tomogram 1.mrc").touch()
    config["datasets"]["cut"] = {
        "extract": {
            "lists": "own/l.csv",
            "class_column": "kind",
            "class_values": {"x": 1, "y": [2, "three"]},
            "tomograms": "own/tomogram*.mrc",
            "tomogram_files": {"": "own/tomogram 1.mrc"},
            "first_voxel": 0.5,
        }
    }
    config["datasets"]["crowd"] = {
        "specimen": {"classes": {"x": "phantom-rod", "y": "phantom-ring"}, "tomograms": 2},
        "extract": {"edges": "pad"},
    }
    config["datasets"]["pdb"] = {"simulation": {"snr": 1, "classes": {"a": "1abc", "b": "2abc"}}}
    config["structures"] = {"download": True, "sha256": {"1abc": 64 * "a"}}
    config["stress_tests"] = {"particles": {"phantoms": "small", "proteins": "pdb"}}
    (folder / "wide.yaml").write_text(yaml.safe_dump(config))
    printed = snakemake(folder, "--dry-run", "--printshellcmds", config="wide.yaml")
    commands = re.findall(r"python -m civa ((?:.|\n)*?--log \S+)$", printed, re.M)
    verbs = set()
    for command in commands:
        verb, *flags = shlex.split(command)
        values = vars(cli._parser(verb).parse_args(flags))  # exits where a flag is unknown
        verbs.add(verb)
        if verb == "fetch-structure":
            assert values["sha256"] == (64 * "a" if values["name"] == "1abc" else "")
        if verb == "build-template":
            assert (values["structure"] is None) == values["name"].startswith("phantom-")
        if verb == "list-particles" and "civaClass" in flags:
            picks = [f"tomogram_{number}_picks.star" for number in (1, 2)]
            assert [path.name for path in values["lists"]] == picks
            assert list(values["class_values"]) == ["x=x", "y=y"]
        elif verb == "list-particles":
            assert [path.name for path in values["tomograms"]] == ["tomogram 1.mrc"]
            assert list(values["class_values"]) == ["x=1", "y=2+three"]
    assert verbs == set(cli.VERBS) - {"init", "validate", "recover", "trace", "export"}


def test_a_deleted_product_is_rebuilt_with_what_follows(run: Path) -> None:
    merged = run / "results" / "small" / "seed1" / "civa-net" / "merged.mrcs"
    content = merged.read_bytes()
    merged.unlink()
    jobs = planned(run)
    merged.write_bytes(content)
    untouched = {"simulate", "collect", "split", "train_classifier", "localize", "cooccur"}
    assert not untouched & set(jobs)
    assert {"merge", "binarize", "mine_pairs", "train_iva", "segment", "crf"} < set(jobs)
    assert jobs["binarize"] == 1  # of the merged maps of the method only


def test_a_deleted_trivial_mask_is_rebuilt(run: Path) -> None:
    mask = run / "results" / "small" / "trivial" / "blob.mrcs"
    content = mask.read_bytes()
    mask.unlink()
    jobs = planned(run)
    mask.write_bytes(content)
    after = {"assess", "plot_charts", "tables", "report", "all"}
    assert set(jobs) == {"trivial", "score_trivial", *after}


def without_network() -> list[str]:
    """A command's prefix that leaves it no network, not even the loopback; empty where none is."""
    prefix = ["unshare", "--net", "--map-root-user"]
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    try:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", probe], capture_output=True, text=True
        )
    except OSError:
        return []
    return prefix if "Network is unreachable" in done.stderr else []


def test_the_same_seed_gives_the_same_masks_and_scores_also_offline(
    run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again, offline = copy_repository(tmp_path_factory.mktemp("again")), without_network()
    snakemake(again, inside=offline)
    for path in sorted(run.glob("results/small/**/*.mrcs")):
        other = again / path.relative_to(run)
        assert np.array_equal(read_stack(path), read_stack(other)), path.name
    for name in ("results.csv", "table1.csv", "table3.md", "summary.md", "summary.tex"):
        tables = [folder / "results" / "tables" / name for folder in (run, again)]
        assert tables[0].read_text() == tables[1].read_text()
    if not offline:
        pytest.skip("the results are the same; there are no network namespaces here to be offline")


def test_snakemake_s_own_report_holds_figures_and_tables_also_offline(run: Path) -> None:
    offline = without_network()
    snakemake(run, "--report", "snakemake.html", inside=offline)
    page = (run / "snakemake.html").read_text(encoding="utf-8")
    categories = json.loads(re.search(r"var categories = (\{.*\});", page).group(1))
    figures = categories["small"]["seed 1"]
    assert {Path(path).stem for path in figures} == set(ORDER) - {"tomogram"}  # there is none
    (tables,) = categories["all data sets"].values()
    csv = [*(table.name for table in TABLES), "results"]
    assert {Path(path).name for path in tables} == {*(f"{name}.csv" for name in csv), "report.html"}
    assert "The median test image of every class." in page  # the captions of our own report
    if not offline:
        pytest.skip("it was made; there are no network namespaces here to be offline")


def test_scoring_refuses_masks_whose_source_changed(run: Path) -> None:
    path = run / "results" / "small" / "seed1" / "civa-net" / "segmentation.mrcs"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    folder = run / "results" / "small"
    command = [sys.executable, "-m", "civa", "score", "--out", "x.csv"]
    command += ["--prediction", str(folder.relative_to(run) / "seed1/civa-net/masks/crf.mrcs")]
    for name in ("masks.mrcs", "particles.csv", "split.csv"):
        command += ["--" + name.split(".")[0], f"results/small/{name}"]
    done = subprocess.run(command, cwd=run, capture_output=True, text=True)
    path.write_bytes(content)
    assert done.returncode == 1
    assert "segmentation.mrcs is not the file that stage" in done.stderr
    assert not (run / "x.csv").exists()


def own_volumes(run: Path, folder: Path, *, masks: bool) -> dict[str, Any]:
    """Lay the run's volumes out as a user has them: one MRC file each, and a table."""
    (folder / "own").mkdir(parents=True)
    results = run / "results" / "small"
    table = pd.read_csv(results / "particles.csv", dtype=str)[["id", "class"]]
    table["path"] = [f"{name}.mrc" for name in table["id"]]
    if masks:
        table["mask"] = [f"{name}_mask.mrc" for name in table["id"]]
    for row, name in enumerate(table["id"]):
        for stack, suffix in (("volumes", ""), ("masks", "_mask")):
            volume = read_stack(results / f"{stack}.mrcs")[row]
            write_volume(folder / "own" / f"{name}{suffix}.mrc", volume, voxel_size_angstrom=20)
    table.to_csv(folder / "own" / "particles.csv", index=False)
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    config["datasets"] = {"mine": {"import": {"table": "own/particles.csv"}}}
    return config


def test_own_volumes_with_masks_score_like_the_simulated_ones(run: Path, tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = own_volumes(run, folder, masks=True)
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    snakemake(folder, "--", "results/mine/trivial/blob.csv", config="mine.yaml")
    scores = [
        pd.read_csv(root / "results" / name / "trivial" / "blob.csv")
        for root, name in ((run, "small"), (folder, "mine"))
    ]
    pd.testing.assert_frame_equal(*scores)


def test_own_volumes_without_masks_are_segmented_and_scored_n_a(run: Path, tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = own_volumes(run, folder, masks=False)
    del config["variants"]
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    snakemake(folder, config="mine.yaml")
    summary = (folder / "results" / "tables" / "summary.md").read_text()
    assert "| + CRF (CIVA-Net, 3D-CRF) " in summary
    assert "n/a" in summary
    assert "0.0" not in summary
    assert "the network was not trained" in summary  # full masks and slices: there are none
    table = (folder / "results" / "tables" / "table2.md").read_text()
    assert "no ground truth for any test image" in summary
    assert "| CIVA-Net (3D-CRF)" in table
    masks = read_stack(folder / "results" / "mine" / "seed1" / "civa-net" / "masks" / "iva.mrcs")
    assert set(np.unique(masks)) <= {0, 1, 2}
    assert (folder / "results" / "report.html").stat().st_size > 10_000


def four_atoms() -> str:
    """The mmCIF text of an entry with four carbon atoms, 30 Å apart."""
    structure = gemmi.Structure()
    structure.name = "1abc"
    residue = gemmi.Residue()
    residue.name, residue.seqid = "ALA", gemmi.SeqId("1")
    for position in ((0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30)):
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*position)
        residue.add_atom(atom)
    chain, model = gemmi.Chain("A"), gemmi.Model(1)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return structure.make_mmcif_document().as_string()


def test_a_missing_structure_is_fetched_in_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "my project")
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "1abc.cif").write_text(four_atoms())
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "server"))
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    config["simulation"]["classes"] = {"pyramid": "1abc", "barrel": "phantom-barrel"}
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        config["structures"] = {"download": True, "server": address}
        (folder / "fetch.yaml").write_text(yaml.safe_dump(config))
        snakemake(folder, "--", "results/small/split.csv", config="fetch.yaml")
        server.shutdown()
    assert (folder / "resources" / "structures" / "1abc.cif").read_text() == four_atoms()
    particles = pd.read_csv(folder / "results" / "small" / "particles.csv")
    assert (particles["structure"] == "1abc").sum() == 8


RECORD_PATH = """
import os, sys
from pathlib import Path
with Path(__file__).with_name("seen").open("a") as seen:
    print(*sys.orig_argv[1:4], os.environ.get("PYTHONPATH"), sep="|", file=seen)
"""


def test_stages_keep_the_users_path_of_modules_after_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_repository(tmp_path / "my project")
    own = tmp_path / "own modules"
    own.mkdir()
    (own / "sitecustomize.py").write_text(RECORD_PATH)  # run by every interpreter that finds it
    monkeypatch.setenv("PYTHONPATH", str(own))
    snakemake(folder, "--", "results/small/templates/phantom-barrel.mrc")
    stages = [line for line in (own / "seen").read_text().splitlines() if "|civa|" in line]
    assert stages == [f"-m|civa|build-template|{folder}:{own}"]


SPLIT = "results/small/split.csv"


def on_cluster(
    folder: Path, python: Path | str, *arguments: str, profile: str = "slurm"
) -> subprocess.CompletedProcess:
    """Run Snakemake with a profile by an interpreter of one's own."""
    command = [str(python), "-m", "snakemake", "--profile", f"profiles/{profile}"]
    return subprocess.run(
        [*command, "--configfile", "tests/small.yaml", *arguments, "--", SPLIT],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


REFUSED = "jobs of a cluster would not find the interpreter"


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project in a folder with a blank, and an interpreter whose environment lies there too."""
    folder = copy_repository(tmp_path_factory.mktemp("blank") / "my project")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder, folder / ".venv" / "bin" / "python"


def test_a_plan_for_a_cluster_says_that_jobs_would_not_find_their_interpreter(
    blank: tuple[Path, Path],
) -> None:
    folder, python = blank
    done = on_cluster(folder, python, "--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Nothing would be submitted: {REFUSED} {python}" in done.stdout
    # an interpreter in another folder is found, and local runs need no other one
    for other in (
        on_cluster(folder, sys.executable, "--dry-run"),
        on_cluster(folder, python, "--dry-run", profile="local"),
    ):
        assert other.returncode == 0, other.stderr[-3000:]
        assert "would not find" not in other.stdout + other.stderr


def test_nothing_is_submitted_that_would_not_find_its_interpreter(
    blank: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, python = blank
    for name in ("sbatch", "srun", "squeue", "sacct", "sinfo", "scontrol", "scancel"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} >> '{tmp_path}/asked'\necho 7\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = on_cluster(folder, python)
    assert done.returncode == 1
    assert REFUSED in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    asked = tmp_path / "asked"
    assert "sbatch" not in (asked.read_text().split() if asked.exists() else [])
    assert not list((folder / ".snakemake" / "locks").glob("*"))


def rename_in_messages(folder: Path, old: str, new: str) -> None:
    """Let Snakemake have given something private another name."""
    path = folder / "rules" / "messages.smk"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dag._group", "dag._gone", "AttributeError: 'DAG' object has no attribute '_gone'"),
        ("import GroupResources", "import Gone as GroupResources", "ImportError: cannot import"),
        ("workflow.group_settings", "workflow.gone", "AttributeError: "),
    ],
)
def test_a_table_of_jobs_that_cannot_be_made_is_one_line_and_no_failure(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    folder = copy_repository(tmp_path)
    rename_in_messages(folder, old, new)
    done = on_cluster(folder, sys.executable, "--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    lines = [
        line for line in done.stderr.splitlines() if line.startswith("the table of jobs could")
    ]
    (line,) = lines
    assert re.search(r"with Snakemake [\d.]+ \(tried with [\d., to]+\): ", line)
    assert reason in line


def test_a_failure_is_told_although_the_steps_that_failed_are_not_known(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    rename_in_messages(folder, "workflow.scheduler.failed", "workflow.scheduler.gone")
    stage = folder / "civa" / "stages" / "simulate.py"
    stage.write_text(stage.read_text() + "raise ImportError('no simulation today')\n")
    done = on_cluster(folder, sys.executable, "--cores", "2", profile="local")
    assert done.returncode == 1
    assert "no simulation today" in done.stdout + done.stderr
    assert "the list of steps that failed could not be made with Snakemake" in done.stderr
    assert "RULE:runtime=600" in done.stdout  # what follows is told all the same


def test_a_killed_local_run_is_recovered_where_squeue_has_no_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_repository(tmp_path / "run")
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    target = "results/small/templates/phantom-barrel.mrc"
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2"]
    process = subprocess.Popen(
        [*command, "--configfile", "tests/small.yaml", "--", target],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    marks = folder / ".snakemake" / "incomplete"
    deadline = time.monotonic() + 60
    while not (marks.is_dir() and any(marks.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert any((folder / ".snakemake" / "locks").iterdir())
    recover = [sys.executable, "-m", "civa", "recover", "--config", "tests/small.yaml"]
    done = subprocess.run(recover, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "no queue could be asked (SLURM's squeue failed (no controller)" in done.stderr
    snakemake(folder, "--", target)
    assert (folder / target).is_file()


def test_datasets_and_seeds_are_wildcards(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    config["seeds"] = [1, 2, 3]
    config["datasets"] = {f"snr{i}": {"simulation": {"snr": i}} for i in (1, 2)}
    (folder / "two.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(folder, config="two.yaml")
    assert jobs["simulate"] == 4  # two shards each
    assert jobs["train_classifier"] == 6
    assert jobs["train_iva"] == 12  # without-co trains its own
    assert jobs["segment"] == 18  # and cut-half segments by itself
    assert jobs["crf"] == 24  # and without-iva refines by itself


def test_the_experiment_of_the_paper_is_few_jobs_and_says_so_before_it_starts(
    tmp_path: Path,
) -> None:
    folder = copy_repository(tmp_path)
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--dry-run"]
    command += ["--configfile", str(ROOT / "examples" / "paper_full.yaml")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    announced = r"^(\d+) jobs for the cluster, \d+ hours at most together:$"
    (count,) = re.findall(announced, done.stdout, re.M)
    assert int(count) <= 120
    table = done.stdout.partition("minutes  steps\n")[2].splitlines()
    kinds = [line.split(maxsplit=5) for line in table if line.strip()]
    assert sum(int(kind[0]) for kind in kinds) == int(count)
    for _, cores, gpus, memory, minutes, steps in kinds:
        networks = ("train_", "segment", "apply_", "cooccur", "localize", "align")
        assert int(gpus) == steps.lstrip("0123456789 ").startswith(networks), steps
        assert int(cores) <= 2
        assert 1000 <= int(memory) <= 32_000
        assert 5 <= int(minutes) <= 2880


def test_a_mistake_in_the_configuration_stops_before_any_job(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path)
    config = yaml.safe_load((folder / PARTS[-1]).read_text())
    config["crf"]["smoothness"] = 3
    (folder / "bad.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(AssertionError, match=r"bad\.yaml, crf: .*there is no key 'smoothness'"):
        planned(folder, config="bad.yaml")
