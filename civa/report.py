"""One self-contained page: results in short, quality ledger, tables, figures, cost, inputs.

Everything that is not written here, names and configuration above all, is escaped.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from civa.config import BASE
from civa.costs import duration, memory
from civa.limits import LIMITS, VERDICTS, config_keys
from civa.page import folded, html_image, html_table, notice, scrolled, verdict_mark
from civa.runs import METHODS, TRIVIAL
from civa.tables import Layout

NOISE = LIMITS["trivial"].green  # points; a smaller lead is none
# The last row of the method, and what stands in where it is missing.
FINAL_ROWS = {"crf": "CIVA-Net with its CRF", "iva": "CIVA-Net (without a CRF)"}
FULL = "voxresnet_full"
LONG_LIST = 25  # files; a longer list is folded
# name -> what a figure shows, and how to read it
FIGURES = {
    "axes": (
        "Where the methods break",
        "One panel for everything that was changed by itself; bars are 95 % intervals over test "
        "images. A method that falls faster than the trivial rule has lost what it learnt from.",
    ),
    "overview": (
        "The median test image of every class",
        "One row per class: the test image whose final IoU is the median, never the best one "
        "(without a ground truth, the first test image). Green is the ground truth, dotted where "
        "it is there to compare; orange is the mask that was found; the coloured clouds are "
        "localization maps, bright where the classifier looked. From left to right, what is "
        "found should close in on the dotted line.",
    ),
    "compare": (
        "Best, median and worst test image of every class",
        "Each image in three slices, across z, y and x, through the middle of the target: input, "
        "ground truth (green), Grad-CAM and the final mask (orange). Look at the worst ones first: "
        "a neighbour outlined in place of the target, a mask that stops short, or a wrong class "
        "each ask for another remedy. Without a ground truth, images are ranked by mask size.",
    ),
    "averages": (
        "The average of every class",
        "One row per class: three slices through the average of its training volumes, aligned from "
        "class labels alone, with the contour of the mask (orange); beside it, where the data are "
        "simulated, the true density in the same frame (green). Right: correlation of the averages "
        "of two half-sets over resolution, and with the truth. An average without features, or "
        "half-sets that part early, mean that the aligned masks are not to be trusted.",
    ),
    "training": (
        "Training of every network",
        "Grey is the training loss, blue the figure on validation, orange the epoch that was kept. "
        "A loss still falling at the right end asks for more epochs; one that is flat from the "
        "start has not learnt; a validation figure that falls while the loss goes on falling "
        "means over-fitting.",
    ),
    "sweeps": (
        "What was chosen on validation",
        "One panel per setting: mIoU of the validation images for every value that was tried, "
        "orange the value chosen. A best value at the end of its range suggests a wider range; a "
        "flat curve means that the setting hardly matters here. Without masks of validation "
        "images nothing is searched, and defaults hold.",
    ),
    "confusion": (
        "Which class was taken for which",
        "Test images by true class (rows) and predicted class (columns). All of them should stand "
        "on the diagonal; two classes that swap images look alike at this resolution and noise. "
        "An image off the diagonal scores 0 in the strict mIoU, however good its mask.",
    ),
    "refinement": (
        "What the CRF changes, image by image",
        "Each point is a test image: its IoU before the CRF (across) and after (up). Points above "
        "the dashed diagonal gained, points below lost. Points on the bottom edge lost their "
        "mask, or never had the right one.",
    ),
    "distributions": (
        "All test images, method by method",
        "Each point is a test image, in the colour of its class; grey is the middle half, the line "
        "the median, the diamond the mean. A cloud near 0 beside one further right means that "
        "some images fail as a whole (missed, or taken for another class), not that all masks "
        "are a little off.",
    ),
}

GLOSSARY = {
    "Image-level label": (
        "the only thing the method learns from: the class of the particle in a box. Nobody paints "
        "voxels."
    ),
    "IoU and mIoU": (
        "intersection over union: the voxels that mask and ground truth share, over the voxels "
        "that either of them has; 100 % is a perfect mask, 0 a miss. mIoU is its mean over the "
        "test images. A shell one voxel too thick around a particle 10 voxels across already "
        "lowers the IoU to 58 %. Class mIoU is the mean of the means of the classes, so that "
        "rare classes count as much as frequent ones."
    ),
    "Strict and agnostic": (
        "strict (plain mIoU): a mask with the wrong class scores 0, even if it has the right "
        "shape. Agnostic: the shape alone counts. A large difference means that the classifier, "
        "not the segmentation, is the weak point."
    ),
    "Trivial rule": (
        "smoothing and a threshold, in variants; it learns nothing and is even told the true "
        "class. A method has to beat the best of them to be worth its training."
    ),
    "Full supervision": (
        "the same kind of network trained on complete ground-truth masks: what class labels alone "
        "are measured by. Weak / full is the share of it that is reached."
    ),
    "± and 95 %": (
        "± is the standard deviation over complete repeats with other random numbers (seed 1, "
        "seed 2, ...). The 95 % interval shows how far the mean depends on which test images there "
        "happen to be."
    ),
    "Grad-CAM, or CAM: the seeds": (
        "a class activation map shows which voxels made the classifier name the class. It is "
        "coarse, and marks the most telling part of a particle rather than all of it; so it is "
        "the seed from which masks grow."
    ),
    "CO": (
        "co-occurrence: what volumes of one class have in common, in the features of the "
        "classifier. Merged with the CAM and cut, it gives the pseudo labels, the masks that the "
        "next network learns from in place of painted ones."
    ),
    "IVA": (
        "inter-voxel affinity: a network that learns which neighbouring voxels belong together. "
        "Its output is cut into connected pieces, the proposals; the CAM chooses the one to keep."
    ),
    "CRF": (
        "conditional random field: moves the border of a mask to where the density changes, with "
        "no training."
    ),
    "CIVA-Consensus": (
        "copies of one rigid particle, turned to each other and averaged, class by class; the "
        "average, turned back into every volume and cut at a contour, is the mask. Told nothing "
        "but the class of the training volumes"
    ),
}


def with_code(text: str) -> str:
    """Escape a text and set its configuration keys as code."""
    found = escape(text)
    for key in sorted(set(config_keys(text)), key=len, reverse=True):
        found = re.sub(rf"\b{re.escape(key)}\b(?!</code>|[a-z_])", f"<code>{key}</code>", found)
    return found


# --- runs -------------------------------------------------------------------------------------


def run_of(path: Path, *, below: int = 0) -> tuple[str, str, str]:
    """Read data set, seed and variant from where a product of a run lies.

    Parameters
    ----------
    path
        ``results/<data set>/seed<seed>/<variant>/<file>``.
    below
        How many folders deeper the file lies.

    Raises
    ------
    ValueError
        If the file does not lie in the folder of a run.
    """
    parts = path.parts[: len(path.parts) - 1 - below][-3:]
    if len(parts) < 3 or not re.fullmatch(r"seed\d+", parts[1]):
        raise ValueError(
            f"{path} does not lie in the folder of a run: expected "
            "results/<data set>/seed<seed>/<variant>/, which tells what it belongs to"
        )
    return parts[0], parts[1].removeprefix("seed"), parts[2]


def run_title(dataset: str, seed: str, variant: str) -> str:
    """Return the name of a run in words."""
    return f"{dataset}, seed {seed}" + ("" if variant == BASE else f", {variant}")


# --- sections ---------------------------------------------------------------------------------


def in_short(
    figures: pd.DataFrame,
    datasets: Sequence[str],
    ledgers: Mapping[tuple[str, str, str], pd.DataFrame],
) -> str:
    """Say what came out, data set by data set.

    Parameters
    ----------
    figures
        As `civa.tables.collect` made them.
    datasets
        Names, in the order of the configuration.
    ledgers
        Run (data set, seed, variant) -> its ledger.
    """
    blocks = []
    for dataset in datasets:
        found = figures[(figures["dataset"] == dataset) & (figures["figure"] == "miou")]
        own = {run: table for run, table in ledgers.items() if run[0] == dataset}
        blocks.append(f"<h3>{escape(dataset)}</h3>{_standing(found, bool(own))}{_tally(own)}")
    return "".join(blocks)


def _standing(figures: pd.DataFrame, has_ledger: bool) -> str:
    """Set the method's mIoU beside the best trivial row and full supervision."""
    base = {line["method"]: line for line in figures.to_dict("records") if line["variant"] == BASE}
    scored = {name: line for name, line in base.items() if not np.isnan(line["mean"])}
    final = next((name for name in FINAL_ROWS if name in scored), None)
    if final is None:
        instead = (
            " The quality ledger says what can be said from the class labels alone."
            if has_ledger
            else ""
        )
        return notice(f"There is no score: {_why_unscored(base)}.{instead}")
    rules = [name for name in TRIVIAL if name in scored]
    best = max(rules, key=lambda name: scored[name]["mean"]) if rules else None
    text = (
        f"Trained on the class of each volume alone, {FINAL_ROWS[final]} reaches an "
        f"mIoU of <strong>{_spread(scored[final])}</strong> {_basis(scored[final])}."
    )
    if best:
        text += (
            f" The best trivial rule ({escape(METHODS[best].title)}) reaches "
            f"{_spread(scored[best])} without learning anything."
        )
    if FULL in scored and scored[FULL]["mean"] > 0:
        full = scored[FULL]
        ratio = scored[final]["mean"] / full["mean"]
        text += (
            f" Trained on complete masks, {escape(METHODS[FULL].title)} reaches {_spread(full)} "
            f"({_seeds(full)}): class labels get {ratio:.2f} of that."
        )
    return (
        f"<p>{text}{_beyond(scored)}</p>{_warning(scored, final, best)}{_bars(scored, final, best)}"
    )


