# What every run owns: its products, by the outputs of the rules that make them, and the files that
# one rule takes from another.  Functions only.

import functools
import sys
from pathlib import Path

from civa.report.paper_results import TABLES

# Maps that are cut into masks: method -> (product, file).
BINARIZED = {
    "gradcam": ("seeds", "gradcam.mrcs"),
    "respondcam": ("seeds", "respondcam.mrcs"),
    "cooccurrence": ("merged", "merged.mrcs"),
}

# Product of the method -> the rules whose outputs it consists of; the sections that shape it are
# in civa/pipeline/runs.py.
MADE_BY = {
    "classifier": ["train_classifier"],
    "seeds": ["localize"],
    "seed_masks": ["binarize"],
    "cooccurrence": ["cooccur"],
    "merged": ["merge"],
    "pseudo_labels": ["binarize"],
    "pairs": ["mine_pairs"],
    "iva": ["train_iva"],
    "segment": ["segment"],
    "crf": ["crf"],
    "average": ["average"],
    "refine": ["align_first", "refine"],
    "align": ["align"],
    "map_back": ["map_back"],
    "replace_outliers": ["replace_outliers"],
    "calibrate": ["calibrate"],
} | {name: ["train_segmenter", "apply_segmenter"] for name in civa_runs.BASELINES}

# What tabulate writes beside the results: Tables 1 to 5, and all rows.
TABULATED = [
    *(f"{table.name}.{kind}" for table in TABLES for kind in ("csv", "md", "tex")),
    *("summary.md", "summary.tex"),
]


@functools.cache
def outputs(product):
    """Files of a product, with the wildcards of a run, in the order of its rules' outputs."""
    files = [file for name in MADE_BY[product] for file in getattr(rules, name).output]
    methods = [m for m in BINARIZED if civa_runs.METHODS[m].product == product]
    return expand(files, method=methods, baseline=product, allow_missing=True)


def made(product, *names):
    """Input function: files of a product, from the run that owns it."""

    def of(wildcards):
        home = civa_runs.home(config, product, wildcards.variant)
        run = civa_runs.run_folder(wildcards.dataset, wildcards.seed, home)
        return [f"{run}/{name}" for name in names]

    return of


def own_files(pattern):
    """Input function: files of a run's own products that match a pattern."""

    def of(wildcards):
        own = civa_runs.products(config, wildcards.variant)
        files = [
            file for product in own for file in expand(outputs(product), **wildcards)
        ]
        return finished(file for file in files if Path(file).match(pattern))

    return of


def refined(iva, merged):
    """Input function: what the CRF refines, O, or the merged map where IVA is switched off."""

    def of(wildcards):
        off = "iva" in civa_runs.without(config, wildcards.variant)
        return made(*(merged if off else iva))(wildcards)

    return of


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


def scores_of(wildcards):
    """Input function: the scores of a run's own rows."""
    own = civa_runs.methods(config, wildcards.variant)
    return finished(expand(rules.score.output, method=own, **wildcards))


def trivial_scores(wildcards):
    """Input function: the scores of the rules that learn nothing."""
    each = {"dataset": wildcards.dataset, "rule": civa_runs.TRIVIAL}
    return finished(expand(rules.score_trivial.output, **each))


def structure_file(wildcards):
    """Input function: the local structure file, or the one to be downloaded; none of a phantom."""
    name = wildcards.structure
    if name.startswith(civa_config.PHANTOM_PREFIX):
        return []
    local = civa_config.local_structure(config, name)
    return str(local) if local else expand(rules.fetch_structure.output, structure=name)


def shard_files(name):
    """Input function: one output of every shard of a simulated data set."""

    def of(wildcards):
        count = civa_config.simulation(config, wildcards.dataset)["shards"]
        file = getattr(rules.simulate.output, name)
        return expand(file, dataset=wildcards.dataset, shard=range(count), shards=count)

    return of


def template_files(wildcards):
    """Input function: templates of all structures of a simulated data set."""
    return templates_of(civa_config.structures, wildcards.dataset)


def true_densities(wildcards):
    """Input function: templates of the classes of a simulated data set; none of own volumes."""
    if own_data.is_own(config, wildcards.dataset):
        return []
    return templates_of(civa_config.targets, wildcards.dataset)


def templates_of(kind, dataset):
    """The templates of structures of a kind."""
    names = kind(config, dataset)
    return expand(rules.build_template.output, dataset=dataset, structure=names)


def imported_boxes(wildcards):
    """Input function: the volumes and masks that a user's table lists."""
    table = own_data.table(config, wildcards.dataset)
    return [str(path) for path in own_data.listed_files(table)]


def of_user(find, wildcards):
    """Files of a user that a data set is made from, or an error that Snakemake shows."""
    try:
        return [str(path) for path in find(config, wildcards.dataset)]
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def particle_lists(wildcards):
    """Input function: the particle lists of a data set."""
    if wildcards.dataset in SPECIMENS:
        return simulated("picks", wildcards.dataset)
    return of_user(own_data.lists, wildcards)


