"""Tables, ledgers, figures and records -> one page that opens anywhere, without network."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import yaml

from civa.data.files import read_json, write_text
from civa.evaluation.ledger import read_ledger
from civa.pipeline.provenance import leaves, record_path, versions
from civa.pipeline.runs import run_of
from civa.report import sections as report
from civa.report.benchmarks import costs, measured_jobs
from civa.report.headline import in_short
from civa.report.page import html_page
from civa.report.results import read_results
from civa.report.tables import layouts

logger = logging.getLogger(__name__)


def run(
    results: Path,
    ledgers: tuple[Path, ...] = (),
    figures: tuple[Path, ...] = (),
    products: tuple[Path, ...] = (),
    tomograms: tuple[Path, ...] = (),
    *,
    out: Path,
    config: str,
    benchmarks: str = "benchmarks",
) -> None:
    """Write the report of a configuration, given as YAML.

    Ledgers and figures are known by where they lie: results/DATASET/seed1/VARIANT/ledger.csv
    and .../figures/NAME.png; inputs and software by the records beside the products; time and
    memory by the files of Snakemake in the folder ``benchmarks``.

    Parameters
    ----------
    results
        CSV table of all results (results.csv).
    ledgers
        CSV tables: quality ledgers of the runs.
    figures
        PNG figures to show.
    products
        Products whose records name inputs and software.
    tomograms
        CSV tables of own tomograms: results/DATASET/tomograms.csv.
    out
        HTML page.
    config
        The configuration, as YAML text.
    benchmarks
        Folder of Snakemake's benchmark files.
    """
    try:
        settings = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise ValueError(f"the configuration is not readable YAML ({error})") from error
    if not isinstance(settings, dict) or not settings.get("datasets"):
        raise ValueError(f"the configuration names no data set: expected 'datasets' in {config!r}")
    datasets = [str(name) for name in settings["datasets"]]
    lines = read_results(results)
    judged = {run_of(path): read_ledger(path) for path in ledgers}
    benchmarked = costs(measured_jobs(settings, Path(benchmarks)))
    sections = {
        "in_short": in_short(lines, datasets, judged),
        "glossary": report.glossary(),
        "quality": report.quality(judged),
        "tables": report.score_tables(layouts(lines, settings), are_scored=_are_scored(lines)),
        "figures": report.figures(figures),
        "cost": report.cost_tables(benchmarked, datasets),
        "inputs": report.input_list(_inputs(products), _tomograms(tomograms)),
        "software": report.software(_versions(products), config),
    }
    write_text(out, html_page(datasets, sections))


def _are_scored(lines: pd.DataFrame) -> bool:
    """Whether a test image has a ground truth, of any data set; where nothing is finished, too."""
    return bool((lines["n"] > 0).any() or not (lines["seeds"] > 0).any())


def _inputs(products: Iterable[Path]) -> dict[Path, str]:
    return {path: content for product in products for path, content in leaves(product).items()}


def _tomograms(tables: Iterable[Path]) -> dict[str, pd.DataFrame]:
    return {
        path.parent.name: pd.read_csv(path, dtype=str, keep_default_na=False) for path in tables
    }


def _versions(products: Iterable[Path]) -> dict[str, list[str]]:
    """Collect the versions and commits that the records of products name."""
    found: dict[str, set[str]] = {}
    for product in products:
        if record_path(product).is_file():
            record = read_json(record_path(product))
            commit = {"commit of civa": record["commit"]} if "commit" in record else {}
            for name, version in {**record.get("versions", {}), **commit}.items():
                found.setdefault(name, set()).add(str(version))
    if not found:
        found = {name: {version} for name, version in versions().items()}
    return {name: sorted(kinds) for name, kinds in found.items()}
