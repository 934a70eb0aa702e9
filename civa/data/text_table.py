"""Tables as people write them: commas, semicolons or tabs, blanks around fields, blank lines."""

import csv
import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from civa.data.findings import Finding, FindingError

if TYPE_CHECKING:
    import pandas as pd  # imported where tables are read: it is slow, and plans of jobs read none

DELIMITERS = ",;\t"


def read_text_table(path: Path, *, text: Collection[str] | None = None) -> "pd.DataFrame":
    """Read a table with a header; its index is each row's line in the file.

    The delimiter is the commonest one of the header.  Blanks around fields, blank lines, a mark of
    the encoding at the beginning, and empty fields beyond the header are passed over.

    Parameters
    ----------
    text
        Columns that stay text, so that ``007`` stays ``007``; others are numbers where all their
        cells are.  None: all columns.

    Raises
    ------
    FindingError
        If the file cannot be read, has no row, a column twice, or a row is longer or shorter than
        the header; with the line.
    """
    import pandas as pd

    lines, rows = _rows(path)
    if not rows:
        raise FindingError(Finding("error", path, "is empty", "a header and a row per particle"))
    names = rows[0]
    while names and not names[-1]:  # a trailing delimiter
        names = names[:-1]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        remedy = "give every column a name of its own"
        raise FindingError(
            Finding("error", path, f"the columns {twice} stand twice", "", remedy, 1)
        )
    fitted = [_fitted(path, line, row, names) for line, row in zip(lines, rows, strict=True)]
    if len(fitted) < 2:
        raise FindingError(
            Finding("error", path, "lists no volume", "one row per volume below the header")
        )
    plain = io.StringIO()
    csv.writer(plain, lineterminator="\n").writerows(fitted)
    plain.seek(0)
    kinds = str if text is None else dict.fromkeys(set(text) & set(names), str)
    table = pd.read_csv(plain, dtype=kinds, keep_default_na=False, skip_blank_lines=False)
    return table.set_axis(lines[1:], axis="index")


def _rows(path: Path) -> tuple[list[int], list[list[str]]]:
    """Return the rows that hold anything, fields without blanks around them, and their lines."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next((line for line in stream if line.strip()), "")
            stream.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            lines, rows = [], []
            for row in reader:
                fields = [field.strip() for field in row]
                if any(fields):
                    lines.append(reader.line_num)
                    rows.append(fields)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "save it as a CSV table in UTF-8"
        raise FindingError(
            Finding("error", path, f"is not a readable CSV table ({error})", "", remedy)
        ) from error
    return lines, rows


def _fitted(path: Path, line: int, row: list[str], names: list[str]) -> list[str]:
    """Return a row of as many fields as the header has; empty ones beyond it are dropped."""
    if len(row) > len(names) and not any(row[len(names) :]):
        return row[: len(names)]
    if len(row) != len(names):
        raise FindingError(
            Finding(
                "error",
                path,
                f"the row has {len(row)} fields, {row}",
                f"{len(names)} as the header, {names}",
                "name every column in the header, and put fields that hold the delimiter into "
                "double quotes",
                line,
            )
        )
    return row
