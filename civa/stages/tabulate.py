"""Scores -> tables, ours as mean and spread over seeds."""

from pathlib import Path

import pandas as pd

from civa.files import write_csv, write_text
from civa.tables import run_table, summary_table, to_latex, to_markdown


def run(
    scores: tuple[Path, ...],
    *,
    runs: Path,
    summary: Path,
    markdown: Path,
    latex: Path,
    rows: tuple[str, ...],
) -> None:
    """Tabulate scores; ``rows`` name each file's DATASET|SEED|METHOD, in the same order."""
    keys = [(dataset, seed, method) for dataset, seed, method in (r.split("|") for r in rows)]
    tables = [pd.read_csv(path, dtype={"id": str, "class": str}) for path in scores]
    by_run = run_table(tables, keys)
    by_method = summary_table(by_run)
    write_csv(runs, by_run.round(3))
    write_csv(summary, by_method)
    write_text(markdown, to_markdown(by_method))
    write_text(latex, to_latex(by_method))
