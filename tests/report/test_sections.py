"""The report opens anywhere: nothing is fetched, and nothing that users write is executed."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError

from civa.cli import main
from civa.evaluation.ledger import COLUMNS, CONSENSUS, LIMITS, line
from civa.evaluation.thresholds import VERDICTS
from civa.pipeline.config import BASE
from civa.pipeline.provenance import digests, write_record
from civa.pipeline.runs import run_of
from civa.report import templates
from civa.report.benchmarks import costs, duration, measured_jobs, memory
from civa.report.headline import in_short
from civa.report.page import anchor, caption, environment, render
from civa.report.plots.slices import Example, overview
from civa.report.sections import (
    ORDER,
    OVERALL,
    cost_tables,
    figures,
    glossary,
    input_list,
    quality,
    score_tables,
    software,
)
from civa.report.tables import Layout

VOID = {"meta", "link", "img", "br"}
RUN = ("mine", "1", BASE)
NASTY = "<b onclick=\"alert('x')\">&"


class Page(HTMLParser):
    """Collect elements, their attributes and their text, and check that they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            as_it_stands = "pre" in self.open
            self.text += data if as_it_stands else re.sub("[ \n]+", " ", data)

    def values(self, *keys: str) -> list[str]:
        return [value for key, value in self.attributes if key in keys]


# --- small inputs -----------------------------------------------------------------------------


def result_line(
    method: str, mean: float, *, sd: float = np.nan, variant: str = BASE, notes: str = ""
) -> dict:
    return {
        **{"dataset": "mine", "variant": variant, "method": method, "title": method},
        **{"supervision": "image", "score": "miou", "mean": mean, "sd": sd},
        **{"low": mean - 2, "high": mean + 2, "n": 0 if np.isnan(mean) else 30, "of": 30},
        **{"seeds": 1 if np.isnan(sd) else 2, "by_seed": "", "notes": notes, "files": ""},
    }


def ledger(*lines: dict) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=list(COLUMNS))


GREEN = line("CRF", "crf", 60)
AMBER = line("CRF", "spread", 40, of="one")
RED = line("classifier", "accuracy", 30, floor=25)
UNKNOWN = line("CRF", "class_miou", np.nan)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = np.zeros((4, 4, 4), dtype=bool)
    example = Example("one", np.random.default_rng(0).normal(size=(4, 4, 4)), empty, {})
    overview([example]).savefig(path, dpi=20)
    return path


def benchmark(path: Path, seconds: float, memory: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t{memory}\n", encoding="utf-8")
    return path


# --- elements ---------------------------------------------------------------------------------


def element(name: str, *arguments: object, **named: object) -> str:
    """What an element of the page becomes: a macro of elements.html.j2."""
    module = environment().get_template("elements.html.j2").module
    return str(getattr(module, name)(*arguments, **named))


def test_tables_name_their_rows_and_columns_and_have_a_caption() -> None:
    rows = [["CRF", "1.0 ± 0.1"], ["sum", "n/a"]]
    found = Page(element("table", ["method", "mIoU"], rows, "Table 1", total=True))
    assert found.values("scope") == ["col", "col", "row", "row"]
    assert found.names.count("caption") == found.names.count("tfoot") == 1
    assert "Table 1" in found.text
    assert "1.0 ± 0.1" in found.text
    assert "n/a" in found.text


def test_a_cell_of_a_user_is_text() -> None:
    found = Page(element("table", [NASTY, "n"], [[NASTY, NASTY]], NASTY, kind=NASTY))
    assert found.text.count(NASTY) == 4
    assert "b" not in found.names
    assert "onclick" not in dict(found.attributes)


def test_image_is_the_file_itself_and_has_a_text(tmp_path: Path) -> None:
    path = picture(tmp_path / NASTY / "seed1" / BASE / "figures" / 'a "b" <c>.png')
    found = Page(figures([path]))
    (source,) = found.values("src")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == path.read_bytes()
    assert found.values("alt") == [f'a "b" <c>: {NASTY}, seed 1']
    assert "strong" in found.names
    assert not {"b", "c"} & set(found.names)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("green", "✓ 3 green"), ("amber", "! 3 amber"), ("red", "✕ 3 red"), ("n/a", "– 3 n/a")],
)
def test_verdicts_do_not_hang_on_their_colour(verdict: str, words: str) -> None:
    assert Page(element("verdict", verdict, 3)).text == words
    assert verdict in VERDICTS


