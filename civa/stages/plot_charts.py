"""Curves, choices, predictions and scores -> the charts of a run (Sec. 5.4, 5.5)."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from civa.data.files import read_json, replacing
from civa.data.particles import ParticleSet, read_predictions
from civa.evaluation.scores import read_scores
from civa.report.plots import scores as charts
from civa.report.plots import training as history


def run(
    curves: tuple[Path, ...],
    choices: tuple[Path, ...],
    predictions: Path,
    scores: tuple[Path, ...],
    particles: Path,
    split: Path,
    *,
    training: Path,
    sweeps: Path,
    confusion: Path,
    refinement: Path,
    distributions: Path,
) -> None:
    """Draw training curves, choices on validation, confusions and scores of a run.

    Networks, choices and methods are named by their files: ``iva_curve.csv`` is the curve of
    ``iva``; panels and rows come in the order of the files.

    Parameters
    ----------
    curves
        CSV tables of trainings, a row per epoch.
    choices
        JSON records of what was chosen on validation.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    scores
        CSV tables of scores, a row per test image.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    training
        PNG figure: loss and validation figures over epochs.
    sweeps
        PNG figure: validation mIoU over what was tried.
    confusion
        PNG figure: true and predicted classes of the test images.
    refinement
        PNG figure: IoU before and after the CRF.
    distributions
        PNG figure: IoU of the test images, method by method.
    """
    data = ParticleSet(particles, split)
    tables = [(path.stem, read_scores(path)) for path in scores]
    by_name = dict(tables)
    panels = [
        sweep for path in choices for sweep in history.read_sweeps(path.stem, read_json(path))
    ]
    counts = charts.count_predictions(*_test_predictions(predictions, data), len(data.names))
    figures = {
        training: history.training([(_network(path), pd.read_csv(path)) for path in curves]),
        sweeps: history.sweeps(panels),
        confusion: charts.confusion(counts, data.names),
        refinement: charts.refinement(by_name.get("iva"), by_name.get("crf"), data.names),
        distributions: charts.distributions(tables, data.names),
    }
    for path, figure in figures.items():
        _save(figure, path)


def _network(curve: Path) -> str:
    return curve.stem.removesuffix("_curve")


def _test_predictions(path: Path, data: ParticleSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return true and predicted labels of the test images.

    Raises
    ------
    ValueError
        If the table is not of these volumes, or predicts a class that there is not.
    """
    test = data.parts["test"]
    predicted = read_predictions(path, data.table).predicted[test]
    strange = sorted(set(predicted.tolist()) - set(range(1, len(data.names) + 1)))
    if strange:
        raise ValueError(
            f"{path} predicts the labels {strange[:5]}: expected 1 to {len(data.names)}, the "
            "labels of the particle table; rerun 'localize'"
        )
    return data.labels[test], predicted


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
