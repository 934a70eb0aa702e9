"""Bootstrap intervals of mean scores over test images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

RESAMPLES = 2000


def bootstrap(scores: pd.DataFrame, *, seed: int = 0) -> Mapping[str, tuple[float, float]]:
    """Percentile intervals (95 %) of mean scores, images resampled within their classes.

    Parameters
    ----------
    scores
        One row per test image, with columns ``class``, ``iou`` and ``iou_agnostic`` in [0, 1].

    Returns
    -------
    ``miou``, ``class_miou``, ``miou_agnostic`` and one entry per class -> lower and upper end,
    in per cent.  Images are what is drawn anew: the spread over seeds is not part of it.
    """
    generator = np.random.default_rng(seed)
    means: dict[str, np.ndarray] = {}
    totals = {"miou": np.zeros(RESAMPLES), "miou_agnostic": np.zeros(RESAMPLES)}
    for name, group in scores.groupby("class", sort=True):
        values = group[["iou", "iou_agnostic"]].to_numpy()  # (n, 2)
        drawn = values[generator.integers(len(values), size=(RESAMPLES, len(values)))]
        means[str(name)] = drawn[..., 0].mean(axis=1)
        for column, score in enumerate(totals):
            totals[score] += drawn[..., column].sum(axis=1) / len(scores)
    if not means:
        return {}
    samples = {**totals, "class_miou": np.mean(list(means.values()), axis=0), **means}
    return {
        score: (float(low), float(high))
        for score, drawn in samples.items()
        for low, high in [100 * np.percentile(drawn, (2.5, 97.5))]
    }
