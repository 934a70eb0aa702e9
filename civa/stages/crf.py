"""Segmentation -> refined segmentation by the 3-D CRF (Sec. 4.6)."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from civa.civanet.crf import SEARCH, CrfParameters, foreground_probability, refine
from civa.data.files import read_json, write_json
from civa.data.particles import BACKGROUND, read_guides
from civa.data.volume import read_stack, stack_voxel_size, standardize, write_stack
from civa.evaluation.trivial import lowpass
from civa.evaluation.validation import Validation, choose

logger = logging.getLogger(__name__)

ROWS_PER_TASK = 8  # a fraction of a second of work: little waits at the end, little is sent about


@dataclass(frozen=True)
class Inputs:
    """Where a worker finds the volumes that it refines: a few paths are sent to it, no arrays.

    Attributes
    ----------
    volumes, segmentation, proposals
        Stacks (n, d, h, w).
    choice
        How the segmentation was cut; see `_calibrated`.
    guide_sigma
        Standard deviation of the low-pass of the guide, in voxels.
    """

    volumes: Path
    segmentation: Path
    proposals: Path
    choice: Mapping[str, Any]
    guide_sigma: float

    def refined(self, rows: NDArray, parameters: CrfParameters) -> NDArray[np.bool_]:
        """Refine some volumes; return their masks (rows, d, h, w)."""
        chosen = read_stack(self.proposals)[rows] > BACKGROUND
        maps, cut = _calibrated(read_stack(self.segmentation)[rows], self.choice)
        probability = foreground_probability(maps, chosen, cut)
        boxes = standardize(read_stack(self.volumes)[rows])
        guides = standardize(lowpass(boxes, self.guide_sigma))
        pairs = zip(probability, guides, strict=True)
        return np.stack([refine(*pair, parameters) > 0.5 for pair in pairs])


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
    inputs = Inputs(volumes, segmentation, proposals, read_json(segment_choice), guide_sigma)
    validation = Validation(masks, particles, split, predictions)
    tried: dict[str, dict[str, float]] = {}
    with ProcessPoolExecutor(max_workers=threads) as pool:

        def refined(rows: NDArray, candidate: CrfParameters) -> NDArray[np.bool_]:
            work = partial(inputs.refined, parameters=candidate)
            tasks = np.split(rows, range(ROWS_PER_TASK, len(rows), ROWS_PER_TASK))
            return np.concatenate(list(pool.map(work, tasks)))

        if search and validation.is_possible:
            parameters, tried = _search(parameters, validation, search_volumes, refined)
        found = refined(np.arange(len(read_stack(proposals))), parameters)
    empty = int((~found.any(axis=(-3, -2, -1))).sum())
    if empty:
        logger.warning("the CRF left %d of %d segmentations empty", empty, len(found))
    guide = read_guides(predictions)
    voxel_size = stack_voxel_size(volumes)
    write_stack(out, found * guide[:, None, None, None], voxel_size_angstrom=voxel_size)
    write_json(choice, {"parameters": asdict(parameters), "validation_miou": tried, "empty": empty})


def _calibrated(maps: NDArray, choice: Mapping[str, Any]) -> tuple[NDArray, float]:
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
