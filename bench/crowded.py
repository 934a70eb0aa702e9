"""How right CIVA-Consensus is in a crowded specimen that other programs packed and imaged.

    python bench/crowded.py --specimen ../shared/crowded --folder F --pick-error 1.5 --state raw

The folder of the specimen holds ``tomogram1`` (tomograms, labels, particles.csv) and
``sample1.npz`` (the density); boxes are cut at picks that are off by up to some voxels along each
axis, and the workflow runs on them as on anybody's data.  Printed are mean IoU (strict: 0 where the
class is wrong), class accuracy by alignment, trivial rules, and how many masks below an IoU of one
half are reported (an IoU below one half is expected of them).
"""

import argparse
import gzip
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from civa.data.stack import Stack
from civa.data.volume import write_volume
from civa.evaluation.metrics import iou
from civa.particle_lists.coordinates_csv import ANGSTROM

ROOT = Path(__file__).resolve().parents[1]
VOXEL = 10.0  # Å
LEAST_COPIES = 45  # of a class that is looked for
STATES = {"raw": "raw", "phaseflipped": "phase-flipped"}
QUARTER = 62  # of 250, a molecule's peak: the contour of the truth
HALF = 0.5
NOMINAL_DEFOCUS_UM = 4.0
TRIVIAL = ("ball", "centre", "lowpass", "blob")


def main() -> None:
    """Cut boxes, run the workflow, and print how right its masks are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--specimen", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pick-error", type=float, default=1.5, help="voxels along each axis")
    parser.add_argument("--state", choices=STATES, default="raw")
    parser.add_argument("--seed", type=int, default=7, help="of the errors of picks")
    asked = parser.parse_args()
    name = f"{asked.state}_{asked.pick_error:g}"
    folder = asked.folder.resolve()
    extract = prepare(asked.specimen, folder, asked.state, asked.pick_error, asked.seed)
    settings = {"seeds": [1], "datasets": {name: {"extract": extract}}}
    settings["classifier"] = {"epochs": 24}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    run = f"results/{name}/seed1/civa-net"
    wanted = [f"{run}/confidence.csv", *(f"results/{name}/trivial/{rule}.csv" for rule in TRIVIAL)]
    command = ["snakemake", "--profile", str(ROOT / "profiles/local"), "--quiet", "all"]
    command += ["--snakefile", str(ROOT / "workflow/Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / f"{name}.yaml"), "--", *wanted]
    subprocess.run(command, check=True)
    show(folder / f"results/{name}", folder / run)


def prepare(
    specimen: Path, folder: Path, state: str, pick_error: float, seed: int
) -> dict[str, object]:
    """Write tomogram, picks and map of instances; return the section that cuts boxes."""
    particles = pd.read_csv(specimen / "tomogram1/particles.csv")
    copies = particles["class"].value_counts()
    # One complex is there as its asymmetric unit, others are too small for boxes of 10 Å.
    wanted = [c for c in ("3cf3", "1bxn", "1qvr", "3j9i") if copies[c] >= LEAST_COPIES]
    particles = particles[particles["class"].isin(wanted)].reset_index(drop=True)
    places = particles[ANGSTROM].to_numpy()
    tomogram, truth = folder / state / "tomogram1.mrc", folder / "instances" / "tomogram1.mrc"
    for path in (tomogram, truth):
        path.parent.mkdir(parents=True, exist_ok=True)
    name = f"tomogram1/tomogram_{state}.mrc.gz"
    with gzip.open(specimen / name) as packed, tomogram.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    write_volume(truth, _instances(specimen, particles, places), voxel_size_angstrom=VOXEL)
    off = np.random.default_rng(seed).uniform(-pick_error, pick_error, size=places.shape)
    table = particles[["class", *ANGSTROM]].assign(tomogram="tomogram1")
    table[ANGSTROM] += VOXEL * off
    listed = folder / f"picks_{pick_error:g}.csv"
    table.assign(defocus_um=NOMINAL_DEFOCUS_UM).to_csv(listed, index=False)
    return {
        "lists": str(listed),
        "tomograms": str(tomogram),
        "instances": str(truth),
        "ctf_state": STATES[state],
        "box_voxels": 32,
        "whole_voxels": True,
    }


def _instances(specimen: Path, particles: pd.DataFrame, places: NDArray) -> NDArray[np.int16]:
    """Number of the particle, from 1, that every voxel within its contour is nearest to."""
    density = np.load(specimen / "sample1.npz")["density"]
    with gzip.open(specimen / "tomogram1/labels.mrc.gz") as packed:
        labels = mrcfile.mrcinterpreter.MrcInterpreter(packed).data
    found = np.zeros(labels.shape, dtype=np.int16)
    for label in particles["label"].unique():
        rows = np.flatnonzero(particles["label"] == label)
        voxels = np.argwhere((labels == label) & (density > QUARTER))
        nearest = cKDTree(places[rows][:, ::-1] / VOXEL).query(voxels)[1]
        found[tuple(voxels.T)] = rows[nearest] + 1
    return found


def show(dataset: Path, run: Path) -> None:
    """Print what was reached."""
    table, split = (pd.read_csv(dataset / f"{name}.csv") for name in ("particles", "split"))
    aligned, confidence = (pd.read_csv(run / f"{n}.csv") for n in ("alignment", "confidence"))
    files = (dataset / "masks.mrcs", run / "masks/consensus.mrcs")
    truth, masks = (Stack.open(path)[:] > 0 for path in files)
    is_right = (aligned["label"] == table["label"]).to_numpy()
    reached = np.where(is_right, iou(masks, truth), 0)
    expected = confidence["expected_iou"].to_numpy()
    for part in ("test", "validation", "train", "all"):
        rows = ((split["part"] == part) | (part == "all")).to_numpy()
        by_class = pd.Series(reached[rows]).groupby(table["class"].to_numpy()[rows]).mean()
        print(
            f"{part}: {rows.sum()} boxes, strict mIoU {100 * reached[rows].mean():.1f} (expected "
            f"{100 * expected[rows].mean():.1f}), class by alignment {is_right[rows].mean():.3f}; "
            + ", ".join(f"{name} {100 * value:.1f}" for name, value in by_class.items())
        )
    bad, reported = reached < HALF, expected < HALF
    print(
        f"below one half: {bad.sum()}, of which {(bad & reported).sum()} are reported; false "
        f"alarms: {(reported & ~bad).sum()} of {(~bad).sum()}"
    )
    for rule in TRIVIAL:
        scores = pd.read_csv(dataset / f"trivial/{rule}.csv")
        print(f"trivial rule {rule}: {100 * scores['iou'].mean():.1f} (test)")


if __name__ == "__main__":
    main()
