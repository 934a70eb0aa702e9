"""Half-sets: noise alone does not agree, particles do, and resolution is measured beyond 53 Å."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from synthetic import CPU, alike

from civa.consensus.averaging import Average, Plan, average_structure
from civa.consensus.diagnostics import report
from civa.consensus.fourier import window_for
from civa.consensus.subtomograms import Optics, Setup, Subtomograms
from civa.data.volume import standardize
from civa.simulation.phantoms import phantom
from civa.simulation.specimen import Recipe, Simulator
from civa.simulation.structures import electron_potential
from civa.simulation.tilt_series import TiltSeries

# The demo's box of 320 Å in 24 voxels, so that it is quick: 53 Å is shell 6, and 7 is shared too.
RECIPE = Recipe(snr=0.1, voxel_size_angstrom=320 / 24, box_voxels=24, simulated_box_voxels=48)
SETUP = Setup(Optics(RECIPE.voxel_size_angstrom), window_for(24), CPU)
FULL = Plan(starts=1)
QUICK = Plan(starts=1, coarse_rotations=200, fine_rotations=300, iterations=4, refinements=1)


@cache
def simulator() -> Simulator:
    size = {"voxel_size_angstrom": RECIPE.voxel_size_angstrom, "resolution_angstrom": 27}
    names = ("cage", "spike", "globule")
    templates = {name: electron_potential(phantom(name), **size) for name in names}
    return Simulator(templates, ["globule"], RECIPE, seed=1)


def particles(name: str, count: int) -> Subtomograms:
    """Volumes that show a phantom among neighbours, and centres that are a voxel off."""
    made = [simulator().make(index, name) for index in range(count)]
    shifts = [[one.metadata[f"shift_{axis}"] for axis in "zyx"] for one in made]
    off = np.random.default_rng(1).standard_normal((count, 3))
    volumes = standardize(np.stack([one.volume for one in made]))
    defocus = np.array([one.metadata["defocus_um"] for one in made], dtype=float)
    centres = 12 + np.array(shifts) + off
    return Subtomograms(volumes, np.arange(count), centres, alike(count, defocus))


def noise(count: int, seed: int) -> Subtomograms:
    """White noise through the tilt series, without any particle."""
    series = TiltSeries(48, RECIPE.tilt_angles_deg, crop=24)
    generator = np.random.default_rng(seed)
    boxes = [series.reconstruct(series.white_noise(generator)) for _ in range(count)]
    defocus = generator.uniform(*RECIPE.defocus_um, size=count)
    centres = np.full((count, 3), 12.0)
    volumes = standardize(np.stack(boxes))
    return Subtomograms(volumes, np.arange(count), centres, alike(count, defocus))


def averaged(members: Subtomograms, plan: Plan) -> Average:
    generator = np.random.default_rng(1)
    return average_structure(members, SETUP, plan=plan, generator=generator)[0]


@pytest.mark.parametrize(("count", "starts"), [(10, 1), (10, 2), (50, 1), (150, 1)])
def test_half_sets_of_noise_disagree_and_have_no_resolution(count: int, starts: int) -> None:
    average = averaged(noise(count, seed=count), replace(QUICK, starts=starts))
    found = report(average, SETUP, of=count)
    (doubt,) = [text for text in found["doubts"] if "half-sets" in text]
    assert "at 40 to 36 Å, beyond the 46 Å that they share" in doubt
    assert abs(found["half_sets"]) < 0.15
    # Shell 7 of 320 Å is the last one that they share: the resolution is not better than that.
    assert found["resolution_angstrom"] == pytest.approx(320 / 7, abs=0.05)
    assert found["resolution_measured"] is False
    if count > 10:  # where they are not independent, noise agrees: nothing else is said against it
        assert average.fsc[5:7].min() > 0.4
        assert found["doubts"] == [doubt]


@pytest.mark.parametrize("name", ["cage", "spike"])
@pytest.mark.parametrize(("count", "plan"), [(20, FULL), (70, QUICK)])
def test_half_sets_of_particles_agree_and_have_a_resolution(
    name: str, count: int, plan: Plan
) -> None:
    found = report(averaged(particles(name, count), plan), SETUP, of=count)
    assert found["doubts"] == []
    assert found["half_sets_angstrom"] == [40.0, 35.6]
    assert found["resolution_measured"] is True
    assert 26 < found["resolution_angstrom"] <= 40
