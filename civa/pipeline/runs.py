"""What a configuration asks for: products, variants, and the rows of the tables.

A run is a data set, a seed and a variant.  Its products lie in
``results/<data set>/seed<seed>/<variant>/``; trivial rules, which learn nothing, in
``results/<data set>/trivial/``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from civa.pipeline.config import BASE, Config, seeds

# Sections whose settings shape a product, in the order of the pipeline.  A variant has its own
# copy of a product only where it overrides one of these; the others it shares with the base.
LINEAGE = {
    "classifier": ("classifier",),
    "seeds": ("classifier", "localize"),
    "seed_masks": ("classifier", "localize", "binarize"),
    "cooccurrence": ("classifier", "localize", "cooccurrence"),
    "merged": ("classifier", "localize", "cooccurrence", "merge"),
    "pseudo_labels": ("classifier", "localize", "cooccurrence", "merge", "binarize"),
}
for _product, _parent in (
    ("pairs", "pseudo_labels"),
    ("iva", "pairs"),
    ("segment", "iva"),
    ("crf", "segment"),
    ("average", "seeds"),
    ("refine", "average"),
    ("align", "refine"),
    ("map_back", "align"),
    ("voxresnet_pseudo", "pseudo_labels"),
    ("voxresnet_consensus", "map_back"),
):
    LINEAGE[_product] = (*LINEAGE[_parent], _product)
# All volumes are aligned with the averages of the training volumes first.
LINEAGE["refine"] = LINEAGE["align"]
LINEAGE["calibrate"] = LINEAGE["map_back"]
LINEAGE["replace_outliers"] = LINEAGE["voxresnet_consensus"]
LINEAGE["voxresnet_full"] = ("voxresnet_full",)
LINEAGE["unet_slice"] = ("unet_slice",)

# What switching a part off changes, as if the variant overrode that section.
SWITCHED = {"co": "merge", "iva": "crf", "crf": "crf"}


@dataclass(frozen=True)
class Method:
    """A row of the tables: its title, the product of its masks, and what supervised it."""

    title: str
    product: str
    supervision: str


METHODS = {
    "ball": Method("centred ball", "trivial", "none"),
    "lowpass": Method("low-pass", "trivial", "none"),
    "centre": Method("low-pass, centred window", "trivial", "none"),
    "blob": Method("low-pass, window at brightest blob", "trivial", "none"),
    "respondcam": Method("Respond-CAM", "seed_masks", "image"),
    "gradcam": Method("Grad-CAM", "seed_masks", "image"),
    "cooccurrence": Method("+ CO", "pseudo_labels", "image"),
    "voxresnet_pseudo": Method("seg. w/o IVA", "voxresnet_pseudo", "image"),
    "iva": Method("+ IVA (CIVA-Net)", "segment", "image"),
    "crf": Method("+ CRF (CIVA-Net, 3D-CRF)", "crf", "image"),
    "consensus": Method("CIVA-Consensus", "map_back", "image"),
    "consensus_tuned": Method("CIVA-Consensus, tuned contour", "map_back", "image"),
    "voxresnet_consensus": Method("seg. on consensus masks", "voxresnet_consensus", "image"),
    "consensus_network": Method("CIVA-Consensus, network for misfits", "replace_outliers", "image"),
    "unet_slice": Method("3D U-Net_s", "unet_slice", "slice"),
    "voxresnet_full": Method("VoxResNet_f", "voxresnet_full", "voxel"),
}
BEYOND = (  # rows that the paper has not
    *("consensus", "consensus_tuned"),
    *("voxresnet_consensus", "consensus_network"),
)
NEEDS = {"replace_outliers": "voxresnet_consensus"}  # products that come with a baseline
TRIVIAL = tuple(name for name, method in METHODS.items() if method.product == "trivial")
BASELINES = {  # optional rows: (network, supervision)
    "voxresnet_pseudo": ("voxresnet", "pseudo"),
    "voxresnet_consensus": ("voxresnet", "pseudo"),
    "unet_slice": ("unet", "slice"),
    "voxresnet_full": ("voxresnet", "full"),
}


def method_title(name: str) -> str:
    """Return the title that a method has in the tables; its own name if it is in none."""
    return METHODS[name].title if name in METHODS else name


@dataclass(frozen=True)
class Row:
    """One run of one row of the tables, and the file of its scores.

    Attributes
    ----------
    seed
        None for the trivial rules.
    """

    dataset: str
    seed: int | None
    variant: str
    method: str

    @property
    def scores(self) -> str:
        """Path of the scores, one line per test image."""
        if self.seed is None:
            return f"results/{self.dataset}/trivial/{self.method}.csv"
        return f"{run_folder(self.dataset, self.seed, self.variant)}/scores/{self.method}.csv"

    @property
    def title(self) -> str:
        """Name of the row in the tables."""
        title = METHODS[self.method].title
        return title if self.variant == BASE else f"{title} [{self.variant}]"


def run_folder(dataset: str, seed: int | str, variant: str) -> str:
    """Return where the products of a run lie."""
    return f"results/{dataset}/seed{seed}/{variant}"


def run_of(path: Path, *, below: int = 0) -> tuple[str, str, str]:
    """Read data set, seed and variant from where a product of a run lies.

    Parameters
    ----------
    path
        ``results/<data set>/seed<seed>/<variant>/<file>``.
    below
        How many folders deeper the file lies.

    Raises
    ------
    ValueError
        If the file does not lie in the folder of a run.
    """
    parts = path.parts[: len(path.parts) - 1 - below][-3:]
    if len(parts) < 3 or not re.fullmatch(r"seed\d+", parts[1]):
        raise ValueError(
            f"{path} does not lie in the folder of a run: expected "
            "results/<data set>/seed<seed>/<variant>/, which tells what it belongs to"
        )
    return parts[0], parts[1].removeprefix("seed"), parts[2]


def run_title(dataset: str, seed: str, variant: str) -> str:
    """Return the name of a run in words."""
    return f"{dataset}, seed {seed}" + ("" if variant == BASE else f", {variant}")


def variants(config: Config) -> list[str]:
    """List the variants, the method itself first."""
    return [BASE, *config.get("variants", {})]


def without(config: Config, variant: str) -> list[str]:
    """List the parts that a variant switches off: co, iva, crf."""
    return list(config.get("variants", {}).get(variant, {}).get("without", []))


def home(config: Config, product: str, variant: str) -> str:
    """Return the variant whose copy of a product is to be used: its own, or the base's."""
    overridden = {
        *config.get("variants", {}).get(variant, {}),
        *(SWITCHED[part] for part in without(config, variant)),
    }
    return variant if overridden.intersection(LINEAGE[product]) else BASE


