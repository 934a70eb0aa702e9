"""Atoms or a phantom -> a template of the electron potential."""

import logging
from pathlib import Path

from civa.phantoms import phantom
from civa.simulation import check_fits
from civa.structures import OVERSAMPLING, PHANTOM_PREFIX, electron_potential, read_atoms
from civa.volume import write_volume

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
    """
    resolution = resolution_angstrom or 2 * voxel_size_angstrom  # ASSUME: the Nyquist limit
    if structure is None:
        atoms = phantom(name.removeprefix(PHANTOM_PREFIX))
    else:
        atoms = read_atoms(structure, assembly=assembly)
    template = electron_potential(
        atoms, voxel_size_angstrom=voxel_size_angstrom, resolution_angstrom=resolution
    )
    check_fits(name, template, box_voxels)
    write_volume(out, template, voxel_size_angstrom=voxel_size_angstrom / OVERSAMPLING)
    logger.info("%s: %d atoms, %.0f Å across", name, len(atoms.weights), atoms.diameter_angstrom)
