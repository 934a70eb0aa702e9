"""Figures of averages: their slices, the true density beside them, and their FSC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from civa.report.plots.slices import FOUND_COLOUR, TRUTH_COLOUR, shortened

CRITERIA = (0.5, 0.143)  # of the FSC


@dataclass(frozen=True)
class Portrait:
    """The average of a class, and what it should look like.

    Attributes
    ----------
    title
        Class and number of volumes.
    average
        (e, e, e), 1 at its peak.
    truth
        (e, e, e) true density in the frame of the average, 1 at its peak; None if not known.
    contour
        Level of the mask.
    resolutions_angstrom, fsc, against_truth
        (shells,) correlation of the half-sets, and of the average with the truth or None.
    shared_angstrom
        Up to where the half-sets are not independent, so that their correlation says nothing.
    remark
        A few words over the curve, such as where its warnings are written.
    """

    title: str
    average: NDArray
    truth: NDArray | None
    contour: float
    resolutions_angstrom: NDArray
    fsc: NDArray
    against_truth: NDArray | None
    shared_angstrom: float
    remark: str = ""


def gallery(portraits: Sequence[Portrait]) -> Figure:
    """Draw one row per class: three slices of the average and of the truth, then the FSC."""
    columns = [1, 1, 1, 0.12, 1, 1, 1, 0.25, 2.1]
    size = (13.2, 1.72 * len(portraits) + 0.75)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(portraits), len(columns), width_ratios=columns)
    for row, portrait in enumerate(portraits):
        for first, density, colour in (
            (0, portrait.average, FOUND_COLOUR),
            (4, portrait.truth, TRUTH_COLOUR),
        ):
            for number, letter in enumerate("zyx"):
                axis = figure.add_subplot(grid[row, first + number])
                axis.set_xticks([])
                axis.set_yticks([])
                if row == 0:
                    what = "average" if first == 0 else "true density"
                    axis.set_title(f"{what}, across {letter}", fontsize=9)
                if first == 0 and number == 0:
                    axis.set_ylabel(shortened(portrait.title, 40), fontsize=9, parse_math=False)
                if density is None:
                    axis.text(0.5, 0.5, "not known", ha="center", fontsize=9, color="0.4")
                    continue
                section = np.take(density, density.shape[0] // 2, axis=number)
                axis.imshow(section, cmap="gray", vmin=-0.2, vmax=1.0, origin="lower")
                axis.contour(section, [portrait.contour], colors=colour, linewidths=1.2)
        _correlations(figure.add_subplot(grid[row, 8]), portrait)
    return figure


def _correlations(axis: Axes, portrait: Portrait) -> None:
    """Draw the FSC over spatial frequency."""
    frequency = 1 / np.asarray(portrait.resolutions_angstrom)
    axis.plot(frequency, portrait.fsc, "o-", color="#0072b2", ms=3, lw=1.3, label="half-sets")
    if portrait.against_truth is not None:
        axis.plot(frequency, portrait.against_truth, "s--", ms=3, lw=1.1, color=TRUTH_COLOUR)
        axis.lines[-1].set_label("with the truth")
    axis.axvspan(0, 1 / portrait.shared_angstrom, color="0.93", lw=0, zorder=0)
    axis.set_xlim(0, 1.03 * frequency[-1])
    axis.patches[-1].set_label("half-sets not independent")
    for level in CRITERIA:
        axis.axhline(level, color="0.75", lw=0.8, zorder=0)
    ticks = frequency[np.linspace(1, len(frequency) - 1, 5).round().astype(int)]
    axis.set_xticks(ticks, [f"{1 / tick:.0f}" for tick in ticks], fontsize=7.5)
    axis.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=7.5)
    axis.set_ylim(-0.15, 1.05)
    axis.set_xlabel("resolution (Å)", fontsize=8)
    axis.set_ylabel("FSC", fontsize=8)
    axis.legend(fontsize=7, frameon=False, loc="lower left")
    if portrait.remark:
        axis.set_title(shortened(portrait.remark, 60), fontsize=7.5, color=FOUND_COLOUR)
