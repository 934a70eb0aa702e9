"""What the jobs of a run took: wall time and memory, from Snakemake's benchmarks."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from civa.pipeline.config import Config, seeds
from civa.pipeline.runs import variants


def measured_jobs(config: Config, folder: Path) -> list[Path]:
    """List the benchmarks of the configured data sets, seeds and variants, one file per job."""
    found: list[Path] = []
    for dataset in config["datasets"]:
        places = [folder / dataset, *(folder / dataset / name for name in ("simulate", "trivial"))]
        places += [
            folder / dataset / f"seed{seed}" / variant
            for seed in seeds(config, dataset)
            for variant in variants(config)
        ]
        found += [path for place in places for path in sorted(place.glob("*.tsv"))]
    return found


def costs(paths: Iterable[Path]) -> pd.DataFrame:
    """Read benchmarks of jobs: wall time and peak memory per data set and stage.

    Parameters
    ----------
    paths
        One ``.tsv`` per job, ``benchmarks/<data set>/.../<stage>.tsv``, as Snakemake writes them;
        seeds, variants and shards of a stage are counted together.

    Returns
    -------
    Columns ``dataset``, ``stage``, ``jobs``, ``seconds`` (of all jobs) and ``megabytes`` (the
    largest job, NaN where all were too short to be measured); the slowest stage first.
    """
    lines = []
    for path in paths:
        dataset, stage = _job(path)
        measured = pd.read_csv(path, sep="\t").iloc[0]
        numbers = pd.to_numeric(measured[["s", "max_rss"]], errors="coerce")
        lines.append((dataset, stage, *numbers))
    columns = ["dataset", "stage", "seconds", "megabytes"]
    groups = pd.DataFrame(lines, columns=columns).groupby(["dataset", "stage"], sort=False)
    table = groups.agg(
        jobs=("seconds", "size"), seconds=("seconds", "sum"), megabytes=("megabytes", "max")
    ).reset_index()
    return table.sort_values("seconds", ascending=False, kind="stable", ignore_index=True)


def _job(path: Path) -> tuple[str, str]:
    """Return data set and stage of a job, without its seed, variant and shard."""
    parts = path.with_suffix("").parts
    if "benchmarks" in parts:
        parts = parts[len(parts) - parts[::-1].index("benchmarks") :]
    dataset, *others = parts if len(parts) > 1 else ("", *parts)
    if len(others) > 2 and re.fullmatch(r"seed\d+", others[0]):
        others = others[2:]
    if len(others) > 1 and re.fullmatch(r"\d+of\d+", others[-1]):
        others.pop()
    return dataset, " ".join(others).replace("_", " ")


def duration(seconds: float) -> str:
    """Return a time in the units that people use."""
    if np.isnan(seconds):
        return "n/a"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def memory(megabytes: float) -> str:
    """Return an amount of memory in the units that people use."""
    if np.isnan(megabytes):
        return "n/a"
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1000:.1f} GB"