def _beyond(scored: Mapping[str, Mapping]) -> str:
    """Say what the new method reaches, and what full supervision does."""
    if "consensus" not in scored:
        return ""
    ours, full = scored["consensus"], scored.get(FULL)
    text = (
        f" {escape(METHODS['consensus'].title)}, which aligns every volume with the average of its "
        "class and is told nothing but the class either, reaches "
        f"<strong>{_spread(ours)}</strong>"
    )
    if full is not None and full["mean"] > 0:
        text += f", {ours['mean'] / full['mean']:.2f} of full supervision"
    return f"{text}."


def _why_unscored(base: Mapping[str, Mapping]) -> str:
    notes = [base[name]["notes"] for name in FINAL_ROWS if name in base]
    return escape(next(filter(None, notes), "no run of the method is finished"))


def _spread(line: Mapping) -> str:
    spread = "" if np.isnan(line["sd"]) else f"\u00a0±\u00a0{line['sd']:.1f}"
    return f"{line['mean']:.1f}{spread}"


def _basis(line: Mapping) -> str:
    n = int(line["n"])
    images = f"{n} test image{'' if n == 1 else 's'}"
    if not np.isnan(line["low"]):
        images += f", 95 % interval {line['low']:.1f} to {line['high']:.1f}"
    repeats = "" if line["seeds"] == 1 else "mean and standard deviation over "
    return f"({repeats}{_seeds(line)}; {images})"


