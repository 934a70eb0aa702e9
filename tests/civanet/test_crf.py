"""The 3-D CRF against an exact mean field, and its unary term."""

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from civa.civanet.crf import SEARCH, CrfParameters, foreground_probability, refine
from civa.data.files import read_json, write_csv, write_json
from civa.data.stack import read_stack, write_stack
from civa.data.volume import standardize
from civa.evaluation.trivial import lowpass
from civa.evaluation.validation import FRACTIONS, top_fraction
from civa.stages import crf
from civa.stages.crf import _calibrated

EDGE = 8
SHAPE = (EDGE, EDGE, EDGE)
GRID = np.indices(SHAPE).reshape(3, -1).T.astype(float)  # (p, 3)


def ball(radius: float = 2.7, centre: float = 4) -> np.ndarray:
    return (np.linalg.norm(GRID - centre, axis=1) < radius).reshape(SHAPE)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy probability of a ball, and a guide in which the ball is bright."""
    generator = np.random.default_rng(seed)
    probability = 0.3 + 0.4 * ball() + 0.2 * generator.normal(size=SHAPE)
    smooth = ndimage.gaussian_filter(generator.normal(size=SHAPE), 1)
    guide = smooth / smooth.std() + 3 * ball()
    return np.clip(probability, 0.02, 0.98), (guide - guide.mean()) / guide.std()


def kernel(features: np.ndarray) -> np.ndarray:
    """Gaussian of the distance, every voxel with itself included, normalised symmetrically."""
    squared = ((features[:, None] - features[None]) ** 2).sum(axis=-1)  # (p, p)
    weights = np.exp(-0.5 * squared)
    scale = 1 / np.sqrt(weights.sum(axis=1))
    return scale[:, None] * weights * scale[None]


def exact_mean_field(
    foreground: np.ndarray, guide: np.ndarray, parameters: CrfParameters
) -> np.ndarray:
    """Run the mean field with full (p, p) kernels: Potts, so only equal labels support a voxel."""
    p = foreground.ravel()
    unary = parameters.confidence * np.log(p / (1 - p))
    energy = np.logaddexp(0, np.stack([unary, -unary]))  # (2, p) background, foreground
    smooth = kernel(GRID / parameters.smooth_spatial)
    appearance = kernel(
        np.column_stack(
            [
                GRID / parameters.bilateral_spatial,
                guide.ravel() / parameters.bilateral_intensity,
            ]
        )
    )
    support = parameters.smooth_weight * smooth + parameters.bilateral_weight * appearance
    q = np.exp(-energy)
    for _ in range(parameters.iterations):
        q = np.exp(-energy + q @ support)
        q /= q.sum(axis=0)
    return q[1].reshape(foreground.shape)


@pytest.mark.parametrize(
    "parameters",
    [
        CrfParameters(smooth_weight=3, smooth_spatial=2, bilateral_weight=0),
        CrfParameters(smooth_weight=1, smooth_spatial=1, bilateral_weight=0, confidence=0.5),
        CrfParameters(smooth_weight=0, bilateral_weight=3, bilateral_spatial=2),
        CrfParameters(
            smooth_weight=3, bilateral_weight=3, bilateral_spatial=3, bilateral_intensity=0.5
        ),
        CrfParameters(iterations=1),
        CrfParameters(),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_refinement_is_close_to_the_exact_mean_field(parameters: CrfParameters, seed: int) -> None:
    # The library filters on a permutohedral lattice, which approximates the kernels.
    foreground, guide = scene(seed)
    exact = exact_mean_field(foreground, guide, parameters)
    refined = refine(foreground, guide, parameters)
    assert np.corrcoef(refined.ravel(), exact.ravel())[0, 1] > 0.98
    assert ((refined > 0.5) == (exact > 0.5)).mean() > 0.97
    # The terms change many labels, so agreement is not that of two unchanged inputs.
    assert ((exact > 0.5) != (foreground > 0.5)).sum() > 10


def test_without_weights_the_probability_stays() -> None:
    foreground, guide = scene(0)
    refined = refine(foreground, guide, CrfParameters(smooth_weight=0, bilateral_weight=0))
    assert refined.dtype == np.float32
    np.testing.assert_allclose(refined, foreground, atol=1e-6)


def test_confidence_scales_the_logit() -> None:
    foreground, guide = scene(0)
    parameters = CrfParameters(smooth_weight=0, bilateral_weight=0, confidence=2)
    odds = (foreground / (1 - foreground)) ** 2
    np.testing.assert_allclose(refine(foreground, guide, parameters), odds / (1 + odds), atol=1e-5)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certainty_stays_finite(probability: float) -> None:
    _, guide = scene(0)
    refined = refine(np.full(SHAPE, probability), guide, CrfParameters())
    assert np.isfinite(refined).all()
    assert np.abs(refined - probability).max() < 0.01


def test_a_uniform_guide_favours_no_direction() -> None:
    # The lattice itself is not symmetric, hence the tolerance.
    foreground = np.where(ball(centre=3.5), 0.9, 0.2)
    refined = refine(foreground, np.zeros(SHAPE), CrfParameters(bilateral_weight=1))
    for axis in range(3):
        np.testing.assert_allclose(refined, np.flip(refined, axis), atol=0.1)
    assert 0 < (refined > 0.5).sum() < refined.size


def test_smoothing_removes_a_lone_voxel() -> None:
    foreground = np.full(SHAPE, 0.2)
    foreground[4, 4, 4] = 0.7
    parameters = CrfParameters(smooth_weight=3, bilateral_weight=0)
    assert refine(foreground, np.zeros(SHAPE), parameters).max() < 0.5


def test_an_uncertain_voxel_follows_those_of_its_brightness() -> None:
    # Left half bright, right half dark; the unary knows one voxel less on each side.
    guide = np.where(GRID[:, 2] < 4, 1.0, -1.0).reshape(SHAPE)
    foreground = np.where(guide > 0, 0.8, 0.2)
    foreground[4, 4, 1] = foreground[4, 4, 6] = 0.5
    refined = refine(foreground, guide, CrfParameters(smooth_weight=0))
    assert refined[4, 4, 1] > 0.9
    assert refined[4, 4, 6] < 0.1


def test_volumes_need_not_be_cubes() -> None:
    foreground, guide = scene(0)
    refined = refine(foreground[:4, :6], guide[:4, :6], CrfParameters())
    assert refined.shape == (4, 6, 8)
    turned = refine(
        foreground[:4, :6].transpose(2, 0, 1), guide[:4, :6].transpose(2, 0, 1), CrfParameters()
    )
    labels = (refined > 0.5).transpose(2, 0, 1)
    assert (labels == (turned > 0.5)).mean() > 0.97


def test_search_covers_every_parameter_and_the_defaults() -> None:
    assert set(SEARCH) == set(vars(CrfParameters()))
    assert all(getattr(CrfParameters(), key) in values for key, values in SEARCH.items())


def test_threshold_becomes_one_half() -> None:
    o = np.array([0.5, 0.9, 0.99])
    probability = foreground_probability(o, o > 0.9, 0.9)
    # logit 0.9 = ln 9 is subtracted: the odds 1, 9 and 99 become 1 / 9, 1 and 11.
    np.testing.assert_allclose(probability, [1 / 10, 1 / 2, 11 / 12], rtol=1e-5)


def test_other_proposals_turn_into_background_as_sure_as_they_were() -> None:
    o = np.array([0.99, 0.99, 0.5])
    probability = foreground_probability(o, np.array([True, False, False]), 0.9)
    np.testing.assert_allclose(probability, [11 / 12, 1 / 12, 1 / 10], rtol=1e-5)


def test_half_precision_may_round_o_to_zero_or_one() -> None:
    o = np.array([0.0, 1.0], dtype=np.float16)
    probability = foreground_probability(o, o > 0.5, 0.5)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, [1e-4, 1 - 1e-4], rtol=1e-3)


def test_probability_above_one_half_is_the_chosen_proposal() -> None:
    o = np.random.default_rng(0).random((2, *SHAPE))
    mask = (o > 0.7) & (GRID[:, 0] < 4).reshape(SHAPE)
    np.testing.assert_array_equal(foreground_probability(o, mask, 0.7) > 0.5, mask)


def merged_maps(kind: str) -> np.ndarray:
    """Return maps (2, 16, 16, 16) as the merger leaves them: half precision, with ties."""
    maps = np.random.default_rng(3).random((2, 16, 16, 16))
    if kind == "coarse":  # many voxels of equal value
        maps = maps.round(1)
    if kind == "plateau":  # a Grad-CAM is zero nearly everywhere
        maps[maps < 0.97] = 0
    if kind == "silent":
        maps[:] = 0
    return maps.astype(np.float16)


def test_o_keeps_its_own_threshold() -> None:
    o = np.random.default_rng(0).random((2, *SHAPE))
    maps, cut = _calibrated(o, {"threshold": 0.9, "fraction": 0.1})
    assert maps is o
    assert cut == 0.9


def test_a_merged_map_is_replaced_by_its_ranks() -> None:
    maps, cut = _calibrated(np.array([[[[3.0, -1, 8, 4]]]]), {"fraction": 0.25})
    # 4 voxels: shares at or below the voxel; the minimum is nothing
    assert maps.tolist() == [[[[0.5, 0, 1, 0.75]]]]
    assert cut == 0.75


@pytest.mark.parametrize("kind", ["smooth", "coarse", "plateau", "silent"])
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_merged_map_is_foreground_where_its_mask_was(kind: str, fraction: float) -> None:
    maps = merged_maps(kind)
    mask = top_fraction(maps, fraction)
    ranks, cut = _calibrated(maps, {"fraction": fraction})
    assert ranks.shape == maps.shape
    assert 0 <= ranks.min() <= ranks.max() <= 1
    probability = foreground_probability(ranks, mask, cut)
    np.testing.assert_array_equal(probability > 0.5, mask)


def test_ranks_are_taken_volume_by_volume() -> None:
    maps = merged_maps("smooth")
    brighter = maps + np.array([0, 100], dtype=np.float16)[:, None, None, None]
    for one, other in zip(maps, _calibrated(brighter, {"fraction": 0.1})[0], strict=True):
        ordered = other.ravel()[np.argsort(one.ravel(), kind="stable")]
        assert (np.diff(ordered) >= 0).all()
    np.testing.assert_array_equal(
        _calibrated(brighter[:1], {"fraction": 0.1})[0][0],
        _calibrated(brighter, {"fraction": 0.1})[0][0],
    )


def test_brighter_voxels_of_a_merged_map_are_surer() -> None:
    maps = np.linspace(0, 1, 4096, dtype=np.float32).reshape(1, 16, 16, 16)
    ranks, cut = _calibrated(maps, {"fraction": 0.05})
    probability = foreground_probability(ranks, top_fraction(maps, 0.05), cut).ravel()
    assert (np.diff(probability) >= 0).all()
    assert probability[0] < 0.01
    assert probability[-1] > 0.99


class Tasks:
    """A pool of this process, which notes how many bytes would go to a worker and back."""

    sent: ClassVar[list[int]] = []

    def __init__(self, max_workers: int) -> None:
        Tasks.sent = []

    def __enter__(self) -> "Tasks":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, work: Any, *columns: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        for task in zip(*columns, strict=True):
            sent = pickle.dumps((work, task))
            Tasks.sent.append(len(sent))
            work, task = pickle.loads(sent)
            yield work(*task)


@pytest.mark.parametrize("choice", [{"threshold": 0.6}, {"fraction": 0.05}])
def test_workers_open_their_volumes_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: dict[str, float]
) -> None:
    n, edge = 11, 16  # more than one task, and a last one that is not full
    generator = np.random.default_rng(0)
    volumes = generator.normal(size=(n, edge, edge, edge)).astype(np.float32)
    volumes[:, 5:11, 5:11, 5:11] += 1.5
    volumes = standardize(volumes)
    segmentation = np.clip(0.4 + 0.2 * volumes, 0, 1).astype(np.float16)
    proposals = (segmentation > 0.6).astype(np.int8)
    masks = np.zeros_like(proposals)
    for name, stack in (("v", volumes), ("s", segmentation), ("p", proposals), ("m", masks)):
        write_stack(tmp_path / name, stack, voxel_size_angstrom=10)
    table = pd.DataFrame({"id": [f"v{row}" for row in range(n)], "class": "a", "label": 1})
    write_csv(tmp_path / "particles", table)
    write_csv(tmp_path / "split", table[["id", "class"]].assign(part="test"))
    said = table[["id", "label"]].assign(predicted=1, guide=1, confidence=1.0)
    write_csv(tmp_path / "predictions", said)
    write_json(tmp_path / "cut", choice)
    inputs = [tmp_path / x for x in ("v", "s", "p", "cut", "m", "particles", "split")]
    products = {"out": tmp_path / "out", "choice": tmp_path / "choice"}
    monkeypatch.setattr(crf, "ProcessPoolExecutor", Tasks)
    crf.run(*inputs, tmp_path / "predictions", **products, search=False, guide_sigma=1.5)
    assert Tasks.sent
    assert max(Tasks.sent) < volumes[0].nbytes / 4  # a few paths: no volume is sent

    maps, cut = _calibrated(segmentation, choice)  # all at once, as no worker sees them
    probability = foreground_probability(maps, proposals > 0, cut)
    guides = standardize(lowpass(volumes, 1.5))
    pairs = zip(probability, guides, strict=True)
    expected = np.stack([refine(*pair, CrfParameters()) > 0.5 for pair in pairs])
    np.testing.assert_array_equal(read_stack(tmp_path / "out"), expected)
    assert 0 < expected.sum() < expected.size
    assert read_json(tmp_path / "choice")["empty"] == (~expected.any(axis=(1, 2, 3))).sum()
