"""What a cluster job asks for: memory and wall time, from measurements, with headroom.

Measured on two CPU cores with 1,000 volumes of 32^3 and networks of width 16 (the benchmarks of
``examples/paper.yaml``; docs/cluster.md), and scaled with the number and size of the volumes, how
many are worked on at a time, the epochs and the width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """What a stage takes.  Memory that depends on voxels is that for boxes of 32^3.

    Attributes
    ----------
    fixed_mb
        Memory whatever the data: the interpreter and what the stage imports, and figures.
    buffers_mb
        Memory of the volumes that are worked on at a time, however many there are; grows with the
        voxels of a box.
    volume_mb
        Memory per volume of the data set; grows with the voxels of a box.
    volume_seconds
        Wall time per volume; of a training per volume (of the whole set) and epoch.
    voxel_power
        Power of a box's voxels with which wall time grows.
    activations_mb
        Memory of a network's activations; grows with the voxels of a box and the network's width.
    batches
        Settings that say how many volumes are worked on at a time, and their values as measured:
        more volumes take more buffers and activations.
    epochs
        Of a training: where the configuration states none.
    gpu
        Whether the stage runs on a GPU where there is one.
    """

    fixed_mb: float
    buffers_mb: float
    volume_mb: float
    volume_seconds: float
    voxel_power: int = 1
    activations_mb: float = 0
    batches: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 0
    gpu: bool = False

    def batch(self, settings: Mapping[str, Any]) -> float:
        """Return how many times as many volumes as measured are worked on at a time, at least 1."""
        asked = [(settings.get(name) or size) / size for name, size in self.batches.items()]
        return max([1, *asked])


# Stages that every run of the method has, and what it leaves on disk per voxel of the data and seed
# (214 MB for 218 volumes of 32^3).
METHOD = (
    *("train_classifier", "localize", "cooccur", "merge", "binarize", "mine_pairs", "train_iva"),
    *("segment", "crf", "average", "align_first", "refine", "align", "map_back", "calibrate"),
    *("trivial", "score", "assess"),
)
STORED_BYTES = 31

# What grows with the number of volumes where stacks stream: tables, and what a heap loses between
# buffers.  Measured from 1,000 to 16,000 volumes (`bench/memory.py`; docs/log.md, 28 November):
# at most 11 kB per volume.  Larger figures below are of before stages streamed.
TABLES_MB = 0.01

# fixed_mb is at least what a stage occupies once it has imported all it needs: 70 MB with numpy and
# pandas, 130 with scipy or matplotlib, 310 with torch.  What was measured beyond that, and
# does not grow with the number of volumes, is taken to grow with the box, but for stages that draw.
COSTS = {
    "simulate": Cost(150, 450, 0.4, 0.06),
    "simulate_tomogram": Cost(1500, 0, 0, 0),
    "collect": Cost(100, 100, 0.3, 0.003),
    "import_volumes": Cost(100, 100, TABLES_MB, 0.01),
    "measure_tomograms": Cost(150, 200, TABLES_MB, 0.01),
    "extract": Cost(150, 200, TABLES_MB, 0.01),
    "split": Cost(200, 0, 0, 0),
    "train_classifier": Cost(350, 250, TABLES_MB, 0.008, activations_mb=200, epochs=24, gpu=True),
    "localize": Cost(350, 250, TABLES_MB, 0.02, batches={"batch_size": 32}, gpu=True),
    "cooccur": Cost(  # 512 MB of the co-occurrence matrix at a time; every voxel with every other
        *(700, 150, TABLES_MB, 0.04),
        voxel_power=2,
        batches={"batch_size": 8, "group_size": 16},
        gpu=True,
    ),
    "merge": Cost(350, 250, TABLES_MB, 0.02),
    "binarize": Cost(100, 100, TABLES_MB, 0.01),
    "mine_pairs": Cost(350, 50, TABLES_MB, 0.006),
    "train_iva": Cost(350, 450, TABLES_MB, 0.035, activations_mb=200, epochs=6, gpu=True),
    "segment": Cost(
        350, 650, TABLES_MB, 0.02, activations_mb=200, batches={"batch_size": 32}, gpu=True
    ),
    "crf": Cost(150, 400, TABLES_MB, 0.1),
    "average": Cost(350, 850, TABLES_MB, 0.2, gpu=True),
    "align_first": Cost(350, 450, TABLES_MB, 0.15, gpu=True),
    "refine": Cost(350, 850, TABLES_MB, 0.2, gpu=True),
    "align": Cost(350, 450, TABLES_MB, 0.25, gpu=True),
    "map_back": Cost(350, 500, TABLES_MB, 0.02),
    "train_voxresnet_full": Cost(
        350, 400, TABLES_MB, 0.042, activations_mb=300, epochs=200, gpu=True
    ),
    "train_voxresnet_pseudo": Cost(
        350, 400, TABLES_MB, 0.032, activations_mb=300, epochs=200, gpu=True
    ),
    "train_voxresnet_consensus": Cost(
        350, 400, TABLES_MB, 0.032, activations_mb=300, epochs=200, gpu=True
    ),
    "train_unet_slice": Cost(350, 400, TABLES_MB, 0.066, activations_mb=300, epochs=50, gpu=True),
    "apply_segmenter": Cost(350, 350, TABLES_MB, 0.04, activations_mb=300, gpu=True),
    "trivial": Cost(100, 200, TABLES_MB, 0.04),
    "score": Cost(100, 200, TABLES_MB, 0.005),
    "assess": Cost(150, 50, TABLES_MB, 0.005),
    "plot_overview": Cost(450, 50, 0.5, 0.02),
    "plot_comparison": Cost(450, 50, 0.5, 0.02),
    "calibrate": Cost(350, 100, TABLES_MB, 0.02),
    "replace_outliers": Cost(100, 200, 0.3, 0.005),
    "plot_tomogram": Cost(450, 50, 0.1, 0.02),
    "plot_averages": Cost(650, 50, 0, 0.01),
    "plot_charts": Cost(500, 0, 0.2, 0.02),
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
        Of the stage: the ``width`` of its network, and its `Cost.batches`.
    attempt
        1, 2, ...: a job that failed asks for more.
    """
    cost, values, size = COSTS[stage], settings or {}, (box_voxels / BOX) ** 3
    width = values.get("width", 2 * WIDTH) / WIDTH
    at_a_time = cost.batch(values) * (cost.buffers_mb + cost.activations_mb * width)
    used = cost.fixed_mb + size * (at_a_time + cost.volume_mb * volumes)
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
    seconds = _seconds(stage, volumes, box_voxels, settings or {})
    if COSTS[stage].gpu and on_gpu:
        seconds /= GPU_SPEEDUP
    return _up(attempt * (STARTUP_SECONDS + TIME_HEADROOM * seconds) / 60, TIME_STEP_MINUTES)


