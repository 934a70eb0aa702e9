"""Speed and memory of what looks at a user's own data, and of what cuts boxes from it.

    python bench/own_data.py --folder /tmp/own-data --boxes 1000 10000

Boxes of 32^3 are cut from one tomogram of 200 x 800 x 800 voxels, at its voxel size and at one
larger by a third; and a table of as many boxes in files of their own is validated.  Peak memory is
the largest resident set of the process.  Times are those of this machine.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
from memory import peak_megabytes

from civa.data.volume import write_volume

# As the workflow sets them for its jobs: large blocks of memory are kept, not given back each time.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
SHAPE = (200, 800, 800)
VOXEL = 10.0


def tomogram(path: Path) -> Path:
    """Write a tomogram of noise, slab by slab."""
    if not path.exists():
        with mrcfile.new_mmap(path, SHAPE, mrc_mode=2) as mrc:
            for z in range(SHAPE[0]):
                mrc.data[z] = np.random.default_rng(z).normal(size=SHAPE[1:])
            mrc.voxel_size = VOXEL
    return path


def positions(path: Path, count: int) -> Path:
    """Write a list of positions whose boxes lie inside."""
    generator = np.random.default_rng(1)
    margin = 24
    places = generator.uniform(margin, np.array(SHAPE[::-1]) - margin, size=(count, 3))
    table = pd.DataFrame({f"{axis}_angstrom": VOXEL * places[:, i] for i, axis in enumerate("xyz")})
    table["class"] = np.where(np.arange(count) % 2, "a", "b")
    table["tomogram"] = "tomogram"
    table["id"] = [f"p{i:06d}" for i in range(count)]
    table.to_csv(path, index=False)
    return path


def boxes(folder: Path, count: int) -> Path:
    """Write a table of boxes in files of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(2)
    for i in range(count):
        if not (folder / f"{i}.mrc").exists():
            box = generator.normal(size=(32,) * 3).astype(np.float32)
            write_volume(folder / f"{i}.mrc", box, voxel_size_angstrom=VOXEL)
    rows = "".join(f"{i},{'ab'[i % 2]},{i}.mrc\n" for i in range(count))
    (folder / "table.csv").write_text("id,class,path\n" + rows)
    return folder / "table.csv"


def main() -> None:
    """Measure, and print a line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--boxes", type=int, nargs="+", default=[1000, 10000])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(MALLOC)
    source = tomogram(asked.folder / "tomogram.mrc")
    print(f"tomogram: {source.stat().st_size / 1e6:.0f} MB")
    civa = [sys.executable, "-m", "civa"]
    for count in asked.boxes:
        out = asked.folder / str(count)
        listed = positions(asked.folder / f"{count}.csv", count)
        products = ["--volumes", out / "v.mrcs", "--masks", out / "m.mrcs"]
        given, known = ["--positions", listed, "--tomograms", source], out / "tomograms.csv"
        cut = [*civa, "extract", *given, "--properties", known, *products]
        table = boxes(asked.folder / f"boxes{count}", count)
        told = asked.folder / f"told{count}"
        runs = {
            "measure-tomograms": [
                *(*civa, "measure-tomograms", *given, "--out", known),
                "--no-invert-contrast",  # noise does not tell it
            ],
            "extract": [*cut, "--particles", out / "p.csv"],
            "extract, 13.3 Å": [
                *cut,
                "--particles",
                out / "p.csv",
                "--voxel-size-angstrom",
                "13.3",
            ],
            "validate --table": [*civa, "validate", "--table", table],
            "validate --table --deep": [*civa, "validate", "--table", table, "--deep"],
            "import": [
                *(*civa, "import", "--table", table, "--particles", told / "p.csv"),
                *("--volumes", told / "v.mrcs", "--masks", told / "m.mrcs"),
                *("--properties", told / "tomograms.csv"),
            ],
        }
        for name, words in runs.items():
            started = time.monotonic()
            megabytes, _ = peak_megabytes([str(word) for word in words])
            seconds = time.monotonic() - started
            print(
                f"{name:26}{count:7} boxes{seconds:8.1f} s{count / seconds:8.0f} per second"
                f"{megabytes:7.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
