"""What a cluster job asks for: memory and wall time, from measurements, with headroom.

Measured on two CPU cores with 1,000 volumes of 32^3 and networks of width 16 (the benchmarks of
``examples/paper.yaml``; docs/cluster.md), and scaled with the number and size of the volumes, the
epochs and the width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BOX, WIDTH = 32, 16  # voxels along an edge, and channels, that were measured

OVERHEAD_MB = 300  # Snakemake's own processes in the job
MEMORY_HEADROOM = 1.5
TIME_HEADROOM = 3.0  # nodes and file systems differ
STARTUP_SECONDS = 120  # Snakemake in the job, imports, a slow file system
GPU_SPEEDUP = 5  # against two cores; a careful guess until measured, and retries ask for more
MEMORY_STEP_MB, TIME_STEP_MINUTES = 500, 5


@dataclass(frozen=True)
class Cost:
    """What a stage takes.

    Attributes
    ----------
    base_mb
        Memory, however many volumes there are; the part of it that are activations of a network
        grows with its width.
    activations_mb
        That part.
    volume_mb
        Memory per volume.
    volume_seconds
        Wall time per volume; of a training per volume (of the whole set) and epoch.
    epochs
        Of a training: where the configuration states none.
    gpu
        Whether the stage runs on a GPU where there is one.
    """

    base_mb: float
    volume_mb: float
    volume_seconds: float
    activations_mb: float = 0
    epochs: int = 0
    gpu: bool = False


COSTS = {
    "simulate": Cost(600, 0.4, 0.06),
    "collect": Cost(200, 0.3, 0.003),
    "import_volumes": Cost(200, 0.3, 0.01),
    "split": Cost(200, 0, 0),
    "train_classifier": Cost(400, 0.6, 0.008, activations_mb=200, epochs=24, gpu=True),
    "localize": Cost(500, 0.6, 0.02, gpu=True),
    "cooccur": Cost(2300, 0.6, 0.04, gpu=True),
    "merge": Cost(200, 0.7, 0.02),
    "binarize": Cost(200, 0.7, 0.01),
    "mine_pairs": Cost(300, 1.1, 0.006),
    "train_iva": Cost(400, 0.6, 0.035, activations_mb=200, epochs=6, gpu=True),
    "segment": Cost(400, 0.7, 0.02, activations_mb=200, gpu=True),
    "crf": Cost(900, 4.0, 0.1),
    "average": Cost(900, 0.6, 0.2, gpu=True),
    "align": Cost(900, 0.6, 0.1, gpu=True),
    "map_back": Cost(600, 0.7, 0.02),
    "train_voxresnet_full": Cost(400, 0.9, 0.042, activations_mb=300, epochs=200, gpu=True),
    "train_voxresnet_pseudo": Cost(400, 0.9, 0.032, activations_mb=300, epochs=200, gpu=True),
    "train_voxresnet_consensus": Cost(400, 0.9, 0.032, activations_mb=300, epochs=200, gpu=True),
    "train_unet_slice": Cost(400, 1.1, 0.066, activations_mb=300, epochs=50, gpu=True),
    "apply_segmenter": Cost(600, 0.6, 0.04, activations_mb=300, gpu=True),
    "trivial": Cost(200, 1.4, 0.04),
    "score": Cost(300, 0.3, 0.005),
    "assess": Cost(400, 0.6, 0.02),
    "plot_overview": Cost(500, 0.5, 0.02),
    "plot_comparison": Cost(500, 0.5, 0.02),
    "calibrate": Cost(400, 1.2, 0.02),
    "replace_outliers": Cost(300, 0.3, 0.005),
    "plot_averages": Cost(700, 0, 0.01),
    "plot_charts": Cost(500, 0.2, 0.02),
}


def memory_mb(
    stage: str,
    volumes: int,
    *,
    box_voxels: int = BOX,
    settings: Mapping[str, Any] | None = None,
    attempt: int = 1,
) -> int:
    """Return how much memory a job of a stage asks for, in MB.

    Parameters
    ----------
    stage
        Key of `COSTS`.
    volumes
        Of the data set, or of a shard that is simulated.
    settings
        The stage's section of the configuration: its ``width``.
    attempt
        1, 2, ...: a job that failed asks for more.
    """
    cost, size = COSTS[stage], (box_voxels / BOX) ** 3
    width = (settings or {}).get("width", 2 * WIDTH) / WIDTH
    used = cost.base_mb + size * (cost.activations_mb * width + cost.volume_mb * volumes)
    return _up(attempt * (OVERHEAD_MB + MEMORY_HEADROOM * used), MEMORY_STEP_MB)


def runtime_minutes(
    stage: str,
    volumes: int,
    *,
    box_voxels: int = BOX,
    settings: Mapping[str, Any] | None = None,
    on_gpu: bool = False,
    attempt: int = 1,
) -> int:
    """Return the wall time that a job of a stage asks for, in minutes; see `memory_mb`.

    ``settings`` also give the ``epochs`` of a training.
    """
    cost, size = COSTS[stage], (box_voxels / BOX) ** 3
    values = settings or {}
    seconds = cost.volume_seconds * volumes * size
    if cost.activations_mb:
        seconds *= (values.get("width", 2 * WIDTH) / WIDTH) ** 2
    if cost.epochs:
        seconds *= values.get("epochs") or cost.epochs
    if cost.gpu and on_gpu:
        seconds /= GPU_SPEEDUP
    return _up(attempt * (STARTUP_SECONDS + TIME_HEADROOM * seconds) / 60, TIME_STEP_MINUTES)


def _up(value: float, step: int) -> int:
    return step * math.ceil(value / step)
