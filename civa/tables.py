"""Tables of scores: one line per run, means over seeds, Markdown and LaTeX (Sec. 5.5)."""

import pandas as pd

from civa.metrics import mean_iou

KEYS = ["dataset", "method"]
FIGURES = ["miou", "class_miou", "miou_agnostic"]


def run_table(scores: list[pd.DataFrame], rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Summarise per-image scores, one line per (data set, seed, method).

    Parameters
    ----------
    scores
        Per-image scores of every run.
    rows
        Data set, seed and method of every run.

    Returns
    -------
    Columns ``dataset``, ``seed``, ``method``, the figures of `mean_iou`, in per cent.
    """
    lines = [
        {"dataset": dataset, "seed": seed, "method": method, **mean_iou(table)}
        for table, (dataset, seed, method) in zip(scores, rows, strict=True)
    ]
    table = pd.DataFrame(lines)
    classes = [c for c in table if c not in ("dataset", "seed", "method", "n", *FIGURES)]
    return table[["dataset", "seed", "method", *FIGURES, *classes, "n"]]


def summary_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Average runs over seeds, in the order of their first line; ``sd`` is that of ``miou``."""
    groups = runs.drop(columns="seed").groupby(KEYS, sort=False)
    means = groups.mean(numeric_only=True)
    means.insert(1, "sd", groups["miou"].std())
    means.insert(len(means.columns) - 1, "seeds", groups.size())
    return means.reset_index().round(2)


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """Turn a summary into text: one decimal, ``n/a`` where nothing was scored."""
    counts = ("n", "seeds")
    text = summary.copy().astype(object)
    for column in summary.columns.difference(KEYS):
        style = "{:.0f}" if column in counts else "{:.1f}"
        text[column] = ["n/a" if pd.isna(v) else style.format(v) for v in summary[column]]
    text["miou"] = [
        value if sd == "n/a" else f"{value} ± {sd}"
        for value, sd in zip(text["miou"], text["sd"], strict=True)
    ]
    return text.drop(columns="sd").rename(columns={"miou": "mIoU"})


def one_per_dataset(summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a summary by data set; columns of other data sets' classes are left out."""
    tables = {}
    for name, group in summary.groupby("dataset", sort=False):
        kept = [c for c in group if c in ("sd", *FIGURES) or group[c].notna().any()]
        tables[str(name)] = formatted(group[kept]).drop(columns="dataset")
    return tables


def to_markdown(summary: pd.DataFrame) -> str:
    """Return a summary as one Markdown table per data set."""
    tables = one_per_dataset(summary)
    return (
        "\n\n".join(
            f"**{name}** (IoU in per cent, test images)\n\n"
            + table.to_markdown(index=False, disable_numparse=True)
            for name, table in tables.items()
        )
        + "\n"
    )


def to_latex(summary: pd.DataFrame) -> str:
    """Return a summary as one LaTeX ``tabular`` per data set."""
    blocks = []
    for name, table in one_per_dataset(summary).items():
        columns = "l" + "r" * (table.shape[1] - 1)
        lines = [" & ".join(map(_escape, row)) + r" \\" for row in table.to_numpy()]
        header = " & ".join(map(_escape, table.columns)) + r" \\"
        body = "\n".join([r"\hline", header, r"\hline", *lines, r"\hline"])
        blocks.append(f"% {name}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}")
    return "\n\n".join(blocks) + "\n"


def _escape(text: object) -> str:
    cell = str(text)
    for character in "&%_#":
        cell = cell.replace(character, "\\" + character)
    return cell.replace("±", r"$\pm$")
