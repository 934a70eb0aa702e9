"""A user's table of boxes: all that is wrong or strange in it, before any box is opened."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from civa.data.findings import Finding
from civa.data.imaging import read_acquisitions, read_defocus
from civa.data.particles import check_particles, read_tomograms


def check_own_table(path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """Read a table of boxes, and say what is wrong with it.

    Returns
    -------
    The table, whose index is each row's line in the file; and the findings of
    `civa.data.particles.check_particles`, and of paths, defocus and tomograms.
    """
    table, findings = check_particles(path)
    if any(finding.line is None for finding in findings):  # a column is missing
        return table, findings
    if "path" not in table:
        value = f"has no column 'path': it holds {list(table.columns)}"
        remedy = "name the file of every box there"
        return table, [*findings, Finding("error", path, value, remedy=remedy)]
    findings += _check_paths(path, table)
    for check in (read_defocus, read_acquisitions, read_tomograms):
        try:
            check(table)
        except ValueError as error:
            findings.append(Finding("error", path, str(error)))
    return table, findings


def _check_paths(path: Path, table: pd.DataFrame) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for line, identity, name in zip(table.index, table["id"], table["path"], strict=True):
        if name and name in first:
            value = f"the box {name} is that of id '{first[name]}' too"
            remedy = "list every box once"
            yield Finding("error", path, value, "", remedy, line=int(line), id=identity)
        first.setdefault(name, identity)
