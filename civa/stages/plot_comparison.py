"""Masks and scores -> the paper's Figure 4: baseline and ours, in three slices (Sec. 5.6)."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import replacing
from civa.data.particles import BACKGROUND, UNANNOTATED, ParticleSet
from civa.data.stack import Stack
from civa.evaluation.metrics import score_images
from civa.evaluation.scores import read_scores
from civa.report.plots.slices import Example, comparison, shortened

BASELINE, OURS = "Grad-CAM", "CIVA-Net"
LONGEST_ID = 18  # characters that fit beside the slices


def run(
    volumes: Path,
    truth: Path,
    baseline: Path,
    ours: Path,
    scores: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
) -> None:
    """Draw input, ground truth, Grad-CAM and our mask in three slices, class by class.

    Shown are the best, the median and the worst test image of every class by the IoU of our
    mask; without ground truth, those of the largest, the median and the smallest mask.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    truth
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    baseline
        (n, d, h, w) masks from Grad-CAM, MRC stack of labels.
    ours
        (n, d, h, w) our masks, MRC stack of labels.
    scores
        CSV table of scores of our masks, a row per test image.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    out
        PNG figure.
    """
    data = ParticleSet(particles, split)
    results = _test_scores(scores, data)
    positions = {name: row for row, name in enumerate(data.table["id"])}
    boxes, known = Stack.open(volumes), Stack.open(truth)
    stacks = {BASELINE: Stack.open(baseline), OURS: Stack.open(ours)}
    blocks: dict[str, list[Example]] = {}
    for label, name in enumerate(data.names, start=1):
        own = results[results["class"] == name]
        examples = []
        for _, image in representatives(own).iterrows():
            row = positions[image["id"]]
            masks = {key: np.asarray(stack[row]) for key, stack in stacks.items()}
            target = np.asarray(known[row])
            title = [image["rank"], shortened(image["id"], LONGEST_ID)]
            title += _figures(image, masks[BASELINE], target)
            title += _mistaken(masks[OURS], label, data.names)
            panels = {key: mask > BACKGROUND for key, mask in masks.items()}
            example = Example("\n".join(title), boxes[row], target > BACKGROUND, panels)
            examples.append(example)
        blocks[f"{name}: {_heading(own)}"] = examples
    with replacing(out) as temporary:
        comparison(blocks).savefig(temporary, dpi=150)


def representatives(scores: pd.DataFrame) -> pd.DataFrame:
    """Pick the best, the median and the worst image of one class.

    Parameters
    ----------
    scores
        One row per test image: ``id``, ``iou``, ``voxels``.  Where no image has an IoU, the
        size of the mask stands in for it; where none has a mask, the first image is picked.

    Returns
    -------
    Up to three of the rows, best first, each image once; column ``rank`` says which it is.
    Of an even number of images, the median is the better of the middle two.
    """
    words = ("best", "median", "worst")
    ranked = scores.dropna(subset=["iou"]).sort_values("iou", kind="stable")
    if ranked.empty:
        words = ("largest mask", "median mask", "smallest mask")
        ranked = scores.dropna(subset=["voxels"]).sort_values("voxels", kind="stable")
    if ranked.empty:
        return scores.head(1).assign(rank="first image")
    n = len(ranked)
    if n == 1:
        return ranked.assign(rank="only image")
    places: dict[int, str] = {}
    for place, word in zip((n - 1, n // 2, 0), words, strict=True):
        places.setdefault(place, word)
    return ranked.iloc[list(places)].assign(rank=list(places.values()))


def _test_scores(path: Path, data: ParticleSet) -> pd.DataFrame:
    """Read the scores of the test images.

    Raises
    ------
    ValueError
        If they are of other images than those of the test part.
    """
    table = read_scores(path)
    strangers = set(table["id"]) - set(data.table["id"].to_numpy()[data.parts["test"]])
    if strangers:
        raise ValueError(
            f"{path} scores {sorted(strangers)[:5]}, which are no test images of this split: "
            "expected test images only; rerun 'score'"
        )
    return table


def _heading(scores: pd.DataFrame) -> str:
    """Say how many test images a class has, and by what they are ranked."""
    n, scored = len(scores), int(scores["iou"].notna().sum())
    images = f"{n} test image" + ("" if n == 1 else "s")
    if scored:
        some = "" if scored == n else f", {scored} of them with a ground truth and a mask"
        return f"{images}{some}, ranked by the IoU of {OURS}"
    if scores["voxels"].isna().all():
        return f"{images}, no prediction"
    return f"{images} without ground truth, ranked by the size of the mask of {OURS}"


def _figures(image: pd.Series, baseline: NDArray, truth: NDArray) -> list[str]:
    """Return the lines that tell how good, or at least how large, the masks are."""
    if pd.isna(image["iou"]):
        return ["no prediction" if pd.isna(image["voxels"]) else f"{image['voxels']:.0f} voxels"]
    lines = [f"IoU {100 * image['iou']:.1f} %"]
    if (baseline != UNANNOTATED).all():
        other = float(score_images(baseline[None], truth[None])["iou"].iloc[0])
        lines.append(f"({BASELINE} {100 * other:.1f} %)")
    return lines


def _mistaken(mask: NDArray, label: int, names: list[str]) -> list[str]:
    """Name the class that most of a mask claims, if it is not the image's own."""
    claimed = mask[mask > BACKGROUND]
    if not len(claimed):
        return []
    found = int(np.bincount(claimed).argmax())
    return [] if found == label else [f"taken for {shortened(names[found - 1], 12)}"]
