"""Peak memory of every stage over the number and size of volumes.

    python bench/memory.py --folder /tmp/memory --volumes 1000 16000 --box 32

Volumes are simulated once per box and repeated up to the number that is asked for; trainings run
one epoch at a small width, since neither changes what a stage holds of the volumes.  Peak memory is
the largest sum of the resident sets of a stage's processes, looked at 20 times a second.  The table
goes to ``memory.csv`` in the folder as stages finish; what is in it already is not run again.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from civa.data.files import write_csv
from civa.data.particles import read_particles
from civa.data.stack import Stack, write_batches

SEEDS = 64  # volumes of a class that are simulated, then repeated
CLASSES = {"cage": "phantom-cage", "spike": "phantom-spike"}
TABLES = ("particles", "split")
TRUTH = ("masks", *TABLES, "predictions")

# verb -> flags: names of inputs and products of the folder, and settings.
STAGES: dict[str, list[str]] = {
    "split": ["particles", "out=split.csv"],
    "trivial": ["volumes", "masks", *TABLES, "out=blob.mrcs", "choice=blob.json", "rule:centre"],
    "train-classifier": [
        *("volumes", *TABLES, "weights=classifier.safetensors", "metrics=classifier.json"),
        *("curve=curve.csv", "epochs:1"),
    ],
    "localize": [
        *("volumes", *TABLES, "weights=classifier.safetensors"),
        *("gradcam=gradcam.mrcs", "respondcam=respondcam.mrcs", "predictions"),
    ],
    "cooccur": ["volumes", *TABLES, "weights=classifier.safetensors", "predictions", "out=co.mrcs"],
    "merge": [
        "gradcam=gradcam.mrcs",
        "cooccurrence=co.mrcs",
        *TRUTH,
        "out=m.mrcs",
        "choice=m.json",
    ],
    "binarize": ["maps=m.mrcs", *TRUTH, "out=pseudo.mrcs", "choice=pseudo.json"],
    "mine-pairs": ["class-maps=pseudo.mrcs", *TABLES, "out=pairs.npz"],
    "train-iva": [
        *("volumes", "pairs=pairs.npz", "weights=iva.safetensors", "curve=iva.csv"),
        *("epochs:1", "width:4"),
    ],
    "segment": [
        *("volumes", "weights=iva.safetensors", "cam-masks=pseudo.mrcs", *TRUTH),
        *("segmentation=o.mrcs", "out=iva.mrcs", "choice=iva.json"),
    ],
    "crf": [
        *("volumes", "segmentation=o.mrcs", "proposals=iva.mrcs", "segment-choice=iva.json"),
        *(*TRUTH, "out=crf.mrcs", "choice=crf.json", "iterations:1", "search-volumes:16"),
    ],
    "score": ["prediction=crf.mrcs", "masks", *TABLES, "out=scores.csv"],
    "average": [
        *("volumes", "gradcam=gradcam.mrcs", *TABLES, "averages=averages.mrcs"),
        *("first-halves=h1.mrcs", "second-halves=h2.mrcs", "spectra=averages.csv"),
        *("averages-record=averages.json", "starts:1"),
    ],
    "align": [
        *("volumes", "gradcam=gradcam.mrcs", *TABLES, "predictions", "averages=averages.mrcs"),
        *("spectra=averages.csv", "averages-record=averages.json", "alignment"),
    ],
    "refine": [
        *("volumes", *TABLES, "alignment", "first-averages=averages.mrcs", "first-half1=h1.mrcs"),
        *("first-half2=h2.mrcs", "first-spectra=averages.csv", "first-record=averages.json"),
        *("averages=again.mrcs", "first-halves=again1.mrcs", "second-halves=again2.mrcs"),
        *("spectra=again.csv", "averages-record=again.json", "transfer=transfer.mrcs"),
        "noise=noise.mrcs",
    ],
    "map-back": [
        *("volumes", "averages=averages.mrcs", "averages-record=averages.json", "alignment"),
        *("masks", *TABLES, "mapped-back=mapped.mrcs", "out=consensus.mrcs"),
        *("choice=consensus.json", "tuned=tuned.mrcs", "tuned-choice=tuned.json"),
    ],
    "calibrate": [
        *("mapped-back=mapped.mrcs", "averages=averages.mrcs", "first-halves=h1.mrcs"),
        *("second-halves=h2.mrcs", "averages-record=averages.json", "choice=consensus.json"),
        *("alignment", "masks", *TABLES, "probabilities=p.mrcs", "confidence=confidence.csv"),
        "report=calibration.json",
    ],
    "train-segmenter": [
        *("volumes", "annotations=masks.mrcs", "masks", *TABLES, "weights=full.safetensors"),
        *("metrics=full.json", "curve=full.csv", "network:voxresnet", "supervision:full"),
        *("epochs:1", "width:4"),
    ],
    "apply-segmenter": [
        *("volumes", "weights=full.safetensors", "metrics=full.json", "masks", *TABLES),
        *("out=full.mrcs", "choice=full-choice.json"),
    ],
}
STACKS = {"volumes": "volumes.mrcs", "masks": "masks.mrcs"}
THREADED = {
    *("train-classifier", "localize", "cooccur", "train-iva", "segment", "crf", "average"),
    *("align", "refine", "map-back", "train-segmenter", "apply-segmenter"),
}


def command(verb: str, folder: Path) -> list[str]:
    """The command line of a stage whose files lie in a folder."""
    words = [sys.executable, "-m", "civa", verb]
    for item in STAGES[verb]:
        if ":" in item:
            name, value = item.split(":")
        else:
            name, _, file = item.partition("=")
            value = str(folder / (file or STACKS.get(name, f"{name}.csv")))
        words += [f"--{name}", value]
    return [*words, "--threads", "2"] if verb in THREADED else words


def peak_megabytes(words: list[str]) -> tuple[float, float]:
    """Run a command: the largest sum of resident sets of its processes, and its seconds."""
    started = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    largest, watched = 0, psutil.Process(process.pid)

    def look() -> None:
        nonlocal largest
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                largest = max(largest, sum(one.memory_info().rss for one in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.05)

    watcher = threading.Thread(target=look)
    watcher.start()
    _, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{errors[-2000:]}")
    return largest / 1e6, time.monotonic() - started


def simulated(folder: Path, box: int) -> Path:
    """Simulate the volumes of a box size that are repeated."""
    if (folder / "particles.csv").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    scale = ["--voxel-size-angstrom", str(320 / box), "--box-voxels", str(box)]
    templates = [folder / f"{name}.mrc" for name in CLASSES.values()]
    base = [sys.executable, "-m", "civa"]
    for template in templates:
        subprocess.run(
            [*base, "build-template", "--out", template, "--name", template.stem, *scale],
            check=True,
        )
    subprocess.run(
        [
            *(*base, "simulate", "--templates", *templates, "--volumes", folder / "volumes.mrcs"),
            *("--masks", folder / "masks.mrcs", "--particles", folder / "particles.csv"),
            *("--classes", *(f"{name}={shape}" for name, shape in CLASSES.items())),
            *("--per-class", str(SEEDS), "--snr", "0.1", "--neighbours", "none", *scale),
            *("--simulated-box-voxels", str(2 * box), "--max-shift-voxels", str(box // 8)),
        ],
        check=True,
    )
    return folder


def repeated(source: Path, folder: Path, volumes: int) -> None:
    """Write a data set of so many volumes: those of the source, again and again."""
    if (folder / "particles.csv").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    number, of = np.divmod(np.arange(volumes), len(CLASSES))  # of all classes in turn
    rows = of * SEEDS + number % SEEDS
    for name in STACKS.values():
        stack = Stack.open(source / name)
        size = {"voxel_size_angstrom": stack.voxel_size_angstrom}
        with write_batches(folder / name, (volumes, *stack.shape[1:]), stack.dtype, **size) as out:
            for start in range(0, volumes, 64):
                out[start : start + 64] = stack[rows[start : start + 64]]
    table = read_particles(source / "particles.csv").iloc[rows]
    write_csv(folder / "particles.csv", table.assign(id=[f"v{i:06d}" for i in range(volumes)]))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--volumes", type=int, nargs="+", default=[1000, 16000])
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--only", nargs="+", default=list(STAGES))
    asked = parser.parse_args()
    listed = asked.folder / "memory.csv"
    done = pd.read_csv(listed) if listed.is_file() else pd.DataFrame(columns=["verb", "n", "box"])
    source = simulated(asked.folder / f"box{asked.box}", asked.box)
    for volumes in asked.volumes:
        folder = asked.folder / f"box{asked.box}" / str(volumes)
        repeated(source, folder, volumes)
        for verb in asked.only:
            known = (done[["verb", "n", "box"]] == [verb, volumes, asked.box]).all(axis=1)
            if known.any():
                continue
            megabytes, seconds = peak_megabytes(command(verb, folder))
            line = {"verb": verb, "n": volumes, "box": asked.box}
            line |= {"megabytes": round(megabytes), "seconds": round(seconds, 1)}
            done = pd.concat([done, pd.DataFrame([line])], ignore_index=True)
            write_csv(listed, done)
            print(
                f"{verb:18}{volumes:8}{asked.box:5}{megabytes:8.0f} MB{seconds:9.1f} s", flush=True
            )
    print(done.pivot_table(index="verb", columns=["box", "n"], values="megabytes", sort=False))


if __name__ == "__main__":
    main()
