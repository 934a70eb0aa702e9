"""A product -> what it was made from: files, commands, commits."""

import logging
from pathlib import Path

from civa.pipeline.provenance import trace

logger = logging.getLogger(__name__)


def run(file: Path) -> None:
    """Print the tree of files, commands and commits from which a product was made.

    Parameters
    ----------
    file
        Any product of the workflow.
    """
    if not file.exists():
        raise ValueError(f"{file} does not exist: give a file of results/ (a score, a mask)")
    for depth, path, record in trace(file):
        indent = "  " * depth
        logger.info("%s%s", indent, path)
        if record:
            commit = record.get("commit", "unknown")
            logger.info("%s  sha256 %s, commit %s", indent, record["sha256"], commit)
            logger.info("%s  %s", indent, record.get("command", record["stage"]))
        else:
            logger.info("%s  an input: no stage made it", indent)
