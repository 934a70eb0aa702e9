"""Charts of training, of choices and of scores, drawn without a display.

Colours are told apart by colour-blind readers, and a class has the same colour and the same
marker in every chart; green and orange are left to ground truth and to what was chosen.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from civa.figures import FOUND_COLOUR, notice, shortened
from civa.runs import method_title
from civa.scores import paired

matplotlib.use("agg")

PALETTE = ("#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#222222", "#999933", "#882255", "#8a8a8a")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LOSS_COLOUR, FIGURE_COLOUR, LINE_COLOUR = "#777777", "#0072b2", "#444444"
NETWORKS = {"iva": "inter-voxel affinity network"}  # titles that differ from the method's
CHOICES = {"merged": "merged map"}
SETTINGS = {  # key of a chosen value -> what it is
    "fraction": "share of voxels kept",
    "threshold": "threshold",
    "w1": "weight of Grad-CAM, w1",
    "contour": "contour, share of the peak",
}
SMALLEST_SPAN = 5.0  # of an axis of mIoU, in per cent: noise must not look like a trend
DOTTED_UP_TO = 40  # epochs: a longer curve is drawn without its points


@dataclass(frozen=True)
class Sweep:
    """One setting, the values of it that were tried on validation, and the one chosen.

    Attributes
    ----------
    title
        What was cut, merged or refined.
    setting
        Name of the setting.
    chosen
        Its value; None where the record does not tell.
    tried
        Value -> validation mIoU in per cent; empty where nothing was searched.
    remark
        Why nothing was searched.
    """

    title: str
    setting: str
    chosen: float | None
    tried: Mapping[float, float]
    remark: str = ""


def class_style(number: int) -> tuple[str, str]:
    """Return colour and marker of a class, counted from 0 in the order of its labels."""
    turn, position = divmod(number, len(PALETTE))
    return PALETTE[position], MARKERS[(position + turn) % len(MARKERS)]


# --- training ---------------------------------------------------------------------------------


def training(curves: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Draw loss and validation figures of every network against the epoch.

    Parameters
    ----------
    curves
        Network and its curve: ``epoch``, ``loss``, and possibly ``seconds``,
        ``validation_accuracy``, ``validation_class_accuracy`` (shares) and
        ``validation_miou`` (per cent).  A curve without a row is that of a network that was
        not trained.
    """
    if not curves:
        return notice("no network was trained in this run")
    figure, axes = _grid(len(curves), columns=3, size=(4.0, 3.0))
    for axis, (name, curve) in zip(axes, curves, strict=True):
        title = NETWORKS.get(name, method_title(name))
        if curve.empty:
            _say(axis, title, "not trained")
        else:
            _training_panel(axis, title, curve)
    return figure


