# What a run on a cluster needs beyond its profile: paths that jobs find, refused before anything is
# submitted where they would not, and an executor (tried with 2.8.0) that does not forget its jobs.

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from civa.pipeline.slurm import check_paths, keep_asking


def refuse_paths():
    """Stop before anything is submitted where jobs would not find what they are started with."""
    try:
        check_paths(sys.executable, [Path.cwd(), *map(Path, workflow.configfiles)])
    except ValueError as error:
        raise WorkflowError(str(error)) from None


@never_fatal("a run that outlasts an absence of SLURM's controller")
def outlast_controller():
    """Let the executor of SLURM keep its jobs while nobody answers for them."""
    executor = sys.modules.get("snakemake_executor_plugin_slurm")
    if executor is not None:
        keep_asking(executor)
