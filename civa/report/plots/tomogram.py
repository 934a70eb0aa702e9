"""A slice of a tomogram with the masks of its particles: truth, ours, and what was rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

matplotlib.use("agg")

CLIP = 3.0  # standard deviations at which grey values end
OPACITY = 0.7
REJECTED = "white"


@dataclass(frozen=True)
class Plane:
    """A slice across z, and whose each of its pixels is.

    Attributes
    ----------
    title
        Which slice of which tomogram.
    image
        (h, w), protein bright.
    truth, found
        (h, w) labels, 0 for nobody's; ``truth`` is None where it is not known.
    rejected
        (h, w) pixels of masks that are not to be trusted.
    classes
        Their names, from label 1 on.
    """

    title: str
    image: NDArray
    truth: NDArray[np.int64] | None
    found: NDArray[np.int64]
    rejected: NDArray[np.bool_]
    classes: Sequence[str]


def draw(plane: Plane) -> Figure:
    """Draw the slice as it is, with the truth if it is known, and with what was found."""
    panels = [("tomogram", None), ("ground truth", plane.truth), ("CIVA-Consensus", plane.found)]
    shown = [(title, mask) for title, mask in panels if mask is not None or title == "tomogram"]
    height, width = plane.image.shape
    size = (4.2 * len(shown), 4.2 * height / width + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    colours = [f"C{number % 10}" for number in range(len(plane.classes))]
    for axes, (title, mask) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        _grey(axes, plane.image)
        axes.set_title(plane.title if title == "tomogram" else title, fontsize=10)
        if mask is not None:
            _fill(axes, mask, colours)
    if plane.rejected.any():
        axes.contour(plane.rejected.astype(float), [0.5], colors=REJECTED, linewidths=1.0)
    handles: list[Patch | Line2D] = [
        Patch(color=colour, alpha=OPACITY, label=name)
        for name, colour in zip(plane.classes, colours, strict=True)
    ]
    handles.append(
        Line2D([], [], color=REJECTED, label="rejected", markeredgecolor="black", lw=1.5)
    )
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=True)
    legend.get_frame().set_facecolor("#999999")
    return figure


def _grey(axes: Axes, image: NDArray) -> None:
    middle, spread = float(np.median(image)), float(image.std())
    low, high = middle - CLIP * spread, middle + CLIP * spread
    axes.imshow(image, cmap="gray", origin="lower", vmin=low, vmax=high)
    axes.set_xticks([])
    axes.set_yticks([])


def _fill(axes: Axes, labels: NDArray[np.int64], colours: Sequence[str]) -> None:
    """Colour every pixel (h, w) of a class over the slice."""
    layer = np.zeros((*labels.shape, 4))
    for number, colour in enumerate(colours, start=1):
        layer[labels == number] = (*matplotlib.colors.to_rgb(colour), OPACITY)
    axes.imshow(layer, origin="lower", interpolation="nearest")
