"""The results in the documentation are those of the tables that the workflow wrote."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from civa.pipeline.runs import TRIVIAL
from civa.report.paper_results import TABLES
from civa.report.results import read_results
from civa.report.tables import layouts, paper_lines, to_markdown

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "tables"  # copies of results/tables of examples/paper.yaml
CONFIG = yaml.safe_load((ROOT / "examples" / "paper.yaml").read_text(encoding="utf-8"))
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def results() -> pd.DataFrame:
    return read_results(KEPT / "results.csv")


def mean(dataset: str, method: str, score: str = "miou") -> float:
    table = results().set_index(["dataset", "variant", "method", "score"])
    return float(table.loc[(dataset, "civa-net", method, score), "mean"])


@pytest.mark.parametrize("name", [*(table.name for table in TABLES), "summary"])
def test_tables_in_the_results_are_those_of_the_results(name: str) -> None:
    parts = [part for part in layouts(results(), CONFIG) if part.name == name]
    assert parts
    assert to_markdown(parts).strip() in RESULTS


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_kept_tables_are_those_of_the_results(table, tmp_path: Path) -> None:
    paper_lines(table, results(), CONFIG).to_csv(tmp_path / "again.csv", index=False)
    kept = pd.read_csv(KEPT / f"{table.name}.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again.csv"), kept)


def test_results_of_the_readme_are_those_of_the_tables() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {
        "best trivial rule: low-pass at the brightest blob": "blob",
        "Grad-CAM": "gradcam",
        "+ co-occurrence": "cooccurrence",
        "+ inter-voxel affinity": "iva",
        "+ 3-D CRF": "crf",
        "3D U-Net, one slice of each mask": "unet_slice",
        "VoxResNet, full masks": "voxresnet_full",
    }
    for title, method in rows.items():
        found = re.search(rf"^\| {re.escape(title)} \|(.*)\|$", readme, re.M)
        assert found, title
        cells = [cell.strip() for cell in found.group(1).split("|")]
        ours = [f"{mean(dataset, method):.1f}" for dataset in ("snr005", "snr003")]
        assert cells[0::2] == ours, title
        printed = [
            f"{value:.1f}" if pd.notna(value) else ""
            for value in (_printed(place, method) for place in ("snr005", "snr003"))
        ]
        assert cells[1::2] == printed, title


CLASSIFIERS = yaml.safe_load((ROOT / "examples" / "classifiers.yaml").read_text(encoding="utf-8"))


def test_rows_of_the_papers_classifiers_are_those_of_their_run() -> None:
    kept = read_results(KEPT / "classifiers.csv")
    (part,) = (part for part in layouts(kept, CLASSIFIERS) if part.name == "summary")
    rows = [line for line in to_markdown([part]).splitlines() if line.startswith("|")]
    measured = [line for line in rows[2:] if "n/a [" not in line]
    assert len(measured) == 10  # four trivial rules, two maps of three classifiers
    assert "\n".join([*rows[:2], *measured]) in RESULTS


CONSENSUS = yaml.safe_load((ROOT / "examples" / "consensus.yaml").read_text(encoding="utf-8"))


def test_results_beyond_the_paper_are_those_of_their_run() -> None:
    kept = read_results(KEPT / "consensus.csv")
    parts = [part for part in layouts(kept, CONSENSUS) if part.name == "summary"]
    assert to_markdown(parts).strip() in RESULTS
    means = kept[kept["score"] == "miou"].set_index(["method", "dataset"])["mean"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for title, found in {
        "CIVA-Consensus, class labels alone": means["consensus"],
        "VoxResNet, full masks, the paper's width, up to 24 epochs": means["voxresnet_full"],
        "CIVA-Net with its CRF, class labels alone": means["crf"],
        "best trivial rule": means["blob"],
    }.items():
        cells = " | ".join(f"{found[name]:.1f}" for name in ("snr005", "snr003"))
        assert f"| {title} | {cells} |" in readme, title


LIMITS = yaml.safe_load((ROOT / "examples" / "stress_tests.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("dataset", LIMITS["datasets"])
def test_results_of_where_it_breaks_are_those_of_their_run(dataset: str) -> None:
    kept = read_results(KEPT / "stress_tests.csv")
    own = kept[kept["dataset"] == dataset].set_index(["method", "score"])["mean"]
    cells = []
    for method in ("consensus", "crf", "voxresnet_full"):
        strict, agnostic = (f"{own[method, score]:.1f}" for score in ("miou", "miou_agnostic"))
        cells.append(strict if strict == agnostic else f"{strict} ({agnostic})")
    cells.append(f"{max(own[rule, 'miou'] for rule in TRIVIAL):.1f}")
    found = re.search(rf"^\| `{dataset}`[^|]*\|(.*)\|$", RESULTS, re.M)
    assert found
    assert [cell.strip() for cell in found.group(1).split("|")[:4]] == cells


def _printed(place: str, method: str) -> float:
    values = [table.value(place, method, "miou") for table in TABLES]
    known = [value for value in values if pd.notna(value)]
    return known[0] if known else float("nan")


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/results.md", "docs/conventions.md"]
)
def test_what_is_chosen_on_test_is_excepted_where_choices_on_validation_are_claimed(
    page: str,
) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    claims = list(re.finditer("every choice on validation|never on test", text))
    assert claims
    for claim in claims:
        near = text[claim.start() : claim.start() + 300]
        assert re.search(r"best trivial rule is the best on (the )?test", near), near
        assert "flatters it" in near
