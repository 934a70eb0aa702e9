"""What is shipped beside the package: workflow, rules, profiles and examples.

In a clone they lie in its folder; an installed wheel puts them into ``share/civa`` of its
environment.
"""

import sys
from pathlib import Path

import civa

CLONE = Path(civa.__file__).parents[1]
# Of the environment, and of a folder that pip was told to install into.
INSTALLED = (Path(sys.prefix) / "share" / "civa", CLONE / "share" / "civa")


def shipped(name: str) -> Path:
    """Return a file or folder that is shipped beside the package.

    Raises
    ------
    ValueError
        If it is neither in a clone nor where an installation puts it.
    """
    for place in (CLONE, *INSTALLED):
        if (place / name).exists():
            return place / name
    raise ValueError(
        f"{name} lies neither in {CLONE} nor in {INSTALLED[0]}: install civa again, or run in a "
        "clone"
    )
