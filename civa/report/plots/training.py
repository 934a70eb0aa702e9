"""How training and the choices on validation went, drawn without a display."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from civa.pipeline.runs import method_title
from civa.report.plots.slices import FOUND_COLOUR, LINE_COLOUR, notice

LOSS_COLOUR, FIGURE_COLOUR = "#777777", "#0072b2"
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


def training(curves: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """Draw loss and validation scores of every network against the epoch.

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


def validation_scores(curve: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the validation scores of a curve, in per cent, without those that say the same.

    With equally many volumes per class, accuracy and the mean accuracy of the classes agree.
    """
    scores: dict[str, pd.Series] = {}
    for column, words in (
        ("validation_accuracy", "accuracy"),
        ("validation_class_accuracy", "class accuracy"),
        ("validation_miou", "mIoU"),
    ):
        if column not in curve or curve[column].isna().all():
            continue
        values = curve[column] * (100 if column.endswith("accuracy") else 1)
        if not any(np.allclose(values, known, equal_nan=True) for known in scores.values()):
            scores[words] = values
    return scores


def best_row(score: pd.Series) -> int:
    """Return the row that training kept: the last one of the highest validation score."""
    return int(np.flatnonzero(score == score.max())[-1])


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
    scores = validation_scores(curve)
    if scores:
        lines = _validation_lines(axis.twinx(), curve["epoch"], scores, marker)
    else:
        epoch, loss = curve["epoch"].iloc[-1], curve["loss"].iloc[-1]
        _mark(axis, epoch, loss)
        lines = [f"epoch {epoch}, the last, was kept: loss {loss:.3g}"]
    axis.set_title("\n".join([title, *lines]), fontsize=9)


def _validation_lines(
    axis: Axes, epochs: pd.Series, scores: Mapping[str, pd.Series], marker: str
) -> list[str]:
    """Draw validation scores, and say in which epoch each was best."""
    axis.set_ylim(0, 104)
    what = next(iter(scores)) + " " if len(scores) == 1 else ""
    axis.set_ylabel(f"validation {what}(%)", color=FIGURE_COLOUR)
    axis.tick_params(axis="y", colors=FIGURE_COLOUR)
    lines = []
    for (words, values), style in zip(scores.items(), ("solid", "dashed", "dotted"), strict=False):
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
