"""Data beside the project that tests may use where it is there."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(*steps: str) -> Path:
    """Return a path of the shared data, or skip the test."""
    path = SHARED.joinpath(*steps)
    if not path.exists():
        pytest.skip(f"shared/{'/'.join(steps)} is not beside the project")
    return path
