"""What a configuration asks for: products and their homes, rows, switched-off parts."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from civa.pipeline.config import BASE, settings
from civa.pipeline.runs import (
    BASELINES,
    LINEAGE,
    METHODS,
    NEEDS,
    SWITCHED,
    TRIVIAL,
    home,
    methods,
    products,
    rows,
    run_folder,
    variants,
    without,
)

CORE = [name for name in LINEAGE if name not in BASELINES and name not in NEEDS]
CONSENSUS = ["consensus", "consensus_tuned"]


def configuration(**variants: dict[str, Any]) -> dict[str, Any]:
    return {"seeds": [1, 2], "datasets": {"one": None, "two": {}}, "variants": variants}


def test_lineage_grows_along_the_pipeline() -> None:
    pipeline = ["classifier", "seeds", "merged", "pseudo_labels", "pairs", "iva", "segment", "crf"]
    for before, after in pairwise(pipeline):
        assert set(LINEAGE[before]) < set(LINEAGE[after])
    assert LINEAGE["voxresnet_full"] == ("voxresnet_full",)  # no classifier is involved
    assert LINEAGE["unet_slice"] == ("unet_slice",)
    assert set(LINEAGE["pseudo_labels"]) < set(LINEAGE["voxresnet_pseudo"])
    assert "iva" not in LINEAGE["voxresnet_pseudo"]


def test_every_row_has_a_product_and_a_title_of_its_own() -> None:
    assert {m.product for m in METHODS.values()} <= {*LINEAGE, "trivial"}
    titles = [m.title for m in METHODS.values()]
    assert len(set(titles)) == len(titles)
    assert set(BASELINES) <= set(METHODS)
    assert TRIVIAL == ("ball", "lowpass", "centre", "blob")
    assert {network for network, _ in BASELINES.values()} == {"voxresnet", "unet"}
    assert BASELINES["voxresnet_pseudo"] == ("voxresnet", "pseudo")
    assert BASELINES["unet_slice"] == ("unet", "slice")
    assert BASELINES["voxresnet_full"] == ("voxresnet", "full")


def test_the_experiment_of_the_paper_measures_both_image_level_baselines() -> None:
    path = Path(__file__).parents[2] / "examples" / "paper.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    variant = "cnn1_bn"
    for dataset in config["datasets"]:
        head = settings(config, "classifier", dataset, variant)["architecture"]
        assert head == "cnn1_bn"  # with gap, Respond-CAM is Grad-CAM
    counts = Counter((row.dataset, row.method) for row in rows(config) if row.variant == variant)
    names = ("respondcam", "gradcam", "cooccurrence", *CONSENSUS)
    assert counts == {
        (dataset, method): seeds
        for dataset, seeds in (("snr003", 2), ("snr005", 2), ("polyga", 1))
        for method in names
    }


def test_without_variants_the_method_owns_everything() -> None:
    config = {"seeds": [1], "datasets": {"one": None}}
    assert variants(config) == [BASE]
    assert products(config, BASE) == CORE
    paper = ["respondcam", "gradcam", "cooccurrence", "iva", "crf"]
    assert methods(config, BASE) == [*paper, *CONSENSUS]
    taught = {**config, "baselines": ["voxresnet_consensus"]}
    assert set(products(taught, BASE)) == {*CORE, "voxresnet_consensus", "replace_outliers"}
    assert {"voxresnet_consensus", "consensus_network"} < set(methods(taught, BASE))
    assert all(home(config, product, BASE) == BASE for product in LINEAGE)


def test_variants_come_after_the_method_in_their_order() -> None:
    config = configuration(z={"crf": {"search": False}}, a={"crf": {"iterations": 2}})
    assert variants(config) == [BASE, "z", "a"]


@pytest.mark.parametrize(
    ("override", "own", "own_rows"),
    [
        ({"crf": {"search": False}}, ["crf"], ["crf"]),
        ({"segment": {"threshold": 0.5}}, ["segment", "crf"], ["iva", "crf"]),
        ({"iva": {"width": 8}}, ["iva", "segment", "crf"], ["iva", "crf"]),
        (
            {"merge": {"weights": [0.5]}},
            ["merged", "pseudo_labels", "pairs", "iva", "segment", "crf"],
            ["cooccurrence", "iva", "crf"],
        ),
        (
            {"binarize": {"fractions": [0.1]}},
            ["seed_masks", "pseudo_labels", "pairs", "iva", "segment", "crf"],
            ["respondcam", "gradcam", "cooccurrence", "iva", "crf"],
        ),
        (
            {"classifier": {"epochs": 1}},
            CORE,
            ["respondcam", "gradcam", "cooccurrence", "iva", "crf", *CONSENSUS],
        ),
        (
            {"average": {"starts": 1}},
            ["average", "refine", "align", "map_back", "calibrate"],
            CONSENSUS,
        ),
        ({"map_back": {"contour": 0.2}}, ["map_back", "calibrate"], CONSENSUS),
    ],
)
def test_a_variant_owns_only_what_it_changes(
    override: dict[str, Any], own: list[str], own_rows: list[str]
) -> None:
    config = configuration(v=override)
    assert products(config, "v") == own
    assert methods(config, "v") == own_rows
    for product in CORE:
        assert home(config, product, "v") == ("v" if product in own else BASE)
    assert products(config, BASE) == CORE, "the method does not notice"


@pytest.mark.parametrize(
    ("off", "own"),
    [
        # w1 changes, and all that follows the merger
        (["co"], ["merged", "pseudo_labels", "pairs", "iva", "segment", "crf"]),
        # the CRF refines the merged map of the method itself
        (["iva"], ["crf"]),
        (["co", "crf"], ["merged", "pseudo_labels", "pairs", "iva", "segment"]),
        (["co", "iva"], ["merged", "pseudo_labels", "crf"]),
        (["co", "iva", "crf"], ["merged", "pseudo_labels"]),
    ],
)
def test_what_is_switched_off_is_not_made(off: list[str], own: list[str]) -> None:
    config = configuration(v={"without": off})
    assert without(config, "v") == off
    assert without(config, BASE) == []
    assert products(config, "v") == own


def test_without_the_network_its_products_are_those_of_the_method() -> None:
    config = configuration(v={"without": ["iva"]})
    for product in ("merged", "pseudo_labels", "pairs", "iva", "segment"):
        assert home(config, product, "v") == BASE
    assert home(config, "crf", "v") == "v"


def test_every_switch_names_a_section_of_the_pipeline() -> None:
    assert set(SWITCHED) == {"co", "iva", "crf"}
    assert set(SWITCHED.values()) <= set(LINEAGE["crf"])


def test_a_variant_may_switch_off_and_override_at_once() -> None:
    config = configuration(v={"without": ["crf"], "segment": {"threshold": 0.5}})
    assert products(config, "v") == ["segment"]
    assert methods(config, "v") == ["iva"]


@pytest.mark.parametrize("override", [{}, {"weights": [0.1, 0.5], "default_weight": 0.3}])
def test_without_co_the_merger_takes_the_class_map_alone(override: dict[str, Any]) -> None:
    # w1 = 1, whether validation can choose or the default must do
    config = configuration(v={"without": ["co"], "merge": override})
    config["merge"] = {"fractions": [0.02]}
    assert settings(config, "merge", "one", "v") == {
        "fractions": [0.02],
        "weights": [1.0],
        "default_weight": 1.0,
    }
    assert settings(config, "merge", "one") == {"fractions": [0.02]}
    assert "weights" not in settings(config, "binarize", "one", "v")


def test_baselines_are_made_where_they_are_asked_for() -> None:
    config = configuration()
    assert not set(BASELINES) & set(products(config, BASE))
    config["baselines"] = ["unet_slice", "voxresnet_pseudo"]
    assert set(products(config, BASE)) - set(CORE) == {"unet_slice", "voxresnet_pseudo"}
    assert set(methods(config, BASE)) & set(BASELINES) == {"unet_slice", "voxresnet_pseudo"}


def test_a_variant_has_a_baseline_of_its_own_only_where_it_says_so() -> None:
    config = configuration(
        merger={"merge": {"weights": [0.5]}}, wide={"voxresnet_full": {"width": 8}}
    )
    config["baselines"] = ["voxresnet_full", "voxresnet_pseudo"]
    assert not set(BASELINES) & set(products(config, "merger"))
    assert products(config, "wide") == ["voxresnet_full"]
    assert methods(config, "wide") == ["voxresnet_full"]


def test_rows_of_every_data_set_and_seed() -> None:
    config = configuration(v={"segment": {"threshold": 0.5}})
    found = list(rows(config))
    assert len(set(found)) == len(found)
    for dataset in ("one", "two"):
        for seed in (1, 2):
            own = Counter(r.variant for r in found if (r.dataset, r.seed) == (dataset, seed))
            assert own == {BASE: 7, "v": 2}


def test_trivial_rows_learn_nothing_and_appear_once() -> None:
    config = configuration(v={"classifier": {"epochs": 1}})
    trivial = [row for row in rows(config) if row.method in TRIVIAL]
    assert [(r.dataset, r.method) for r in trivial] == [
        (dataset, rule) for dataset in ("one", "two") for rule in TRIVIAL
    ]
    assert {(r.seed, r.variant) for r in trivial} == {(None, BASE)}


def test_rows_that_variants_share_appear_once() -> None:
    config = configuration(v={"crf": {"search": False}}, w={"without": ["iva"]})
    config["baselines"] = list(BASELINES)
    per_run = Counter(row.method for row in rows(config) if (row.dataset, row.seed) == ("one", 1))
    assert per_run["crf"] == 3
    assert {count for method, count in per_run.items() if method != "crf"} == {1}
    assert set(per_run) == set(METHODS) - set(TRIVIAL)


def test_a_data_set_may_have_seeds_of_its_own() -> None:
    config = configuration(v={"crf": {"search": False}})
    config["datasets"]["two"] = {"seeds": [7]}
    found = {(row.dataset, row.variant, row.seed) for row in rows(config) if row.seed is not None}
    assert {seed for dataset, _, seed in found if dataset == "one"} == {1, 2}
    assert {seed for dataset, _, seed in found if dataset == "two"} == {7}
    assert ("two", "v", 7) in found


def test_scores_lie_with_their_run_and_titles_name_the_variant() -> None:
    config = configuration(v={"crf": {"search": False}})
    paths = {(row.title, row.scores) for row in rows(config) if row.dataset == "one"}
    assert ("centred ball", "results/one/trivial/ball.csv") in paths
    crf = METHODS["crf"].title
    assert (crf, f"results/one/seed1/{BASE}/scores/crf.csv") in paths
    assert (f"{crf} [v]", "results/one/seed2/v/scores/crf.csv") in paths
    assert len({path for _, path in paths}) == len(paths)
    assert run_folder("one", "{seed}", "v") == "results/one/seed{seed}/v"
