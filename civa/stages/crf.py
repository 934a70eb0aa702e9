"""Segmentation -> refined segmentation by the 3-D CRF (Sec. 4.6)."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from civa.civanet.crf import SEARCH, CrfParameters, foreground_probability, refine
from civa.consensus.centres import lowpass
from civa.data.files import read_json, write_json
from civa.data.particles import BACKGROUND
from civa.data.stack import Stack, open_volumes, write_masks
from civa.data.volume import standardize
from civa.evaluation.validation import Validation, as_record, best

logger = logging.getLogger(__name__)
Refined = Callable[[NDArray[np.int64], CrfParameters], NDArray[np.bool_]]


def run(
    volumes: Path,
    segmentation: Path,
    proposals: Path,
    segment_choice: Path,
    masks: Path,
    particles: Path,
    split: Path,
    predictions: Path,
    *,
    out: Path,
    choice: Path,
    guide_sigma: float = 1.5,
    search: bool = True,
    search_volumes: int = 80,
    smooth_weight: float = 0.3,
    smooth_spatial: float = 1.0,
    bilateral_weight: float = 3.0,
    bilateral_spatial: float = 2.0,
    bilateral_intensity: float = 1.0,
    confidence: float = 1.0,
    iterations: int = 5,
    threads: int = 1,
) -> None:
    """Refine every segmentation.

    With ``search``, the energies are chosen on validation, one parameter at a time, beginning with
    the given ones; without it, or without validation masks, the given ones are used.

    Parameters
    ----------
    volumes
        (n, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    segmentation
        (n, d, h, w) O of the affinity network, or merged maps; MRC stack, 0 to 1.
    proposals
        (n, d, h, w) masks before the CRF, MRC stack of labels.
    segment_choice
        JSON record of how these were cut: threshold on O, or share of voxels.
    masks
        (n, d, h, w) ground truth, MRC stack of labels; -1 where there is none.
    particles
        CSV table of the volumes, a row each: id, class, label.
    split
        CSV table: class and part (train, validation, test) of every volume.
    predictions
        CSV table: predicted class, class that guides the maps, confidence (0 to 1).
    out
        (n, d, h, w) masks, MRC stack of labels.
    choice
        JSON record: the energies that were chosen, validation mIoU (%) of all that were
        tried.
    """
    parameters = CrfParameters(
        smooth_weight,
        smooth_spatial,
        bilateral_weight,
        bilateral_spatial,
        bilateral_intensity,
        confidence,
        iterations,
    )
    unary = Unary(Stack.open(segmentation), Stack.open(proposals), read_json(segment_choice))
    stack = open_volumes(volumes)
    validation = Validation(masks, particles, split, predictions)
    tried: dict[str, dict[str, float]] = {}
    with ProcessPoolExecutor(max_workers=threads) as pool:

        def refined(rows: NDArray[np.int64], candidate: CrfParameters) -> NDArray[np.bool_]:
            work = partial(_refine, unary, stack, guide_sigma, candidate)
            results = pool.map(work, rows.tolist(), chunksize=8)
            return np.stack(list(results))

        if search and validation.is_possible:
            parameters, tried = _search(parameters, validation, search_volumes, refined)

        def cut(rows: NDArray[np.int64]) -> NDArray[np.int8]:
            return refined(rows, parameters) * validation.map_class[rows, None, None, None]

        empty = write_masks(out, stack, cut, cut="CRF")
    write_json(choice, {"parameters": asdict(parameters), "validation_miou": tried, "empty": empty})


@dataclass(frozen=True)
class Unary:
    """Foreground probabilities on disk: maps, the proposals in them, and the cut between them."""

    maps: Stack
    proposals: Stack
    choice: dict[str, Any]

    def __getitem__(self, row: int) -> NDArray:
        """Probability (d, h, w) of the foreground of one volume."""
        maps, cut = _calibrated(self.maps[row][None], self.choice)
        return foreground_probability(maps, self.proposals[row][None] > BACKGROUND, cut)[0]


def _refine(
    unary: Unary, volumes: Stack, sigma: float, parameters: CrfParameters, row: int
) -> NDArray[np.bool_]:
    """Refine the mask (d, h, w) of one volume; it is read here, in the process that needs it."""
    guide = standardize(lowpass(volumes[row][None], sigma))[0]
    return refine(unary[row], guide, parameters=parameters) > 0.5


def _calibrated(maps: NDArray, choice: dict[str, Any]) -> tuple[NDArray, float]:
    """Return maps in [0, 1] and the cut that made their masks.

    O has a threshold; a merged map, refined where IVA is switched off, was cut at a share of
    its voxels, so its ranks stand in for it.
    """
    if "threshold" in choice:
        return maps, choice["threshold"]
    flat = np.asarray(maps, dtype=np.float32).reshape(len(maps), -1)
    # As in `top_fraction`: ties with the last voxel of the share are kept, the minimum never.
    ranks = rankdata(flat, method="max", axis=1) / flat.shape[1]
    ranks[flat == flat.min(axis=1, keepdims=True)] = 0
    return ranks.reshape(maps.shape), 1 - choice["fraction"]


def _search(
    parameters: CrfParameters,
    validation: Validation,
    size: int,
    refined: Refined,
) -> tuple[CrfParameters, dict[str, dict[str, float]]]:
    """Choose one parameter after the other on some of the validation volumes."""
    sample = validation.subset(size)
    tried = {}
    for key, values in SEARCH.items():
        settings = list(dict.fromkeys([getattr(parameters, key), *values]))
        candidates = [replace(parameters, **{key: value}) for value in settings]
        masks = partial(_masks, refined, candidates)
        qualities = validation.mious(masks, rows=sample)
        parameters = best(candidates, qualities)
        tried[key] = as_record(settings, qualities)
        logger.info("%s = %s of %s", key, getattr(parameters, key), tried[key])
    return parameters, tried


def _masks(
    refined: Refined, candidates: list[CrfParameters], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.bool_]]:
    """Masks (b, d, h, w) of some volumes, by every candidate."""
    return (refined(rows, candidate) for candidate in candidates)