def test_keys_of_the_configuration_are_set_as_code() -> None:
    text = "raise crf.search_volumes, crf.search: true & segment.threshold; not segment.default"
    found = element("with_keys", text)
    assert re.findall("<code>(.*?)</code>", found) == [
        *("crf.search_volumes", "crf.search", "segment.threshold", "segment.default"),
    ]
    assert Page(found).text == text


def test_every_advice_survives_its_markup() -> None:
    for limit in LIMITS.values():
        assert Page(element("with_keys", limit.advice)).text == limit.advice


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'config' is undefined"):
        render("software", versions=[], mixed=[])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (99.4, "99 s"), (99.6, "1 min 40 s")),
        *((3599, "59 min 59 s"), (3600, "1 h 00 min"), (7290, "2 h 02 min"), (np.nan, "n/a")),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("megabytes", "words"),
    [(40.2, "40 MB"), (999.4, "999 MB"), (999.6, "1.0 GB"), (3422.8, "3.4 GB"), (np.nan, "n/a")],
)
def test_amounts_of_memory(megabytes: float, words: str) -> None:
    assert memory(megabytes) == words


# --- runs -------------------------------------------------------------------------------------


def test_a_run_is_known_by_its_folder() -> None:
    folder = Path("/some/where/results/snr005/seed12/cut-half")
    assert run_of(folder / "ledger.csv") == ("snr005", "12", "cut-half")
    assert run_of(folder / "figures" / "compare.png", below=1) == ("snr005", "12", "cut-half")


@pytest.mark.parametrize("path", ["ledger.csv", "results/a/b/c/ledger.csv"])
def test_a_file_outside_a_run_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="does not lie in the folder of a run: expected results"):
        run_of(Path(path))


# --- in short ---------------------------------------------------------------------------------


def short(*lines: dict, judged: dict | None = None) -> str:
    return in_short(pd.DataFrame(lines), ["mine"], judged or {})


def test_the_method_stands_beside_trivial_rule_and_full_supervision() -> None:
    found = Page(
        short(
            *(result_line("ball", 12.0), result_line("blob", 50.0), result_line("gradcam", 15.0)),
            result_line("crf", 60.0, sd=1.25),
            result_line("voxresnet_full", 80.0),
            result_line("crf", 99.0, variant="cut-half"),
        )
    )
    text = found.text.replace("\u00a0", " ")
    assert "mIoU of 60.0 ± 1.2 (mean and standard deviation over 2 seeds; 30 test" in text
    assert "interval 58.0 to 62.0" in text
    assert "brightest blob) reaches 50.0 without" in text
    assert "it is the best on the test images themselves, which flatters it" in text
    assert "reaches 80.0 (one seed): class labels reach 0.75 of that" in text
    assert "Warning" not in text
    assert "99.0" not in text
    widths = [value for value in found.values("style") if "width" in value]
    assert widths == ["width:50.0%", "width:15.0%", "width:60.0%", "width:80.0%"]


def test_the_new_method_is_set_beside_full_supervision_and_recommended_where_it_is_better() -> None:
    lines = [
        result_line("blob", 65.0),
        result_line("crf", 60.0),
        result_line("voxresnet_full", 80.0),
    ]
    text = Page(short(*lines, result_line("consensus", 90.0))).text.replace("\u00a0", " ")
    assert "CIVA-Consensus, which aligns every volume" in text
    assert "reaches 90.0" in text and "1.12 of full supervision" in text
    assert "Use CIVA-Consensus, or follow the advice of the ledger" in text
    assert "Use the trivial rule" in Page(short(*lines, result_line("consensus", 64.0))).text


@pytest.mark.parametrize(
    ("ours", "words", "kind"),
    [
        (
            40.0,
            "is not better than the best trivial rule; its mIoU is 10.0 points lower",
            "warning",
        ),
        (50.0, "is not better than the best trivial rule; its mIoU is the same", "warning"),
        (51.0, "lead over the best trivial rule is 1.0 points, no more than", "caution"),
    ],
)
def test_a_method_that_is_no_better_than_a_trivial_rule_is_told_so(
    ours: float, words: str, kind: str
) -> None:
    found = Page(short(result_line("blob", 50.0), result_line("crf", ours)))
    assert words in found.text
    assert f"notice {kind}" in found.values("class")


def test_without_a_trivial_rule_nothing_is_claimed() -> None:
    text = Page(short(result_line("crf", 60.0), result_line("ball", np.nan))).text
    assert "No trivial rule is scored" in text
    assert "(one seed; 30 test images" in text
    assert "±" not in text


