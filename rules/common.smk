# What every rule file uses.  Functions only; rules stand in the other files.

import functools
import math
import os
from pathlib import Path

from civa.pipeline import config as civa_config
from civa.pipeline import resources as civa_resources
from civa.pipeline import runs as civa_runs
from civa.pipeline import sources
from civa.report.paper_results import TABLES as TABLES_OF_PAPER

TORCH_THREADS = 2  # results are bit-identical only at equal numbers of threads
GPU_USE = config.get("gpu", "auto")
# Never more than one for a job: several runs use several GPUs.
GPUS = 0 if GPU_USE == "never" else 1

SIMULATED = [d for d in config["datasets"] if not civa_config.is_imported(config, d)]
IMPORTED = [d for d in config["datasets"] if civa_config.is_imported(config, d)]

# A data set's files, and the flags that name those that every choice on validation needs.
VOLUMES = "results/{dataset}/volumes.mrcs"
MASKS = "results/{dataset}/masks.mrcs"
PARTICLES = "results/{dataset}/particles.csv"
SPLIT = "results/{dataset}/split.csv"
TABLES = "--particles {input.particles:q} --split {input.split:q}"
TRUTH = f"{TABLES} --masks {{input.masks:q}} --predictions {{input.predictions:q}}"

# Maps that are cut into masks: method -> (product, file).
BINARIZED = {
    "gradcam": ("seeds", "gradcam.mrcs"),
    "respondcam": ("seeds", "respondcam.mrcs"),
    "cooccurrence": ("merged", "merged.mrcs"),
}

# Figures of every run of the method itself.
CHARTS = ("training", "sweeps", "confusion", "refinement", "distributions")
STRESS_TESTS = "results/figures/stress_tests.png"
FIGURES = ("overview", "compare", "averages", *CHARTS)

# What tabulate writes: the results, and beside them Tables 1 to 5 and all rows.
TABULATED = []
for table in TABLES_OF_PAPER:
    TABULATED += [
        f"results/tables/{table.name}.{kind}" for kind in ("csv", "md", "tex")
    ]
TABULATED += [f"results/tables/summary.{kind}" for kind in ("md", "tex")]

# Files of every product of the method; the sections that shape it are in civa/pipeline/runs.py.
FILES = {
    "classifier": ["classifier.safetensors", "classifier.json", "classifier_curve.csv"],
    "seeds": ["gradcam.mrcs", "respondcam.mrcs", "predictions.csv"],
    "seed_masks": [
        "masks/gradcam.mrcs",
        "masks/gradcam.json",
        "masks/respondcam.mrcs",
        "masks/respondcam.json",
    ],
    "cooccurrence": ["cooccurrence.mrcs"],
    "merged": ["merged.mrcs", "merged.json"],
    "pseudo_labels": ["masks/cooccurrence.mrcs", "masks/cooccurrence.json"],
    "pairs": ["pairs.npz"],
    "iva": ["iva.safetensors", "iva_curve.csv"],
    "segment": ["segmentation.mrcs", "masks/iva.mrcs", "masks/iva.json"],
    "crf": ["masks/crf.mrcs", "masks/crf.json"],
    "average": [
        "averages.mrcs",
        "averages_half1.mrcs",
        "averages_half2.mrcs",
        "averages.csv",
        "averages.json",
    ],
    "align": ["alignment.csv"],
    "map_back": [
        "mapped_back.mrcs",
        "masks/consensus.mrcs",
        "masks/consensus.json",
        "masks/consensus_tuned.mrcs",
        "masks/consensus_tuned.json",
    ],
    "replace_outliers": [
        "masks/consensus_network.mrcs",
        "masks/consensus_network.json",
    ],
    "calibrate": ["probability.mrcs", "confidence.csv", "calibration.json"],
}
for name in civa_runs.BASELINES:
    FILES[name] = [f"{name}.safetensors", f"{name}.json", f"{name}_curve.csv"]
    FILES[name] += [f"masks/{name}.mrcs", f"masks/{name}.json"]


def code(stage):
    """Source files of a stage: an edit reruns it and what follows it.

    Relative paths: a project that was moved as a whole has nothing to do.
    """
    return [os.path.relpath(path) for path in sources.stage_sources(stage)]


