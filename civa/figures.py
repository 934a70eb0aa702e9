"""Figures of slices and curves, drawn without a display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

matplotlib.use("agg")

TRUTH_COLOUR, FOUND_COLOUR = "#00a37a", "#d1480f"


@dataclass(frozen=True)
class Example:
    """One sub-tomogram and what was found in it.

    Attributes
    ----------
    title
        Class and score.
    volume
        (d, h, w).
    truth
        (d, h, w) booleans.
    panels
        Title -> (d, h, w): a map of floats is drawn in colour, booleans as an outline.
    """

    title: str
    volume: NDArray
    truth: NDArray[np.bool_]
    panels: Mapping[str, NDArray]


def overview(examples: Sequence[Example], *, smooth_voxels: float = 1.0) -> Figure:
    """Draw one row per example: input, ground truth, then every panel, side by side.

    Slices run through the middle of the target along z.  The grey volume is low-passed for
    the eye, except in the first panel, which shows what the networks see.
    """
    if not examples:
        raise ValueError("there is no example to draw: no class has a test volume")
    titles = ["input", "ground truth", *examples[0].panels]
    figure = Figure(figsize=(1.75 * len(titles) + 0.5, 1.95 * len(examples)), layout="constrained")
    axes = figure.subplots(len(examples), len(titles), squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        section = _middle(example.truth)
        grey = ndimage.gaussian_filter(example.volume, smooth_voxels)[section]
        _show(row[0], example.volume[section])
        _show(row[1], grey)
        _outline(row[1], example.truth[section], TRUTH_COLOUR)
        for axis, panel in zip(row[2:], example.panels.values(), strict=True):
            _show(axis, grey)
            if panel.dtype == bool:
                _outline(axis, panel[section], FOUND_COLOUR)
            else:
                axis.imshow(panel[section], cmap="inferno", alpha=0.75, origin="lower")
            _outline(axis, example.truth[section], TRUTH_COLOUR, style="dotted")
        row[0].set_ylabel(example.title, fontsize=9)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure


def _middle(truth: NDArray[np.bool_]) -> int:
    """Return the z of the slice that shows most of the target; the middle one without truth."""
    if not truth.any():
        return len(truth) // 2
    return int(truth.sum(axis=(1, 2)).argmax())


def _show(axis: Axes, image: NDArray) -> None:
    low, high = np.percentile(image, (1, 99.5))
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
    axis.set_xticks([])
    axis.set_yticks([])


def _outline(axis: Axes, mask: NDArray[np.bool_], colour: str, *, style: str = "solid") -> None:
    if mask.any():
        axis.contour(mask.astype(float), [0.5], colors=colour, linewidths=1.3, linestyles=style)
