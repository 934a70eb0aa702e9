# Paths, flags and commands that every rule file uses.  Functions only; rules stand in the other
# files, and what every run owns in products.smk.

import functools
import math
import os

from civa.pipeline import commands, own_data
from civa.pipeline import config as civa_config
from civa.pipeline import resources as civa_resources
from civa.pipeline import runs as civa_runs
from civa.pipeline import signatures, sources
from civa.pipeline.commands import (
    shell_command as civa,
)  # verb -> command line of its rule

ENVIRONMENT = "../envs/civa.yaml"  # Snakemake has no default for all rules
TORCH_THREADS = 2  # results are bit-identical only at equal numbers of threads
GPU_USE = config.get("gpu", "auto")
# Never more than one for a job: several runs use several GPUs.
GPUS = 0 if GPU_USE == "never" else 1

SPECIMENS = [d for d in config["datasets"] if own_data.is_specimen(config, d)]
SIMULATED = [
    d for d in config["datasets"] if not (own_data.is_own(config, d) or d in SPECIMENS)
]
IMPORTED = [d for d in config["datasets"] if own_data.is_imported(config, d)]
EXTRACTED = [d for d in config["datasets"] if own_data.is_extracted(config, d)]

# Where a run keeps its products, logs and benchmarks, and the files of its data set.
RUN = civa_runs.run_folder("{dataset}", "{seed}", "{variant}")
LOGS = "logs/{dataset}/seed{seed}/{variant}"
POSITIONS = "results/{dataset}/positions.csv"
TOMOGRAMS = "results/{dataset}/tomograms.csv"
BENCHMARKS = "benchmarks/{dataset}/seed{seed}/{variant}"
SHARD = "results/{dataset}/shards/{shard}of{shards}"
VOLUMES = "results/{dataset}/volumes.mrcs"
MASKS = "results/{dataset}/masks.mrcs"
PARTICLES = "results/{dataset}/particles.csv"
SPLIT = "results/{dataset}/split.csv"


def code(verb):
    """Source files of a verb's stage: an edit reruns it and what follows it.

    Relative paths: a project that was moved as a whole has nothing to do.
    """
    found = sources.stage_sources(signatures.stage_module(verb))
    return [os.path.relpath(path) for path in found]


def flags(verb, section=None, without=(), also=lambda wildcards: {}):
    """Input function: the settings of a stage that the configuration has, as flags.

    ``section`` stands in for those of the verb, ``without`` names settings that the rule gives by
    itself, and ``also`` is an input function of settings that hold where the section has none.
    """
    taken = set(commands.configured(verb)).difference(without)

    def of(wildcards):
        variant = wildcards.get("variant", civa_config.BASE)
        values = also(wildcards)
        for name in [section] if section else commands.SECTIONS[verb]:
            part = name.format(**wildcards)
            own = civa_config.settings(config, part, wildcards.get("dataset"), variant)
            values |= {key: value for key, value in own.items() if key in taken}
        return civa_config.command_flags(values)

    return of


def imaging(wildcards):
    """Input function: how a simulated data set was imaged, as averaging has to know it."""
    if wildcards.dataset not in SIMULATED:
        return {}
    values = civa_config.settings(config, "simulation", wildcards.dataset)
    stated = {key: values[key] for key in civa_config.IMAGING if key in values}
    tilts = signatures.defaults("simulate")["max_tilt_deg"]
    known = {"max_tilt_deg": tilts, "ctf_state": "raw", "tilt_error_angstrom": 0}
    return known | stated


def checksum(wildcards):
    """Input function: what the file of a structure must have, if it is stated."""
    known = config.get("structures", {}).get("sha256", {})
    return {"sha256": known.get(wildcards.structure)}


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


def one_of(names):
    """Wildcard constraint: exactly these names; no name at all if there is none."""
    return "|".join(names) or "(?!)"