@functools.cache
def size(dataset):
    """Number and edge of a data set's volumes; own ones take a look at the user's table."""
    return {
        "volumes": civa_config.volume_count(config, dataset),
        "box_voxels": civa_config.box_voxels(config, dataset),
    }


def needs(stage, *sections):
    """Memory and wall time that a job of a stage asks for, more on every attempt.

    Sections of the configuration that say how wide its network is, how long it trains, and how
    many volumes it works on at a time.
    """

    def asked(wildcards):
        variant = wildcards.get("variant", civa_config.BASE)
        of = {**size(wildcards.dataset)}
        of["volumes"] = math.ceil(of["volumes"] / int(wildcards.get("shards", 1)))
        of["settings"] = {}
        for section in sections:
            part = section.format(**wildcards)
            of["settings"] |= civa_config.settings(
                config, part, wildcards.dataset, variant
            )
        return stage.format(**wildcards), of

    def memory(wildcards, attempt):
        name, of = asked(wildcards)
        return civa_resources.memory_mb(name, attempt=attempt, **of)

    def runtime(wildcards, attempt):
        name, of = asked(wildcards)
        return civa_resources.runtime_minutes(
            name, attempt=attempt, on_gpu=GPUS > 0, **of
        )

    return {"mem_mb": memory, "runtime": runtime}


def flags(section):
    """Input function: a section's settings for this data set and variant, as flags."""

    def of(wildcards):
        values = civa_config.settings(
            config,
            section,
            wildcards.get("dataset"),
            wildcards.get("variant", civa_config.BASE),
        )
        return civa_config.command_flags(values)

    return of


def simulation_flags(keys=(), without=()):
    """Input function: some of the simulation's settings, as flags."""

    def of(wildcards):
        values = civa_config.settings(config, "simulation", wildcards.dataset)
        kept = {
            k: v
            for k, v in values.items()
            if k in (keys or values) and k not in without
        }
        return civa_config.command_flags(kept)

    return of


def imaging_flags(wildcards):
    """Input function: how a simulated data set was imaged, unless the section says otherwise."""
    own = civa_config.settings(config, "average", wildcards.dataset, wildcards.variant)
    if civa_config.is_imported(config, wildcards.dataset):
        return ""
    values = civa_config.settings(config, "simulation", wildcards.dataset)
    known = {"max_tilt_deg": 60.0} | {
        key: values[key] for key in civa_config.IMAGING if key in values
    }
    return civa_config.command_flags({k: v for k, v in known.items() if k not in own})


def made(product, name):
    """Input function: a file of a product, from the run that owns it."""

    def of(wildcards):
        home = civa_runs.home(config, product, wildcards.variant)
        run = civa_runs.run_folder(wildcards.dataset, wildcards.seed, home)
        return f"{run}/{name}"

    return of


def structure_file(wildcards):
    """Input function: the local structure file, or the one to be downloaded."""
    name = wildcards.structure
    if name.startswith(civa_config.PHANTOM_PREFIX):
        return []
    local = civa_config.local_structure(config, name)
    return str(local or f"resources/structures/{name}.cif")


def shard_files(name):
    """Input function: one file of every shard of a simulated data set."""

    def of(wildcards):
        values = civa_config.settings(config, "simulation", wildcards.dataset)
        count = values.get("shards", 1)
        return [
            f"results/{wildcards.dataset}/shards/{shard}of{count}/{name}"
            for shard in range(count)
        ]

    return of


def template_files(wildcards):
    """Input function: templates of all structures of a simulated data set."""
    names = civa_config.structures(config, wildcards.dataset)
    return [f"results/{wildcards.dataset}/templates/{name}.mrc" for name in names]


def true_densities(wildcards):
    """Input function: templates of the classes of a simulated data set; none of own volumes."""
    if civa_config.is_imported(config, wildcards.dataset):
        return []
    names = civa_config.targets(config, wildcards.dataset)
    return [f"results/{wildcards.dataset}/templates/{name}.mrc" for name in names]


def one_of(names):
    """Wildcard constraint: exactly these names; no name at all if there is none."""
    return "|".join(names) or "(?!)"


