"""The report opens anywhere: nothing is fetched, and nothing that users write is executed."""

import base64
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from civa.figures import Example, overview
from civa.report import costs, html_image, html_page, html_table

VOID = {"meta", "link", "img"}


class Tags(HTMLParser):
    """Collect tags and check that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def figure(folder: Path) -> Path:
    empty = np.zeros((4, 4, 4), dtype=bool)
    example = Example("one", np.random.default_rng(0).normal(size=(4, 4, 4)), empty, {})
    overview([example]).savefig(folder / "overview.png", dpi=20)
    return folder / "overview.png"


def page(folder: Path) -> str:
    config = "datasets: <script>alert('http://example.org')</script>"
    return html_page(
        "A & B",
        {
            "Scores <1>": html_table(pd.DataFrame({"method": ["<b>"], "mIoU": ["1.0 ± 0.1"]})),
            "Figure": html_image(figure(folder), 'caption "x" <y>'),
            "Configuration": f"<pre>{escape(config)}</pre>",
        },
    )


def test_page_is_well_formed(tmp_path: Path) -> None:
    parsed = Tags()
    parsed.feed(page(tmp_path))
    assert parsed.open == []
    assert parsed.names.count("table") == parsed.names.count("img") == 1


def test_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    parsed = Tags()
    parsed.feed(page(tmp_path))
    assert len(parsed.sources) == 2  # the figure and an empty icon
    assert all(source.startswith("data:") for source in parsed.sources)
    assert not re.search(r"url\(|@import|<iframe|<object", page(tmp_path))


def test_text_of_users_is_escaped(tmp_path: Path) -> None:
    text, parsed = page(tmp_path), Tags()
    parsed.feed(text)
    assert not {"script", "b", "y"} & set(parsed.names)
    assert "<title>A &amp; B</title>" in text
    assert "Scores &lt;1&gt;" in text
    assert "&lt;script&gt;" in text


def test_image_is_the_file_itself(tmp_path: Path) -> None:
    path = figure(tmp_path)
    found = re.search(r'src="data:image/png;base64,([^"]+)"', html_image(path, "caption"))
    assert found is not None
    assert base64.b64decode(found[1]) == path.read_bytes()


def test_missing_figures_read_not_available() -> None:
    table = html_table(pd.DataFrame({"method": ["a"], "value": [float("nan")]}))
    assert "n/a" in table
    assert "NaN" not in table


def benchmark(path: Path, seconds: float, memory: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n", encoding="utf-8")


def test_costs_list_the_slowest_stage_first(tmp_path: Path) -> None:
    benchmark(tmp_path / "set" / "split.tsv", 0.52, "40.04")
    benchmark(tmp_path / "set" / "seed1" / "train_iva.tsv", 61.25, "900.5")
    table = costs(tmp_path)
    assert table["stage"].tolist() == ["set/seed1/train_iva", "set/split"]
    assert table["wall time (s)"].tolist() == [61.2, 0.5]
    assert table["peak memory (MB)"].tolist() == [900.5, 40.0]


def test_jobs_too_short_to_be_measured_read_not_available(tmp_path: Path) -> None:
    benchmark(tmp_path / "split.tsv", 0.01, "NA")
    assert "n/a" in html_table(costs(tmp_path))


def test_no_benchmarks_give_an_empty_table(tmp_path: Path) -> None:
    assert len(costs(tmp_path / "none")) == 0
