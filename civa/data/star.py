"""STAR files of RELION 3.1 and later: the only file that knows starfile.

Text is written so that RELION, starfile and any reader of STAR get one value back: text with
blanks stands in double quotes, and what one of these readers would take for something else
(quotes, ``#``, line ends, letters beyond ASCII, words with a meaning of their own) is
percent-encoded, as in an address of the web.  `read_star` decodes it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import pandas as pd
import starfile

from civa.data.files import write_text

# Columns that stay text when all their values look like numbers, as the id 007 does.
TEXT_COLUMNS = (
    *("rlnImageName", "rlnMicrographName", "rlnTomoName", "rlnTomoParticleName"),
    *("rlnOpticsGroupName", "rlnGroupName", "rlnCtfImage"),
)
PLAIN = " /@+=,:()"  # marks that no reader takes for syntax, beside letters, digits and "_.-~"
# Beginnings that STAR takes for a label or a keyword; "." and "nan" are missing values to readers.
RESERVED = re.compile(r"_|(data|loop|save|stop|global)_|(nan|\.)$", re.IGNORECASE)
FLOAT_FORMAT = "%.9g"  # starfile's own six decimals would turn 1e-7 into 0


def write_star(
    path: Path, tables: Mapping[str, pd.DataFrame], *, comments: Sequence[str] = ()
) -> None:
    """Write tables as the blocks of a STAR file, one loop each.

    Parameters
    ----------
    path
        The file.
    tables
        Name of the block, as ``particles`` for ``data_particles`` -> its table.  The names of
        the columns are RELION's labels, without the leading underscore.
    comments
        Lines above the first block.

    Raises
    ------
    ValueError
        If a table has no row, or a value is missing: a reader would lose its columns.
    """
    for name, table in tables.items():
        if table.empty or table.isna().to_numpy().any():
            raise ValueError(
                f"{path}: the table '{name}' has no row or lacks values: expected at least one "
                "row without a gap"
            )
    encoded = {name: table.map(_encoded) for name, table in tables.items()}
    text = starfile.to_string(encoded, float_format=FLOAT_FORMAT)
    # starfile's first line is the time of day: without it the same tables give the same bytes.
    _, _, blocks = text.partition("\n")
    lines = [f"# {' '.join(comment.split())}\n" for comment in comments]
    write_text(path, "".join(lines) + blocks)


def read_star(path: Path, *, text_columns: Sequence[str] = TEXT_COLUMNS) -> dict[str, pd.DataFrame]:
    """Read the blocks of a STAR file: name of the block -> its table.

    A block without a loop is a table of one row.  ``text_columns`` stay text, decoded as
    `write_star` encodes it; other columns are numbers where all their values are.

    Raises
    ------
    ValueError
        If the file is missing, or is no STAR file.
    """
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=list(text_columns))
    except (OSError, ValueError, TypeError) as error:  # TypeError: old line ends, lost values
        raise ValueError(f"{path} is not a readable STAR file ({error})") from error
    if not blocks:
        raise ValueError(f"{path} holds no block 'data_...': expected a STAR file")
    for name, block in blocks.items():
        columns = pd.Index(list(block))
        if not columns.is_unique:
            twice = columns[columns.duplicated()].tolist()
            raise ValueError(
                f"{path}: the block '{name}' has the columns {twice} twice: name them once"
            )
    return {name: _decoded(block, text_columns) for name, block in blocks.items()}


def _encoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    plain = quote(value, safe=PLAIN)
    return f"%{ord(plain[0]):02X}{plain[1:]}" if RESERVED.match(plain) else plain


def _decoded(block: pd.DataFrame | dict[str, object], text_columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame([block]) if isinstance(block, dict) else block
    return table.assign(
        **{
            name: [unquote(str(value)) for value in table[name]]
            for name in text_columns
            if name in table
        }
    )
