"""Tables and figures -> one page that opens anywhere, without network."""

from html import escape
from pathlib import Path

import pandas as pd

from civa.files import write_text
from civa.provenance import versions
from civa.report import costs, html_image, html_page, html_table
from civa.tables import one_per_dataset


def run(
    summary: Path, figures: tuple[Path, ...] = (), *, out: Path, benchmarks: str, config: str
) -> None:
    """Write the report of a run."""
    tables = one_per_dataset(pd.read_csv(summary))
    sections = {
        f"Scores: {name}": (
            "<p>Foreground intersection over union in per cent, mean over test images; a "
            "misclassified image scores 0 except in <code>miou_agnostic</code>. Trivial rows "
            "learn nothing and are given the true class.</p>" + html_table(table)
        )
        for name, table in tables.items()
    }
    sections["The median test image of every class"] = "".join(
        html_image(path, " / ".join(path.parts[-4:-2])) for path in figures
    )
    sections["Cost of every stage"] = html_table(costs(Path(benchmarks)))
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    sections["Configuration"] = f"<p>{escape(software)}</p><pre>{escape(config)}</pre>"
    write_text(out, html_page("CIVA report", sections))
