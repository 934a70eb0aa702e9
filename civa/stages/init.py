"""A folder of a user's own -> a project: configuration, workflow and profiles, ready to run."""

import logging
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from civa.data.files import expanded
from civa.data.particles import RESERVED
from civa.pipeline import own_data
from civa.pipeline.shipped import shipped

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|[0-9][A-Za-z0-9_-]*[A-Za-z_-][A-Za-z0-9_-]*")
PROFILES = ("local", "slurm")
SNAKEFILE = """\
# The workflow of the installed civa; your settings stand in config.yaml.
from civa.pipeline.shipped import shipped


include: str(shipped("workflow/Snakefile"))


rule project:
    default_target: True
    input:
        rules.all.input,
    localrule: True
"""
CONFIG = """\
# A project of civa.  In this folder:
#   civa validate --config config.yaml --picture data.png   # look at data.png before anything else
#   snakemake --profile local                               # or: snakemake --profile slurm
# README of civa has the rest; `civa extract --help` and `civa list-particles --help` explain the
# settings below.

seeds: [1]

datasets:
  {name}:
    extract:
      # Particle lists of RELION 3.0 to 5, Warp, WarpTools, M, STOPGAP (.star), Dynamo (.tbl), TOM
      # or AV3 (.em), IMOD (.mod), or CSV tables.  One list per class, as here:
      #   lists: {{ribosome: ribosome.star, proteasome: proteasome.star}}
      # or lists with a column of classes, by the class's value there:
      #   class_values: {{ribosome: 1, proteasome: [2, 3]}}
      #   class_column: rlnClassNumber   # if left out, what the program numbers as the class
      lists: {lists}
      # Folders, files or patterns; names in the lists are matched to them:
      tomograms: {tomograms}
      # tomogram_files: {{TS_01: tomograms/first.mrc}}   # where a name cannot be matched
      # tomogram_table: tomograms.star    # of RELION 5, whose positions count from the centre
      # list_voxel_size_angstrom: 2.5     # of the positions, where a list does not state it
      box_voxels: 32              # 1.5 times the particle's diameter, or more
      # voxel_size_angstrom: 10   # of the boxes; if left out, that of the first tomogram
      # What is left out is measured; results/{name}/tomograms.csv says what was found:
      # invert_contrast: true     # protein is dark, as in tomograms of IMOD, Warp and AreTomo
      # tilt_range_deg: [-60, 60]
      # tilt_files: tilts         # .tlt, .rawtlt, .mdoc or .star, named like the tomograms
      # ctf_state: raw            # or phase-flipped, ctf-multiplied, deconvolved; not measured
      # empty_places: 100         # boxes of each tomogram without a particle, as the class 'empty'
      # edges: pad                # keep boxes that reach beyond their tomogram

classifier: {{epochs: 24}}
iva: {{width: 32, epochs: 6}}
"""


def run(
    *,
    folder: str,
    particles: tuple[str, ...] = (),
    tomograms: tuple[str, ...] = (),
    name: str = "mine",
) -> None:
    """Write ``config.yaml``, ``Snakefile`` and the profiles ``local`` and ``slurm`` into a folder.

    Nothing that is there is replaced.  Snakemake then runs in that folder, without a clone of civa
    in it.

    Parameters
    ----------
    folder
        Of the project; made if it is not there.
    particles
        Particle lists for the configuration; as CLASS=FILE, of one class each.
    tomograms
        Tomograms for the configuration: files or folders.
    name
        Of the data set.
    """
    named = own_data.lists_by_class(particles)
    for word in (name, *(named if isinstance(named, dict) else ())):
        if not NAME.fullmatch(word) or yaml.safe_load(word) != word or word in RESERVED:
            raise ValueError(
                f"'{word}' cannot name a data set or a class: use letters, digits, '_' and '-', "
                "beginning with a letter or a digit, and no number or word with a meaning for YAML"
            )
    project = expanded(folder)
    written = [project / file for file in ("config.yaml", "Snakefile", "profiles", *PROFILES)]
    there = [str(path) for path in written if path.exists() or path.is_symlink()]
    if there:
        raise ValueError(f"{', '.join(there)} stand in {folder} already: choose another folder")
    text = CONFIG.format(
        name=name,
        lists=_lists(project, particles),
        tomograms=_as_yaml([_path(project, given, "tomograms") for given in tomograms])
        if tomograms
        else "tomograms",
    )
    project.mkdir(parents=True, exist_ok=True)
    (project / "config.yaml").write_text(text, encoding="utf-8")
    (project / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    for profile in PROFILES:
        shutil.copytree(shipped(f"profiles/{profile}"), project / "profiles" / profile)
        (project / profile).symlink_to(f"profiles/{profile}")  # snakemake --profile slurm
    where = "" if project.resolve() == Path.cwd() else f"cd {shlex.quote(str(project))} && "
    logger.info(
        "the project is in %s.  Next: %sciva validate --config config.yaml --picture data.png; "
        "then, in it: snakemake --profile local",
        *(project, where),
    )


def _lists(project: Path, particles: Sequence[str]) -> str:
    """Return the setting ``lists``: class -> list where classes are given, or lists."""
    if not particles:
        return "{first: first.star, second: second.star}"
    named = own_data.lists_by_class(particles)
    if isinstance(named, list):
        return _as_yaml([_path(project, given, "particles") for given in named])
    written = {
        key: [_path(project, file, "particles") for file in files] for key, files in named.items()
    }
    return _as_yaml({k: files[0] if len(files) == 1 else files for k, files in written.items()})


def _path(project: Path, given: str, what: str) -> str:
    """Return a path as the project's folder sees it: relative within it, else absolute."""
    path = expanded(given)
    if not path.exists():
        raise ValueError(f"{what}: {given} does not exist")
    if what == "particles" and path.is_dir():
        raise ValueError(f"particles: {given} is a folder: give the lists in it")
    if what == "tomograms" and path.is_dir() and not any(map(own_data.is_tomogram, path.iterdir())):
        raise ValueError(f"tomograms: {given} holds no tomogram (.mrc, .map or .rec)")
    own_data.check_name(given)
    found, root = (Path(os.path.normpath(one.absolute())) for one in (path, project))
    return str(found.relative_to(root)) if found.is_relative_to(root) else str(found)


def _as_yaml(value: object) -> str:
    """Return a value on one line of YAML."""
    return yaml.safe_dump(
        value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
    ).strip()
