"""Sub-tomograms: reproducible alone, packed without overlap, masked by their target only."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from civa.simulation import specimen as simulation
from civa.simulation.phantoms import phantom
from civa.simulation.specimen import (
    Recipe,
    Simulator,
    SubTomogram,
    bounding_radius,
    check_fits,
    contact,
    crop_centre,
    render,
)
from civa.simulation.structures import OVERSAMPLING, Atoms, electron_potential

VOXEL = 20.0  # ångström; phantoms of up to 190 Å then fit a box of 16
POOL = ("rod", "globule")
SMALL = Recipe(
    snr=0.05,
    voxel_size_angstrom=VOXEL,
    box_voxels=16,
    simulated_box_voxels=32,
    max_shift_voxels=3,
    tilt_step_deg=6,
)
IDENTITY = Rotation.identity()


def template(atoms: Atoms) -> NDArray[np.float32]:
    return electron_potential(atoms, voxel_size_angstrom=VOXEL, resolution_angstrom=20)


TEMPLATES = {name: template(phantom(name)) for name in ("cage", "spike", *POOL)}


def simulator(recipe: Recipe = SMALL, *, seed: int = 7) -> Simulator:
    return Simulator(TEMPLATES, POOL, recipe, seed=seed)


def lopsided() -> Atoms:
    """A structure that is unlike its mirror images: three arms of unequal length and weight."""
    generator = np.random.default_rng(1)
    ends, weights = np.diag([90.0, 70, 50]), (3, 2, 1)
    along = generator.uniform(0, 1, size=(300, 1))
    arms = [along * end for end in ends]
    return Atoms(np.concatenate(arms), np.repeat(weights, 300).astype(float)).centred()


# --- rendering


def test_rendering_without_a_turn_samples_the_template() -> None:
    source = TEMPLATES["spike"]
    rendered = render(source, IDENTITY, np.zeros(3))
    # every second voxel of the template, counted from its middle, and nothing around it
    edge, middle = rendered.shape[0], rendered.shape[0] // 2
    padded = np.pad(source, edge)
    centre = source.shape[0] // 2 + edge
    first = centre - OVERSAMPLING * middle
    part = slice(first, first + OVERSAMPLING * edge, OVERSAMPLING)
    np.testing.assert_allclose(rendered, padded[part, part, part], atol=1e-5)


@pytest.mark.parametrize(
    ("axis", "plane"),
    # a positive quarter turn about z takes x to y; arrays are z, y, x: axis 2 towards axis 1
    [("z", (2, 1)), ("x", (1, 0)), ("y", (0, 2))],
)
def test_a_quarter_turn_turns_the_grid(axis: str, plane: tuple[int, int]) -> None:
    source = template(lopsided())
    turned = render(source, Rotation.from_euler(axis, 90, degrees=True), np.zeros(3))
    straight = render(source, IDENTITY, np.zeros(3))
    np.testing.assert_allclose(turned, np.rot90(straight, axes=plane), atol=1e-4 * straight.max())


@pytest.mark.parametrize("seed", range(3))
def test_any_turn_keeps_the_hand(seed: int) -> None:
    # an oracle: turn the atoms and draw them anew
    atoms, rotation = lopsided(), Rotation.random(rng=np.random.default_rng(seed))
    turned = Atoms(rotation.apply(atoms.positions), atoms.weights)
    rendered = render(template(atoms), rotation, np.zeros(3))
    expected = render(template(turned), IDENTITY, np.zeros(3))
    mirrored = Atoms(rotation.apply(atoms.positions * (-1, 1, 1)), atoms.weights)
    wrong = render(template(mirrored), IDENTITY, np.zeros(3))
    edge = min(rendered.shape[0], expected.shape[0], wrong.shape[0])
    cut = [crop_centre(volume, edge).ravel() for volume in (rendered, expected, wrong)]
    agreement = np.corrcoef(cut)
    assert agreement[0, 1] > 0.98
    assert agreement[0, 2] < 0.9


@pytest.mark.parametrize("offset", [(0, 0, 0), (0.5, -0.5, 0.25), (-0.3, 0.4, 0.1)])
def test_the_centre_of_mass_goes_where_it_is_sent(offset: tuple[float, ...]) -> None:
    rotation = Rotation.random(rng=np.random.default_rng(3))
    rendered = render(TEMPLATES["spike"], rotation, np.array(offset)).astype(float)
    grid = np.indices(rendered.shape) - rendered.shape[0] // 2
    centre = (grid * rendered).sum(axis=(1, 2, 3)) / rendered.sum()
    np.testing.assert_allclose(centre, offset, atol=0.05)


def test_rendering_keeps_the_scattering() -> None:
    source = TEMPLATES["cage"]
    rendered = render(source, Rotation.random(rng=np.random.default_rng(0)), np.zeros(3))
    # a voxel of the result stands for OVERSAMPLING^3 of the template's
    assert rendered.sum() * OVERSAMPLING**3 == pytest.approx(source.sum(), rel=0.02)


# --- packing


def placed(body: NDArray[np.bool_], place: NDArray, size: int) -> NDArray[np.bool_]:
    """A slow oracle: the body's voxels, one by one, in a box of ``size``."""
    box = np.zeros((size,) * 3, dtype=bool)
    for voxel in np.argwhere(body) - body.shape[0] // 2 + place + size // 2:
        if ((voxel >= 0) & (voxel < size)).all():
            box[tuple(voxel)] = True
    return box


