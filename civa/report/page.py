"""The page of the report: its templates, and what they are filled with.

Text, markup and style lie in `civa.report.templates`.  Whatever is put into a template is escaped,
names and configuration above all, unless it was itself made by a template.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from civa.evaluation.thresholds import split_at_keys
from civa.report import templates
from civa.report.benchmarks import duration, memory


def anchor(text: str) -> str:
    """Return a name for a place in the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@cache
def environment() -> Environment:
    """Return what the templates are rendered with: they escape, and a missing value is an error."""
    made = Environment(
        loader=PackageLoader(templates.__name__, package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "anchor": anchor,
        "duration": duration,
        "memory": memory,
        "split_at_keys": split_at_keys,
    }
    return made


def render(name: str, **values: object) -> Markup:
    """Fill the template ``name.html.j2``; return HTML."""
    text = environment().get_template(f"{name}.html.j2").render(values)
    return Markup(text.strip())  # safe: the template has escaped all values


def html_page(datasets: Sequence[str], sections: Mapping[str, Markup]) -> str:
    """Return the complete page.

    Parameters
    ----------
    datasets
        Names, in the order of the configuration.
    sections
        Name of the template of each section -> its HTML.
    """
    folder = resources.files(templates)
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    icon = data_uri(folder.joinpath("icon.png").read_bytes())
    page = render("page", datasets=datasets, style=Markup(style), icon=icon, **sections)
    return f"{page}\n"


def data_uri(png: bytes) -> str:
    """Return an image as an address that holds the image itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def caption(name: str) -> tuple[str, str]:
    """Return the title of a figure and how to read it, empty where nothing is known of it.

    The file, ``**Title.** Text``, is also the caption of the figure in Snakemake's own report.
    """
    file = resources.files(templates).joinpath("captions", Path(name).name + ".rst")
    if not file.is_file():
        return name, ""
    title, _, text = file.read_text(encoding="utf-8").removeprefix("**").partition(".**")
    return title, " ".join(text.split())
