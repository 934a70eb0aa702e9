"""Masks and scores -> the overview figure: the median test image of every class."""

from pathlib import Path

import numpy as np

from civa.data.files import replacing
from civa.data.particles import BACKGROUND, ParticleSet
from civa.data.stack import Stack
from civa.evaluation.metrics import is_annotated
from civa.evaluation.scores import read_scores
from civa.report.plots.slices import Example, overview


def run(
    volumes: Path,
    truth: Path,
    gradcam: Path,
    merged: Path,
    iva: Path,
    crf: Path,
    consensus: Path,
    scores: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
) -> None:
    """Draw input, ground truth, Grad-CAM, merged map, IVA, CRF and CIVA-Consensus side by side.

    The example of a class is its test image of median score after the CRF; without ground
    truth, its first test image.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    truth
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    gradcam
        (n, d, h, w) Grad-CAM maps, MRC stack; maximum 1 each.
    merged
        (n, d, h, w) merged maps, MRC stack; ranks, 0 to 1.
    iva
        (n, d, h, w) masks of the affinity network, MRC stack of labels.
    crf
        (n, d, h, w) masks after the CRF, MRC stack of labels.
    consensus
        (n, d, h, w) masks of CIVA-Consensus, MRC stack of labels.
    scores
        CSV table of scores of the masks after the CRF, a row per test image.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        PNG figure.
    """
    data = ParticleSet(particles, split)
    results = read_scores(scores).dropna(subset=["iou"])
    positions = {name: row for row, name in enumerate(data.table["id"])}
    stacks = {
        "Grad-CAM": Stack.open(gradcam),
        "merged map": Stack.open(merged),
        "IVA": Stack.open(iva),
        "CRF": Stack.open(crf),
        "CIVA-Consensus": Stack.open(consensus),
    }
    boxes, masks = Stack.open(volumes), Stack.open(truth)
    examples = []
    for label, name in enumerate(data.names, start=1):
        own = results[results["class"] == name].sort_values("iou", kind="stable")
        test = data.parts["test"][data.labels[data.parts["test"]] == label]
        if not len(test):
            continue
        row, title = int(test[0]), name
        if len(own):
            median = own.iloc[len(own) // 2]
            row, title = positions[median["id"]], f"{name}\nIoU {100 * median['iou']:.0f}"
        panels = {
            key: stack[row] > BACKGROUND if stack.dtype == np.int8 else stack[row].astype(float)
            for key, stack in stacks.items()
        }
        shown = is_annotated(masks[row : row + 1])[0] & (masks[row] > BACKGROUND)
        examples.append(Example(title, boxes[row], shown, panels))
    with replacing(out) as temporary:
        overview(examples).savefig(temporary, dpi=130)
