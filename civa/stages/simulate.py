"""Templates -> one shard of labelled sub-tomograms (Sec. 5.1)."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from civa.data.files import write_csv
from civa.data.stack import StackWriter, write_batches
from civa.data.volume import read_volume, standardize
from civa.optics import Microscope
from civa.simulation.specimen import Recipe, Simulator

logger = logging.getLogger(__name__)


def run(
    templates: tuple[Path, ...],
    *,
    volumes: Path,
    masks: Path,
    particles: Path,
    classes: tuple[str, ...],
    per_class: tuple[str, ...],
    snr: float,
    distractors: tuple[str, ...] = (),
    neighbours: str = "distractors",
    neighbour_count: int = 4,
    voxel_size_angstrom: float = 10.0,
    box_voxels: int = 32,
    simulated_box_voxels: int = 64,
    max_shift_voxels: float = 8.0,
    mask_fraction: float = 0.25,
    imaging: str = "tilt_series",
    max_tilt_deg: float = 60.0,
    tilt_step_deg: float = 3.0,
    defocus_um: tuple[float, ...] = (4.0, 7.0),
    voltage_kv: float = 300.0,
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.07,
    seed: int = 1,
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Simulate one shard of a data set.

    ``classes`` are written NAME=STRUCTURE; templates are files named after their structure. Of
    NAME=STRUCTURE+STRUCTURE, a class that is not homogeneous, volumes show them in turn.
    ``per_class`` is one number of volumes, or one NAME=NUMBER for every class.
    Neighbours come from the ``distractors`` (structures without a label), from ``all``
    structures, or there are ``none``.

    Parameters
    ----------
    templates
        (d, h, w) electron potentials, MRC volumes at half the voxel size.
    volumes
        (m, d, h, w) sub-tomograms, MRC stack; mean 0 and standard deviation 1 each.
    masks
        (m, d, h, w) ground truth, MRC stack of labels.
    particles
        CSV table of the volumes, a row each: id, class, label, pose, defocus, SNR.
    shard
        Number of this shard, from 0.
    """
    if neighbours not in ("distractors", "all", "none"):
        raise ValueError(f"neighbours must be distractors, all or none (got '{neighbours}')")
    if not 0 <= shard < shards:
        raise ValueError(f"shard must lie in 0 .. {shards - 1} (got {shard})")
    if len(defocus_um) != 2:
        raise ValueError(f"defocus_um needs the two ends of a range (got {list(defocus_um)})")
    targets = Targets.parse(classes, per_class)
    maps = {path.stem: read_volume(path)[0] for path in templates}
    recipe = Recipe(
        snr=snr,
        voxel_size_angstrom=voxel_size_angstrom,
        box_voxels=box_voxels,
        simulated_box_voxels=simulated_box_voxels,
        max_shift_voxels=max_shift_voxels,
        neighbours=0 if neighbours == "none" else neighbour_count,
        mask_fraction=mask_fraction,
        imaging=imaging,
        max_tilt_deg=max_tilt_deg,
        tilt_step_deg=tilt_step_deg,
        defocus_um=(defocus_um[0], defocus_um[1]),
        microscope=Microscope(voltage_kv, spherical_aberration_mm, amplitude_contrast),
    )
    absent = sorted({*targets.structures, *distractors} - set(maps))
    if absent:
        raise ValueError(f"there is no template of {absent}: there are {sorted(maps)}")
    pool = list(distractors) if neighbours == "distractors" else list(maps)
    simulator = Simulator(maps, pool, recipe, seed=seed)
    if shards > len(targets):
        raise ValueError(
            f"{shards} shards of {len(targets)} volumes: some would be empty; use fewer"
        )
    indices = np.array_split(np.arange(len(targets)), shards)[shard]
    shape = (len(indices), *(box_voxels,) * 3)
    with (
        write_batches(volumes, shape, np.float32, voxel_size_angstrom=voxel_size_angstrom) as boxes,
        write_batches(masks, shape, np.int8, voxel_size_angstrom=voxel_size_angstrom) as labels,
    ):
        rows = _simulate(simulator, targets, indices, boxes, labels)
    write_csv(particles, pd.DataFrame(rows))


@dataclass(frozen=True)
class Targets:
    """What every volume of a data set, all of its shards, shows.

    Attributes
    ----------
    structures_of
        The structures of every class, in the order of the labels 1, 2, ...
    counts
        Volumes of every class.
    """

    structures_of: dict[str, list[str]]
    counts: dict[str, int]

    @classmethod
    def parse(cls, classes: tuple[str, ...], per_class: tuple[str, ...]) -> Self:
        """Read what was asked for; see `run`."""
        pairs = _pairs(classes, "class", "NAME=STRUCTURE")
        return cls(
            {name: text.split("+") for name, text in pairs.items()},
            _counts(per_class, list(pairs)),
        )

    @property
    def structures(self) -> set[str]:
        """All structures of all classes."""
        return {structure for several in self.structures_of.values() for structure in several}

    def __len__(self) -> int:
        """All volumes."""
        return sum(self.counts.values())

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Columns id, class, label and structure of one volume; classes follow each other."""
        number = index
        for label, (name, count) in enumerate(self.counts.items(), start=1):
            if number < count:
                several = self.structures_of[name]
                shown = {"id": f"{name}_{number:05d}", "class": name, "label": label}
                return shown | {"structure": several[number % len(several)]}
            number -= count
        raise IndexError(index)


def _simulate(
    simulator: Simulator,
    targets: Targets,
    indices: NDArray[np.int64],
    boxes: StackWriter,
    labels: StackWriter,
) -> list[dict[str, Any]]:
    """Simulate some volumes into (m, d, h, w) boxes and labels; return their rows of the table."""
    rows = []
    started = time.monotonic()
    for row, index in enumerate(indices.tolist()):
        target = targets[index]
        made = simulator.make(index, target["structure"])
        boxes[row : row + 1] = standardize(made.volume[None])
        labels[row : row + 1] = target["label"] * made.mask[None]
        rows.append(target | made.metadata)
        if row % 100 == 99:
            logger.info("%d of %d volumes", row + 1, len(indices))
    rate = len(indices) / (time.monotonic() - started)
    logger.info("%d volumes, %.1f per second", len(indices), rate)
    return rows


def _pairs(items: tuple[str, ...], what: str, form: str) -> dict[str, str]:
    """Parse KEY=VALUE."""
    pairs = [item.split("=", 1) for item in items]
    for item, pair in zip(items, pairs, strict=True):
        if len(pair) != 2:
            raise ValueError(f"{what} '{item}' is not of the form {form}")
    return {name: value for name, value in pairs}


def _counts(per_class: tuple[str, ...], names: list[str]) -> dict[str, int]:
    """Return the number of volumes of every class, in the order of the classes."""
    if len(per_class) == 1 and "=" not in per_class[0]:
        counts = dict.fromkeys(names, per_class[0])
    else:
        counts = _pairs(per_class, "per_class", "NUMBER or NAME=NUMBER")
    if set(counts) != set(names):
        raise ValueError(f"per_class names {sorted(counts)}, expected the classes {sorted(names)}")
    if not all(count.isdigit() and int(count) > 0 for count in counts.values()):
        raise ValueError(f"per_class must be positive numbers (got {list(counts.values())})")
    return {name: int(counts[name]) for name in names}
