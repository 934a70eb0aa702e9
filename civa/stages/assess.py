"""Products of one run -> its quality ledger: every stage, with and without a ground truth."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from civa.consensus.alignment_table import AlignmentTable
from civa.data.files import read_json, write_csv
from civa.data.particles import ParticleSet, read_predictions
from civa.data.stack import Stack
from civa.evaluation import ledger
from civa.evaluation.mask_statistics import agreement, annotated, sizes, supervision_miou
from civa.evaluation.metrics import miou
from civa.evaluation.scores import read_scores
from civa.pipeline.runs import method_title

logger = logging.getLogger(__name__)


def run(
    metrics: Path,
    predictions: Path,
    gradcam: Path,
    pseudo_labels: Path,
    iva: Path,
    crf: Path,
    scores: tuple[Path, ...],
    trivial: tuple[Path, ...],
    masks: Path,
    particles: Path,
    split: Path,
    averages: Path | None = None,
    alignment: Path | None = None,
    consensus: Path | None = None,
    *,
    out: Path,
) -> None:
    """Judge a run stage by stage: classifier, seeds, pseudo labels, network, CRF, trivial rules.

    With ``averages`` (the record of the stage average), ``alignment`` and ``consensus`` (masks),
    the new method too.

    Scores are known by their file names: ``gradcam``, ``cooccurrence``, ``iva``, ``crf``,
    ``consensus``; others are not used.  Checks that need a ground truth are n/a where there is
    none.

    Parameters
    ----------
    metrics
        JSON record of the classifier: its accuracies.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    gradcam
        (n, d, h, w) masks from Grad-CAM, MRC stack of labels.
    pseudo_labels
        (n, d, h, w) masks from the merged maps, MRC stack of labels.
    iva
        (n, d, h, w) masks of the affinity network, MRC stack of labels.
    crf
        (n, d, h, w) masks after the CRF, MRC stack of labels.
    scores
        CSV tables of scores of the run's rows, files named after the methods.
    trivial
        CSV tables of scores of the trivial rules, files named after them.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    averages
        JSON record of the averages: class, optics, window, warnings.
    alignment
        CSV table of every volume: class, average, pose (quaternion, shift in voxels),
        trust.
    consensus
        (n, d, h, w) masks of CIVA-Consensus, MRC stack of labels.
    out
        CSV table: the quality ledger, a line per check.
    """
    data = ParticleSet(particles, split)
    test, classes = data.parts["test"], data.table["class"].to_numpy()
    cam, labels, proposal, refined, truth = (
        Stack.open(path).expect_volumes(len(classes))
        for path in (gradcam, pseudo_labels, iva, crf, masks)
    )
    tables = {path.stem: read_scores(path) for path in scores}
    rules = {method_title(path.stem): read_scores(path) for path in trivial}
    box = int(np.prod(cam.shape[1:]))
    found, after = sizes(proposal), sizes(refined)
    right = read_predictions(predictions, data.table).predicted[test] == data.labels[test]
    supervision = supervision_miou(labels, truth, data.parts["train"])
    lines = [
        *ledger.data_lines(classes, data.parts["train"], int(annotated(truth, test).sum())),
        *ledger.classifier_lines(_class_accuracy(metrics), classes[test], right),
        *ledger.score_lines("gradcam", tables),
        *ledger.mask_lines("Grad-CAM", sizes(cam), box),
        *ledger.score_lines("cooccurrence", tables),
        ledger.line("pseudo labels", "pseudo_labels", supervision),
        *ledger.mask_lines("pseudo labels", sizes(labels), box),
        *ledger.score_lines("iva", tables),
        *ledger.mask_lines("affinity network", found, box),
        *ledger.proposal_lines(agreement(proposal, cam)),
        ledger.spread_line("affinity network", found, classes),
        *ledger.score_lines("crf", tables),
        ledger.class_line(tables),
        *ledger.mask_lines("CRF", after, box),
        ledger.spread_line("CRF", after, classes),
        *ledger.diameter_lines(after, classes, refined.voxel_size_angstrom),
        ledger.trivial_line(tables, rules),
    ]
    if averages and alignment and consensus:
        aligned = Stack.open(consensus).expect_volumes(len(classes))
        lines += _consensus_lines(averages, alignment, aligned, data, tables)
    table = pd.DataFrame(lines, columns=list(ledger.COLUMNS))
    for row in table[table["verdict"] == "red"].itertuples():
        logger.warning("%s, %s: %.1f %s, expected %s", *row[1:6])
    logger.info("%s", table["verdict"].value_counts().to_dict())
    write_csv(out, table)


def _consensus_lines(
    averages: Path,
    alignment: Path,
    masks: Stack,
    data: ParticleSet,
    tables: Mapping[str, pd.DataFrame],
) -> list[ledger.Line]:
    """Lines of CIVA-Consensus; its scores are in ``tables`` where there is a ground truth."""
    reached = miou(tables["consensus"]) if "consensus" in tables else np.nan
    masked, found = sizes(masks), AlignmentTable.read(alignment, data.table)
    aligned, reports = found.table, read_json(averages)["averages"]
    classes, validation = data.table["class"].to_numpy(), np.zeros(len(masked), dtype=bool)
    validation[data.parts["validation"]] = True
    return [
        ledger.alignment_class_line(classes, aligned["class"].to_numpy(), validation),
        *ledger.consensus_lines(
            reports, aligned["misfit"], aligned["decoy_margin"], found.expected_iou(reports)
        ),
        ledger.line(ledger.CONSENSUS, "consensus", reached),
        *ledger.mask_lines(ledger.CONSENSUS, masked, int(np.prod(masks.shape[1:]))),
        ledger.spread_line(ledger.CONSENSUS, masked, classes),
    ]


def _class_accuracy(metrics: Path) -> float:
    record = read_json(metrics)
    if "test_class_accuracy" not in record:
        raise ValueError(
            f"{metrics} holds {sorted(record)}: expected test_class_accuracy; rerun "
            "'train-classifier'"
        )
    return float(record["test_class_accuracy"])
