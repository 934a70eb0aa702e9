"""Scores over conditions that are changed one at a time."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from civa.pipeline.runs import BASE, METHODS, TRIVIAL
from civa.report.plots.scores import MARKERS, PALETTE
from civa.report.plots.slices import FOUND_COLOUR

# Rows that are drawn, and how: the new method in the colour of what is found.
DRAWN = {
    "consensus": (FOUND_COLOUR, "o", "-"),
    "voxresnet_full": (PALETTE[0], MARKERS[1], "-"),
    "crf": (PALETTE[2], MARKERS[2], "-"),
    "trivial": (PALETTE[-1], MARKERS[3], ":"),
}
TITLES = {
    **{name: METHODS[name].title for name in DRAWN if name in METHODS},
    "voxresnet_full": "VoxResNet_f, full masks",
    "crf": "CIVA-Net (3D-CRF)",
    "trivial": "best trivial rule",
}


def over_conditions(results: pd.DataFrame, conditions: Mapping[str, str]) -> pd.DataFrame:
    """Pick the mIoU of the drawn rows under each condition of an axis.

    Parameters
    ----------
    results
        Every result of the tables, as the stage ``tabulate`` writes them.
    conditions
        Condition -> data set.

    Returns
    -------
    Columns ``row`` (a key of `DRAWN`), ``place`` (0 for the first condition), ``mean``, ``low``
    and ``high`` in per cent; nothing where a data set has no such row yet.
    """
    known = results[(results["score"] == "miou") & (results["variant"] == BASE)]
    known = known.dropna(subset=["mean"])
    lines = []
    for place, dataset in enumerate(conditions.values()):
        own = known[known["dataset"] == dataset].sort_values("mean", kind="stable")
        rules = own[own["method"].isin(TRIVIAL)].assign(method="trivial").tail(1)
        found = pd.concat([rules, own[own["method"].isin(DRAWN)]])
        lines.append(found.assign(place=place).rename(columns={"method": "row"}))
    return pd.concat(lines)[["row", "place", "mean", "low", "high"]]


def chart(results: pd.DataFrame, axes: Mapping[str, Mapping[str, str]]) -> Figure:
    """Draw a panel for every axis: axis -> condition -> data set."""
    columns = min(len(axes), 3)
    rows = -(-len(axes) // columns)
    figure = Figure(figsize=(3.9 * columns, 3.1 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, (name, conditions) in zip(panels, axes.items(), strict=False):
        _panel(panel, name, over_conditions(results, conditions), list(conditions))
    for panel in panels[len(axes) :]:
        panel.set_axis_off()
    handles = {
        text: line
        for panel in panels
        for line, text in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False
        )
    return figure


def _panel(panel: Axes, name: str, points: pd.DataFrame, conditions: list[str]) -> None:
    for row, (colour, marker, style) in DRAWN.items():
        own = points[points["row"] == row]
        if len(own):
            bars = [own["mean"] - own["low"], own["high"] - own["mean"]]
            panel.errorbar(
                own["place"],
                own["mean"],
                yerr=[bar.clip(lower=0).fillna(0) for bar in bars],
                color=colour,
                marker=marker,
                linestyle=style,
                markersize=5,
                capsize=2,
                label=TITLES[row],
            )
    panel.set_title(name, fontsize=10)
    panel.set_xticks(range(len(conditions)), conditions, fontsize=8.5)
    panel.set_xlim(-0.4, len(conditions) - 0.6)
    panel.set_ylim(0, 100)
    panel.grid(axis="y", color="0.9")
    panel.set_ylabel("test mIoU (%)", fontsize=8.5)
