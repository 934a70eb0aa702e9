"""Sections of the report: quality ledger, tables, figures, cost, inputs, software.

Everything that is not written here, names and configuration above all, is escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from civa.evaluation.thresholds import LIMITS, config_keys
from civa.pipeline.runs import run_of, run_title
from civa.report.benchmarks import duration, memory
from civa.report.page import (
    folded,
    html_image,
    html_table,
    notice,
    scrolled,
    verdict_mark,
    verdict_marks,
)
from civa.report.tables import Layout
from civa.report.wording import FIGURES, GLOSSARY

LONG_LIST = 25  # files; a longer list is folded


def with_code(text: str) -> str:
    """Escape a text and set its configuration keys as code."""
    found = escape(text)
    for key in sorted(set(config_keys(text)), key=len, reverse=True):
        found = re.sub(rf"\b{re.escape(key)}\b(?!</code>|[a-z_])", f"<code>{key}</code>", found)
    return found


def glossary() -> str:
    """Explain the words of the page."""
    terms = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(text[0].upper() + text[1:])}</dd>"
        for term, text in GLOSSARY.items()
    )
    return f"<dl>{terms}</dl>"


def quality(ledgers: Mapping[tuple[str, str, str], pd.DataFrame]) -> str:
    """Show the ledger of every run, and why its limits stand where they do."""
    if not ledgers:
        return "<p>No run has a ledger: it is made once masks and scores of a run are there.</p>"
    parts = [
        "<p>Every stage is checked on its own, since a late stage cannot repair an early one: "
        "read from the top, and begin with the first line that is not green. Checks that need a "
        "ground truth are n/a where there is none; the others use the class labels alone.</p>"
    ]
    shown: set[str] = set()
    for run, ledger in ledgers.items():
        marks = verdict_marks(ledger["verdict"])
        title = run_title(*run)
        parts.append(
            folded(
                f"{escape(title)} {marks}",
                _ledger_table(ledger, f"Quality ledger: {title}"),
                is_open=run[0] not in shown,
            )
        )
        shown.add(run[0])
    limits = pd.DataFrame(
        [(limit.check, limit.unit, limit.expected, limit.reason) for limit in LIMITS.values()],
        columns=["check", "unit", "expected", "why"],
    )
    parts.append(folded("Why the limits stand there", html_table(limits, "Limits", kind="text")))
    return "".join(parts)


def _ledger_table(ledger: pd.DataFrame, caption: str) -> str:
    head = (
        '<thead><tr><th scope="col">Check</th><th scope="col" class="number">Value</th>'
        '<th scope="col">Expected</th><th scope="col">Verdict</th></tr></thead>'
    )
    groups = []
    for stage, lines in ledger.groupby("stage", sort=False):
        rows = [_ledger_row(line) for line in lines.to_dict("records")]
        title = str(stage)[:1].upper() + str(stage)[1:]
        name = f'<tr><th scope="rowgroup" colspan="4">{escape(title)}</th></tr>'
        groups.append(f"<tbody>{name}{''.join(rows)}</tbody>")
    table = f"<caption>{escape(caption)}</caption>{head}{''.join(groups)}"
    return scrolled(f'<table class="ledger">{table}</table>', caption)


def _ledger_row(line: Mapping) -> str:
    style = ".1f" if line["unit"] in ("%", "points") else "g"
    value = f"{line['value']:{style}} {line['unit']}".replace("-", "−")
    value = "n/a" if pd.isna(line["value"]) else escape(value)
    advice = ""
    if line["advice"]:
        advice = f'<p class="advice"><strong>Try:</strong> {with_code(line["advice"])}</p>'
    return (
        f'<tr><th scope="row">{escape(line["check"])}{advice}</th><td class="number">{value}</td>'
        f'<td class="soft">{escape(line["expected"].replace(" -", " −"))}</td>'
        f"<td>{verdict_mark(line['verdict'])}</td></tr>"
    )


def score_tables(layouts: Sequence[Layout]) -> str:
    """Show tables with their notes."""
    parts = [
        html_table(part.table, part.title, kind="scores")
        + '<ul class="notes">'
        + "".join(f"<li>{escape(note)}</li>" for note in part.notes)
        + "</ul>"
        for part in layouts
        if len(part.table)
    ]
    return "".join(parts) or "<p>There is no table: nothing was scored.</p>"


def pictures(paths: Iterable[Path]) -> str:
    """Show the figures of every run, each with how to read it."""
    runs: dict[tuple[str, str, str], list[Path]] = {}
    order = list(FIGURES)
    parts = []
    for path in paths:
        if path.stem == "stress_tests":
            parts.append(_picture(path, "all data sets"))
        else:
            runs.setdefault(run_of(path, below=1), []).append(path)
    shown: set[str] = set()
    for run, files in runs.items():
        title = run_title(*run)
        known = sorted(
            files, key=lambda p: order.index(p.stem) if p.stem in FIGURES else len(order)
        )
        images = "".join(_picture(path, title) for path in known)
        parts.append(folded(escape(title), images, is_open=run[0] not in shown))
        shown.add(run[0])
    return "".join(parts) or "<p>There is no figure: none was drawn.</p>"


def _picture(path: Path, run: str) -> str:
    name, text = FIGURES.get(path.stem, (path.stem, ""))
    caption = f"<strong>{escape(name)}.</strong> {escape(text)}"
    return html_image(path, f"{name}: {run}", caption)


def cost_tables(measured: pd.DataFrame, datasets: Sequence[str]) -> str:
    """Show what every stage took, data set by data set, from `costs`."""
    if measured.empty:
        return "<p>No benchmark was found: nothing is known about time and memory.</p>"
    known = [name for name in datasets if (measured["dataset"] == name).any()]
    others = [name for name in measured["dataset"].unique() if name not in known]
    parts = [
        f"<p>All jobs one after the other: {duration(measured['seconds'].sum())}; the largest took "
        f"{memory(measured['megabytes'].max())}. Wall time and peak memory of each job are those "
        "of the last time that it ran; jobs that run side by side finish sooner than their sum, "
        "and other work on the machine makes them slower.</p>"
    ]
    for dataset in (*known, *others):
        own = measured[measured["dataset"] == dataset]
        total = ("total", own["jobs"].sum(), own["seconds"].sum(), own["megabytes"].max())
        lines = [*own[["stage", "jobs", "seconds", "megabytes"]].itertuples(index=False), total]
        cells = [(stage, f"{n:d}", duration(s), memory(m)) for stage, n, s, m in lines]
        columns = ["stage", "jobs", "wall time", "peak memory"]
        table = pd.DataFrame(cells, columns=columns)
        parts.append(html_table(table, f"Cost: {dataset}", total=True))
    return "".join(parts)


def input_list(found: Mapping[Path, str]) -> str:
    """List files that no stage made, and the SHA-256 of their content."""
    if not found:
        return "<p>No record of the inputs was found.</p>"
    rows = "".join(
        f'<tr><th scope="row">{escape(path.as_posix())}</th>'
        f'<td class="hash">{escape(content)}</td></tr>'
        for path, content in sorted(found.items())
    )
    caption = f"{len(found)} file{'' if len(found) == 1 else 's'} that results were made from"
    table = scrolled(
        f'<table class="text"><caption>{caption}</caption><thead><tr><th scope="col">file</th>'
        f'<th scope="col">SHA-256</th></tr></thead><tbody>{rows}</tbody></table>',
        caption,
    )
    intro = (
        "<p>What the user brought, and what was downloaded or built from nothing. The sums are "
        "of the content that was read when results were made; <code>sha256sum FILE</code> shows "
        "whether a file is still the same.</p>"
    )
    return intro + (folded(caption, table) if len(found) > LONG_LIST else table)


def software(versions: Mapping[str, Sequence[str]], config: str) -> str:
    """Show what made the results, and with which settings.

    Parameters
    ----------
    versions
        Name -> the versions that records of the results name.
    config
        The configuration as YAML.
    """
    table = pd.DataFrame(
        [(name, ", ".join(found) or "unknown") for name, found in versions.items()],
        columns=["software", "version"],
    )
    mixed = [name for name, found in versions.items() if len(found) > 1]
    remark = ""
    if mixed:
        names = escape(", ".join(mixed))
        remark = notice(f"Results were made with more than one version of: {names}.", "caution")
    shown = folded("Configuration of this report (YAML)", f"<pre>{escape(config)}</pre>")
    return remark + html_table(table, "Software that made the results", kind="text") + shown
