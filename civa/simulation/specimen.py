"""Labelled sub-tomograms (Sec. 5.1): a target and its packed neighbours, imaged in the cold.

Every volume is a pure function of its seed and its index, so any shard or worker makes
the same one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from civa.optics import Microscope
from civa.simulation.structures import OVERSAMPLING
from civa.simulation.tilt_series import TiltSeries, Volume, add_noise, convolve_transfer


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a simulated data set, apart from its structures.

    Attributes
    ----------
    box_voxels, simulated_box_voxels
        Edge of the volumes, and of the larger box in which they are imaged before the cut,
        so that neighbours' tails and the wedge are right at the border.
    max_shift_voxels
        The target's centre is uniform within plus or minus this along each axis.
    neighbours
        How many neighbours are packed in contact around the target.
    mask_fraction
        The mask is where the target's potential exceeds this share of its maximum.
    """

    snr: float
    voxel_size_angstrom: float = 10.0
    box_voxels: int = 32
    simulated_box_voxels: int = 64
    max_shift_voxels: float = 8.0
    neighbours: int = 4
    mask_fraction: float = 0.25
    imaging: str = "tilt_series"
    max_tilt_deg: float = 60.0
    tilt_step_deg: float = 3.0
    defocus_um: tuple[float, float] = (4.0, 7.0)
    microscope: Microscope = field(default_factory=Microscope)

    def __post_init__(self) -> None:
        if self.imaging not in ("tilt_series", "convolution"):
            raise ValueError(
                f"imaging must be 'tilt_series' or 'convolution' (got '{self.imaging}')"
            )
        if self.simulated_box_voxels < self.box_voxels:
            raise ValueError(
                f"simulated_box_voxels ({self.simulated_box_voxels}) must not be smaller than "
                f"box_voxels ({self.box_voxels}): volumes are cut out of the simulated box"
            )

    @property
    def tilt_angles_deg(self) -> list[float]:
        """Multiples of the step from -max to +max, 0 among them."""
        half = int(np.floor(self.max_tilt_deg / self.tilt_step_deg))
        return [self.tilt_step_deg * step for step in range(-half, half + 1)]


@dataclass(frozen=True)
class SubTomogram:
    """One simulated volume, its target's mask, and how it came about."""

    volume: Volume
    mask: NDArray[np.bool_]
    metadata: dict[str, object]


class Simulator:
    """Makes sub-tomograms from templates of the potential.

    Parameters
    ----------
    templates
        Potential (m, m, m) of every structure, ``OVERSAMPLING`` times finer than the volumes.
    neighbour_pool
        Names of the structures from which neighbours are drawn, with replacement.
    recipe
        Box, noise and imaging.
    seed
        Seed of the data set.

    Raises
    ------
    ValueError
        If a structure is larger than the box.
    """

    def __init__(
        self,
        templates: Mapping[str, Volume],
        neighbour_pool: Sequence[str],
        recipe: Recipe,
        *,
        seed: int,
    ) -> None:
        for name, template in templates.items():
            check_fits(name, template, recipe.box_voxels)
        if recipe.neighbours and not neighbour_pool:
            raise ValueError("neighbours are asked for, but the pool of distractors is empty")
        missing = [name for name in neighbour_pool if name not in templates]
        if missing:
            raise ValueError(f"there is no template of {missing}: there are {sorted(templates)}")
        self.templates, self.pool, self.recipe, self.seed = templates, neighbour_pool, recipe, seed
        self._radii = {n: bounding_radius(t, recipe.mask_fraction) for n, t in templates.items()}
        if recipe.imaging == "tilt_series":
            self._tilt_series = TiltSeries(
                recipe.simulated_box_voxels, recipe.tilt_angles_deg, crop=recipe.box_voxels
            )

    def make(self, index: int, target: str) -> SubTomogram:
        """Make volume number ``index`` of the data set, showing ``target``."""
        recipe = self.recipe
        generator = np.random.default_rng([self.seed, index])
        specimen, mask, metadata = self._specimen(target, generator)
        defocus_um = generator.uniform(*recipe.defocus_um)
        volume, snr = self._image(specimen, defocus_um, generator)
        metadata |= {
            "snr_asked": recipe.snr,
            "snr_measured": snr,
            "defocus_um": defocus_um,
            "imaging": recipe.imaging,
            "seed": self.seed,
            "index": index,
        }
        return SubTomogram(volume, mask, metadata)

    def _specimen(
        self, target: str, generator: np.random.Generator
    ) -> tuple[Volume, NDArray[np.bool_], dict[str, object]]:
        """Pack target and neighbours into the simulated box; return the target's mask too."""
        recipe, size = self.recipe, self.recipe.simulated_box_voxels
        shift = generator.uniform(-recipe.max_shift_voxels, recipe.max_shift_voxels, size=3)
        whole = np.round(shift).astype(int)
        rotation = Rotation.random(rng=generator)
        rendered = render(self.templates[target], rotation, shift - whole)
        specimen = np.zeros((size,) * 3, dtype=np.float32)
        _add(specimen, rendered, whole)
        mask = specimen > recipe.mask_fraction * rendered.max()
        neighbours = [str(n) for n in generator.choice(self.pool, recipe.neighbours)]
        spheres = [(whole, self._radii[target])]
        for name in neighbours:
            place = contact(spheres, self._radii[name], generator)
            spheres.append((place, self._radii[name]))
            body = render(self.templates[name], Rotation.random(rng=generator), np.zeros(3))
            _add(specimen, body, place)
        x, y, z, w = rotation.as_quat(canonical=True)
        pose = {"shift_z": shift[0], "shift_y": shift[1], "shift_x": shift[2]}
        pose |= {"quaternion_x": x, "quaternion_y": y, "quaternion_z": z, "quaternion_w": w}
        metadata: dict[str, object] = {**pose, "neighbours": " ".join(neighbours)}
        return specimen, crop_centre(mask, recipe.box_voxels), metadata

    def _image(
        self, specimen: Volume, defocus_um: float, generator: np.random.Generator
    ) -> tuple[Volume, float]:
        signal, noise = (
            self._tilt_images(specimen, defocus_um, generator)
            if self.recipe.imaging == "tilt_series"
            else self._convolved(specimen, defocus_um, generator)
        )
        return add_noise(signal, noise, self.recipe.snr)

    def _tilt_images(
        self, specimen: Volume, defocus_um: float, generator: np.random.Generator
    ) -> tuple[Volume, Volume]:
        series, recipe = self._tilt_series, self.recipe
        projections = series.transfer(
            series.project(specimen),
            defocus_um=defocus_um,
            microscope=recipe.microscope,
            voxel=recipe.voxel_size_angstrom,
        )
        return series.reconstruct(projections), series.reconstruct(series.white_noise(generator))

    def _convolved(
        self, specimen: Volume, defocus_um: float, generator: np.random.Generator
    ) -> tuple[Volume, Volume]:
        """One-step model: half of the noise passes the CTF and the wedge, half does not."""
        recipe = self.recipe

        def transfer(volume: Volume) -> Volume:
            image = convolve_transfer(
                volume,
                defocus_um=defocus_um,
                max_tilt_deg=recipe.max_tilt_deg,
                microscope=recipe.microscope,
                voxel=recipe.voxel_size_angstrom,
            )
            return crop_centre(image, recipe.box_voxels)

        before = transfer(generator.standard_normal(specimen.shape, dtype=np.float32))
        after = generator.standard_normal(before.shape, dtype=np.float32)
        return transfer(specimen), before / before.std() + after / after.std()


