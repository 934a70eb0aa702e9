"""Templates -> one tomogram of a crowded specimen, whose voxel is whose, and picks in it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import starfile
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.data.files import replacing
from civa.data.volume import read_volume, write_volume
from civa.optics import Microscope
from civa.particle_lists.relion import ANGLES, CENTRED
from civa.simulation.slab import Crowd, Slab, pack
from civa.simulation.slab_imaging import STATES, Acquisition, SlabImaging

logger = logging.getLogger(__name__)

LARGEST_INSTANCE = np.iinfo(np.int16).max  # what MRC holds


def run(
    templates: tuple[Path, ...],
    *,
    tomogram: Path,
    instances: Path,
    particles: Path,
    picks: Path,
    classes: tuple[str, ...],
    others: tuple[str, ...] = (),
    copies: int = 200,
    other_copies: int | None = None,
    slab_voxels: tuple[int, ...] = (100, 256, 256),
    voxel_size_angstrom: float = 10.0,
    occupancy: float = 0.1,
    mask_fraction: float = 0.25,
    vesicles: int = 1,
    gold_beads: int = 5,
    background: float = 0.03,
    tilts_deg: tuple[float, ...] = (-60.0, 60.0, 3.0),
    exposure: float = 3.0,
    defocus_um: tuple[float, ...] = (4.0, 5.0),
    shift_voxels: float = 0.6,
    turn_deg: float = 0.2,
    ctf_state: str = "raw",
    pick_error_voxels: float = 1.5,
    voltage_kv: float = 300.0,
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.07,
    seed: int = 1,
    number: int = 1,
) -> None:
    """Pack a slab of crowded specimen, image it as a whole, and reconstruct it.

    ``classes`` are written NAME=STRUCTURE; ``others`` are structures that nobody labels.  Templates
    are files named after their structure.  Protein is dark.

    Parameters
    ----------
    templates
        (d, h, w) electron potentials, MRC volumes at half the voxel size.
    tomogram
        (d, h, w) tomogram, MRC.
    instances
        (d, h, w) number of the particle that each voxel belongs to, MRC; 0 for none.
    particles
        RELION 5 STAR of all particles, by their number: where they are, and how they are turned.
    picks
        The same as somebody would have picked them: positions are off, angles are unknown.
    number
        Of the tomogram in its data set, from 1.
    """
    if len(slab_voxels) != 3 or len(tilts_deg) != 3 or len(defocus_um) != 2:
        raise ValueError(
            "slab_voxels needs depth, height and width, tilts_deg the first, the last and the "
            f"step, defocus_um the ends of a range (got {slab_voxels}, {tilts_deg}, {defocus_um})"
        )
    if ctf_state not in STATES:
        raise ValueError(f"ctf_state must be one of {STATES} (got '{ctf_state}')")
    shape = (slab_voxels[0], slab_voxels[1], slab_voxels[2])
    of_structure = _structures(classes)
    maps = {path.stem: read_volume(path)[0] for path in templates}
    absent = sorted({*of_structure, *others} - set(maps))
    if absent:
        raise ValueError(f"there is no template of {absent}: there are {sorted(maps)}")
    generator = np.random.default_rng([seed, number])
    crowd = Crowd(
        shape=shape,
        voxel_size_angstrom=voxel_size_angstrom,
        occupancy=occupancy,
        mask_fraction=mask_fraction,
        vesicles=vesicles,
        gold_beads=gold_beads,
        background=background,
    )
    slab = pack(
        crowd,
        maps,
        copies=dict.fromkeys(of_structure, copies)
        | dict.fromkeys(others, copies if other_copies is None else other_copies),
        generator=generator,
    )
    if len(slab.particles) > LARGEST_INSTANCE:
        raise ValueError(
            f"the slab holds {len(slab.particles)} particles, and a map of them at most "
            f"{LARGEST_INSTANCE}: make it smaller"
        )
    defocus = float(generator.uniform(*defocus_um))
    acquisition = Acquisition(
        tilts_deg=(tilts_deg[0], tilts_deg[1], tilts_deg[2]),
        exposure=exposure,
        defocus_um=defocus,
        shift_voxels=shift_voxels,
        turn_deg=turn_deg,
        microscope=Microscope(voltage_kv, spherical_aberration_mm, amplitude_contrast),
    )
    imaging = SlabImaging(shape, voxel_size_angstrom, acquisition)
    images = imaging.images(slab.potential, generator)
    volume = imaging.reconstruct([imaging.corrected(*one, ctf_state) for one in images])
    size = {"voxel_size_angstrom": voxel_size_angstrom}
    write_volume(tomogram, volume, **size)
    write_volume(instances, slab.instances.astype(np.int16), **size)
    table = _table(slab, of_structure, defocus, f"{tomogram.stem}", crowd)
    _write_star(particles, table)
    error = generator.uniform(-pick_error_voxels, pick_error_voxels, size=(len(table), 3))
    _write_star(picks, _picked(table, error * voxel_size_angstrom))


def _structures(classes: tuple[str, ...]) -> dict[str, str]:
    """Return structure -> its class."""
    pairs = [item.partition("=") for item in classes]
    if not all(name and structure for name, _, structure in pairs):
        raise ValueError(f"classes must be of the form NAME=STRUCTURE (got {list(classes)})")
    found = {structure: name for name, _, structure in pairs}
    if len(found) < len(pairs):
        raise ValueError(f"a structure stands for two classes (got {list(classes)})")
    return found


def _table(
    slab: Slab, of_structure: dict[str, str], defocus_um: float, name: str, crowd: Crowd
) -> pd.DataFrame:
    """Describe the particles of a slab, a row each, by their number."""
    size = np.array(crowd.shape[::-1])  # x, y, z
    centres = np.stack([one.centre for one in slab.particles])[:, ::-1]  # (n, 3) x, y, z
    angstrom = (centres - size / 2) * crowd.voxel_size_angstrom
    # RELION's angles are those of the inverse, A = Rz(-psi) Ry(-tilt) Rz(-rot).
    turns = Rotation.concatenate([one.rotation for one in slab.particles]).inv()
    angles = turns.as_euler("ZYZ", degrees=True)
    columns: dict[str, object] = {"rlnTomoName": name}
    columns |= {name: angstrom[:, i] for i, name in enumerate(CENTRED)}
    columns |= {name: angles[:, i] for i, name in enumerate(ANGLES)}
    columns |= {f"rlnDefocus{axis}": np.full(len(centres), 1e4 * defocus_um) for axis in "UV"}
    structures = [one.structure for one in slab.particles]
    columns["civaStructure"] = structures
    columns["civaClass"] = [of_structure.get(one, "none") for one in structures]
    return pd.DataFrame(columns)


def _picked(table: pd.DataFrame, error_angstrom: NDArray[np.float64]) -> pd.DataFrame:
    """Return what somebody would know who has picked these particles."""
    picked = table.drop(columns=ANGLES)
    picked[CENTRED] += error_angstrom
    return picked


def _write_star(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        starfile.write({"particles": table}, temporary, float_format="%.4f")
