"""What is wrong, or strange, in files of a user: where it is, and what to do."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "advice"]
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "advice": logging.INFO}


@dataclass(frozen=True)
class Finding:
    """One thing that was found in a file of a user.

    Attributes
    ----------
    severity
        ``error`` stops a stage; ``warning`` may spoil a result; ``advice`` is to be known.
    file
        Where it was found.
    value
        What is there.
    expected
        What should be there, if that is not plain.
    remedy
        What to do.
    line, id
        In the file: counted from 1, and the particle's; none where it concerns all.
    """

    severity: Severity
    file: Path
    value: str
    expected: str = ""
    remedy: str = ""
    line: int | None = None
    id: str | None = None

    def __str__(self) -> str:
        where = [str(self.file)]
        where += [f"line {self.line}"] if self.line is not None else []
        where += [f"id '{self.id}'"] if self.id is not None else []
        said = f"{', '.join(where)}: {self.value}"
        said += f": expected {self.expected}" if self.expected else ""
        return said + (f"; {self.remedy}" if self.remedy else "")

    @property
    def level(self) -> int:
        """The level at which it is logged."""
        return LEVELS[self.severity]

    def columns(self) -> dict[str, str]:
        """Return the fields as text, blank where there is nothing."""
        return {name: "" if value is None else str(value) for name, value in asdict(self).items()}


class FindingError(ValueError):
    """A finding that stops a stage."""

    def __init__(self, finding: Finding, others: int = 0) -> None:
        self.finding = finding
        more = f" (and {others} more: 'civa validate' lists all)" if others else ""
        super().__init__(f"{finding}{more}")


class NotInOrderError(ValueError):
    """A stage found its data not in order; what it wrote of that is to be kept."""


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise the first error among findings.

    Raises
    ------
    FindingError
        If there is one; it tells how many others there are.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise FindingError(errors[0], len(errors) - 1)
