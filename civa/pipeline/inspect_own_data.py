"""The own data of a configuration, looked at before any long work."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from civa.data.findings import Finding
from civa.inspection.acquisition import stated_of
from civa.inspection.boxes import inspect_boxes
from civa.inspection.inspection import Inspection
from civa.inspection.lists import Cutting, inspect_positions
from civa.pipeline import own_data
from civa.pipeline.config import settings
from civa.pipeline.signatures import defaults
from civa.tomograms.names import by_name
from civa.tomograms.positions import Reading

# Settings of `list-particles` that a reading of lists takes as they are.
READING = (
    *("tomogram_voxel_size_angstrom", "class_column", "first_voxel"),
    *("empty_places", "box_voxels", "voxel_size_angstrom"),
)


def inspect_own_data(values: Mapping[str, Any], dataset: str, *, deep: bool = False) -> Inspection:
    """Look at the own files of a data set.

    Parameters
    ----------
    deep
        Read the voxels of all boxes and masks, not of some of each class.
    """
    fractions = (defaults("split") | settings(values, "split", dataset))["fractions"]
    origin = "import" if own_data.is_imported(values, dataset) else "extract"
    told = settings(values, origin, dataset)
    first = Path(origin)
    try:
        lists = [] if origin == "import" else own_data.lists(values, dataset)
        first = own_data.table(values, dataset) if origin == "import" else lists[0]
        stated = stated_of(
            told.get("tilt_range_deg"),
            told.get("tilt_axis_deg"),
            told.get("ctf_state"),
            told.get("invert_contrast"),
        )
        if origin == "import":
            return inspect_boxes(
                first,
                fractions=fractions,
                voxel_size_angstrom=told.get("voxel_size_angstrom"),
                box_voxels=told.get("box_voxels"),
                stated=stated,
                deep=deep,
            )
        classes: list[str | None] = [*own_data.list_classes(values, dataset)]
        files = own_data.tomograms(values, dataset)
        tilt_files = own_data.tilt_files(values, dataset)
        positions = reading(values, dataset, files).table(
            list(zip(lists, classes or [None] * len(lists), strict=True))
        )
    except ValueError as error:
        return Inspection([Finding("error", first, str(error))])
    cutting = Cutting(
        box_voxels=told.get("box_voxels", defaults("extract")["box_voxels"]),
        voxel_size_angstrom=told.get("voxel_size_angstrom"),
        tomogram_voxel_size_angstrom=told.get("tomogram_voxel_size_angstrom"),
        stated=stated,
        tilt_files=tilt_files,
        pad=told.get("edges") == "pad",
    )
    folders = [path.parent.absolute() for path in lists]
    source = first if len(lists) == 1 else Path(os.path.commonpath(folders))
    return inspect_positions(
        source, positions, by_name(files), cutting, fractions=fractions, deep=deep
    )


def summary(values: Mapping[str, Any], dataset: str) -> str:
    """Look at the own files of a data set, print what is strange, and return what they hold.

    Raises
    ------
    ValueError
        If something is wrong with them.
    """
    found = inspect_own_data(values, dataset)
    for finding in found.findings:
        print(f"{finding.severity}: {finding}", file=sys.stderr)
    if found.errors:
        raise ValueError(
            f"the data set '{dataset}' is not in order (errors: {found.errors}, listed above); "
            "'civa validate' with this configuration looks at it again"
        )
    return found.summary


def reading(config: Mapping[str, Any], dataset: str, files: list[Path]) -> Reading:
    """Return how the configuration says that particle lists are to be read."""
    told = settings(config, "extract", dataset)
    stated = (told.get("class_values") or {}).items()
    asked = {name: told[name] for name in READING if told.get(name) is not None}
    return Reading.of(
        files,
        own_data.tomogram_table(config, dataset),
        {str(name): values if isinstance(values, list) else [values] for name, values in stated},
        own_data.tomogram_files(config, dataset),
        unit_angstrom=told.get("list_voxel_size_angstrom"),
        **asked,
    )
