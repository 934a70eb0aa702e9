"""Scores per test image -> the results of every row.

A result is one score of one row of one data set: its mean over the test images and seeds, with
interval, spread and the files behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civa.evaluation.bootstrap import bootstrap
from civa.evaluation.metrics import mean_iou
from civa.pipeline.runs import METHODS, Row

KEYS = ["dataset", "variant", "method"]
MEANS = ("miou", "class_miou", "miou_agnostic")
TEXT = {
    *("dataset", "variant", "method", "title", "supervision"),
    *("score", "by_seed", "notes", "files"),
}


def collect(
    rows: Sequence[Row], scores: Mapping[str, pd.DataFrame], classes: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Compute every score of every row, over its seeds.

    Parameters
    ----------
    rows
        Rows of the tables, one per seed.
    scores
        Path of a file of scores -> its table; runs that failed, or are not finished, are
        missing.
    classes
        Data set -> its class names.

    Returns
    -------
    One line per result: ``dataset``, ``variant``, ``method``, ``title``, ``supervision``,
    ``score`` (miou, class_miou, miou_agnostic or a class), ``mean`` and ``sd`` over seeds,
    ``low`` and ``high`` (95 % interval over test images), ``n`` scored ``of`` all test images,
    ``seeds``, ``by_seed``, ``notes`` and ``files``; scores in per cent, NaN where there is none.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.variant, row.method), []).append(row)
    lines: list[dict[str, Any]] = []
    for (dataset, variant, method), runs in groups.items():
        shared = {
            **dict(zip(KEYS, (dataset, variant, method), strict=True)),
            "title": runs[0].title,
            "supervision": METHODS[method].supervision,
        }
        lines += [{**shared, **line} for line in _results(runs, scores, classes.get(dataset, ()))]
    return pd.DataFrame(lines)


def _results(
    runs: Sequence[Row], scores: Mapping[str, pd.DataFrame], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield one line per score of one row of one data set."""
    finished = [row for row in runs if row.scores in scores]
    remarks = [
        f"{'this rule' if row.seed is None else f'seed {row.seed}'} failed, or is not finished"
        for row in runs
        if row.scores not in scores
    ]
    tables = [scores[row.scores] for row in finished]
    scored = [table.dropna(subset=["iou"]) for table in tables]
    by_seed = [mean_iou(table) for table in scored if len(table)]
    images = pd.concat(scored) if scored else pd.DataFrame(columns=["id", "class", "iou"])
    n, of = (images["id"].nunique(), len(tables[0])) if tables else (0, 0)
    if tables and n == 0:
        unpredicted = all(table["voxels"].isna().all() for table in tables)
        what = "no prediction: the network was not trained" if unpredicted else "no ground truth"
        remarks.append(f"{what} for any test image")
    elif n < of:
        remarks.append(f"{n} of {of} test images have a ground truth")
    per_image = images.groupby(["id", "class"], as_index=False).mean(numeric_only=True)
    intervals = bootstrap(per_image) if n else {}
    for score in (*MEANS, *classes):
        values = np.array([table[score] for table in by_seed if score in table])
        own = list(remarks)
        if score in classes and n:
            found = images[images["class"] == score]
            if found.empty:
                own.append(f"class {score} has no test image with a ground truth")
            elif (found["voxels"] == 0).all():
                own.append(f"the prediction is empty for every test image of class {score}")
        low, high = intervals.get(score, (np.nan, np.nan))
        yield {
            "score": score,
            "mean": round(float(values.mean()), 2) if len(values) else np.nan,
            "sd": round(float(values.std(ddof=1)), 2) if len(values) > 1 else np.nan,
            "low": round(low, 2),
            "high": round(high, 2),
            "n": n if score in MEANS else int((per_image["class"] == score).sum()),
            "of": of,
            "seeds": len(tables),
            "by_seed": " ".join(f"{value:.2f}" for value in values),
            "notes": "; ".join(own),
            "files": " ".join(row.scores for row in finished),
        }


def read_results(path: Path) -> pd.DataFrame:
    """Read the lines that `collect` made and a stage wrote.

    Raises
    ------
    ValueError
        If a column is missing: it is no such table, or one of an older version.
    """
    # Names such as NA are names; numbers that are missing are blank.
    table = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])
    missing = [name for name in (*KEYS, "score", "mean") if name not in table]
    if missing:
        raise ValueError(
            f"{path} has the columns {list(table.columns)}: results also have {missing}; rerun "
            "'tabulate'"
        )
    return table.assign(**{name: table[name].fillna("") for name in TEXT.intersection(table)})