def test_without_a_crf_the_affinity_network_is_the_last_row() -> None:
    text = Page(short(result_line("iva", 40.0), result_line("crf", np.nan))).text
    assert "CIVA-Net (without a CRF) reaches an mIoU of 40.0" in text


def test_without_ground_truth_the_ledger_carries_the_page() -> None:
    note = "no ground truth for any test image"
    lines = [result_line(name, np.nan, notes=note) for name in ("blob", "gradcam", "crf")]
    judged = {RUN: ledger(GREEN, AMBER, AMBER, UNKNOWN)}
    text = Page(short(*lines, judged=judged)).text
    assert f"There is no score: {note}. The quality ledger has the checks" in text
    assert "Quality ledger, 1 run: ✓ 1 green ! 2 amber – 1 n/a" in text
    assert "red" not in text
    assert "nan" not in text


def test_the_first_lines_say_where_consensus_masks_are_in_doubt() -> None:
    lines = [result_line("blob", 65.0), result_line("crf", 70.0), result_line("consensus", 60.0)]
    red = line(CONSENSUS, "half_sets", 4.0, of="1qvr")
    assert red["verdict"] == "red"
    text = Page(short(*lines, judged={RUN: ledger(GREEN, red)})).text.replace("\u00a0", " ")
    behind = "Warning: here CIVA-Consensus is not better than the best trivial rule (-5.0 points)"
    assert behind in text
    assert "use low-pass, window at brightest blob" in text
    doubt = "Masks of CIVA-Consensus are in doubt here: correlation of half-sets"
    assert doubt in text
    assert "worst class (1qvr): 4.0 %" in text
    assert text.index(behind) < text.index("Trained on the class of each volume alone")
    fine = Page(short(*lines[:2], result_line("consensus", 90.0), judged={RUN: ledger(GREEN)})).text
    assert "doubt" not in fine and "Warning" not in fine
    unknown = [result_line(name, np.nan) for name in ("blob", "crf", "consensus")]
    assert doubt in Page(short(*unknown, judged={RUN: ledger(red)})).text.replace("\u00a0", " ")


def test_a_data_set_without_any_run_is_named() -> None:
    text = Page(in_short(pd.DataFrame([result_line("crf", 60.0)]), ["other"], {})).text
    assert "other" in text
    assert "no run of the method is finished" in text
    assert "No quality ledger was made" in text


# --- the other sections -----------------------------------------------------------------------


def test_every_line_of_a_ledger_shows_its_verdict_and_advice_where_needed() -> None:
    found = Page(quality({RUN: ledger(RED, GREEN, AMBER, UNKNOWN)}))
    for expected in ("✓ green", "! amber", "✕ red", "– n/a", "30.0 %", "60.0 %", "guessing: 25"):
        assert expected in found.text
    assert found.text.count("Try: ") == 2
    assert "mine, seed 1" in found.text
    assert LIMITS["trivial"].reason in found.text
    assert found.names.count("tbody") == 3  # classifier and CRF, and the limits


def test_negative_values_have_a_minus_sign() -> None:
    text = Page(quality({RUN: ledger(line("CRF", "gain", -3.0))})).text
    assert "−3.0 points" in text
    assert "red below −2" in text


def test_names_in_a_ledger_are_text() -> None:
    nasty = {**GREEN, "stage": NASTY, "check": NASTY, "unit": NASTY, "expected": NASTY}
    found = Page(quality({(NASTY, "1", NASTY): ledger({**nasty, "advice": NASTY})}))
    assert found.text.count(NASTY) >= 6
    assert "b" not in found.names


def test_without_a_ground_truth_no_table_of_blanks_is_shown() -> None:
    part = Layout("t", "T", pd.DataFrame({"method": ["a"], "mIoU": ["n/a"]}), [])
    found = score_tables([part], are_scored=False)
    assert "No test image has a ground truth" in found
    assert "<table" not in found
    assert "<table" in score_tables([part])


def test_tables_come_with_their_notes() -> None:
    table = pd.DataFrame({"method": ["CRF"], "mIoU": ["60.0 [a]"]})
    parts = [Layout("table1", "Table <1>", table, [f"[a] {NASTY}"])]
    parts.append(Layout("table2", "Table 2", pd.DataFrame(), []))
    found = Page(score_tables(parts))
    assert found.names.count("table") == found.names.count("li") == 1
    assert "Table <1>" in found.text
    assert NASTY in found.text


