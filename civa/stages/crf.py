"""Segmentation -> refined segmentation by the 3-D CRF (Sec. 4.6)."""

import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from civa.baselines import lowpass
from civa.crf import SEARCH, CrfParameters, foreground_probability, refine
from civa.dataset import BACKGROUND, read_guides
from civa.files import read_json, write_json
from civa.selection import Validation, choose
from civa.volume import read_stack, stack_voxel_size, standardize, write_stack

logger = logging.getLogger(__name__)


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

    With ``search``, the energies are chosen on validation, one parameter at a time, from the
    given ones; without it, or without validation masks, the given ones are used.
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
    chosen = read_stack(proposals) > BACKGROUND
    maps, cut = _calibrated(read_stack(segmentation), read_json(segment_choice))
    probability = foreground_probability(maps, chosen, cut)
    guides = standardize(lowpass(standardize(read_stack(volumes)), guide_sigma))
    validation = Validation(masks, particles, split, predictions)
    tried: dict[str, dict[str, float]] = {}
    with ProcessPoolExecutor(max_workers=threads) as pool:

        def refined(rows: NDArray, candidate: CrfParameters) -> NDArray[np.bool_]:
            work = partial(refine, parameters=candidate)
            results = pool.map(work, probability[rows], guides[rows], chunksize=8)
            return np.stack(list(results)) > 0.5

        if search and validation.is_possible:
            parameters, tried = _search(parameters, validation, search_volumes, refined)
        found = refined(np.arange(len(chosen)), parameters)
    empty = int((~found.any(axis=(-3, -2, -1))).sum())
    if empty:
        logger.warning("the CRF left %d of %d segmentations empty", empty, len(found))
    guide = read_guides(predictions)
    voxel_size = stack_voxel_size(volumes)
    write_stack(out, found * guide[:, None, None, None], voxel_size_angstrom=voxel_size)
    write_json(choice, {"parameters": asdict(parameters), "validation_miou": tried, "empty": empty})


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
    refined: Callable[[NDArray, CrfParameters], NDArray[np.bool_]],
) -> tuple[CrfParameters, dict[str, dict[str, float]]]:
    """Choose one parameter after the other on some of the validation volumes."""
    sample = validation.subset(size)
    rows = validation.indices[sample]
    tried = {}
    for key, values in SEARCH.items():
        candidates = [getattr(parameters, key), *values]

        def quality(value: Any, key: str = key, start: CrfParameters = parameters) -> float:
            return validation.miou(refined(rows, replace(start, **{key: value})), sample)

        best, tried[key] = choose(dict.fromkeys(candidates), quality)
        parameters = replace(parameters, **{key: best})
        logger.info("%s = %s of %s", key, best, tried[key])
    return parameters, tried
