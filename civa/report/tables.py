"""The paper's tables, ours beside the paper's (Sec. 5.5): layout and text.

`layouts` arranges results (`civa.report.results`) as the paper does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from civa.pipeline.config import BASE, Config, settings
from civa.pipeline.own_data import is_own
from civa.pipeline.runs import BEYOND, METHODS, TRIVIAL
from civa.report.paper_results import CLASSES, PLACES, TABLES, PaperTable
from civa.report.results import KEYS, MEANS

NOT_AVAILABLE = "n/a"
# With a linear layer behind global average pooling, dy/dA is one number per feature map, so that
# the weight of Respond-CAM, sum(A dy/dA) / sum(A), is that of Grad-CAM, the mean of dy/dA.
COINCIDES = (
    "equals Grad-CAM up to the ReLU with the default head (global average pooling), since the "
    "gradient is constant over the grid; with classifier.architecture: cnn1_bn it is not"
)

Lookup = Mapping[tuple[str, ...], Mapping[str, Any]]  # (*KEYS, score) -> line


@dataclass(frozen=True)
class Layout:
    """One table, ready to be printed.

    Attributes
    ----------
    name
        Name of the file that holds it.
    title
        Caption.
    table
        Cells of text; the first column names the row.
    notes
        Footnotes, each beginning with its mark, then remarks on the whole table.
    """

    name: str
    title: str
    table: pd.DataFrame
    notes: list[str]


@dataclass
class _Footnotes:
    """Marks of footnotes, in the order of their first use; equal texts share a mark."""

    texts: list[str] = field(default_factory=list)

    def mark(self, *notes: str) -> str:
        marks = ""
        for note in filter(None, notes):
            if note not in self.texts:
                self.texts.append(note)
            marks += f" [{self._letter(self.texts.index(note))}]"
        return marks

    def listed(self) -> list[str]:
        return [f"[{self._letter(i)}] {text}" for i, text in enumerate(self.texts)]

    @staticmethod
    def _letter(index: int) -> str:
        return chr(ord("a") + index) if index < 26 else f"z{index - 25}"


def layouts(results: pd.DataFrame, config: Config) -> list[Layout]:
    """Arrange the results as Tables 1 to 5, then all rows of every data set.

    Parameters
    ----------
    results
        From `collect`.
    config
        The configuration; a data set's ``stands_for`` says which of the paper's it is set
        beside.
    """
    lookup = _lookup(results)
    made: list[Layout] = []
    for table in TABLES:
        placed = _placed(table, config)
        if table.by_class:
            made += [_by_class(table, place, name, config, lookup) for place, name in placed]
        else:
            made.append(_across(table, placed, config, lookup))
    return made + [_all_rows(name, config, lookup) for name in config["datasets"]]


def paper_lines(table: PaperTable, results: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return one table as lines, one per score, the paper's beside ours.

    Returns
    -------
    Columns ``row``, ``place``, ``paper`` (NaN where the paper prints none), ``slip``, then those
    of `collect`.
    """
    lookup = _lookup(results)
    lines = []
    for place, dataset in _placed(table, config):
        classes = (_classes(lookup, dataset) or CLASSES[place or ""]) if table.by_class else ()
        for variant, method, name in _rows_of(table, lookup):
            own = place if variant == BASE else None
            for score in (*MEANS, *classes):
                key = {"dataset": dataset or "", "variant": variant, "method": method}
                ours = lookup.get((*key.values(), score), {})
                paper = {"paper": table.value(own, method, score)}
                slip = table.slips.get((own or "", method), "") if score == "miou" else ""
                if ours or not np.isnan(paper["paper"]):
                    start = {"row": name, "place": place or "", **paper, "slip": slip}
                    lines.append({**start, **key, "score": score, **ours})
    return pd.DataFrame(lines)


def _lookup(results: pd.DataFrame) -> Lookup:
    lines = [{str(k): v for k, v in line.items()} for line in results.to_dict("records")]
    return {tuple(line[k] for k in (*KEYS, "score")): line for line in lines}


def _placed(table: PaperTable, config: Config) -> list[tuple[str | None, str | None]]:
    """Pair the paper's data sets with ours: (place, name), None where there is none.

    Data sets that stand for none of the paper's follow, in all tables but that of the real set.
    """
    stands_for = {name: (own or {}).get("stands_for") for name, own in config["datasets"].items()}
    pairs: list[tuple[str | None, str | None]] = []
    for place in table.places:
        names = [name for name, its in stands_for.items() if its == place]
        pairs += [(place, name) for name in names or [None]]
    if table.places != ("real",):
        pairs += [(None, name) for name, its in stands_for.items() if its is None]
    without_ours = all(name is None for _, name in pairs)
    of_paper = any(stands_for.values()) or without_ours
    return [(place, name) for place, name in pairs if name is not None or of_paper]