def test_figures_come_in_their_order_with_how_to_read_them(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "mine" / "seed1" / BASE / "figures"
    names = ("training", "extra", "overview")
    found = Page(figures([picture(folder / f"{name}.png") for name in names]))
    titles = ["The median test image of every class", "Training of every network", "extra"]
    assert found.values("alt") == [f"{title}: mine, seed 1" for title in titles]
    assert "if it never falls, the network has learnt nothing" in found.text


def test_every_figure_has_a_caption_and_every_caption_a_figure() -> None:
    files = Path(templates.__file__).parent / "captions"
    assert {path.stem for path in files.iterdir()} == {*ORDER, OVERALL}
    for name in (*ORDER, OVERALL):
        title, text = caption(name)
        assert title and text.endswith(".")
        assert not set("*`_|<>") & set(title + text)  # it is reStructuredText, too: no markup


def test_a_figure_that_nobody_knows_is_shown_by_its_name() -> None:
    assert caption("extra") == ("extra", "")
    assert caption("../page.html") == ("../page.html", "")


def test_missing_parts_are_said_in_a_sentence() -> None:
    for section in (
        *(quality({}), score_tables([]), figures([]), cost_tables(costs([]), ["mine"])),
        input_list({}, {}),
    ):
        assert re.fullmatch(r"<p>[A-Z].*\.</p>", section)


def test_words_of_the_page_are_explained() -> None:
    text = Page(glossary()).text
    for word in ("mIoU", "Strict", "seed", "CAM", "CO", "IVA", "CRF", "rivial rule"):
        assert word in text


def test_costs_are_summed_over_seeds_variants_and_shards(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks" / "mine"
    found = costs(
        [
            benchmark(folder / "simulate" / "0of2.tsv", 3, "100"),
            benchmark(folder / "simulate" / "1of2.tsv", 4, "300"),
            benchmark(folder / "seed1" / BASE / "train_iva.tsv", 60.5, "900.5"),
            benchmark(folder / "seed2" / "cut-half" / "train_iva.tsv", 60.5, "NA"),
            benchmark(folder / "trivial" / "ball.tsv", 0.01, "NA"),
        ]
    )
    assert found["stage"].tolist() == ["train iva", "simulate", "trivial ball"]
    assert found["jobs"].tolist() == [2, 2, 1]
    assert found["seconds"].tolist() == [121, 7, 0.01]
    np.testing.assert_array_equal(found["megabytes"], [900.5, 300, np.nan])
    assert set(found["dataset"]) == {"mine"}
    text = Page(cost_tables(found, ["mine"])).text
    assert "2 min 08 s" in text  # the sum of all
    assert "n/a" in text


def test_only_jobs_of_the_configuration_count(tmp_path: Path) -> None:
    config = {"seeds": [1], "datasets": {"mine": {}}, "variants": {"half": {}}}
    kept = [
        benchmark(tmp_path / "mine" / name, 1, "10")
        for name in ("collect.tsv", "trivial/ball.tsv", "seed1/half/crf.tsv")
    ]
    for name in ("mine/seed2/civa-net/crf.tsv", "mine/seed1/gone/crf.tsv", "old/collect.tsv"):
        benchmark(tmp_path / name, 1, "10")
    assert set(measured_jobs(config, tmp_path)) == set(kept)


def test_a_data_set_that_is_called_like_a_seed_is_no_seed(tmp_path: Path) -> None:
    path = benchmark(tmp_path / "benchmarks" / "seed1" / "collect.tsv", 1, "10")
    assert costs([path])[["dataset", "stage"]].to_numpy().tolist() == [["seed1", "collect"]]


@pytest.mark.parametrize(("count", "is_folded"), [(1, False), (25, False), (26, True)])
def test_long_lists_of_inputs_are_folded(count: int, is_folded: bool) -> None:
    found = Page(input_list({Path(f"boxes/{i}<b>.mrc"): "0" * 64 for i in range(count)}, {}))
    assert ("details" in found.names) == is_folded
    assert found.text.count("0" * 64) == count
    assert "boxes/0<b>.mrc" in found.text


def test_what_is_known_of_own_tomograms_is_shown_with_its_source() -> None:
    row = ("TS_<1>", "tilt_min_deg", "-54.0", "measured", "to 3 degrees")
    columns = ("tomogram", "quantity", "value", "source", "confidence")
    known = pd.DataFrame([row], columns=columns)
    found = Page(input_list({Path("a.mrc"): "0" * 64}, {"mine": known}))
    assert "mine: what is known of its tomograms" in found.text
    for cell in row:
        assert cell in found.text


def test_mixed_versions_are_pointed_out() -> None:
    assert "more than one" not in software({"civa": ["1"], "torch": ["2"]}, "")
    text = Page(software({"civa": ["1"], "torch": ["2", "3"]}, NASTY)).text
    assert "more than one version of: torch." in text
    assert NASTY in text


# --- the whole page ---------------------------------------------------------------------------

CONFIG = f"""
seeds: [1]
datasets: {{mine: null}}  # </pre><script src='http://example.org'></script> {NASTY}
"""


def make(folder: Path, *, mean: float = 60.0, complete: bool = True) -> str:
    """Write the report of a run, or of nothing but tables, and return the page."""
    run = folder / "results" / "mine" / "seed1" / BASE
    run.mkdir(parents=True)
    results = folder / "results.csv"
    names = ("miou", "class_miou", "miou_agnostic", "<b>")
    lines = [
        {**result_line(method, value), "score": name}
        for method, value in (("blob", mean - 10), ("crf", mean))
        for name in names
    ]
    pd.DataFrame(lines).to_csv(results, index=False)
    command = ["report", "--results", str(results), "--out", str(folder / "report.html")]
    command += ["--config", CONFIG]
    if complete:
        ledger(RED, GREEN, AMBER, UNKNOWN).to_csv(run / "ledger.csv", index=False)
        source, product = folder / "source.pdb", folder / "scores.csv"
        source.write_text("atoms")
        product.write_text("scores")
        made = {"parameters": {}, "seconds": 1, "command": "civa score"}
        write_record("score", inputs=digests([source]), outputs=[product], **made)
        benchmark(folder / "benchmarks" / "mine" / "collect.tsv", 5, "70")
        command += ["--ledgers", str(run / "ledger.csv"), "--products", str(product)]
        command += ["--figures", str(picture(run / "figures" / "overview.png"))]
        command += ["--benchmarks", str(folder / "benchmarks")]
    assert main(command) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


SECTIONS = [
    *("In short", "How to read this", "Quality ledger", "Tables", "Figures", "Cost", "Inputs"),
    "Software and configuration",
]


@pytest.mark.parametrize("complete", [True, False])
def test_sections_stand_in_order_and_contents_lead_to_them(tmp_path: Path, complete: bool) -> None:
    text = make(tmp_path, complete=complete)
    assert re.findall(r"<h2 [^>]*>(.*?)</h2>", text) == SECTIONS
    found = Page(text)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    for section in SECTIONS:
        assert f"#{anchor(section)}" in found.values("href")
    inner = [href.removeprefix("#") for href in found.values("href") if href.startswith("#")]
    assert set(inner) <= set(ids)


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    text = make(tmp_path)
    found = Page(text)
    assert all(value.startswith(("#", "data:")) for value in found.values("src", "href"))
    assert "http" not in text.split("<pre>")[0] + text.split("</pre>")[1]
    assert not re.search(r"url\(|@import|@font-face", text)
    assert not {"script", "iframe", "object", "embed", "form"} & set(found.names)
    assert not [key for key, _ in found.attributes if key.startswith("on")]


def test_the_icon_is_a_png(tmp_path: Path) -> None:
    icon = next(v for v in Page(make(tmp_path)).values("href") if v.startswith("data:"))
    assert base64.b64decode(icon.removeprefix("data:image/png;base64,"))[1:4] == b"PNG"


def test_text_of_users_is_escaped_everywhere(tmp_path: Path) -> None:
    found = Page(make(tmp_path))
    assert "b" not in found.names
    assert CONFIG in found.text
    assert "<b>" in found.text  # the class that is called so


def test_inputs_software_and_cost_are_those_of_the_records(tmp_path: Path) -> None:
    text = Page(make(tmp_path)).text
    assert (tmp_path / "source.pdb").as_posix() in text
    assert re.search(r"[0-9a-f]{64}", text)
    assert "commit of civa" in text
    assert "70 MB" in text


def test_without_ground_truth_the_page_is_made(tmp_path: Path) -> None:
    text = Page(make(tmp_path, mean=np.nan)).text
    assert "There is no score" in text
    assert "nan" not in text.lower().split()
    assert "! amber" in text


@pytest.mark.parametrize("config", ["[]", "seeds: [1]", "a: [", "datasets: {}"])
def test_a_configuration_without_data_sets_is_refused(
    tmp_path: Path, config: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "results.csv").write_text("dataset\n")
    flags = ["--results", str(tmp_path / "results.csv"), "--out", str(tmp_path / "report.html")]
    assert main(["report", *flags, "--config", config]) == 1
    assert "the configuration" in caplog.messages[-1]
    assert not (tmp_path / "report.html").exists()
