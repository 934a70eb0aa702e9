"""The scores of test images on disk: one row per image."""

from pathlib import Path

import pandas as pd


def read_scores(path: Path) -> pd.DataFrame:
    """Read the scores of test images: ``id`` and ``class`` are text, an empty number is NaN.

    Raises
    ------
    ValueError
        If a column is missing, or an IoU is not a number.
    """
    numbers = ("iou", "iou_agnostic", "voxels", "true_voxels")
    try:
        table = pd.read_csv(
            path,
            dtype={"id": str, "class": str, "iou": float, "iou_agnostic": float},
            keep_default_na=False,  # a class may be called NA
            na_values={column: ["", "nan"] for column in numbers},
        )
    except ValueError as error:
        raise ValueError(f"{path} is no table of scores ({error}); rerun 'score'") from error
    missing = [column for column in ("id", "class", *numbers) if column not in table]
    if missing:
        raise ValueError(
            f"{path} has no column {missing}: expected scores of test images; rerun 'score'"
        )
    return table


def paired(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return the images that have an IoU in both tables.

    Returns
    -------
    Columns ``id``, ``class``, ``before`` and ``after``, in per cent.
    """
    merged = before[["id", "class", "iou"]].merge(
        after[["id", "iou"]], on="id", suffixes=("_before", "_after")
    )
    merged = merged.dropna(subset=["iou_before", "iou_after"]).reset_index(drop=True)
    both = {word: 100 * merged[f"iou_{word}"] for word in ("before", "after")}
    return merged[["id", "class"]].assign(**both)


def paired_gain(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """Mean gain in IoU over the images that are scored in both tables, in points."""
    pairs = paired(before, after)
    return float((pairs["after"] - pairs["before"]).mean())
