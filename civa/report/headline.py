"""Results in short: where the methods stand, data set by data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from civa.evaluation.ledger import CONSENSUS
from civa.evaluation.thresholds import LIMITS
from civa.pipeline.config import BASE
from civa.pipeline.runs import METHODS, TRIVIAL
from civa.report.page import render
from civa.report.sections import Run, tally

NOISE = LIMITS["trivial"].green  # points; a smaller lead is none
FINAL_ROWS = ("crf", "iva")  # the last row of the method, and the one before it
FULL = "voxresnet_full"

Line = Mapping[str, Any]  # a line of the results; None where it has no number


@dataclass(frozen=True)
class Standing:
    """Where the methods stand on one data set.

    Attributes
    ----------
    dataset
        Its name.
    scored
        Method -> the line of its mIoU (per cent), for methods that have one.
    reason
        Why the method has no score, where the results say so.
    verdicts
        Verdict -> how often the ledgers of the data set's runs give it.
    runs
        How many runs have a ledger.
    doubts
        What the ledgers' checks of CIVA-Consensus find wrong, in words.
    """

    dataset: str
    scored: Mapping[str, Line]
    reason: str
    verdicts: Mapping[str, int]
    runs: int
    doubts: Sequence[str] = ()

    @property
    def final(self) -> str | None:
        """The method's last row that has a score."""
        return next((name for name in FINAL_ROWS if name in self.scored), None)

    @property
    def best(self) -> str | None:
        """The trivial rule that is the best on the test images themselves."""
        rules = [name for name in TRIVIAL if name in self.scored]
        return max(rules, key=lambda name: self.scored[name]["mean"], default=None)

    @property
    def lead(self) -> float:
        """Points of mIoU that the method is ahead of the best trivial rule; NaN without them."""
        if self.final is None or self.best is None:
            return np.nan
        return self.scored[self.final]["mean"] - self.scored[self.best]["mean"]

    @property
    def outcome(self) -> str:
        """The method against the best rule: behind, level, small (a lead), clear, or unknown."""
        if np.isnan(self.lead):
            return "unknown"
        if self.lead <= 0:
            return "behind" if self.lead < -0.05 else "level"  # as one decimal shows it
        return "small" if self.lead < NOISE else "clear"

    @property
    def consensus_leads(self) -> bool:
        """Whether CIVA-Consensus is better than the best trivial rule."""
        return bool(self.consensus_lead > 0)

    @property
    def consensus_lead(self) -> float:
        """Points of mIoU by which CIVA-Consensus leads the best trivial rule; NaN without them."""
        if self.best is None or "consensus" not in self.scored:
            return np.nan
        return self.scored["consensus"]["mean"] - self.scored[self.best]["mean"]

    @property
    def bars(self) -> list[str]:
        """Methods to be drawn, from the trivial rule to full supervision and beyond."""
        steps = (self.best or "", "gradcam", "cooccurrence", "iva", "crf", FULL, "consensus")
        return [name for name in steps if name in self.scored]


def in_short(
    results: pd.DataFrame, datasets: Sequence[str], ledgers: Mapping[Run, pd.DataFrame]
) -> Markup:
    """Say what came out, data set by data set.

    Parameters
    ----------
    results
        As `civa.report.results.collect` made them.
    datasets
        Names, in the order of the configuration.
    ledgers
        Run (data set, seed, variant) -> its ledger.
    """
    titles = {name: method.title for name, method in METHODS.items()}
    standings = [standing(results, dataset, ledgers) for dataset in datasets]
    return render("in_short", standings=standings, titles=titles)


def standing(results: pd.DataFrame, dataset: str, ledgers: Mapping[Run, pd.DataFrame]) -> Standing:
    """Set the method's mIoU beside the best trivial row and full supervision."""
    own = results[
        (results["dataset"] == dataset)
        & (results["score"] == "miou")
        & (results["variant"] == BASE)
    ]
    known = own.astype(object).where(own.notna(), None)
    lines = {
        line["method"]: {str(name): cell for name, cell in line.items()}
        for line in known.to_dict("records")
    }
    notes = [lines[name]["notes"] for name in FINAL_ROWS if name in lines]
    own_ledgers = [ledger for run, ledger in ledgers.items() if run[0] == dataset]
    judged = [ledger["verdict"] for ledger in own_ledgers]
    return Standing(
        dataset,
        scored={name: line for name, line in lines.items() if line["mean"] is not None},
        reason=next(filter(None, notes), ""),
        verdicts=tally(verdict for verdicts in judged for verdict in verdicts),
        runs=len(judged),
        doubts=[doubt for ledger in own_ledgers for doubt in _doubts(ledger)],
    )


def _doubts(ledger: pd.DataFrame) -> list[str]:
    """What is wrong with CIVA-Consensus by a ledger, each with its figure and what was expected."""
    wrong = ledger[(ledger["stage"] == CONSENSUS) & (ledger["verdict"] == "red")]
    return [
        f"{row.check}: {row.value:.1f} {row.unit} (expected {row.expected})"
        for row in wrong.itertuples()
    ]
