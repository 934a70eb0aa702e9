"""Any particle list: whose it is, by its content, and what it says."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from civa.data.star import read_star
from civa.data.text_table import read_text_table
from civa.particle_lists import coordinates_csv, dynamo, imod, m, motive_list, relion
from civa.particle_lists.particle_list import ParticleList

STAR_BLOCK = re.compile(r"data_[^\s,;]*", re.IGNORECASE)  # no row of a CSV table begins so
HEAD_BYTES = 1 << 14  # enough for a line of any table


def read_particle_list(path: Path) -> ParticleList:
    """Read a list of particles of any dialect.

    Binary files are told by their first bytes: IMOD models, EM motive lists.  Texts are STAR files
    (a line ``data_...``) of RELION, Warp, M or STOPGAP, told by their columns; Dynamo's tables of
    numbers; or CSV tables with a header.

    Raises
    ------
    ValueError
        If the file is missing, is no such list, or lists no particle.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: check the path of the particle list")
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    found = _reader(path, head)(path)
    if not len(found):
        raise ValueError(f"{path} ({found.dialect}) lists no particle")
    return found


def _reader(path: Path, head: bytes) -> Callable[[Path], ParticleList]:
    """Return what reads a file that begins so."""
    if imod.is_model(head):
        return imod.read
    if motive_list.is_em(head):
        return motive_list.read_em
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(
            f"{path} is a binary file that is no particle list: expected a model of IMOD, a motive "
            "list in EM format, a STAR file, a table of Dynamo or a CSV table"
        )
    lines = [line.strip() for line in text.splitlines()]
    if any(STAR_BLOCK.fullmatch(line) for line in lines):
        return _read_star
    if dynamo.is_table(text):
        return dynamo.read
    if dynamo.is_table(text.replace(",", " ")):
        raise ValueError(
            f"{path} looks like a table of Dynamo with commas: write it with blanks between numbers"
        )
    if (word := dynamo.word_in_table(text)) is not None:
        raise ValueError(
            f"{path} looks like a table of Dynamo, but '{word}' is no number: correct it"
        )
    if dynamo.is_index(text):
        raise ValueError(
            f"{path} maps numbers to tomograms, as Dynamo does, and lists no particles: give it as "
            "tomogram_files, beside the table"
        )
    return _read_csv


def _read_star(path: Path) -> ParticleList:
    blocks = read_star(path)
    for table in blocks.values():
        if "rlnTomoParticlesFile" in table:
            return _read_optimisation_set(path, table)
        if motive_list.has_positions(table):
            return motive_list.read_stopgap(path, table)
        if m.first_moment(table) is not None:
            return m.read(path, table)
    return relion.read(path, blocks)


def _read_optimisation_set(path: Path, table: pd.DataFrame) -> ParticleList:
    """Read the particles that an optimisation set of RELION names."""
    named = Path(str(table["rlnTomoParticlesFile"].iloc[0]))
    # Relative to the project's folder, which may be any above the set's.
    folders = [path.parent, *path.resolve().parents]
    particles = next((folder / named for folder in folders if (folder / named).is_file()), None)
    if particles is None:
        raise ValueError(
            f"{path} names {named}, which lies neither beside it nor in a folder above: give the "
            "particles' STAR file itself"
        )
    return _read_star(particles)


def _read_csv(path: Path) -> ParticleList:
    table = read_text_table(path)
    if not coordinates_csv.has_positions(table):
        raise ValueError(
            f"{path} is no particle list that is known: it begins as a table with the columns "
            f"{list(table.columns)[:8]}; expected a STAR file, a table of Dynamo, a motive list, a "
            f"model of IMOD, or a CSV table with {coordinates_csv.ANGSTROM} or "
            f"{coordinates_csv.VOXELS}"
        )
    return coordinates_csv.read(path, table)
