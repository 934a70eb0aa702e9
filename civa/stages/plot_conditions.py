"""Results -> scores over conditions that are changed one at a time, one panel per axis."""

from pathlib import Path

import yaml

from civa.data.files import replacing
from civa.report.plots import conditions
from civa.report.results import read_results


def run(results: Path, *, out: Path, config: str) -> None:
    """Draw the scores over the ``stress_tests`` of a configuration, given as YAML.

    Parameters
    ----------
    results
        CSV table of all results (results.csv).
    out
        PNG figure.
    config
        The configuration, as YAML text.
    """
    asked = yaml.safe_load(config)
    with replacing(out) as temporary:
        conditions.chart(read_results(results), asked["stress_tests"]).savefig(temporary, dpi=130)
