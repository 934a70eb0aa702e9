"""Figures of the tables -> where the methods break: one panel per axis of conditions."""

from pathlib import Path

import yaml

from civa import axes
from civa.files import replacing
from civa.summary import read_figures


def run(figures: Path, *, out: Path, config: str) -> None:
    """Draw the scores over the ``axes`` of a configuration, given as YAML."""
    asked = yaml.safe_load(config)
    with replacing(out) as temporary:
        axes.chart(read_figures(figures), asked["axes"]).savefig(temporary, dpi=130)
