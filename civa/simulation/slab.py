"""A slab of crowded specimen: particles of many kinds, a vesicle, gold, and small proteins between.

Particles are placed at random where nothing is yet, the largest first (random sequential
adsorption); what touches may touch, and nothing overlaps.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.simulation.specimen import bounding_radius, overlap, render
from civa.simulation.structures import OVERSAMPLING, PROTEIN_POTENTIAL

logger = logging.getLogger(__name__)

Volume = NDArray[np.float32]
Instances = NDArray[np.int32]

PLACES_TRIED = 40  # of one orientation, before another is drawn
ORIENTATIONS_TRIED = 25  # of one particle, before the slab counts as full for its kind
LEAFLETS_ANGSTROM = 38.0  # between the head groups of a lipid bilayer
LEAFLET_SIGMA_ANGSTROM = 6.0
LEAFLET_POTENTIAL = 1.2  # of head groups, in potentials of protein
GOLD_POTENTIAL = 8.0  # of a bead, likewise: as dark in tomograms
SMALL_ORIENTATIONS = 24  # in which small proteins are drawn, once for all


@dataclass(frozen=True)
class Crowd:
    """What a slab holds.

    Attributes
    ----------
    shape
        (d, h, w) of the slab.
    voxel_size_angstrom
        Edge of a voxel.
    occupancy
        Share of the slab's volume that particles fill.
    mask_fraction
        A particle is where its potential exceeds this share of its maximum.
    vesicles, vesicle_radius_angstrom
        How many, and the range of their radii.
    gold_beads, gold_radius_angstrom
        How many, and their radius.
    background
        Share of the volume that small proteins fill, which nobody picks.
    background_radius_angstrom
        Range of their radii.
    """

    shape: tuple[int, int, int] = (100, 256, 256)
    voxel_size_angstrom: float = 10.0
    occupancy: float = 0.1
    mask_fraction: float = 0.25
    vesicles: int = 1
    vesicle_radius_angstrom: tuple[float, float] = (300.0, 450.0)
    gold_beads: int = 5
    gold_radius_angstrom: float = 50.0
    background: float = 0.03
    background_radius_angstrom: tuple[float, float] = (15.0, 25.0)


@dataclass(frozen=True)
class PlacedParticle:
    """A particle in a slab.

    Attributes
    ----------
    structure
        Its name.
    instance
        Its number in the map of instances, from 1.
    centre
        (3,) z, y, x in voxels, of the template's middle.
    rotation
        Turns the template onto it, x, y, z.
    """

    structure: str
    instance: int
    centre: NDArray[np.float64]
    rotation: Rotation


@dataclass
class Slab:
    """A specimen.

    Attributes
    ----------
    potential
        (d, h, w) scattering length per volume, Å / Å^3.
    instances
        (d, h, w) number of the particle that a voxel belongs to, 0 for none.
    particles
        All that were placed, by their number.
    """

    potential: Volume
    instances: Instances
    particles: list[PlacedParticle] = field(default_factory=list)


def pack(
    crowd: Crowd,
    templates: Mapping[str, Volume],
    *,
    copies: Mapping[str, int],
    generator: np.random.Generator,
) -> Slab:
    """Fill a slab.

    Parameters
    ----------
    templates
        Potential (m, m, m) of every structure, ``OVERSAMPLING`` times finer than the slab.
    copies
        Structure -> the most copies of it; placing stops once the slab holds `Crowd.occupancy`.

    Returns
    -------
    The slab; it holds fewer particles than asked for where they found no room, with a warning.
    """
    slab = Slab(np.zeros(crowd.shape, np.float32), np.zeros(crowd.shape, np.int32))
    blocked = np.zeros(crowd.shape, dtype=bool)
    _add_vesicles(slab, blocked, crowd, generator)
    _add_gold(slab, blocked, crowd, generator)
    radii = {name: bounding_radius(templates[name], crowd.mask_fraction) for name in copies}
    left = dict(sorted(copies.items(), key=lambda pair: -radii[pair[0]]))
    room, filled = crowd.occupancy * float(np.prod(crowd.shape)), 0
    while left and filled < room:
        for name in list(left):  # one of each in turn, so that all kinds are there in the end
            voxels = _place(slab, blocked, crowd, templates[name], name, radii[name], generator)
            left[name] -= 1
            if not voxels:
                logger.warning("%d copies of %s find no room", left[name] + 1, name)
            if not voxels or not left[name]:
                del left[name]
            filled += voxels
            if filled >= room:
                break
    _add_small(slab, blocked, crowd, generator)
    share = filled / float(np.prod(crowd.shape))
    logger.info("%d particles fill %.1f %% of the slab", len(slab.particles), 100 * share)
    return slab


def _place(
    slab: Slab,
    blocked: NDArray[np.bool_],
    crowd: Crowd,
    template: Volume,
    name: str,
    radius: float,
    generator: np.random.Generator,
) -> int:
    """Place one particle where nothing is; return its voxels, 0 if there is no room."""
    shape, margin = np.array(crowd.shape), int(np.ceil(radius)) + 1
    low, high = np.full(3, margin), shape - margin
    if (high <= low).any():
        return 0
    for _ in range(ORIENTATIONS_TRIED):
        rotation = Rotation.random(rng=generator)
        offset = generator.uniform(-0.5, 0.5, size=3)
        body = render(template, rotation, offset) / (crowd.voxel_size_angstrom / OVERSAMPLING) ** 3
        solid = body > crowd.mask_fraction * body.max()
        corners = generator.integers(low, high, size=(PLACES_TRIED, 3)) - body.shape[0] // 2
        for corner in corners:
            inside, part = overlap(shape, body.shape, corner)
            if not (blocked[inside] & solid[part]).any():
                instance = len(slab.particles) + 1
                slab.potential[inside] += body[part]
                blocked[inside] |= solid[part]
                slab.instances[inside][solid[part]] = instance
                centre = corner + body.shape[0] // 2 + offset
                slab.particles.append(PlacedParticle(name, instance, centre, rotation))
                return int(solid.sum())
    return 0


def _distances(
    shape: Sequence[int], centre: NDArray[np.float64], reach: float
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return the part of a slab within reach of a centre, and distances (a, b, c) from it there."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, shape).astype(int)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = (np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True))
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    return part, np.sqrt(sum(np.square(axis) for axis in grid))


def _add_vesicles(
    slab: Slab, blocked: NDArray[np.bool_], crowd: Crowd, generator: np.random.Generator
) -> None:
    """Add spheres of a lipid bilayer; a slab may cut them."""
    voxel = crowd.voxel_size_angstrom
    for _ in range(crowd.vesicles):
        radius = generator.uniform(*crowd.vesicle_radius_angstrom) / voxel
        centre = generator.uniform(0, np.array(crowd.shape))
        width = LEAFLET_SIGMA_ANGSTROM / voxel
        half = LEAFLETS_ANGSTROM / 2 / voxel
        part, distance = _distances(crowd.shape, centre, radius + half + 4 * width)
        apart = np.abs(distance - radius)
        leaflets = np.exp(-((apart - half) ** 2) / (2 * width**2))
        slab.potential[part] += (LEAFLET_POTENTIAL * PROTEIN_POTENTIAL * leaflets).astype(
            np.float32
        )
        blocked[part] |= apart < half + 2 * width


def _add_gold(
    slab: Slab, blocked: NDArray[np.bool_], crowd: Crowd, generator: np.random.Generator
) -> None:
    """Add beads, whose edge is one voxel wide."""
    radius = crowd.gold_radius_angstrom / crowd.voxel_size_angstrom
    for _ in range(crowd.gold_beads):
        centre = generator.uniform(radius, np.array(crowd.shape) - radius)
        part, distance = _distances(crowd.shape, centre, radius + 1)
        filled = np.clip(radius + 0.5 - distance, 0, 1)
        gold = (GOLD_POTENTIAL * PROTEIN_POTENTIAL * filled).astype(np.float32)
        slab.potential[part] = np.maximum(slab.potential[part], gold)
        blocked[part] |= filled > 0


def _add_small(
    slab: Slab, blocked: NDArray[np.bool_], crowd: Crowd, generator: np.random.Generator
) -> None:
    """Add small globular proteins between what is there: they may overlap each other."""
    bodies = [_globule(crowd, generator) for _ in range(SMALL_ORIENTATIONS)]
    filled, room = 0.0, crowd.background * float(np.prod(crowd.shape))
    while filled < room:
        centre = generator.integers(0, crowd.shape)
        body, voxels = bodies[generator.integers(len(bodies))]
        filled += voxels  # also where it falls on a particle: there is less room for them
        if blocked[tuple(centre)]:
            continue
        inside, part = overlap(
            np.array(crowd.shape), body.shape, centre - np.array(body.shape) // 2
        )
        slab.potential[inside] += np.where(blocked[inside], 0, body[part])


def _globule(crowd: Crowd, generator: np.random.Generator) -> tuple[Volume, float]:
    """Draw a small protein, an ellipsoid with an edge one voxel wide; return its voxels too."""
    radii = generator.uniform(*crowd.background_radius_angstrom, size=3) / crowd.voxel_size_angstrom
    half = int(np.ceil(radii.max())) + 1
    axes = np.arange(-half, half + 1)
    grid = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1)  # (k, k, k, 3)
    turned = Rotation.random(rng=generator).apply(grid.reshape(-1, 3)).reshape(grid.shape)
    depth = (1 - np.linalg.norm(turned / radii, axis=-1)) * radii.min()  # about that below the edge
    filled = np.clip(depth + 0.5, 0, 1)
    return (PROTEIN_POTENTIAL * filled).astype(np.float32), float(filled.sum())