def products(config: Config, variant: str) -> list[str]:
    """List the products of which a variant has its own copy.

    Baselines belong to the method itself; a variant has one of its own where it says so, by
    overriding its section.
    """
    off = without(config, variant)
    asked = config.get("baselines", [])
    if variant != BASE:
        asked = [name for name in asked if name in config["variants"][variant]]
    return [
        product
        for product in LINEAGE
        if home(config, product, variant) == variant
        and (product not in BASELINES or product in asked)
        and NEEDS.get(product, BASE) in (BASE, *asked)
        and not (product == "crf" and "crf" in off)
        and not (product in ("pairs", "iva", "segment") and "iva" in off)
    ]


def methods(config: Config, variant: str) -> list[str]:
    """List the rows that a variant has of its own; a part that is off has none."""
    own, off = products(config, variant), without(config, variant)
    return [
        name
        for name, method in METHODS.items()
        if method.product in own and not (name == "cooccurrence" and "co" in off)
    ]


def rows(config: Config) -> Iterator[Row]:
    """Yield all rows of the tables, seed by seed; rows that variants share appear once."""
    for dataset in config["datasets"]:
        for rule in TRIVIAL:
            yield Row(dataset, None, BASE, rule)
        for variant in variants(config):
            for method in methods(config, variant):
                for seed in seeds(config, dataset):
                    yield Row(dataset, seed, variant, method)