def all_runs():
    """All runs of the configuration: (data set, variant, folder)."""
    return [
        (dataset, variant, civa_runs.run_folder(dataset, seed, variant))
        for variant in civa_runs.variants(config)
        for dataset in config["datasets"]
        for seed in civa_config.seeds(config, dataset)
    ]


def main_runs():
    """The folders of the runs of the method itself."""
    return [run for _, variant, run in all_runs() if variant == civa_config.BASE]


def drawn(name):
    """A run's figure, with its caption and its place in Snakemake's own report."""
    return report(
        f"results/{{dataset}}/seed{{seed}}/{{variant}}/figures/{name}.png",
        caption=f"../civa/report/templates/captions/{name}.rst",
        category="{dataset}",
        subcategory="seed {seed}",
        labels={"figure": name},
    )


def for_all(path, caption):
    """A table or page of all data sets, with its caption in Snakemake's own report."""
    return report(
        path,
        caption=f"../workflow/report/{caption}.rst",
        category="all data sets",
        labels={"file": Path(path).name},
    )


def pictures():
    """The figures of every run of the method itself, and of all of them over conditions."""
    runs = [f"{run}/figures/{name}.png" for run in main_runs() for name in FIGURES]
    return [STRESS_TESTS, *runs] if "stress_tests" in config else runs


def finished(files):
    """All of these files; with ``partial: true`` in the configuration, those that exist."""
    return [f for f in files if not config.get("partial") or Path(f).exists()]


def every_product():
    """All files that the workflow keeps, so that a deleted one is made again."""
    data = (VOLUMES, MASKS, PARTICLES, SPLIT)
    files = [
        file.format(dataset=dataset) for dataset in config["datasets"] for file in data
    ]
    files += [row.scores for row in civa_runs.rows(config)]
    files += [
        f"results/{dataset}/trivial/{rule_name}.{suffix}"
        for dataset in config["datasets"]
        for rule_name in civa_runs.TRIVIAL
        for suffix in ("mrcs", "json")
    ]
    for _, variant, run in all_runs():
        own = civa_runs.products(config, variant)
        files += [f"{run}/{name}" for product in own for name in FILES[product]]
    return files


def imported_boxes(wildcards):
    """Input function: the volumes and masks that a user's table lists."""
    table = Path(config["datasets"][wildcards.dataset]["import"]["table"])
    return [str(path) for path in civa_config.listed_files(table)]


def annotations(wildcards):
    """Input function: what supervises a baseline."""
    if wildcards.baseline == "voxresnet_pseudo":
        return made("pseudo_labels", "masks/cooccurrence.mrcs")(wildcards)
    if wildcards.baseline == "voxresnet_consensus":
        return made("map_back", "masks/consensus.mrcs")(wildcards)
    return MASKS.format(dataset=wildcards.dataset)


def validation_masks(wildcards):
    """Input function: what a baseline's epoch and cut are chosen on; ours needs no ground truth."""
    if wildcards.baseline == "voxresnet_consensus":
        return annotations(wildcards)
    return MASKS.format(dataset=wildcards.dataset)


def refined(iva, merged):
    """Input function: what the CRF refines, O, or the merged map where IVA is switched off."""

    def of(wildcards):
        off = "iva" in civa_runs.without(config, wildcards.variant)
        return made(*(merged if off else iva))(wildcards)

    return of


def own_files(pattern):
    """Input function: files of a run's own products that match a pattern, as `FILES` has them."""

    def of(wildcards):
        run = civa_runs.run_folder(wildcards.dataset, wildcards.seed, wildcards.variant)
        own = civa_runs.products(config, wildcards.variant)
        names = [name for product in own for name in FILES[product]]
        return finished(f"{run}/{name}" for name in names if Path(name).match(pattern))

    return of


def scores_of(wildcards):
    """Input function: the scores of a run's own rows."""
    run = civa_runs.run_folder(wildcards.dataset, wildcards.seed, wildcards.variant)
    own = civa_runs.methods(config, wildcards.variant)
    return finished(f"{run}/scores/{method}.csv" for method in own)


def trivial_scores(wildcards):
    """Input function: the scores of the rules that learn nothing."""
    folder = f"results/{wildcards.dataset}/trivial"
    return finished(f"{folder}/{rule_name}.csv" for rule_name in civa_runs.TRIVIAL)