def validation_figures(curve: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the validation figures of a curve, in per cent, without those that say the same.

    With equally many volumes per class, accuracy and the mean accuracy of the classes agree.
    """
    figures: dict[str, pd.Series] = {}
    for column, words in (
        ("validation_accuracy", "accuracy"),
        ("validation_class_accuracy", "class accuracy"),
        ("validation_miou", "mIoU"),
    ):
        if column not in curve or curve[column].isna().all():
            continue
        values = curve[column] * (100 if column.endswith("accuracy") else 1)
        if not any(np.allclose(values, known, equal_nan=True) for known in figures.values()):
            figures[words] = values
    return figures


def best_row(figure: pd.Series) -> int:
    """Return the row that training kept: the last one of the highest validation figure."""
    return int(np.flatnonzero(figure == figure.max())[-1])


def _training_panel(axis: Axes, title: str, curve: pd.DataFrame) -> None:
    """Draw one curve: loss on the left, validation on the right, the epoch that was kept."""
    marker = "." if len(curve) <= DOTTED_UP_TO else ""
    axis.plot(curve["epoch"], curve["loss"], color=LOSS_COLOUR, marker=marker, linewidth=1.3)
    highest = curve["loss"].max()
    axis.set(xlim=(0.5, len(curve) + 0.5), ylim=(0, 1.05 * highest if highest > 0 else 1))
    axis.set_ylabel("training loss", color=LOSS_COLOUR)
    axis.tick_params(axis="y", colors=LOSS_COLOUR)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.set_xlabel("epoch" + _duration(curve))
    figures = validation_figures(curve)
    if figures:
        lines = _validation_lines(axis.twinx(), curve["epoch"], figures, marker)
    else:
        epoch, loss = curve["epoch"].iloc[-1], curve["loss"].iloc[-1]
        _mark(axis, epoch, loss)
        lines = [f"epoch {epoch}, the last, was kept: loss {loss:.3g}"]
    axis.set_title("\n".join([title, *lines]), fontsize=9)


def _validation_lines(
    axis: Axes, epochs: pd.Series, figures: Mapping[str, pd.Series], marker: str
) -> list[str]:
    """Draw validation figures, and say in which epoch each was best."""
    axis.set_ylim(0, 104)
    what = next(iter(figures)) + " " if len(figures) == 1 else ""
    axis.set_ylabel(f"validation {what}(%)", color=FIGURE_COLOUR)
    axis.tick_params(axis="y", colors=FIGURE_COLOUR)
    lines = []
    for (words, values), style in zip(figures.items(), ("solid", "dashed", "dotted"), strict=False):
        axis.plot(
            *(epochs, values), color=FIGURE_COLOUR, marker=marker, linewidth=1.3, linestyle=style
        )
        row = best_row(values)
        epoch, best = epochs.iloc[row], values.iloc[row]
        _mark(axis, epoch, best, style=style)
        remark = "" if style == "solid" else f", {style}"
        lines.append(f"best {words}{remark}: {best:.1f} % in epoch {epoch} of {len(epochs)}")
    return lines


def _mark(axis: Axes, x: float, y: float, *, style: str = "solid") -> None:
    """Mark what was chosen."""
    axis.axvline(x, color=FOUND_COLOUR, linestyle=style, linewidth=1, zorder=1)
    axis.plot([x], [y], "o", color=FOUND_COLOUR, markersize=7)


def _duration(curve: pd.DataFrame) -> str:
    if "seconds" not in curve or curve["seconds"].isna().any():
        return ""
    seconds = float(curve["seconds"].sum())
    return f" ({seconds:.0f} s in all)" if seconds < 120 else f" ({seconds / 60:.0f} min in all)"


# --- choices on validation --------------------------------------------------------------------


def read_sweeps(name: str, record: Mapping[str, Any]) -> list[Sweep]:
    """Return the sweeps that a record of a choice tells of, at least one.

    Parameters
    ----------
    name
        Method, or ``merged``.
    record
        The chosen value under ``fraction``, ``threshold`` or ``w1``, or several under
        ``parameters``; ``validation_miou``: value -> mIoU, or one such table per parameter;
        or ``skipped``: why there is no choice.

    Raises
    ------
    ValueError
        If a value that was tried is no number.
    """
    title = CHOICES.get(name, method_title(name))
    if "skipped" in record:
        return [Sweep(title, "", None, {}, f"not trained: {record['skipped']}")]
    tried = record.get("validation_miou") or {}
    if "parameters" in record:
        found = [
            Sweep(
                title,
                key.replace("_", " "),
                _chosen(record["parameters"], key),
                _numbers(name, values),
            )
            for key, values in tried.items()
        ]
        return found or [Sweep(title, "", None, {}, "parameters as configured")]
    setting = next((key for key in SETTINGS if key in record), "")
    chosen = _chosen(record, setting)
    return [Sweep(title, SETTINGS.get(setting, "value"), chosen, _numbers(name, tried))]


def _chosen(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    return None if value is None else float(value)


def _numbers(name: str, tried: Mapping[str, Any]) -> dict[float, float]:
    """Return value -> mIoU in the order of the values, without what could not be scored."""
    try:
        found = {float(value): float(miou) for value, miou in tried.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"'{name}.json' tells of a choice among {list(tried)[:3]}: expected numbers, each with "
            "its validation mIoU; leave the file out of the choices"
        ) from error
    return {value: found[value] for value in sorted(found) if np.isfinite(found[value])}


def sweeps(panels: Sequence[Sweep]) -> Figure:
    """Draw validation mIoU against the values tried, one panel per setting.

    The values of a setting are drawn in equal steps.
    """
    if not panels:
        return notice("nothing was chosen in this run")
    figure, axes = _grid(len(panels), columns=4, size=(3.0, 2.6))
    for axis, sweep in zip(axes, panels, strict=True):
        _sweep_panel(axis, sweep)
    return figure


def _sweep_panel(axis: Axes, sweep: Sweep) -> None:
    if not sweep.tried:
        kept = "" if sweep.chosen is None else f"{sweep.setting}: {sweep.chosen:g}"
        lines = ["nothing was searched", sweep.remark, kept]
        _say(axis, sweep.title, "\n".join(filter(None, lines)))
        return
    values, scores = list(sweep.tried), list(sweep.tried.values())
    axis.plot(range(len(values)), scores, color=LINE_COLOUR, marker=".", linewidth=1.3)
    steep = len(values) > 8
    axis.set_xticks(
        range(len(values)),
        [f"{value:.3g}" for value in values],
        fontsize=8,
        rotation=60 if steep else 0,
    )
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_xlabel(sweep.setting, fontsize=9)
    axis.set_ylabel("validation mIoU (%)", fontsize=9)
    axis.grid(axis="y", color="0.9")
    axis.set_axisbelow(True)
    middle, half = (max(scores) + min(scores)) / 2, (max(scores) - min(scores)) / 2
    half = 1.15 * max(half, SMALLEST_SPAN / 2)
    axis.set_ylim(middle - half, middle + half)
    title = sweep.title
    if sweep.chosen is not None and sweep.chosen in sweep.tried:
        place = values.index(sweep.chosen)
        _mark(axis, place, scores[place])
        title += f"\nchosen: {sweep.chosen:g} ({scores[place]:.1f} %)"
    elif sweep.chosen is not None:
        title += f"\nchosen: {sweep.chosen:g}, not among those tried"
    axis.set_title(title, fontsize=9)


# --- classifier -------------------------------------------------------------------------------


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


# --- scores per image -------------------------------------------------------------------------


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


# --- panels -----------------------------------------------------------------------------------


def _grid(n: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels of ``size`` inches, row by row."""
    columns = min(n, columns)
    rows = -(-n // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.1)  # inches
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout=layout)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in axes[n:]:
        spare.remove()
    return figure, axes[:n]


def _say(axis: Axes, title: str, text: str) -> None:
    """Let an empty panel say why it is empty."""
    axis.set_xticks([])
    axis.set_yticks([])
    for edge in axis.spines.values():
        edge.set_color("0.8")
    axis.set_title(title, fontsize=9)
    lines = "\n".join(textwrap.fill(line, 30) for line in text.splitlines())
    place = axis.transAxes
    axis.text(0.5, 0.5, lines, ha="center", va="center", color="0.35", fontsize=9, transform=place)