def _seeds(line: Mapping) -> str:
    return "one seed" if line["seeds"] == 1 else f"{line['seeds']:.0f} seeds"


def _warning(scored: Mapping[str, Mapping], final: str, best: str | None) -> str:
    """Warn plainly where the method is no better than the best trivial rule."""
    if best is None:
        return notice(
            "No trivial rule is scored, so nothing shows whether the training was worth it.",
            "caution",
        )
    lead = scored[final]["mean"] - scored[best]["mean"]
    if lead <= 0:
        behind = f"is {-lead:.1f} points behind it" if lead < -0.05 else "is level with it"
        ours = scored.get("consensus", {"mean": -np.inf})["mean"]
        instead = METHODS["consensus"].title if ours > scored[best]["mean"] else "the trivial rule"
        return notice(
            "<strong>Warning: here the paper's method does not beat the best trivial rule;"
            f"</strong> it {behind}. Use {escape(instead)}, or see what the ledger advises.",
            "warning",
        )
    if lead < NOISE:
        return notice(
            f"The lead over the best trivial rule is {lead:.1f} points, no more than other test "
            "images would change.",
            "caution",
        )
    return ""


def _bars(scored: Mapping[str, Mapping], final: str, best: str | None) -> str:
    """Draw the steps of the method as bars, between trivial rule and full supervision."""
    rows = []
    for name in (best or "", "gradcam", "cooccurrence", "iva", "crf", FULL, "consensus"):
        if name not in scored:
            continue
        title, kind = METHODS[name].title, "own" if name == final else ""
        if name == best:
            title, kind = f"best trivial: {title}", "trivial"
        width = min(100.0, max(0.0, scored[name]["mean"]))
        rows.append(
            f'<tr class="{kind}"><th scope="row">{escape(title)}</th>'
            f'<td><span class="bar" style="width:{width:.1f}%"></span></td>'
            f"<td>{_spread(scored[name])}</td></tr>"
        )
    head = '<caption class="soft">mIoU in per cent, test images; full width is 100</caption>'
    return f'<table class="bars">{head}<tbody>{"".join(rows)}</tbody></table>'


def _tally(ledgers: Mapping[tuple[str, str, str], pd.DataFrame]) -> str:
    if not ledgers:
        return "<p>No quality ledger was made.</p>"
    counts = _count(pd.concat(ledgers.values()))
    marks = " ".join(verdict_mark(name, n) for name, n in counts.items() if n)
    runs = f"{len(ledgers)} run{'' if len(ledgers) == 1 else 's'}"
    return f'<p><a href="#quality-ledger">Quality ledger</a>, {runs}: {marks}</p>'


def _count(ledger: pd.DataFrame) -> dict[str, int]:
    return {name: int((ledger["verdict"] == name).sum()) for name in VERDICTS}


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
        counts = _count(ledger)
        marks = " ".join(verdict_mark(name, n) for name, n in counts.items() if n)
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
        if path.stem == "axes":
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
