"""The quality ledger: one line per check of one stage, judged green, amber or red.

Some checks need a ground truth and compare masks with it; the others need nothing but the
image-level labels, so that they say something about data that nobody has segmented.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from civa.evaluation.mask_statistics import spread
from civa.evaluation.metrics import miou
from civa.evaluation.scores import paired_gain
from civa.evaluation.thresholds import FULL_SHARE, LIMITS, VERDICTS

COLUMNS = ("stage", "check", "value", "unit", "expected", "verdict", "advice")
TEXT = [column for column in COLUMNS if column != "value"]

# Rows of the method in the order of the pipeline, and the stage that each shows.
STAGES = {
    "gradcam": "Grad-CAM",
    "cooccurrence": "co-occurrence",
    "iva": "affinity network",
    "crf": "CRF",
}

CONSENSUS = "CIVA-Consensus"

Line = dict[str, object]  # column -> cell


def line(
    stage: str,
    name: str,
    value: float,
    *,
    of: str = "",
    floor: float | None = None,
    advice: str = "",
) -> Line:
    """Return one line of the ledger.

    Parameters
    ----------
    stage
        What the check is about.
    name
        Key of `LIMITS`.
    value
        What was measured, NaN where it could not be; judged as it is printed, to one decimal.
    of
        Class or rule that the value belongs to.
    floor
        In per cent: what guessing reaches; limits are then shares of the way from there to 100.
    advice
        Stands in for that of the limit.

    Returns
    -------
    `COLUMNS` -> cell; the advice is empty where the verdict is green or n/a.
    """
    limit = LIMITS[name] if floor is None else LIMITS[name].above(floor)
    rounded = round(float(value), 1)
    verdict = limit.verdict(rounded)
    expected = limit.expected if floor is None else f"{limit.expected}; guessing: {floor:.3g}"
    cells = (
        *(stage, f"{limit.check} ({of})" if of else limit.check, rounded, limit.unit),
        *(expected, verdict, (advice or limit.advice) if verdict in ("amber", "red") else ""),
    )
    return dict(zip(COLUMNS, cells, strict=True))


# --- lines, stage by stage --------------------------------------------------------------------


def data_lines(classes: ArrayLike, train: NDArray[np.int64], annotated: int) -> list[Line]:
    """Check the labels themselves.

    Parameters
    ----------
    classes
        (n,) class of every volume.
    train
        (m,) positions of the training part.
    annotated
        How many test images have a ground truth.
    """
    every = pd.Series(np.asarray(classes))
    counts = every.value_counts()
    training = every.iloc[train].value_counts().reindex(counts.index, fill_value=0)
    return [
        line("data", "balance", counts.max() / counts.min()),
        line("data", "smallest", training.min(), of=str(training.idxmin())),
        line("data", "annotated", annotated if annotated else np.nan),
    ]


def classifier_lines(
    class_accuracy: float, classes: ArrayLike, right: NDArray[np.bool_]
) -> list[Line]:
    """Check the classifier on the test part.

    Parameters
    ----------
    class_accuracy
        Mean over classes of the share of images named correctly, in [0, 1].
    classes
        (m,) class of every test image.
    right
        (m,) whether it was named correctly.
    """
    shares = 100 * pd.Series(right, dtype=float).groupby(np.asarray(classes)).mean()
    guessing = 100 / len(shares)
    worst = str(shares.idxmin())
    return [
        line("classifier", "accuracy", 100 * class_accuracy, floor=guessing),
        line("classifier", "worst_class", shares.min(), of=worst, floor=guessing),
    ]


def score_lines(method: str, scores: Mapping[str, pd.DataFrame]) -> list[Line]:
    """Check the test mIoU of a stage, and what it gains over the stage before.

    Parameters
    ----------
    method
        Key of `STAGES`.
    scores
        Method -> scores of the test images: ``id``, ``iou`` in [0, 1], NaN where unknown.
    """
    stage, order = STAGES[method], list(STAGES)
    reached = miou(scores[method]) if method in scores else np.nan
    lines = [line(stage, method, reached)]
    before = [name for name in order[: order.index(method)] if name in scores]
    if method != order[0]:
        known = method in scores and bool(before)
        gain = paired_gain(scores[before[-1]], scores[method]) if known else np.nan
        of = STAGES[before[-1]] if before else ""
        advice = f"{LIMITS[method].advice}; {LIMITS['gain'].advice}"
        lines.append(line(stage, "gain", gain, of=of, advice=advice))
    return lines


def class_line(scores: Mapping[str, pd.DataFrame]) -> Line:
    """Check the class that the last stage segments worst."""
    table = scores.get(final_row(scores), pd.DataFrame(columns=["class", "iou"], dtype=float))
    means = 100 * table.groupby("class")["iou"].mean().dropna()
    worst = str(means.idxmin()) if len(means) else ""
    return line("CRF", "class_miou", means.min() if worst else np.nan, of=worst)


def mask_lines(stage: str, voxels: NDArray[np.float64], box: int) -> list[Line]:
    """Check that masks are neither empty (or missing) nor full, of a box of ``box`` voxels."""
    empty = 100 * float(np.mean(~(voxels > 0)))
    full = 100 * float(np.mean(voxels > FULL_SHARE * box))
    return [line(stage, "empty", empty), line(stage, "full", full)]


def proposal_lines(shared: NDArray[np.float64]) -> list[Line]:
    """Check proposals against the CAM that chose them, from their `agreement`."""
    known = shared[~np.isnan(shared)]
    mean, apart = (known.mean(), (known == 0).mean()) if len(known) else (np.nan, np.nan)
    return [
        line("affinity network", "agreement", 100 * mean),
        line("affinity network", "apart", 100 * apart),
    ]


def spread_line(stage: str, voxels: NDArray[np.float64], classes: ArrayLike) -> Line:
    """Check that masks of one class have similar sizes."""
    worst, ratio = spread(voxels, classes)
    return line(stage, "spread", ratio, of=worst)


def diameter_lines(
    voxels: NDArray[np.float64], classes: ArrayLike, voxel_size_angstrom: float
) -> list[Line]:
    """State how large the particles of every class were found, for the user to judge."""
    medians = pd.Series(voxels).where(voxels > 0).groupby(np.asarray(classes)).median()
    diameters = 2 * (3 * medians / (4 * np.pi)) ** (1 / 3) * voxel_size_angstrom
    expected = "for you to judge: near the particle's own size, less where it is not round"
    return [
        dict(
            zip(
                COLUMNS,
                (
                    *("CRF", f"diameter of a ball as large as the median mask ({name})"),
                    *(round(float(diameter)), "Å", expected, "n/a", ""),
                ),
                strict=True,
            )
        )
        for name, diameter in diameters.dropna().items()
    ]


def final_row(scores: Mapping[str, pd.DataFrame]) -> str:
    """Return the last stage that has scores; empty where there is none."""
    found = [name for name in STAGES if name in scores]
    return found[-1] if found else ""


def trivial_line(scores: Mapping[str, pd.DataFrame], trivial: Mapping[str, pd.DataFrame]) -> Line:
    """Set the last stage against the best of the rules that learn nothing.

    Parameters
    ----------
    scores
        Method -> scores of the test images.
    trivial
        Title of the rule -> scores of the same images.
    """
    final = final_row(scores)
    quality = {title: miou(table) for title, table in trivial.items()}
    known = {title: value for title, value in quality.items() if not np.isnan(value)}
    if not (final and known):
        return line("trivial rules", "trivial", np.nan)
    best = max(known, key=lambda title: known[title])
    lead = paired_gain(trivial[best], scores[final])
    return line("trivial rules", "trivial", lead, of=f"{best}: {known[best]:.1f}")


def alignment_class_line(classes: NDArray, found: NDArray, told: NDArray[np.bool_]) -> Line:
    """Check how often alignment finds the class that a volume is said to show, worst class.

    Averages that show no more than noise or neighbours fit volumes of any class alike.

    Parameters
    ----------
    classes, found
        (n,) class of every volume, and that of the average which it fits.
    told
        (n,) volumes whose class alignment was not told, and whose label may be looked at.
    """
    right = pd.Series(classes == found, dtype=float)[told]
    shares = 100 * right.groupby(classes[told]).mean()
    if not len(shares):
        return line(CONSENSUS, "alignment_class", np.nan)
    guessing = 100 / max(len(set(classes)), 1)
    worst = str(shares.idxmin())
    return line(CONSENSUS, "alignment_class", shares.min(), of=worst, floor=guessing)


def consensus_lines(
    reports: Sequence[Mapping[str, Any]],
    misfits: ArrayLike,
    decoy_margins: ArrayLike,
    expected: ArrayLike,
) -> list[Line]:
    """Check the averages of all classes, and how many volumes fit none, or a decoy as well.

    Parameters
    ----------
    reports
        Figures of every average: ``title``, ``class``, ``volumes`` of the ``of_volumes`` that the
        class has, ``half_sets`` and ``agreement_of_starts``, NaN where there is none.
    misfits
        (n,) true where a volume fits no average.
    decoy_margins
        (n,) log-likelihood of a volume above that of decoys.
    expected
        (n,) IoU in [0, 1] that is to be expected of every mask.
    """
    lines = []
    for name, key in (("half_sets", "half_sets"), ("starts", "agreement_of_starts")):
        values = pd.Series({report["title"]: float(report[key]) for report in reports}).dropna()
        worst = str(values.idxmin()) if len(values) else ""
        lines.append(line(CONSENSUS, name, 100 * values.min(), of=worst))
    outside: dict[str, float] = {}
    for report in reports:
        rest = 1 - float(report["volumes"]) / float(report["of_volumes"])
        outside[report["class"]] = min(rest, outside.get(report["class"], 1.0))
    mixed = max(outside, key=lambda of: outside[of])
    return [
        *lines,
        line(CONSENSUS, "split", 100 * outside[mixed], of=mixed),
        line(CONSENSUS, "misfits", 100 * float(np.asarray(misfits, dtype=float).mean())),
        line(CONSENSUS, "decoys", 100 * float((np.asarray(decoy_margins) <= 0).mean())),
        line(CONSENSUS, "expected", 100 * float(np.mean(np.asarray(expected, dtype=float)))),
    ]


# --- the file ---------------------------------------------------------------------------------


def read_ledger(path: Path) -> pd.DataFrame:
    """Read a ledger that the stage ``assess`` wrote.

    Raises
    ------
    ValueError
        If it is no ledger.
    """
    try:
        table = pd.read_csv(
            path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values={"value": [""]}
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV table ({error}): rerun 'assess'") from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(
            f"{path} has the columns {list(table.columns)}: a ledger also has {missing}; rerun "
            "'assess'"
        )
    strange = sorted(set(table["verdict"]) - set(VERDICTS))
    if strange:
        raise ValueError(
            f"{path} holds the verdicts {strange}: expected {VERDICTS}; rerun 'assess'"
        )
    return table.assign(value=table["value"].astype(float))
