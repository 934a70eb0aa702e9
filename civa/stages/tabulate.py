"""Scores -> Tables 1 to 5 and all rows, as CSV, Markdown and LaTeX."""

from pathlib import Path

import yaml

from civa.data.files import write_csv, write_text
from civa.data.particles import class_names, read_particles
from civa.evaluation.scores import read_scores
from civa.pipeline.runs import rows
from civa.report.paper_results import TABLES
from civa.report.results import collect
from civa.report.tables import Layout, layouts, paper_lines, to_latex, to_markdown


def run(
    scores: tuple[Path, ...], particles: tuple[Path, ...], *, results: Path, config: str
) -> None:
    """Tabulate the scores of a configuration, given as YAML.

    Results go to ``results``; ``table1`` to ``table5`` and ``summary`` beside it.  Scores that
    the configuration asks for but that are not among ``scores`` are n/a, with a footnote.

    Parameters
    ----------
    scores
        CSV tables of scores, a row per test image, of all rows.
    particles
        CSV tables of the volumes, one per data set.
    results
        CSV table of all results; the other tables are written beside it.
    config
        The configuration, as YAML text.
    """
    asked = yaml.safe_load(config)
    tables = {path.as_posix(): read_scores(path) for path in scores}
    classes = {path.parent.name: class_names(read_particles(path)) for path in particles}
    lines = collect(list(rows(asked)), tables, classes)
    write_csv(results, lines)
    made = layouts(lines, asked)
    for name in (*(table.name for table in TABLES), "summary"):
        parts: list[Layout] = [part for part in made if part.name == name]
        write_text(results.with_name(f"{name}.md"), to_markdown(parts))
        write_text(results.with_name(f"{name}.tex"), to_latex(parts))
    for table in TABLES:
        write_csv(results.with_name(f"{table.name}.csv"), paper_lines(table, lines, asked))