def check_fits(name: str, template: NDArray, box_voxels: int) -> None:
    """Check that a template's structure fits the box.

    Raises
    ------
    ValueError
        If it does not.
    """
    occupied = np.argwhere(template > 0.1 * template.max())
    extent = float(np.ptp(occupied, axis=0).max()) / OVERSAMPLING
    if extent > box_voxels:
        raise ValueError(
            f"structure '{name}' spans {extent:.0f} voxels but the box has {box_voxels}: "
            "use larger voxels or a larger box"
        )


def render(template: Volume, rotation: Rotation, offset_voxels: NDArray[np.float64]) -> Volume:
    """Turn a template and bring it to the voxel grid.

    Parameters
    ----------
    template
        (m, m, m) potential, ``OVERSAMPLING`` times finer than the result.
    rotation
        Turns the structure, in x, y, z.
    offset_voxels
        (3,) z, y, x position of the centre relative to the middle of the result.

    Returns
    -------
    (k, k, k) potential with its middle at k // 2, just large enough for any rotation.
    """
    (m, _, _) = template.shape
    half = int(np.ceil(m / 2 / OVERSAMPLING)) + 1
    turn = rotation.as_matrix()[::-1, ::-1]  # z, y, x
    backward = OVERSAMPLING * turn.T
    middle = np.full(3, half) + offset_voxels
    return ndimage.affine_transform(
        template,
        backward,
        offset=m // 2 - backward @ middle,
        output_shape=(2 * half + 1,) * 3,
        order=1,
        output=np.float32,
    )


def bounding_radius(template: Volume, fraction: float) -> float:
    """Radius, in voxels of the volumes, of the sphere that holds a template's solid part."""
    (m, _, _) = template.shape
    solid = np.argwhere(template > fraction * template.max()) - m // 2
    return float(np.linalg.norm(solid, axis=1).max()) / OVERSAMPLING


def contact(
    spheres: Sequence[tuple[NDArray[np.int64], float]],
    radius: float,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Slide a sphere outwards in a random direction until it overlaps none of the others.

    Macromolecules are packed by their bounding spheres, as in ref. [37].

    Parameters
    ----------
    spheres
        Centre (z, y, x from the middle of the box) and radius of what is there; the first is
        the target, around which the others are packed.
    radius
        Of the sphere to be placed, in voxels.

    Returns
    -------
    (3,) z, y, x displacement of its centre from the middle of the box.
    """
    direction = generator.normal(size=3)
    direction /= np.linalg.norm(direction)
    (start, _), distance = spheres[0], radius
    while True:
        place = start + np.round(distance * direction).astype(int)
        if all(np.linalg.norm(place - c) >= radius + r for c, r in spheres):
            return place
        distance += 1


def overlap(
    shape: Sequence[int] | NDArray[np.int64], body: Sequence[int], corner: NDArray[np.int64]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices in which a body at a corner lies inside a box, in the box and the body."""
    low = np.maximum(corner, 0)
    high = np.maximum(np.minimum(corner + np.array(body), shape), low)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = tuple(slice(int(a - c), int(b - c)) for a, b, c in zip(low, high, corner, strict=True))
    return inside, part


def _add(box: NDArray, body: NDArray, place: NDArray[np.int64]) -> None:
    """Add a body whose middle lies ``place`` from that of a box."""
    corner = np.array(box.shape) // 2 - np.array(body.shape) // 2 + place
    inside, part = overlap(box.shape, body.shape, corner)
    box[inside] += body[part]


def crop_centre(volume: NDArray, edge: int) -> NDArray:
    """Cut the central cube, keeping the index n // 2 of the middle on edge // 2."""
    start = volume.shape[0] // 2 - edge // 2
    part = slice(start, start + edge)
    return volume[part, part, part]