def _rows_of(table: PaperTable, lookup: Lookup) -> list[tuple[str, str, str]]:
    """List a table's rows (variant, method, name): trivial, the paper's, ablations, beyond it."""
    rows = [(BASE, rule, f"trivial: {METHODS[rule].title}") for rule in TRIVIAL]
    rows += [(BASE, method, name) for method, name in table.methods.items()]
    found = {
        (variant, method): line["title"]
        for (_, variant, method, _), line in lookup.items()
        if variant != BASE and method in table.varied
    }
    rows += [(variant, method, title) for (variant, method), title in found.items()]
    made = {method for _, variant, method, _ in lookup if variant == BASE}
    rows += [(BASE, name, f"beyond: {METHODS[name].title}") for name in BEYOND if name in made]
    return rows


def _by_class(
    table: PaperTable, place: str | None, dataset: str | None, config: Config, lookup: Lookup
) -> Layout:
    """Arrange one data set with a column for every class, the paper's before ours."""
    notes = _Footnotes()
    classes = _classes(lookup, dataset) or list(CLASSES.get(place or "", ()))
    lines = []
    for variant, method, name in _rows_of(table, lookup):
        key = (dataset or "", variant, method)
        line = {"method": name}
        own = place if variant == BASE else None  # the paper has no variants
        if place:
            slip = notes.mark(table.slips.get((own or "", method), ""))
            line["paper"] = _number(table.value(own, method, "miou")) + slip
        remark = _coincides(config, *key)
        line["mIoU"] = _ours(lookup.get((*key, "miou")), notes, remark=remark)
        line["95 %"] = _interval(lookup.get((*key, "miou")))
        seen = _notes_of(lookup.get((*key, "miou")))
        for score in classes:
            ours = _ours(lookup.get((*key, score)), notes, row=seen)
            printed = table.value(own, method, score)
            line[score] = ours if np.isnan(printed) else f"{_number(printed)} / {ours}"
        line["class mIoU"] = _ours(lookup.get((*key, "class_miou")), notes, row=seen)
        line["agnostic"] = _ours(lookup.get((*key, "miou_agnostic")), notes, row=seen)
        lines.append(line)
    caption = table.caption
    if dataset is not None and is_own(config, dataset):
        caption = caption.removesuffix(", simulated")
    title = f"{caption}: {_place_title(place, dataset)}"
    remarks = _remarks(place, dataset, config, lookup)
    if place:
        remarks.append("class columns: paper / ours")
    return Layout(table.name, title, pd.DataFrame(lines), [*notes.listed(), *remarks])


def _across(
    table: PaperTable,
    placed: Sequence[tuple[str | None, str | None]],
    config: Config,
    lookup: Lookup,
) -> Layout:
    """Arrange the data sets side by side, one score each, the paper's before ours."""
    notes = _Footnotes()
    lines = []
    for variant, method, name in _rows_of(table, lookup):
        line = {"method": name}
        for place, dataset in placed:
            head = dataset or place or ""
            if place:
                own = place if variant == BASE else ""  # the paper has no variants
                slip = notes.mark(table.slips.get((own, method), ""))
                line[f"{head}: paper"] = _number(table.value(own, method, "miou")) + slip
            result = lookup.get((dataset or "", variant, method, "miou"))
            line[f"{head}: ours"] = _ours(result, notes)
            line[f"{head}: 95 %"] = _interval(result)
        lines.append(line)
    if {"crf", "voxresnet_full"} <= set(table.methods):
        lines.append(_over_full("weak / full", "crf", table, placed, lookup))
        if any(method == "consensus" for _, _, method, _ in lookup):
            name = f"{METHODS['consensus'].title} / full"
            lines.append(_over_full(name, "consensus", table, placed, lookup))
    remarks = [r for place, name in placed for r in _remarks(place, name, config, lookup)]
    return Layout(table.name, table.caption, pd.DataFrame(lines), [*notes.listed(), *remarks])


def _over_full(
    name: str,
    method: str,
    table: PaperTable,
    placed: Sequence[tuple[str | None, str | None]],
    lookup: Lookup,
) -> dict[str, str]:
    """Return a row of ratios: a method trained on image-level labels over full masks."""
    line = {"method": name}
    for place, dataset in placed:
        head = dataset or place or ""
        if place:
            weak, full = (table.value(place, m, "miou") for m in (method, "voxresnet_full"))
            line[f"{head}: paper"] = _number(weak / full, "{:.2f}")
        weak, full = (
            lookup.get((dataset or "", BASE, row, "miou"), {}).get("mean", np.nan)
            for row in (method, "voxresnet_full")
        )
        line[f"{head}: ours"] = _number(weak / full if full else np.nan, "{:.2f}", NOT_AVAILABLE)
        line[f"{head}: 95 %"] = ""
    return line