def _seconds(stage: str, volumes: int, box_voxels: int, values: Mapping[str, Any]) -> float:
    """Wall time on two cores as it was measured, scaled to other data and settings."""
    cost, size = COSTS[stage], (box_voxels / BOX) ** 3
    seconds = cost.volume_seconds * volumes * size**cost.voxel_power
    if cost.activations_mb:
        seconds *= (values.get("width", 2 * WIDTH) / WIDTH) ** 2
    if cost.epochs:
        seconds *= values.get("epochs") or cost.epochs
    return seconds


@dataclass(frozen=True)
class Expectation:
    """What a data set will take: disk in GB, the largest job in MB, minutes on two cores."""

    disk_gb: float
    memory_mb: int
    minutes: float

    def __str__(self) -> str:
        hours = f"{self.minutes / 60:.1f} h" if self.minutes >= 90 else f"{self.minutes:.0f} min"
        return (
            f"{self.disk_gb:.1f} GB on disk, jobs of up to {self.memory_mb:,} MB, about {hours} on "
            "two CPU cores"
        )


def expectation(
    volumes: int, box_voxels: int, seeds: int, settings: Mapping[str, Mapping[str, Any]]
) -> Expectation:
    """Say what the method will take on a data set.

    Parameters
    ----------
    settings
        Stage -> what `memory_mb` and `runtime_minutes` are to know of its settings.
    """
    minutes = sum(
        _seconds(stage, volumes, box_voxels, settings.get(stage, {})) / 60 for stage in METHOD
    )
    memory = max(
        memory_mb(stage, volumes, box_voxels=box_voxels, settings=settings.get(stage))
        for stage in METHOD
    )
    return Expectation(
        STORED_BYTES * seeds * volumes * box_voxels**3 / 1e9, memory, minutes * seeds
    )


def _up(value: float, step: int) -> int:
    return step * math.ceil(value / step)