@pytest.mark.parametrize("seed", range(5))
def test_packed_spheres_touch_the_target_and_never_overlap(seed: int) -> None:
    generator = np.random.default_rng(seed)
    start = np.array([2, -3, 1])
    spheres = [(start, 4.0)]
    for radius in (3.0, 2.5, 5.0, 3.0):
        place = contact(spheres, radius, generator)
        gaps = [np.linalg.norm(place - centre) - radius - other for centre, other in spheres]
        assert min(gaps) >= 0
        # slid outwards by whole steps, rounded to the grid: in contact within a step and sqrt(3)
        assert min(gaps) < 1 + np.sqrt(3)
        spheres.append((place, radius))


@pytest.mark.parametrize("target", ["cage", "spike", "globule"])
def test_a_bounding_sphere_holds_its_structure_in_any_pose(target: str) -> None:
    radius = bounding_radius(TEMPLATES[target], 0.25)
    for seed in range(5):
        rotation = Rotation.random(rng=np.random.default_rng(seed))
        body = render(TEMPLATES[target], rotation, np.zeros(3))
        solid = np.argwhere(body > 0.25 * body.max()) - body.shape[0] // 2
        # sampling lowers the maximum of the turned body a little, which widens its solid part
        assert np.linalg.norm(solid, axis=1).max() <= radius + 0.5
    # and no larger than the atoms with their blur: 3 sigma of the template's Gaussian
    sigma = np.hypot(0.225 * 20, VOXEL / np.sqrt(12))
    assert radius * VOXEL < phantom(target).diameter_angstrom / 2 + 3 * sigma