def tomograms(wildcards):
    """Input function: the tomograms that the particle lists of a data set name."""
    if wildcards.dataset in SPECIMENS:
        return simulated("tomogram", wildcards.dataset)
    return of_user(own_data.tomograms, wildcards)


def tilt_files(wildcards):
    """Input function: the tilt angles of the tomograms, where they are given."""
    if wildcards.dataset in SPECIMENS:
        return []
    return of_user(own_data.tilt_files, wildcards)


def instances(wildcards):
    """Input function: whose voxel is whose, where it is known."""
    if wildcards.dataset in SPECIMENS:
        return simulated("instances", wildcards.dataset)
    return of_user(own_data.instances, wildcards)


def simulated(name, dataset):
    """One output of every simulated tomogram of a data set."""
    names = civa_config.tomogram_names(config, dataset)
    file = getattr(rules.simulate_tomogram.output, name)
    return expand(file, dataset=dataset, tomogram=names)


def state_of_specimen(wildcards):
    """Input function: what was done about the contrast transfer of simulated tomograms."""
    if wildcards.dataset not in SPECIMENS:
        return {}
    return {"ctf_state": civa_config.specimen(config, wildcards.dataset)["ctf_state"]}


def tomogram_table(wildcards):
    """Input function: the sizes of tomograms before binning, where they are given."""
    if wildcards.dataset in SPECIMENS:
        return []
    path = own_data.tomogram_table(config, wildcards.dataset)
    return [] if path is None else [str(path)]


def of_lists(wildcards):
    """Input function: what particle lists mean: the class of each list, the file of a name."""
    if wildcards.dataset in SPECIMENS:
        named = civa_config.specimen(config, wildcards.dataset)["classes"]
        values = {name: name for name in named}
        return {"class_column": "civaClass", "class_values": values}
    try:
        return {
            "list_classes": own_data.list_classes(config, wildcards.dataset),
            "tomogram_files": own_data.tomogram_files(config, wildcards.dataset),
        }
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def inspect_new_data():
    """Stop before any job where own data that are not there yet are not in order."""
    for dataset in [*IMPORTED, *EXTRACTED]:
        if Path(PARTICLES.format(dataset=dataset)).exists():
            continue
        from civa.pipeline import inspect_own_data  # scipy: not for every job's plan

        try:
            told = inspect_own_data.summary(config, dataset)
        except ValueError as error:
            raise WorkflowError(str(error)) from None
        print(f"{dataset}: {told}", file=sys.stderr)


def all_runs():
    """Wildcards of all runs of the configuration."""
    return [
        {"dataset": dataset, "seed": seed, "variant": variant}
        for variant in civa_runs.variants(config)
        for dataset in config["datasets"]
        for seed in civa_config.seeds(config, dataset)
    ]


def of_main_runs(files):
    """These files of every run of the method itself."""
    main = [run for run in all_runs() if run["variant"] == civa_config.BASE]
    return [file for run in main for file in expand(files, **run)]


def drawn(name):
    """A run's figure, with its caption and its place in Snakemake's own report."""
    return report(
        f"{RUN}/figures/{name}.png",
        caption=f"../civa/report/templates/captions/{name}.rst",
        category="{dataset}",
        subcategory="seed {seed}",
        labels={"figure": name},
    )


def for_all(path, caption):
    """A table or page of all data sets, with its caption in Snakemake's own report."""
    return report(
        path,
        caption=caption,
        category="all data sets",
        labels={"file": Path(path).name},
    )


def pictures():
    """The figures of every run of the method itself, and of all of them over conditions."""
    drawn = (rules.plot_overview, rules.plot_comparison, rules.plot_averages)
    files = [file for maker in (*drawn, rules.plot_charts) for file in maker.output]
    over_conditions = rules.plot_conditions.output if "stress_tests" in config else []
    slices = [
        file
        for file in of_main_runs(rules.plot_tomogram.output)
        if Path(file).parts[1] in {*EXTRACTED, *SPECIMENS}
    ]
    return [*over_conditions, *of_main_runs(files), *slices]


def finished(files):
    """All of these files; with ``partial: true`` in the configuration, those that exist."""
    return [f for f in files if not config.get("partial") or Path(f).exists()]


def every_score():
    """The scores of all rows of the tables."""
    return [row.scores for row in civa_runs.rows(config)]


def every_product():
    """All files that the workflow keeps, so that a deleted one is made again."""
    data, rows = list(config["datasets"]), civa_runs.TRIVIAL
    files = expand((VOLUMES, MASKS, PARTICLES, SPLIT), dataset=data)
    files += expand(TOMOGRAMS, dataset=[*IMPORTED, *EXTRACTED])
    files += [*every_score(), *expand(rules.trivial.output, dataset=data, rule=rows)]
    for run in all_runs():
        own = civa_runs.products(config, run["variant"])
        files += [file for product in own for file in expand(outputs(product), **run)]
    return files
