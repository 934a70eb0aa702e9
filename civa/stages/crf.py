"""Segmentation -> refined segmentation by the 3-D CRF (Sec. 4.6)."""

import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.baselines import lowpass
from civa.crf import SEARCH, CrfParameters, foreground_probability, refine
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
    guide_sigma: float = 1.0,
    search: bool = True,
    search_volumes: int = 60,
    smooth_weight: float = 1.0,
    smooth_spatial: float = 1.0,
    bilateral_weight: float = 10.0,
    bilateral_spatial: float = 3.0,
    bilateral_intensity: float = 0.5,
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
    labels = read_stack(proposals)
    probability = foreground_probability(
        read_stack(segmentation), labels > 0, read_json(segment_choice)["threshold"]
    )
    guides = standardize(lowpass(standardize(read_stack(volumes)), guide_sigma))
    validation = Validation(masks, particles, split, predictions)
    with ProcessPoolExecutor(max_workers=threads) as pool:

        def refined(rows: NDArray, candidate: CrfParameters) -> NDArray[np.bool_]:
            work = partial(refine, parameters=candidate)
            results = pool.map(work, probability[rows], guides[rows], chunksize=8)
            return np.stack(list(results)) > 0.5

        tried: dict[str, dict[str, float]] = {}
        if search and validation.is_possible:
            sample = validation.subset(search_volumes)
            rows = validation.indices[sample]
            for key in SEARCH:
                parameters, qualities = choose(
                    [parameters, *parameters.neighbours(key)],
                    lambda candidate: validation.miou(refined(rows, candidate), sample),
                )
                tried[key] = {name.split(key + "=")[1].split(",")[0].rstrip(")"): value for name, value in qualities.items()}
                logger.info("%s %s", key, tried[key])
        found = refined(np.arange(len(labels)), parameters)
    guide_labels = _labels(predictions)
    empty = int((~found.any(axis=(-3, -2, -1))).sum())
    if empty:
        logger.warning("the CRF left %d of %d segmentations empty", empty, len(found))
    voxel_size = stack_voxel_size(volumes)
    write_stack(out, found * guide_labels, voxel_size_angstrom=voxel_size)
    write_json(
        choice, {"parameters": asdict(parameters), "validation_miou": tried, "empty": empty}
    )