@pytest.mark.parametrize("index", range(6))
def test_no_neighbour_overlaps_the_target_or_another(
    monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    bodies: list[NDArray[np.bool_]] = []
    add = simulation._add

    def watched(box: NDArray, body: NDArray, place: NDArray) -> None:
        bodies.append(placed(body > SMALL.mask_fraction * body.max(), place, box.shape[0]))
        add(box, body, place)

    monkeypatch.setattr(simulation, "_add", watched)
    made = simulator().make(index, ("cage", "spike")[index % 2])
    assert len(bodies) == 1 + SMALL.neighbours
    assert len(str(made.metadata["neighbours"]).split()) == SMALL.neighbours
    assert np.sum(bodies, axis=0).max() == 1
    np.testing.assert_array_equal(crop_centre(bodies[0], 16), made.mask)


@pytest.mark.parametrize("index", range(3))
def test_the_mask_holds_the_target_only(index: int) -> None:
    # pose and shift are drawn before the neighbours, so both have the same target
    crowded = simulator().make(index, "spike")
    alone = simulator(replace(SMALL, neighbours=0)).make(index, "spike")
    np.testing.assert_array_equal(crowded.mask, alone.mask)
    assert (crowded.volume != alone.volume).any()


def test_the_mask_is_the_target_at_its_recorded_pose() -> None:
    made = simulator().make(4, "spike")
    quaternion = [made.metadata[f"quaternion_{axis}"] for axis in "xyzw"]
    shift = np.array([made.metadata[f"shift_{axis}"] for axis in "zyx"])
    assert np.abs(shift).max() <= SMALL.max_shift_voxels
    whole = np.round(shift).astype(int)
    body = render(TEMPLATES["spike"], Rotation.from_quat(quaternion), shift - whole)
    alone = body > SMALL.mask_fraction * body.max()
    np.testing.assert_array_equal(made.mask, placed(alone, whole, 16))
    assert made.mask.sum() > 10


def test_targets_shift_evenly_within_the_range() -> None:
    recipe = replace(SMALL, neighbours=0, imaging="convolution")
    factory = simulator(recipe)
    rows = [factory.make(index, "globule").metadata for index in range(60)]
    shifts = np.array([[row[f"shift_{axis}"] for axis in "zyx"] for row in rows], dtype=float)
    assert np.abs(shifts).max() <= 3
    # uniform on +-3: standard deviation 6 / sqrt(12) = 1.73; 60 draws know it to 6 %
    np.testing.assert_allclose(shifts.std(axis=0), 1.73, rtol=0.25)


# --- imaging


@pytest.mark.parametrize("imaging", ["tilt_series", "convolution"])
def test_the_snr_is_the_asked_one(imaging: str) -> None:
    recipe = replace(SMALL, imaging=imaging)
    noisy = simulator(recipe).make(2, "cage")
    # the same draws, and noise a thousand times weaker than the signal: the signal itself
    clean = simulator(replace(recipe, snr=1e6)).make(2, "cage").volume.astype(float)
    noise = noisy.volume - clean
    assert clean.var() / noise.var() == pytest.approx(0.05, rel=0.05)
    assert noisy.metadata["snr_measured"] == pytest.approx(0.05, rel=0.05)
    # noise knows nothing of the signal: 16^3 correlated voxels leave less than 0.1 by chance
    assert abs(np.corrcoef(clean.ravel(), noise.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("imaging", ["tilt_series", "convolution"])
def test_protein_is_bright(imaging: str) -> None:
    recipe = replace(SMALL, imaging=imaging, neighbours=0, snr=1e6, defocus_um=(5, 5))
    made = simulator(recipe).make(1, "globule")
    assert made.volume[made.mask].mean() > made.volume[~made.mask].mean() + made.volume.std()


@pytest.mark.parametrize("imaging", ["tilt_series", "convolution"])
def test_the_first_dark_ring_of_a_volume_is_where_the_defocus_puts_it(imaging: str) -> None:
    # A point scatters to all frequencies, so its image's spectrum is the CTF's.  At 5 um and
    # 300 kV the first zero is at sqrt((1 - 0.07 / pi) / (0.0197 x 50000)) = 0.0315 per Å: with
    # 10 Å voxels and a box of 48, 0.0315 x 480 = 15.1 Fourier voxels.
    point = np.zeros((3, 3, 3), dtype=np.float32)
    point[1, 1, 1] = 1
    recipe = Recipe(
        snr=1e9,
        box_voxels=48,
        simulated_box_voxels=48,
        max_shift_voxels=0,
        neighbours=0,
        imaging=imaging,
        defocus_um=(5, 5),
    )
    made = Simulator({"point": point}, (), recipe, seed=1).make(0, "point")
    power = np.fft.fftshift(np.abs(np.fft.fftn(made.volume)) ** 2)
    kz, ky, kx = np.indices(power.shape) - 24
    seen = np.abs(kz) < np.abs(kx)  # well inside the wedge
    radius = np.rint(np.sqrt(kz**2 + ky**2 + kx**2))
    profile = np.array([power[seen & (radius == shell)].mean() for shell in range(5, 22)])
    assert 5 + np.argmin(profile) == 15
    assert profile.min() < 0.05 * profile.max()


# --- reproducibility


def same(first: SubTomogram, second: SubTomogram) -> bool:
    return (
        first.volume.tobytes() == second.volume.tobytes()
        and first.mask.tobytes() == second.mask.tobytes()
        and first.metadata == second.metadata
    )


@pytest.mark.parametrize("imaging", ["tilt_series", "convolution"])
def test_a_volume_depends_on_seed_and_index_alone(imaging: str) -> None:
    recipe = replace(SMALL, imaging=imaging)
    forwards, backwards = simulator(recipe), simulator(recipe)
    first = {index: forwards.make(index, "cage") for index in (0, 1, 2)}
    second = {index: backwards.make(index, "cage") for index in (2, 0)}
    assert all(same(first[index], made) for index, made in second.items())


def test_other_seeds_and_indices_make_other_volumes() -> None:
    # (seed 1, index 2) and (seed 2, index 1) must differ too: no sum of the two
    made = [simulator(seed=s).make(i, "cage").volume for s in (1, 2) for i in (1, 2)]
    for i, first in enumerate(made):
        for second in made[i + 1 :]:
            assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5


# --- what is refused


@pytest.mark.parametrize("snr", [0.0, -0.05])
def test_an_snr_that_is_not_positive_is_refused(snr: float) -> None:
    with pytest.raises(ValueError, match="SNR must be positive"):
        simulator(replace(SMALL, snr=snr)).make(0, "cage")


def test_unknown_imaging_is_refused() -> None:
    with pytest.raises(ValueError, match=r"imaging must be 'tilt_series' .* \(got 'ghost'\)"):
        replace(SMALL, imaging="ghost")


def test_a_box_that_cannot_be_cut_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"simulated_box_voxels \(8\) must not be smaller"):
        replace(SMALL, simulated_box_voxels=8)


def test_an_odd_simulated_box_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have an even edge \(got 33\)"):
        simulator(replace(SMALL, simulated_box_voxels=33))


def test_a_structure_larger_than_the_box_is_refused() -> None:
    # two atoms 400 Å apart are 20 voxels of 20 Å, and the box has 16
    far = template(Atoms(np.array([[0.0, 0, 0], [400, 0, 0]]), np.ones(2)))
    with pytest.raises(ValueError, match=r"'far' spans 2\d voxels but the box has 16"):
        check_fits("far", far, 16)
    with pytest.raises(ValueError, match="'far' spans"):
        Simulator({"far": far}, (), SMALL, seed=1)


def test_neighbours_without_a_pool_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbour"):
        Simulator(TEMPLATES, (), SMALL, seed=1).make(0, "cage")


def test_tilts_include_both_ends() -> None:
    tilts = Recipe(snr=1).tilt_angles_deg
    assert (tilts[0], tilts[-1], len(tilts)) == (-60, 60, 41)  # 120 / 3 + 1


@pytest.mark.parametrize(("size", "edge"), [(8, 4), (9, 5), (9, 4), (8, 3)])
def test_cropping_keeps_the_middle_in_the_middle(size: int, edge: int) -> None:
    volume = np.zeros((size,) * 3)
    volume[(size // 2,) * 3] = 1
    cut = crop_centre(volume, edge)
    assert cut.shape == (edge,) * 3
    assert cut[(edge // 2,) * 3] == 1
