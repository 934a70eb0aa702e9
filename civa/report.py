"""One self-contained page: tables, figures, cost of every stage, configuration."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

import pandas as pd

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}
pre{background:#f6f6f6;padding:1rem;overflow:auto}
"""


def html_table(table: pd.DataFrame) -> str:
    """Return a table of text as HTML."""
    return str(table.to_html(index=False, border=0, na_rep="n/a"))


def html_image(path: Path, caption: str) -> str:
    """Return a PNG, held in the page itself, with its caption."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return (
        f'<figure><img alt="{escape(caption)}" src="{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def html_page(title: str, sections: Mapping[str, str]) -> str:
    """Return a complete page from section titles and bodies of HTML."""
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{content}" for name, content in sections.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f'</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def costs(folder: Path) -> pd.DataFrame:
    """Read the benchmark files of a run: wall time and peak memory per stage.

    Parameters
    ----------
    folder
        Where Snakemake keeps one ``.tsv`` per job.

    Returns
    -------
    Columns ``stage``, ``wall time (s)`` and ``peak memory (MB)``, the slowest first.
    """
    lines = []
    for path in sorted(folder.rglob("*.tsv")):
        measured = pd.read_csv(path, sep="\t").iloc[0]
        lines.append(
            (str(path.relative_to(folder).with_suffix("")), measured["s"], measured["max_rss"])
        )
    table = pd.DataFrame(lines, columns=["stage", "wall time (s)", "peak memory (MB)"])
    return table.sort_values("wall time (s)", ascending=False).round(1)
