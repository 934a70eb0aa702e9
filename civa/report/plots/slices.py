"""Figures of slices: images and masks side by side, drawn without a display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import ndimage

matplotlib.use("agg")

TRUTH_COLOUR, FOUND_COLOUR = "#00a37a", "#d1480f"
LINE_COLOUR = "#444444"
AXES = ("z", "y", "x")  # of an array (d, h, w)

# Layout of a comparison, in inches.
MARGIN, LABEL, PANEL, GAP, GROUP_GAP, HEADER, FOOTER = 0.1, 1.6, 0.88, 0.03, 0.13, 0.74, 0.4
INSET: dict[str, Any] = {"fontsize": 7.5, "color": "white", "ha": "center", "va": "bottom"}


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
    second = "ground truth" if any(one.truth.any() for one in examples) else "low-passed"
    titles = ["input", second, *examples[0].panels]
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


def comparison(blocks: Mapping[str, Sequence[Example]], *, smooth_voxels: float = 1.0) -> Figure:
    """Draw the paper's Figure 4: one row per example, each mask in three orthogonal slices.

    Parameters
    ----------
    blocks
        Heading of a block -> its examples; their panels are masks, the same in all.  A block
        without an example is left out.
    smooth_voxels
        Width of the Gaussian that the grey volume is low-passed with for the eye, except in
        the input, which is drawn as the networks see it.
    """
    filled = {heading: examples for heading, examples in blocks.items() if examples}
    if not filled:
        return notice("nothing to compare: no class has a test image")
    titles = ["input", "ground truth", *next(iter(filled.values()))[0].panels]
    rows = sum(len(examples) for examples in filled.values())
    width = LABEL + len(titles) * _group_width() + GROUP_GAP
    height = len(filled) * HEADER + rows * (PANEL + GAP) + FOOTER
    figure = Figure(figsize=(width, height))
    top = 0.0
    for heading, examples in filled.items():
        _headings(figure, top, heading, titles)
        top += HEADER
        for example in examples:
            _example_row(figure, top, example, smooth_voxels)
            top += PANEL + GAP
    _legend(figure)
    return figure


def notice(text: str) -> Figure:
    """Draw a figure that only says why there is nothing to see."""
    figure = Figure(figsize=(7, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color="0.3")
    return figure


def shortened(text: str, length: int) -> str:
    """Cut the middle out of a text that is longer than ``length`` characters."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def centre(example: Example) -> tuple[int, ...]:
    """Return the slices (z, y, x) through the middle of what an example shows.

    That is the centre of mass of the ground truth; without one, of the last panel's mask; and
    the middle of the box where both are empty.  Along every axis it is moved to the nearest
    slice that meets the mask: one that falls into parts may have none at its centre.
    """
    for mask in (example.truth, *list(example.panels.values())[-1:]):
        if mask.any():
            places = np.argwhere(mask)  # (n, 3)
            middle = places.mean(axis=0)
            nearest = np.abs(places - middle).argmin(axis=0)
            return tuple(int(places[row, axis]) for axis, row in enumerate(nearest))
    return tuple(edge // 2 for edge in example.volume.shape)


def _group_width() -> float:
    """Width of the slices of one panel and the gap before the next, in inches."""
    return len(AXES) * (PANEL + GAP) + GROUP_GAP


def _left(group: int, axis: int) -> float:
    """Left edge of the slice across ``axis`` of a panel, in inches."""
    return LABEL + group * _group_width() + axis * (PANEL + GAP)


def _headings(figure: Figure, top: float, heading: str, titles: Sequence[str]) -> None:
    """Write heading, titles of panels and axes of slices of a block, ``top`` inches down."""
    width, height = figure.get_size_inches()
    words = shortened(heading, 110)
    figure.text(MARGIN / width, 1 - (top + 0.27) / height, words, fontsize=11.5, weight="bold")
    for group, title in enumerate(titles):
        for axis, letter in enumerate(AXES):
            at = (_left(group, axis) + PANEL / 2) / width
            figure.text(at, 1 - (top + HEADER - 0.04) / height, letter, **{**INSET, "color": "0.4"})
        at = (_left(group, 1) + PANEL / 2) / width
        figure.text(at, 1 - (top + HEADER - 0.2) / height, title, fontsize=10.5, ha="center")


def _example_row(figure: Figure, top: float, example: Example, smooth_voxels: float) -> None:
    """Draw one example, ``top`` inches down."""
    width, height = figure.get_size_inches()
    figure.text(
        *(MARGIN / width, 1 - (top + PANEL / 2) / height),
        example.title,
        fontsize=9,
        va="center",
        linespacing=1.25,
        parse_math=False,
    )
    raw = np.asarray(example.volume, dtype=np.float32)
    smooth = ndimage.gaussian_filter(raw, smooth_voxels)
    middle = centre(example)
    masks = [None, example.truth, *example.panels.values()]
    for group, mask in enumerate(masks):
        grey = raw if mask is None else smooth
        limits = np.percentile(grey, (1, 99.8))
        for number, position in enumerate(middle):
            corner = (_left(group, number) / width, 1 - (top + PANEL) / height)
            axis = figure.add_axes((*corner, PANEL / width, PANEL / height))
            _show(axis, np.take(grey, position, axis=number), limits)
            if mask is None:
                continue
            shown = np.take(mask, position, axis=number)
            if mask is not example.truth:
                truth = np.take(example.truth, position, axis=number)
                _outline(axis, truth, TRUTH_COLOUR, style="dotted")
            _outline(axis, shown, TRUTH_COLOUR if mask is example.truth else FOUND_COLOUR)
            if not shown.any():
                words = "no ground truth" if mask is example.truth else "no mask"
                words = "not in this slice" if mask.any() else words
                text = axis.text(0.5, 0.05, words, **INSET, transform=axis.transAxes)
                text.set_bbox({"facecolor": "black", "alpha": 0.6, "linewidth": 0, "pad": 1})


def _legend(figure: Figure) -> None:
    styles: dict[str, tuple[str, Any]] = {
        "ground truth": (TRUTH_COLOUR, "solid"),
        "ground truth, to compare": (TRUTH_COLOUR, "dotted"),
        "mask found": (FOUND_COLOUR, "solid"),
        "slices across z, y and x, through the middle of the target": ("white", "none"),
    }
    lines = [
        Line2D([], [], color=colour, linestyle=style, linewidth=1.5, label=label)
        for label, (colour, style) in styles.items()
    ]
    figure.legend(handles=lines, loc="lower center", ncols=len(lines), frameon=False, fontsize=10)


def _middle(truth: NDArray[np.bool_]) -> int:
    """Return the z of the slice that shows most of the target; the middle one without truth."""
    if not truth.any():
        return len(truth) // 2
    return int(truth.sum(axis=(1, 2)).argmax())


def _show(axis: Axes, image: NDArray, limits: NDArray | None = None) -> None:
    low, high = np.percentile(image, (1, 99.5)) if limits is None else limits
    axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
    axis.set_xticks([])
    axis.set_yticks([])


def _outline(axis: Axes, mask: NDArray[np.bool_], colour: str, *, style: str = "solid") -> None:
    if mask.any():
        axis.contour(mask.astype(float), [0.5], colors=colour, linewidths=1.3, linestyles=style)
