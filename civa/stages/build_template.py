"""Atoms, a map or a phantom -> a template of the electron potential."""

import logging
from pathlib import Path

from civa.data.volume import read_volume, write_volume
from civa.simulation.phantoms import phantom
from civa.simulation.specimen import check_fits
from civa.simulation.structures import (
    MAP_SUFFIXES,
    OVERSAMPLING,
    PHANTOM_PREFIX,
    electron_potential,
    map_potential,
    read_atoms,
)

logger = logging.getLogger(__name__)


def run(
    structure: Path | None = None,
    *,
    out: Path,
    name: str,
    voxel_size_angstrom: float = 10.0,
    box_voxels: int = 32,
    resolution_angstrom: float | None = None,
    assembly: str = "biological",
) -> None:
    """Draw the electron potential of one structure, at half the voxel size of the volumes.

    The resolution is the finest that the voxels can carry, twice their size, unless stated.

    Parameters
    ----------
    structure
        PDB or mmCIF file, or map (MRC); none for a phantom.
    out
        (d, h, w) electron potential, MRC volume at half the voxel size.
    name
        Name of the structure; that of a phantom begins with phantom-.
    """
    scale = {
        "voxel_size_angstrom": voxel_size_angstrom,
        # ASSUME: the Nyquist limit
        "resolution_angstrom": resolution_angstrom or 2 * voxel_size_angstrom,
    }
    if structure is None:
        template = electron_potential(phantom(name.removeprefix(PHANTOM_PREFIX)), **scale)
    elif structure.suffix in MAP_SUFFIXES:
        density, map_voxel = read_volume(structure)
        template = map_potential(density, map_voxel, **scale)
    else:
        template = electron_potential(read_atoms(structure, assembly=assembly), **scale)
    check_fits(name, template, box_voxels)
    write_volume(out, template, voxel_size_angstrom=voxel_size_angstrom / OVERSAMPLING)
    logger.info("%s: template of %d voxels", name, template.shape[0])
