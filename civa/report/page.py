"""The elements of a self-contained page: style, tables, figures, notices.

Everything that is not written here is escaped, except where a parameter says that it is HTML.
"""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import pandas as pd

from civa.evaluation.thresholds import VERDICTS

# 16 x 16 pixels: a blob with an outline, as a PNG.
ICON = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAADFBMVEUAAAALjIwfJCjSSQ9g0A+A"
    "AAAABHRSTlMA////sy1AiAAAAEBJREFUeNpjYOD/wMDA8P8/AwP/r/UfGPhXrfrAYDc1ag+DXSiQ"
    "+BUath6FiFrPYLc0Cyi7atUeiGKwNrABIKMAHRQhLpx/vZwAAAAASUVORK5CYII="
)

MARKS = {"green": "✓", "amber": "!", "red": "✕", "n/a": "–"}

STYLE = """
:root{color-scheme:light;--ink:#1f2428;--soft:#5b646c;--line:#dfe3e6;--pale:#f5f7f8;
--accent:#0b6e6e;--green:#176b34;--amber:#855000;--red:#a61b1b}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{font:17px/1.55 "Source Sans 3","Segoe UI",system-ui,-apple-system,"Helvetica Neue",Arial,
"Liberation Sans",sans-serif;color:var(--ink);margin:0;background:#fff}
.frame{max-width:88rem;margin:0 auto;padding:1.5rem clamp(1rem,3vw,2.5rem) 4rem}
h1{font-size:2.1rem;line-height:1.15;margin:.5rem 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.5rem;margin:3rem 0 .8rem;padding-top:.6rem;border-top:2px solid var(--ink);
line-height:1.25}
h3{font-size:1.13rem;margin:2rem 0 .5rem}
p,dl,ul,.notice{max-width:46rem}
.lead{color:var(--soft);margin:0 0 1.5rem}
a{color:var(--accent)}
nav{font-size:.94rem}
nav ol{list-style:none;margin:0;padding:0}
nav a{display:block;padding:.22rem 0;text-decoration:none}
nav a:hover,nav a:focus{text-decoration:underline}
dt{font-weight:650;margin-top:.75rem}
dd{margin:.1rem 0 0}
code,pre,.hash{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
font-size:.86em}
code{background:var(--pale);padding:.05em .3em;border-radius:3px}
pre{background:var(--pale);padding:1rem;overflow:auto;border-radius:5px;line-height:1.45}
.hash{overflow-wrap:anywhere;color:var(--soft)}
.scroll{overflow-x:auto;margin:1.2rem 0 .4rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem;line-height:1.4}
caption{text-align:left;font-weight:650;font-size:1.02rem;padding:.3rem 0 .5rem;
caption-side:top}
th,td{padding:.34rem .8rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:.2rem}
tbody th{font-weight:400}
thead th{font-weight:650;border-bottom:1.5px solid var(--ink);vertical-align:bottom}
tfoot th,tfoot td{font-weight:650;border-top:1.5px solid var(--ink);border-bottom:0}
.text td,.text th{text-align:left}
.scores{font-size:.87rem}
.scores th,.scores td{padding:.32rem .6rem}
.scores td{white-space:nowrap}
.scores th:first-child{min-width:11.5rem;padding-left:.2rem}
.notes{font-size:.88rem;color:var(--soft);list-style:none;padding:0;margin:.2rem 0 1.8rem}
.notice{border:1px solid var(--line);border-left:5px solid var(--accent);background:var(--pale);
padding:.6rem .9rem;margin:1rem 0;border-radius:3px}
.warning{border-left-color:var(--red);background:#fdf3f2}
.caution{border-left-color:#c98100;background:#fdf8ec}
.verdict{display:inline-block;white-space:nowrap;font-weight:650;padding:.02em .55em;
border-radius:1em;border:1px solid;font-size:.88em}
.verdict.green{color:var(--green);background:#eaf6ee}
.verdict.amber{color:var(--amber);background:#fff3d9}
.verdict.red{color:#fff;background:var(--red);border-color:var(--red)}
.verdict.none{color:var(--soft);background:#fff;border-color:var(--line)}
.ledger{width:100%;max-width:66rem}
.ledger th,.ledger td{text-align:left}
.ledger caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.ledger td.number,.ledger th.number{text-align:right;white-space:nowrap}
.ledger tbody th[scope=rowgroup]{font-weight:650;padding-top:1rem;border-bottom-color:#aab2b8}
.advice{margin:.25rem 0 .1rem;font-size:.95em;max-width:36rem}
.soft{color:var(--soft)}
.bars{width:100%;max-width:46rem;margin-bottom:1.5rem}
.bars th,.bars td{border:0;padding:.16rem .5rem .16rem 0;text-align:left}
.bars th{width:17rem;font-weight:400}
.bars td:nth-child(2){width:auto}
.bars td:last-child{width:7.5rem;text-align:right;white-space:nowrap}
.bar{display:block;height:.85rem;background:#9fb4bd;border-radius:2px;min-width:1px}
.own .bar{background:var(--accent)}
.trivial .bar{background:#d08b2c}
.own th,.own td:last-child{font-weight:650}
figure{margin:1.4rem 0 2.4rem}
figure img{max-width:100%;height:auto;display:block;border:1px solid var(--line)}
figcaption{max-width:50rem;font-size:.93rem;margin-top:.5rem}
details{margin:1rem 0}
summary{cursor:pointer;font-weight:650;padding:.25rem 0}
summary .verdict{margin-left:.35rem}
@media(min-width:70rem){.frame{display:grid;grid-template-columns:12.5rem minmax(0,1fr);
column-gap:3rem}header,main{grid-column:2}nav{grid-column:1;grid-row:1/span 2;position:sticky;
top:1.5rem;align-self:start;padding-top:1.2rem}}
@media(max-width:45rem){body{font-size:16px}th,td{padding:.3rem .5rem}.bars th{width:9.5rem}}
@media print{body{font-size:10.5pt}.frame{display:block;max-width:none;padding:0}nav{display:none}
h2{break-after:avoid}h3,caption,summary{break-after:avoid}figure,tr,.notice{break-inside:avoid}
.scroll{overflow:visible}.scores td{white-space:normal}.scores th:first-child{min-width:0}
details::details-content{content-visibility:visible;display:block}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}a{color:inherit}}
"""


