"""A picture of a user's own data: boxes over their tomogram, and what they hold, class by class."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from civa.inspection.inspection import Inspection, TomogramView

SHOWN = 4  # boxes of every class, beside its mean
CLIP = 3.0  # standard deviations at which grey values end


def draw(found: Inspection) -> Figure:
    """Draw slices of tomograms with boxes, and of every class some boxes and their mean.

    A wrong frame, unit or contrast is seen at a glance: boxes beside what they should hold, or dark
    where protein should be bright.
    """
    classes = list(found.examples)
    rows, views = max(len(classes), 1), len(found.views)
    figure = plt.figure(figsize=(11, 1.9 * rows + 6 * bool(views)), layout="constrained")
    heights = [6.0, 1.9 * rows] if views else [1.9 * rows]
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(heights), 1, height_ratios=heights)))
    colours = {name: f"C{i % 10}" for i, name in enumerate(classes)}
    if views:
        for axes, view in zip(np.atleast_1d(parts[0].subplots(1, views)), found.views, strict=True):
            _draw_view(axes, view, colours)
    grid = parts[-1].subplots(rows, SHOWN + 2, squeeze=False)
    for row, name in zip(grid, classes, strict=False):
        _draw_class(row, name, found.examples[name], colours[name])
    return figure


def _draw_view(axes: Axes, view: TomogramView, colours: dict[str, str]) -> None:
    middle, spread = float(np.median(view.image)), float(view.image.std())
    low, high = middle - CLIP * spread, middle + CLIP * spread
    axes.imshow(view.image, cmap="gray", origin="lower", vmin=low, vmax=high)
    for place, name in zip(view.places, view.classes, strict=True):
        corner = place - view.edge / 2
        colour = colours.get(str(name), "white")
        axes.add_patch(
            Rectangle((corner[0], corner[1]), view.edge, view.edge, fill=False, ec=colour, lw=0.5)
        )
        axes.plot(*place, "+", color=colour, ms=5, mew=1)
    title = f"{view.name} as it is stored, voxels, z = {view.z_voxel}: {len(view.places)} boxes"
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)


def _draw_class(row: NDArray, name: str, boxes: NDArray[np.float32], colour: str) -> None:
    """Draw middle slices (xy) of some boxes, and of their mean in xy and xz."""
    mean = boxes.mean(axis=0)
    middle = mean.shape[0] // 2
    for axes, box in zip(row, boxes[:SHOWN], strict=False):
        axes.imshow(box[middle], cmap="gray", origin="lower", vmin=-CLIP, vmax=CLIP)
    limit = max(float(np.abs(mean).max()), 1e-6)
    for axes, image in ((row[SHOWN], mean[middle]), (row[SHOWN + 1], mean[:, middle])):
        axes.imshow(image, cmap="gray", origin="lower", vmin=-limit, vmax=limit)
    row[0].set_title("boxes, protein bright", fontsize=8)
    row[SHOWN].set_title(f"mean of {len(boxes)}, xy", fontsize=8)
    row[SHOWN + 1].set_title("xz", fontsize=8)
    row[0].set_ylabel(name, fontsize=9, color=colour)
    for axes in row:
        axes.set_xticks([])
        axes.set_yticks([])
