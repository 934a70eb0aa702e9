"""crf on tiny boxes: its unary term, the search on validation, and what it starts from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from tiny_set import TRUTH, TinySet

from civa.civanet.crf import SEARCH, CrfParameters, foreground_probability, refine
from civa.data.files import write_json
from civa.data.volume import standardize

# The stage shares its work among processes; torch's threads, which other tests left, are idle.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

EDGE = 8
PARTS = ["train", "validation", "validation", "test"]
LABELS = [1, 1, 2, 2]
GUIDES = [1, 1, 2, 1]  # the last volume is misclassified
FILES = {
    **{"volumes": "volumes.mrcs", "segmentation": "o.mrcs", "proposals": "iva.mrcs"},
    **{"segment_choice": "iva.json", **TRUTH, "out": "crf.mrcs", "choice": "crf.json"},
}
PRODUCTS = ("crf.mrcs", "crf.json")
CUT = 0.9
SIGMA = 1.5  # of the guide, the stage's default
OFF = {"smooth_weight": 0.0, "bilateral_weight": 0.0}


def ball(radius: float) -> NDArray[np.bool_]:
    grid = np.indices((EDGE,) * 3) - 4
    return np.sqrt((grid**2).sum(axis=0)) < radius


def scene(seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """O of noisy balls, and volumes in which the balls are bright."""
    generator = np.random.default_rng(seed)
    shape = (len(PARTS), *(EDGE,) * 3)
    logit = 2.2 + 2.5 * (2.0 * ball(2.7) - 1) + generator.normal(size=shape)
    volumes = standardize(2 * ball(2.7) + generator.normal(size=shape))
    return (1 / (1 + np.exp(-logit))).astype(np.float16), volumes


def truth() -> NDArray[np.int8]:
    return np.stack([label * ball(2.7) for label in LABELS]).astype(np.int8)


@pytest.fixture
def data(tmp_path: Path) -> TinySet:
    made = TinySet(tmp_path)
    made.write_tables(LABELS, PARTS)
    made.write_predictions(GUIDES)
    o, volumes = scene()
    made.write_stack("volumes.mrcs", volumes)
    made.write_stack("o.mrcs", o)
    made.write_stack("iva.mrcs", proposals(o))
    made.write_stack("masks.mrcs", truth())
    write_json(made.path("iva.json"), {"threshold": CUT})
    return made


def proposals(o: NDArray) -> NDArray[np.int8]:
    """Voxels above the cut, but for one corner: a proposal that the CAM did not choose."""
    chosen = o > CUT
    chosen[:, :2] = False
    return (chosen * np.reshape(GUIDES, (-1, 1, 1, 1))).astype(np.int8)


def by_hand(rows: list[int], parameters: CrfParameters) -> NDArray[np.bool_]:
    """Refine some volumes one by one: the guide is the volume under a Gaussian, rescaled."""
    o, volumes = scene()
    found = []
    for row in rows:
        smooth = ndimage.gaussian_filter(volumes[row].astype(np.float64), SIGMA)
        guide = (smooth - smooth.mean()) / smooth.std()
        unary = foreground_probability(o[row], proposals(o)[row] > 0, CUT)
        found.append(refine(unary, guide, parameters) > 0.5)
    return np.stack(found)


def miou(found: NDArray[np.bool_], rows: list[int]) -> float:
    known = truth()[rows] > 0
    shared, either = ((op).sum(axis=(1, 2, 3)) for op in (found & known, found | known))
    return 100 * float(np.mean(shared / either))


def test_without_energies_the_chosen_proposal_stays(data: TinySet) -> None:
    data.run("crf", FILES, search=False, **OFF)
    np.testing.assert_array_equal(data.stack("crf.mrcs"), data.stack("iva.mrcs"))
    record = data.record("crf.json")
    assert record["parameters"] == {**vars(CrfParameters()), **OFF}
    assert (record["validation_miou"], record["empty"]) == ({}, 0)


def test_masks_are_those_of_the_given_energies_volume_by_volume(data: TinySet) -> None:
    parameters = CrfParameters(smooth_weight=1.0, bilateral_weight=2.0, iterations=3)
    data.run("crf", FILES, search=False, **vars(parameters))
    assert data.record("crf.json")["parameters"] == vars(parameters)
    found, expected = data.stack("crf.mrcs"), by_hand([0, 1, 2, 3], parameters)
    # float32 guides of two makings differ in their last bits: a voxel at one half may turn
    differing = (found != expected * np.reshape(GUIDES, (-1, 1, 1, 1))).sum(axis=(1, 2, 3))
    assert differing.max() <= 1
    assert (found > 0)[0].sum() != (data.stack("iva.mrcs") > 0)[0].sum(), "the CRF does something"


def test_energies_are_searched_one_by_one_on_validation(data: TinySet) -> None:
    data.run("crf", FILES)
    record, parameters = data.record("crf.json"), CrfParameters()
    assert list(record["validation_miou"]) == list(SEARCH)
    for key, values in SEARCH.items():
        candidates = dict.fromkeys([getattr(parameters, key), *values])
        figures = {
            value: miou(by_hand([1, 2], replace(parameters, **{key: value})), [1, 2])
            for value in candidates
        }
        # one voxel of about 80 in one of two volumes may turn, as above
        tried = record["validation_miou"][key]
        assert tried == pytest.approx({str(v): f for v, f in figures.items()}, abs=1.0), key
        best = max(candidates, key=lambda value: tried[str(value)])  # the first one on ties
        parameters = replace(parameters, **{key: best})
    assert record["parameters"] == vars(parameters)
    differing = data.stack("crf.mrcs") != by_hand([0, 1, 2, 3], parameters) * np.reshape(
        GUIDES, (-1, 1, 1, 1)
    )
    assert differing.sum(axis=(1, 2, 3)).max() <= 1


def test_some_validation_volumes_are_enough_to_search(data: TinySet) -> None:
    data.run("crf", FILES, search_volumes=1)
    first = data.record("crf.json")["validation_miou"]["bilateral_weight"]["3.0"]
    assert first == pytest.approx(miou(by_hand([1], CrfParameters()), [1]), abs=1.0)


def test_masks_and_classes_of_other_parts_change_nothing(data: TinySet) -> None:
    data.run("crf", FILES)
    before = data.contents(*PRODUCTS)
    noise = np.random.default_rng(1).integers(0, 3, size=truth().shape).astype(np.int8)
    noise[1:3] = truth()[1:3]
    data.write_stack("masks.mrcs", noise)
    data.write_tables([2, 1, 2, 1], PARTS)
    data.run("crf", FILES, threads=2)  # nor does the number of processes
    assert data.contents(*PRODUCTS) == before


def test_without_validation_masks_the_given_energies_are_used(data: TinySet) -> None:
    data.write_stack("masks.mrcs", np.full(truth().shape, -1, dtype=np.int8))
    data.run("crf", FILES, iterations=2)
    record = data.record("crf.json")
    assert record["parameters"] == vars(CrfParameters(iterations=2))
    assert record["validation_miou"] == {}


def test_what_is_left_empty_is_counted(data: TinySet, caplog: pytest.LogCaptureFixture) -> None:
    nothing = np.zeros(truth().shape, dtype=np.int8)
    data.write_stack("iva.mrcs", nothing)
    data.run("crf", FILES, search=False, **OFF)
    assert data.record("crf.json")["empty"] == len(PARTS)
    assert "4 of 4 masks are empty (CRF)" in caplog.text
    np.testing.assert_array_equal(data.stack("crf.mrcs"), nothing)
