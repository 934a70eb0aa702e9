"""Sections of the report: each arranges its data and fills its template with them."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from civa.evaluation.thresholds import LIMITS, VERDICTS
from civa.pipeline.runs import run_of, run_title
from civa.report.benchmarks import duration, memory
from civa.report.page import caption, data_uri, render
from civa.report.tables import NOT_AVAILABLE, Layout

# Figures in the order of the pipeline; others follow.
ORDER = (
    *("overview", "compare", "tomogram", "averages", "training"),
    *("sweeps", "confusion", "refinement", "distributions"),
)
OVERALL = "stress_tests"  # the figure of all data sets together

Run = tuple[str, str, str]  # data set, seed, variant


@dataclass(frozen=True)
class Figure:
    """A picture, its title, and how to read it."""

    title: str
    text: str
    source: str

    @classmethod
    def read(cls, path: Path) -> "Figure":
        """Read a PNG; its name leads to its caption."""
        return cls(*caption(path.stem), data_uri(path.read_bytes()))


def glossary() -> Markup:
    """Explain the terms of the page."""
    return render("glossary")


def tally(verdicts: Iterable[str]) -> dict[str, int]:
    """Count the verdicts of each kind that occurs, the best kind first."""
    counts = Counter(verdicts)
    return {name: counts[name] for name in VERDICTS if counts[name]}


def quality(ledgers: Mapping[Run, pd.DataFrame]) -> Markup:
    """Show the ledger of every run, and why its limits stand where they do."""
    runs = [
        {
            "title": run_title(*run),
            "is_open": is_first,
            "verdicts": tally(ledger["verdict"]),
            "groups": {
                stage: [_ledger_line(line) for line in lines.to_dict("records")]
                for stage, lines in ledger.groupby("stage", sort=False)
            },
        }
        for (run, ledger), is_first in zip(ledgers.items(), _first_of_dataset(ledgers), strict=True)
    ]
    limits = [(limit.check, limit.unit, limit.expected, limit.reason) for limit in LIMITS.values()]
    return render("quality", ledgers=runs, limits=limits)


def _first_of_dataset(runs: Iterable[Run]) -> list[bool]:
    """Tell of every run whether none of its data set came before."""
    datasets = [dataset for dataset, _, _ in runs]
    return [name not in datasets[:place] for place, name in enumerate(datasets)]


def _ledger_line(line: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Write the numbers of a line out, with a sign of their own for minus."""
    style = ".1f" if line["unit"] in ("%", "points") else "g"
    value = f"{line['value']:{style}} {line['unit']}".replace("-", "−")
    return {
        **line,
        "value": NOT_AVAILABLE if pd.isna(line["value"]) else value,
        "expected": line["expected"].replace(" -", " −"),
    }


def score_tables(layouts: Sequence[Layout], *, are_scored: bool = True) -> Markup:
    """Show tables with their notes, or say that there is no ground truth to score against."""
    tables = [
        {
            "columns": list(part.table.columns),
            "rows": part.table.to_numpy().tolist(),
            "title": part.title,
            "notes": part.notes,
        }
        for part in layouts
        if len(part.table)
    ]
    return render("tables", tables=tables, are_scored=are_scored)


def figures(paths: Iterable[Path]) -> Markup:
    """Show the figures of every run, each with how to read it."""
    by_run: dict[Run, list[Path]] = {}
    overall = []
    for path in paths:
        if path.stem == OVERALL:
            overall.append(Figure.read(path))
        else:
            by_run.setdefault(run_of(path, below=1), []).append(path)
    runs = [
        {
            "title": run_title(*run),
            "is_open": is_first,
            "figures": [Figure.read(path) for path in sorted(files, key=_place)],
        }
        for (run, files), is_first in zip(by_run.items(), _first_of_dataset(by_run), strict=True)
    ]
    return render("figures", overall=overall, runs=runs)


def _place(path: Path) -> int:
    return ORDER.index(path.stem) if path.stem in ORDER else len(ORDER)


def cost_tables(measured: pd.DataFrame, datasets: Sequence[str]) -> Markup:
    """Show what every stage took, data set by data set, from `costs`."""
    known = [name for name in datasets if (measured["dataset"] == name).any()]
    others = [name for name in measured["dataset"].unique() if name not in known]
    tables = {
        dataset: _cost_rows(measured[measured["dataset"] == dataset])
        for dataset in (*known, *others)
    }
    seconds, megabytes = measured["seconds"].sum(), measured["megabytes"].max()
    return render("cost", tables=tables, seconds=seconds, megabytes=megabytes)


def _cost_rows(measured: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    """Return one row of text per stage, and their sum."""
    jobs, seconds, megabytes = (measured[name] for name in ("jobs", "seconds", "megabytes"))
    total = ("total", jobs.sum(), seconds.sum(), megabytes.max())
    lines = [*zip(measured["stage"], jobs, seconds, megabytes, strict=True), total]
    return [(stage, f"{n:d}", duration(s), memory(m)) for stage, n, s, m in lines]


def input_list(found: Mapping[Path, str], tomograms: Mapping[str, pd.DataFrame]) -> Markup:
    """List files that no stage made, the SHA-256 of their content, and own tomograms.

    Parameters
    ----------
    tomograms
        Data set -> what is known of its tomograms, a row per quantity.
    """
    files = [(path.as_posix(), content) for path, content in sorted(found.items())]
    known = [(name, list(table.itertuples(index=False))) for name, table in tomograms.items()]
    return render("inputs", files=files, tomograms=known)


def software(versions: Mapping[str, Sequence[str]], config: str) -> Markup:
    """Show what made the results, and with which settings.

    Parameters
    ----------
    versions
        Name -> the versions that records of the results name.
    config
        The configuration as YAML.
    """
    rows = [(name, ", ".join(found) or "unknown") for name, found in versions.items()]
    mixed = [name for name, found in versions.items() if len(found) > 1]
    return render("software", versions=rows, mixed=mixed, config=config)