def anchor(text: str) -> str:
    """Return a name for a place in the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def html_table(table: pd.DataFrame, caption: str, *, kind: str = "", total: bool = False) -> str:
    """Return a table as HTML; the first column names the rows.

    Parameters
    ----------
    table
        Cells of text or numbers; NaN reads n/a.
    kind
        ``text`` for columns of words, which are not set flush right.
    total
        Whether the last row is a sum of the others.
    """
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in table.columns)
    rows = []
    for cells in table.itertuples(index=False):
        first, *others = ("n/a" if pd.isna(cell) else escape(str(cell)) for cell in cells)
        texts = "".join(f"<td>{cell}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{first}</th>{texts}</tr>')
    foot = f"<tfoot>{rows.pop()}</tfoot>" if total and rows else ""
    return scrolled(
        f'<table class="{escape(kind)}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>{foot}</table>",
        caption,
    )


def scrolled(table: str, label: str) -> str:
    """Let a wide table scroll sideways, with the keyboard too."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{table}</div>'
    )


def html_image(path: Path, alt: str, caption: str) -> str:
    """Return a PNG, held in the page itself, with its caption (HTML)."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def html_page(title: str, lead: str, sections: Mapping[str, str]) -> str:
    """Return a complete page.

    Parameters
    ----------
    title, lead
        Text of the heading and of the line below it.
    sections
        Title, as text -> body, as HTML.
    """
    links = "".join(f'<li><a href="#{anchor(name)}">{escape(name)}</a></li>' for name in sections)
    body = "\n".join(
        f'<section aria-labelledby="{anchor(name)}"><h2 id="{anchor(name)}">{escape(name)}</h2>\n'
        f"{content}</section>"
        for name, content in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="{ICON}"><style>{STYLE}</style>'
        f'</head>\n<body><div class="frame"><header><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>\n'
        f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n'
        f"<main>{body}</main></div></body></html>\n"
    )


def folded(summary: str, content: str, *, is_open: bool = False) -> str:
    """Return content (HTML) that the reader can fold away below a summary (HTML)."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{summary}</summary>{content}</details>"


def notice(content: str, kind: str = "") -> str:
    """Return a paragraph (HTML) that stands out: plain, ``caution`` or ``warning``."""
    return f'<p class="notice {kind}">{content}</p>'


def verdict_mark(verdict: str, count: int | None = None) -> str:
    """Return a verdict as sign and word, so that it does not hang on its colour."""
    kind = "none" if verdict == "n/a" else escape(verdict)
    number = "" if count is None else f"{count} "
    return (
        f'<span class="verdict {kind}"><span aria-hidden="true">{MARKS[verdict]}</span> '
        f"{number}{escape(verdict)}</span>"
    )


def verdict_marks(verdicts: Iterable[str]) -> str:
    """Show how many verdicts there are of each kind."""
    counts = Counter(verdicts)
    return " ".join(verdict_mark(name, counts[name]) for name in VERDICTS if counts[name])
