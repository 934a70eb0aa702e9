"""Rules that learn nothing -> masks, for the honest rows of the tables."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from civa.data.files import write_json
from civa.data.particles import read_particles
from civa.data.volume import read_stack, stack_voxel_size, standardize, write_stack
from civa.evaluation.trivial import Settings, candidates, rule_map
from civa.evaluation.validation import FRACTIONS, Validation, top_fraction


def run(
    volumes: Path,
    masks: Path,
    particles: Path,
    split: Path,
    *,
    out: Path,
    choice: Path,
    rule: str,
    fractions: tuple[float, ...] = FRACTIONS,
) -> None:
    """Apply one rule to every volume, its settings chosen on validation.

    A rule predicts no class: its masks carry the true label, which flatters it.
    """
    stack = standardize(read_stack(volumes))
    validation = Validation(masks, particles, split)
    shares = (0.5,) if rule == "ball" else fractions  # a ball is cut by its own edge
    settings, share = candidates(rule)[0], shares[len(shares) // 2]
    tried: dict[str, float] = {}
    if validation.is_possible:
        held_out = stack[validation.indices]
        settings, share, tried = _choose(rule, held_out, shares, validation)
    found = top_fraction(rule_map(rule, stack, settings), share)
    labels = read_particles(particles)["label"].to_numpy(dtype=np.int8)
    voxel_size = stack_voxel_size(volumes)
    write_stack(out, found * labels[:, None, None, None], voxel_size_angstrom=voxel_size)
    write_json(choice, {**settings, "fraction": share, "validation_miou": tried})


def _choose(
    rule: str, volumes: NDArray, shares: tuple[float, ...], validation: Validation
) -> tuple[Settings, float, dict[str, float]]:
    """Return the best settings and share of voxels, and the quality of every setting."""
    found: list[tuple[float, Settings, float]] = []
    for settings in candidates(rule):
        values = rule_map(rule, volumes, settings)
        qualities = [validation.miou(top_fraction(values, share)) for share in shares]
        found.append((max(qualities), settings, shares[int(np.argmax(qualities))]))
    _, settings, share = max(found, key=lambda row: row[0])
    return settings, share, {str(s): round(quality, 3) for quality, s, _ in found}