def _all_rows(dataset: str, config: Config, lookup: Lookup) -> Layout:
    """Arrange every row of one data set, variants included."""
    notes = _Footnotes()
    classes = _classes(lookup, dataset)
    keys = dict.fromkeys(key[:3] for key in lookup if key[0] == dataset)
    lines = []
    for key in keys:
        first = lookup[(*key, "miou")]
        line = {"method": first["title"], "supervision": first["supervision"]}
        line["mIoU"] = _ours(first, notes, remark=_coincides(config, *key))
        line["95 %"] = _interval(first)
        seen = _notes_of(first)
        for score, head in (("class_miou", "class mIoU"), ("miou_agnostic", "agnostic")):
            line[head] = _ours(lookup[(*key, score)], notes, row=seen)
        for score in classes:
            line[score] = _ours(lookup[(*key, score)], notes, row=seen)
        line["n"], line["seeds"] = f"{first['n']:.0f}", f"{first['seeds']:.0f}"
        lines.append(line)
    remark = (
        "IoU of the foreground in per cent, mean over test images; a misclassified image scores "
        "0, except in agnostic; trivial rows learn nothing and are given the true class"
    )
    title = f"All rows: {dataset}"
    return Layout("summary", title, pd.DataFrame(lines), [*notes.listed(), remark])


def _coincides(config: Config, dataset: str, variant: str, method: str) -> str:
    """Say where Respond-CAM is no method of its own; nothing of other rows."""
    if method != "respondcam" or not dataset:
        return ""
    head = settings(config, "classifier", dataset, variant).get("architecture", "gap")
    layer = settings(config, "localize", dataset, variant).get("layer", "cam")
    return COINCIDES if (head, layer) == ("gap", "cam") else ""


def _classes(lookup: Lookup, dataset: str | None) -> list[str]:
    names = dict.fromkeys(key[3] for key in lookup if key[0] == dataset)
    return [name for name in names if name not in MEANS]


def _place_title(place: str | None, dataset: str | None) -> str:
    if dataset is None:
        return PLACES[place or ""]
    return f"{dataset} ({PLACES[place]})" if place else dataset


def _remarks(place: str | None, dataset: str | None, config: Config, lookup: Lookup) -> list[str]:
    """Say what the results of one data set were computed from."""
    if dataset is None:
        return [
            f"no data set stands for the paper's {PLACES[place or '']}: import it, and set "
            f"stands_for: {place}"
        ]
    lines = [line for key, line in lookup.items() if key[0] == dataset and key[3] == "miou"]
    n, seeds = (max(int(line[name]) for line in lines) for name in ("n", "seeds"))
    repeats = "1 seed" if seeds == 1 else f"{seeds} seeds"
    texts = [f"{dataset}: {n or 'no'} test images with a ground truth, {repeats} finished"]
    if place == "real" and not is_own(config, dataset):
        texts.append(f"{dataset} is a simulated stand-in, not the paper's real set")
    return texts


def _number(value: float, style: str = "{:.1f}", missing: str = "") -> str:
    return missing if np.isnan(value) else style.format(value)


def _notes_of(line: Mapping[str, Any] | None) -> list[str]:
    return [note for note in str(line["notes"]).split("; ") if note] if line else []


def _ours(
    line: Mapping[str, Any] | None,
    notes: _Footnotes,
    *,
    row: Sequence[str] | None = None,
    remark: str = "",
) -> str:
    """Return a measured score and the marks of its footnotes.

    The score that stands for a row comes with its spread over seeds; the others of the row
    (``row``: the footnotes it has already) only with footnotes of their own.  A ``remark`` is one
    more footnote.
    """
    if line is None:
        return NOT_AVAILABLE
    text = _number(line["mean"], missing=NOT_AVAILABLE)
    if row is None and not np.isnan(line["sd"]):
        text += f" ± {line['sd']:.1f}"
    own = [note for note in _notes_of(line) if note not in (row or ())]
    return text + notes.mark(*own, remark)


def _interval(line: Mapping[str, Any] | None) -> str:
    if line is None or np.isnan(line["low"]):
        return NOT_AVAILABLE
    return f"{line['low']:.1f}–{line['high']:.1f}"


def to_markdown(parts: Sequence[Layout]) -> str:
    """Return tables as Markdown, with their captions and footnotes."""
    blocks = []
    for part in parts:
        table = part.table.to_markdown(index=False, disable_numparse=True)
        notes = "\n".join(f"- {note}" for note in part.notes)
        blocks.append(f"**{part.title}**\n\n{table}\n\n{notes}\n")
    return "\n".join(blocks)


def to_latex(parts: Sequence[Layout]) -> str:
    """Return tables as LaTeX ``tabular``, with their captions and footnotes."""
    blocks = []
    for part in parts:
        columns = "l" + "r" * (part.table.shape[1] - 1)
        lines = [" & ".join(map(_escape, row)) + r" \\" for row in part.table.to_numpy()]
        header = " & ".join(map(_escape, part.table.columns)) + r" \\"
        body = "\n".join([r"\hline", header, r"\hline", *lines, r"\hline"])
        notes = r" \\ ".join(map(_escape, part.notes))
        blocks.append(
            f"% {part.title}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n\n"
            f"{{\\footnotesize {notes}}}\n"
        )
    return "\n".join(blocks)


def _escape(text: object) -> str:
    cell = str(text)
    for character in "&%_#":
        cell = cell.replace(character, "\\" + character)
    return cell.replace("±", r"$\pm$").replace("–", "--")
