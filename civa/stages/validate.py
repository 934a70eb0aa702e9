"""Check a configuration, and the structures and data that it names, before any long work."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from civa.data.files import replacing, write_csv
from civa.data.findings import Finding, NotInOrderError
from civa.data.volume import read_volume
from civa.inspection.inspection import Inspection
from civa.pipeline import own_data
from civa.pipeline.config import (
    load,
    local_structure,
    seeds,
    settings,
    structures,
    volumes_per_class,
)
from civa.pipeline.inspect_own_data import inspect_own_data
from civa.pipeline.publishing import PRIVATE
from civa.pipeline.resources import Expectation, expectation
from civa.simulation.phantoms import phantom
from civa.simulation.structures import MAP_SUFFIXES, PHANTOM_PREFIX, read_atoms

logger = logging.getLogger(__name__)
# Identifiers of the Protein Data Bank, the present and the coming ones.
PDB_ID = re.compile(r"[0-9][a-z0-9]{3}|pdb_[0-9]{5}[a-z0-9]{3}", re.IGNORECASE)
MOST_SAID = 50  # findings in the log; a table of thousands of missing boxes is told by a few


def run(
    config: Path | None = None,
    table: Path | None = None,
    lists: tuple[Path, ...] = (),
    tomograms: tuple[Path, ...] = (),
    *,
    findings: Path | None = None,
    picture: Path | None = None,
    deep: bool = False,
) -> None:
    """Read a configuration and all that it names; say what is wrong, and what will be done.

    In place of a configuration, a table of boxes or particle lists and tomograms may be given.  Of
    own data, every header is read, and the voxels of some boxes of each class.

    Parameters
    ----------
    config
        YAML file: the configuration.
    table
        Table of own boxes, in place of a configuration.
    lists
        Particle lists, in place of a configuration; with ``tomograms``.  As CLASS=FILE, of one
        class each.
    tomograms
        The tomograms that the lists name: files or folders.
    findings
        CSV table of what was found: severity, file, line, id, value, expected, remedy.
    picture
        PNG: boxes over their tomograms, some boxes and the mean of every class.
    deep
        Read the voxels of all boxes and masks.
    """
    values, what = _configuration(config, table, lists, tomograms)
    found: dict[str, Inspection] = {}
    for dataset in values["datasets"]:
        if own_data.is_own(values, dataset):
            found[dataset] = inspect_own_data(values, dataset, deep=deep)
        else:
            _check_simulated(values, dataset)
    all_findings = [finding for one in found.values() for finding in one.findings]
    for finding in all_findings[:MOST_SAID]:
        logger.log(finding.level, "%s: %s", finding.severity, finding)
    if len(all_findings) > MOST_SAID:
        logger.warning("and %d more: --findings lists all", len(all_findings) - MOST_SAID)
    if findings is not None:
        columns = list(Finding("advice", Path(), "").columns())
        rows = [finding.columns() for finding in all_findings]
        write_csv(findings, pd.DataFrame(rows, columns=columns))
    if picture is not None:
        _draw(found, picture)
    counts = Counter(finding.severity for finding in all_findings)
    if counts["error"]:
        raise NotInOrderError(
            f"{what} is not in order: errors {counts['error']}, warnings {counts['warning']}, all "
            "of them listed above"
        )
    for name in found:
        logger.info("%s: expect %s", name, _expectation(values, name, found[name].volumes))
    summaries = [f"{name}: {one.summary}" for name, one in found.items()]
    order = f"{what} is in order"
    order += f" ({counts['warning']} warnings, above)" if counts["warning"] else ""
    logger.info("%s", ": ".join([order, *filter(None, ["; ".join(summaries)])]))


def _configuration(
    config: Path | None, table: Path | None, lists: tuple[Path, ...], tomograms: tuple[Path, ...]
) -> tuple[Mapping[str, Any], str]:
    """Return the configuration that was given, or that of the files that were, and its name."""
    given = [
        name for name, value in (("config", config), ("table", table), ("lists", lists)) if value
    ]
    if len(given) != 1:
        raise ValueError(f"give one of --config, --table and --lists (got {given or 'none'})")
    if config is not None:
        return load(config), str(config)
    data: dict[str, Any]
    if table is not None:
        data, what = {"import": {"table": str(table)}}, str(table)
    else:
        named = own_data.lists_by_class([str(path) for path in lists])
        given_tomograms = [str(path) for path in tomograms]
        data = {"extract": {"lists": named, "tomograms": given_tomograms}}
        what = ", ".join(map(str, lists))
    values = {"seeds": [1], "datasets": {"data": data}}
    own_data.check(values, "data")
    return values, what


def _expectation(values: Mapping[str, Any], dataset: str, volumes: int) -> Expectation:
    """Say what a data set of own files will take."""
    sections = {"train_classifier": "classifier", "train_iva": "iva", "segment": "iva"}
    return expectation(
        volumes,
        own_data.box_voxels(values, dataset),
        len(seeds(values, dataset)),
        {stage: settings(values, section, dataset) for stage, section in sections.items()},
    )


def _draw(found: Mapping[str, Inspection], path: Path) -> None:
    """Draw the first own data set of which boxes could be read."""
    from civa.report.plots.own_data import draw  # matplotlib is slow to import

    shown = [one for one in found.values() if one.examples]
    if not shown:
        logger.warning("there is nothing to draw: no box of an own data set could be read")
        return
    with replacing(path) as temporary:
        draw(shown[0]).savefig(temporary, dpi=130, format="png")
    logger.info("look at the picture, %s", PRIVATE.sub("", str(path)))


def _check_simulated(values: Mapping[str, Any], dataset: str) -> None:
    """Check the structures of a simulated data set."""
    simulation = settings(values, "simulation", dataset)
    box = simulation.get("box_voxels", 32) * simulation.get("voxel_size_angstrom", 10)
    for name in structures(values, dataset):
        _check_structure(values, name, box_angstrom=box)
    count = sum(volumes_per_class(simulation).values())
    logger.info("%s: %d volumes at SNR %g", dataset, count, simulation["snr"])


def _check_structure(values: Mapping[str, Any], name: str, *, box_angstrom: float) -> None:
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
