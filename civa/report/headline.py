"""Results in short: where the methods stand, data set by data set, in words and bars."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from civa.evaluation.thresholds import LIMITS
from civa.pipeline.config import BASE
from civa.pipeline.runs import METHODS, TRIVIAL
from civa.report.page import notice, verdict_marks

NOISE = LIMITS["trivial"].green  # points; a smaller lead is none
# The last row of the method, and what stands in where it is missing.
FINAL_ROWS = {"crf": "CIVA-Net with its CRF", "iva": "CIVA-Net (without a CRF)"}
FULL = "voxresnet_full"


def in_short(
    figures: pd.DataFrame,
    datasets: Sequence[str],
    ledgers: Mapping[tuple[str, str, str], pd.DataFrame],
) -> str:
    """Say what came out, data set by data set.

    Parameters
    ----------
    figures
        As `civa.report.results.collect` made them.
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
            f"{_spread(scored[best])} without learning anything; it is the best on the test images "
            "themselves, which flatters it."
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
    marks = verdict_marks(pd.concat(ledgers.values())["verdict"])
    runs = f"{len(ledgers)} run{'' if len(ledgers) == 1 else 's'}"
    return f'<p><a href="#quality-ledger">Quality ledger</a>, {runs}: {marks}</p>'
