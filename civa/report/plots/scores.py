"""Charts of scores, image by image, drawn without a display.

Colours are told apart by colour-blind readers, and a class has the same colour and the same
marker in every chart; green and orange are left to ground truth and to what was chosen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray

from civa.evaluation.scores import paired
from civa.pipeline.runs import method_title
from civa.report.plots.slices import LINE_COLOUR, notice, shortened

PALETTE = ("#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#222222", "#999933", "#882255", "#8a8a8a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def class_style(number: int) -> tuple[str, str]:
    """Return colour and marker of a class, counted from 0 in the order of its labels."""
    turn, position = divmod(number, len(PALETTE))
    return PALETTE[position], MARKERS[(position + turn) % len(MARKERS)]


def count_predictions(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count how many images of every class were taken for which.

    Parameters
    ----------
    labels, predicted
        (n,) labels, 1 to ``classes``.

    Returns
    -------
    (classes, classes): a row per true class, a column per predicted one.
    """
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels) - 1, np.asarray(predicted) - 1), 1)
    return counts


def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts as text, shares of every true class as colour.

    Parameters
    ----------
    counts
        (k, k), as `count_predictions` gives them.
    names
        (k,) classes.
    """
    k, total, right = len(names), int(counts.sum()), int(np.trace(counts))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), 0)
    figure = Figure(figsize=(0.62 * k + 3.6, 0.55 * k + 2.2), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "#222222"
        axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=10)
    short = [shortened(name, 16) for name in names]
    axis.set_xticks(range(k), short)
    if max(map(len, short)) > 5:
        for label in axis.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(
        range(k), [f"{name} ({n})" for name, n in zip(short, totals[:, 0], strict=True)]
    )
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class (test images)")
    figure.colorbar(image, ax=axis, label="share of the true class (%)", shrink=0.9)
    accuracy = f"{100 * right / total:.1f} % ({right} of {total})" if total else "n/a (no image)"
    figure.suptitle(f"Classifier on the test part\naccuracy {accuracy}", fontsize=11)
    return figure


def refinement(
    before: pd.DataFrame | None, after: pd.DataFrame | None, names: Sequence[str]
) -> Figure:
    """Draw the IoU of every test image after the CRF against that before.

    Parameters
    ----------
    before, after
        Scores of the test images, ``id``, ``class`` and ``iou`` in [0, 1]; None where there
        are none.
    names
        Classes in the order of their labels.
    """
    title = "IoU of the test images, before and after the CRF"
    if before is None or after is None:
        missing = [word for word, table in (("before", before), ("after", after)) if table is None]
        return notice(f"{title}\nn/a: this run has no scores {' and '.join(missing)} the CRF")
    pairs = paired(before, after)
    if pairs.empty:
        return notice(f"{title}\nn/a: no test image has an IoU both before and after")
    layout = ConstrainedLayoutEngine(h_pad=0.12)  # inches
    figure = Figure(figsize=(6.2, 6.2 + 0.12 * len(names)), layout=layout)
    axis = figure.subplots()
    change = pairs["after"] - pairs["before"]
    for number, name in enumerate(names):
        own = pairs[pairs["class"] == name]
        if own.empty:
            continue
        colour, marker = class_style(number)
        gain = change[own.index]
        label = f"{shortened(name, 16)}: {(gain > 0).sum()} better, {(gain < 0).sum()} worse"
        axis.scatter(
            *(own["before"], own["after"]),
            s=22,
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
            label=label,
        )
    axis.axline((0, 0), slope=1, color="0.5", linewidth=1, linestyle="dashed", zorder=0)
    axis.set(xlim=(-2, 102), ylim=(-2, 102), box_aspect=1)
    axis.set_xlabel("IoU before the CRF (%)")
    axis.set_ylabel("IoU after the CRF (%)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    figure.suptitle(
        f"{title}\n"
        f"{better} better, {worse} worse, {len(pairs) - better - worse} the same of {len(pairs)}\n"
        f"mean {pairs['before'].mean():.1f} % before, {pairs['after'].mean():.1f} % after",
        fontsize=11,
    )
    return figure


def distributions(scores: Sequence[tuple[str, pd.DataFrame]], names: Sequence[str]) -> Figure:
    """Draw the IoU of every test image, one row per method, one lane of it per class.

    Parameters
    ----------
    scores
        Method and its scores per test image: ``class`` and ``iou`` in [0, 1]; images without
        an IoU are left out.
    names
        Classes in the order of their labels.
    """
    if not scores:
        return notice("no method has scores")
    figure = Figure(figsize=(9.6, 0.62 * len(scores) + 1.7), layout="constrained")
    axis = figure.subplots()
    for row, (_, table) in enumerate(scores):
        _distribution_row(axis, row, table, names)
    axis.set_yticks(range(len(scores)), [shortened(method_title(name), 40) for name, _ in scores])
    axis.set(xlim=(-2, 102), ylim=(len(scores) - 0.5, -0.5))
    axis.set_xlabel("IoU of a test image (%)")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.text(1.01, 1.0, "mean", transform=axis.transAxes, fontsize=9, va="bottom", color="0.3")
    for number, name in enumerate(names):
        colour, marker = class_style(number)
        axis.scatter([], [], s=22, color=colour, marker=marker, label=shortened(name, 22))
    axis.plot([], [], color="0.85", linewidth=8, label="middle half")
    axis.plot([], [], color=LINE_COLOUR, linewidth=2, label="median")
    axis.plot([], [], "d", color="white", markeredgecolor=LINE_COLOUR, label="mean")
    columns = max(1, min(len(names) + 3, 110 // (8 + max(len(shortened(n, 22)) for n in names))))
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _distribution_row(axis: Axes, row: int, table: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw the scores of one method at height ``row``."""
    values = 100 * table["iou"].dropna()
    if values.empty:
        axis.text(50, row, "n/a", ha="center", va="center", color="0.4")
        return
    low, median, high = np.percentile(values, (25, 50, 75))
    axis.barh(row, high - low, left=low, height=0.8, color="0.87", zorder=1)
    axis.plot([median, median], [row - 0.4, row + 0.4], color=LINE_COLOUR, linewidth=2, zorder=3)
    lane = 0.8 / len(names)
    generator = np.random.default_rng(0)  # spreads points that would hide each other
    for number, name in enumerate(names):
        own = values[table.loc[values.index, "class"] == name]
        colour, marker = class_style(number)
        heights = row - 0.4 + lane * (number + generator.uniform(0.2, 0.8, len(own)))
        axis.scatter(own, heights, s=9, color=colour, marker=marker, alpha=0.7, linewidths=0)
    axis.plot(values.mean(), row, "d", color="white", markeredgecolor=LINE_COLOUR, zorder=4)
    place = axis.get_yaxis_transform()  # x as a share of the panel, y in rows
    mean = f"{values.mean():.1f}"
    if len(values) < len(table):
        mean += f"\n({len(values)} of {len(table)})"
    axis.text(1.01, row, mean, va="center", fontsize=9, transform=place)
