"""Check a configuration, and the structures that it names, before any long work."""

import logging
import re
from pathlib import Path

from civa.data.volume import read_volume
from civa.pipeline.config import (
    load,
    local_structure,
    settings,
    structures,
    volumes_per_class,
)
from civa.pipeline.own_data import is_own
from civa.simulation.phantoms import phantom
from civa.simulation.structures import MAP_SUFFIXES, PHANTOM_PREFIX, read_atoms

logger = logging.getLogger(__name__)
# Identifiers of the Protein Data Bank, the present and the coming ones.
PDB_ID = re.compile(r"[0-9][a-z0-9]{3}|pdb_[0-9]{5}[a-z0-9]{3}", re.IGNORECASE)


def run(config: Path) -> None:
    """Read the configuration and every local structure; say what will be done.

    Parameters
    ----------
    config
        YAML file: the configuration.
    """
    values = load(config)
    for dataset in values["datasets"]:
        if is_own(values, dataset):
            logger.info("%s: own volumes", dataset)
            continue
        simulation = settings(values, "simulation", dataset)
        box = simulation.get("box_voxels", 32) * simulation.get("voxel_size_angstrom", 10)
        for name in structures(values, dataset):
            _check_structure(values, name, box_angstrom=box)
        count = sum(volumes_per_class(simulation).values())
        logger.info("%s: %d volumes at SNR %g", dataset, count, simulation["snr"])
    logger.info("%s is in order", config)


def _check_structure(values: dict, name: str, *, box_angstrom: float) -> None:
    if name.startswith(PHANTOM_PREFIX):
        atoms = phantom(name.removeprefix(PHANTOM_PREFIX))
    else:
        path = local_structure(values, name)
        if path is None:
            _check_download(name)
            return
        if path.suffix in MAP_SUFFIXES:
            read_volume(path)  # its extent is checked when the template is built
            return
        atoms = read_atoms(
            path, assembly=values.get("structures", {}).get("assembly", "biological")
        )
    if atoms.diameter_angstrom > box_angstrom:
        raise ValueError(
            f"structure '{name}' is {atoms.diameter_angstrom:.0f} Å across but the box only "
            f"{box_angstrom:g} Å: use larger voxels or a larger box"
        )


def _check_download(name: str) -> None:
    if PDB_ID.fullmatch(name) is None:
        raise ValueError(
            f"structure '{name}' is missing and cannot be downloaded, since it is no identifier of "
            f"the PDB: put its file, {name}.mrc or {name}.cif say, into the folder of structures"
        )
    logger.info("%s is to be downloaded", name)
