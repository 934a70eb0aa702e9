"""average, align and map-back on two shapes at random poses, told nothing but their class."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from synthetic import EDGE, SHAPES, VOXEL, blobs, turned

from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.poses import pose_columns, to_matrices
from civa.data.files import read_json, write_csv, write_json
from civa.data.particles import PARTS, UNANNOTATED
from civa.data.stack import Stack, read_stack, write_stack
from civa.data.volume import standardize, write_volume
from civa.evaluation.metrics import iou
from civa.optics import Microscope
from civa.simulation.tilt_series import convolve_transfer
from civa.stages import align, average, calibrate, map_back, plot_averages, refine, replace_outliers

pytestmark = pytest.mark.usefixtures("settings_restored")

NAMES = ("bent", "long")
SIZES = {"train": 16, "validation": 3, "test": 3}  # of each class
MOST_MAPS = ("averages.mrcs", "h1.mrcs", "h2.mrcs")


@dataclass(frozen=True)
class Data:
    """A data set of both shapes, its truth, and where products go."""

    folder: Path
    matrices: np.ndarray
    shifts: np.ndarray

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def tables(self) -> dict[str, Path]:
        return {name: self.path(f"{name}.csv") for name in ("particles", "split")}

    def average(self, **settings: Any) -> dict[str, Any]:
        average.run(
            self.path("volumes.mrcs"),
            self.path("gradcam.mrcs"),
            **self.tables,
            averages=self.path("averages.mrcs"),
            first_halves=self.path("h1.mrcs"),
            second_halves=self.path("h2.mrcs"),
            spectra=self.path("averages.csv"),
            averages_record=self.path("averages.json"),
            **{"starts": 3, **settings},
        )
        return read_json(self.path("averages.json"))

    def align(self, **settings: Any) -> pd.DataFrame:
        align.run(
            self.path("volumes.mrcs"),
            self.path("gradcam.mrcs"),
            **self.tables,
            predictions=self.path("predictions.csv"),
            averages=self.path("averages.mrcs"),
            spectra=self.path("averages.csv"),
            averages_record=self.path("averages.json"),
            alignment=self.path("alignment.csv"),
            **settings,
        )
        return pd.read_csv(self.path("alignment.csv"), dtype={"id": str})

    def refine(self, first: Path) -> dict[str, Any]:
        """Average again from the products of `average` and `align`, which move to a folder."""
        names = (*MOST_MAPS, "averages.csv", "averages.json", "alignment.csv")
        first.mkdir()
        for name in names:
            self.path(name).rename(first / name)
        refine.run(
            self.path("volumes.mrcs"),
            **self.tables,
            alignment=first / "alignment.csv",
            first_averages=first / "averages.mrcs",
            first_half1=first / "h1.mrcs",
            first_half2=first / "h2.mrcs",
            first_spectra=first / "averages.csv",
            first_record=first / "averages.json",
            averages=self.path("averages.mrcs"),
            first_halves=self.path("h1.mrcs"),
            second_halves=self.path("h2.mrcs"),
            spectra=self.path("averages.csv"),
            averages_record=self.path("averages.json"),
            transfer=self.path("transfer.mrcs"),
            noise=self.path("noise.mrcs"),
        )
        return read_json(self.path("averages.json"))

    @property
    def weights(self) -> tuple[Path, ...]:
        return self.path("transfer.mrcs"), self.path("noise.mrcs")

    def map_back(self, **settings: Any) -> np.ndarray:
        map_back.run(
            self.path("volumes.mrcs"),
            self.path("averages.mrcs"),
            self.path("averages.json"),
            self.path("alignment.csv"),
            self.path("masks.mrcs"),
            **self.tables,
            mapped_back=self.path("mapped_back.mrcs"),
            out=self.path("consensus.mrcs"),
            choice=self.path("consensus.json"),
            tuned=self.path("tuned.mrcs"),
            tuned_choice=self.path("tuned.json"),
            **settings,
        )
        return np.asarray(read_stack(self.path("consensus.mrcs")))

    def calibrate(self) -> dict[str, Any]:
        calibrate.run(
            self.path("mapped_back.mrcs"),
            *(self.path(name) for name in MOST_MAPS),
            self.path("averages.json"),
            self.path("consensus.json"),
            self.path("alignment.csv"),
            self.path("masks.mrcs"),
            **self.tables,
            probabilities=self.path("probability.mrcs"),
            confidence=self.path("confidence.csv"),
            report=self.path("calibration.json"),
        )
        return read_json(self.path("calibration.json"))


def make(folder: Path, *, noise: float = 1.0, sizes: dict[str, int] = SIZES) -> Data:
    generator = np.random.default_rng(4)
    per_class = sum(sizes.values())
    n = 2 * per_class
    labels = np.repeat([1, 2], per_class)
    matrices = to_matrices(Rotation.random(n, rng=generator))
    shifts = generator.uniform(-2.5, 2.5, size=(n, 3))
    clean = np.stack(
        [turned(SHAPES[k - 1], m, s) for k, m, s in zip(labels, matrices, shifts, strict=True)]
    )
    defocus = generator.uniform(4, 7, size=n)
    boxes = np.stack(
        [
            convolve_transfer(
                volume, defocus_um=d, max_tilt_deg=60, microscope=Microscope(), voxel=VOXEL
            )
            for volume, d in zip(clean, defocus, strict=True)
        ]
    )
    boxes += noise * boxes.std() * generator.standard_normal(boxes.shape)
    cams = np.stack([turned(blobs((0, 0, 0, 3.0)), np.eye(3), s) for s in shifts])
    masks = (clean > 0.25) * labels[:, None, None, None]
    stacks = {"volumes": standardize(boxes), "gradcam": cams.astype(np.float16)}
    for name, stack in {**stacks, "masks": masks.astype(np.int8)}.items():
        write_stack(folder / f"{name}.mrcs", stack, voxel_size_angstrom=VOXEL)
    table = pd.DataFrame({"id": [f"{row:03d}" for row in range(n)]})
    table["class"] = np.array(["", *NAMES])[labels]
    write_csv(folder / "particles.csv", table.assign(label=labels, defocus_um=defocus))
    parts = np.tile(np.repeat(PARTS, [sizes[part] for part in PARTS]), 2)
    write_csv(folder / "split.csv", table.assign(part=parts))
    guide = {"label": labels, "predicted": labels, "guide": labels, "confidence": 1.0}
    write_csv(folder / "predictions.csv", table[["id"]].assign(**guide))
    return Data(folder, matrices, shifts)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """All three stages, once, with a stack of truths beside them."""
    data = make(tmp_path_factory.mktemp("consensus"))
    data.average()
    data.align()
    data.map_back()
    return data


def test_averages_are_maps_of_every_class_with_half_sets_that_agree(finished: Data) -> None:
    for name in MOST_MAPS:
        assert read_stack(finished.path(name)).shape == (2, EDGE, EDGE, EDGE)
        assert Stack.open(finished.path(name)).voxel_size_angstrom == VOXEL
    spectra = pd.read_csv(finished.path("averages.csv"))
    assert spectra.groupby("average", sort=False).size().to_dict() == dict.fromkeys(NAMES, 11)
    first = spectra[spectra["shell"] == 4]
    assert (first["fsc"] > 0.8).all()
    assert first["resolution_angstrom"].tolist() == [EDGE * VOXEL / 4] * 2
    record = read_json(finished.path("averages.json"))
    first = record["averages"][0]
    assert (first["title"], first["class"], first["label"]) == ("bent", "bent", 1)
    assert first["volumes"] == first["of_volumes"] == SIZES["train"]
    assert record["defocus_known"] is True
    for one in record["averages"]:
        assert one["doubts"] == []
        # 80 Å, four voxels, is shell 6 of 480 Å: the window spreads it to 7, and 8 and 9 are judged
        assert one["shared_angstrom"] == pytest.approx(480 / 7, abs=0.05)
        assert one["half_sets_angstrom"] == pytest.approx([480 / 8, 480 / 9], abs=0.05)
        assert one["half_sets"] > 0.5
        assert one["resolution_measured"] is True
        assert one["resolution_angstrom"] <= 480 / 8


def test_poses_turn_the_average_onto_the_particles(finished: Data) -> None:
    table = pd.read_csv(finished.path("alignment.csv"), dtype={"id": str})
    aligned = AlignmentTable.read(finished.path("alignment.csv"), table)
    # The average has an orientation of its own; relative turns of two particles have none.
    for rows in (slice(0, 22), slice(22, 44)):
        found, truth = aligned.matrices[rows], finished.matrices[rows]
        frames = truth.transpose(0, 2, 1) @ found  # the same for all, if all is right
        trace = np.einsum("nij,mij->nm", frames, frames)
        apart = np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        assert np.median(apart) < 18  # of random ones 126
        # and a middle of its own: the same displacement in its frame for all
        moved = np.einsum("nij,ni->nj", found, aligned.offsets[rows] - finished.shifts[rows])
        middle = np.median(moved, axis=0)
        assert np.median(np.linalg.norm(moved - middle, axis=1)) < 1
        assert np.linalg.norm(middle) < 3
    assert (table["score"] > 0).mean() > 0.95


def test_masks_are_those_of_the_target_without_a_look_at_any(finished: Data) -> None:
    found = np.asarray(read_stack(finished.path("consensus.mrcs")))
    truth = np.asarray(read_stack(finished.path("masks.mrcs")))
    assert found.dtype == np.int8
    assert (found.max(axis=(1, 2, 3)) == truth.max(axis=(1, 2, 3))).all()
    assert iou(found > 0, truth > 0).mean() > 0.7
    assert read_json(finished.path("consensus.json"))["validation_miou"] == {}
    choice = read_json(finished.path("tuned.json"))
    assert choice["contour"] in (float(key) for key in choice["validation_miou"])
    best = max(choice["validation_miou"].values())
    assert choice["validation_miou"][str(choice["contour"])] == best


@pytest.mark.parametrize("known", [True, False])
def test_averages_are_drawn_beside_the_truth_if_there_is_one(
    finished: Data, tmp_path: Path, known: bool
) -> None:
    record = {**read_json(finished.path("averages.json")), "defocus_known": known}
    write_json(tmp_path / "averages.json", record)
    table = pd.read_csv(finished.path("particles.csv"), dtype={"id": str})
    structures = table["class"].map(dict(zip(NAMES, ("one", "two"), strict=True)))
    write_csv(tmp_path / "particles.csv", table.assign(structure=structures))
    fine = np.repeat(np.repeat(np.repeat(SHAPES[0], 2, 0), 2, 1), 2, 2)  # half the voxel size
    write_volume(tmp_path / "one.mrc", fine, voxel_size_angstrom=VOXEL / 2)
    plot_averages.run(
        finished.path("averages.mrcs"),
        finished.path("averages.csv"),
        tmp_path / "averages.json",
        finished.path("consensus.json"),
        tmp_path / "particles.csv",
        finished.path("split.csv"),
        (tmp_path / "one.mrc",),
        out=tmp_path / "averages.png",
    )
    assert (tmp_path / "averages.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_all_volumes_that_fit_are_averaged_again_with_weights(tmp_path: Path) -> None:
    data = make(tmp_path)
    data.average()
    first = data.align(judge=False)
    assert np.isinf(first["decoy_margin"]).all()
    before = iou(data.map_back() > 0, read_stack(data.path("masks.mrcs")) > 0).mean()
    record = data.refine(tmp_path / "first")
    old = read_json(tmp_path / "first" / "averages.json")
    assert [one["volumes"] for one in old["averages"]] == [SIZES["train"]] * 2
    assert all(one["volumes"] > SIZES["train"] + 3 for one in record["averages"])
    for one, was in zip(record["averages"], old["averages"], strict=True):
        for told in ("title", "class", "label", "agreement_of_starts", "split_correlation"):
            assert one[told] == was[told]
    transfer, noise = (read_stack(path) for path in data.weights)
    assert transfer.shape == noise.shape == (1, EDGE, EDGE, EDGE)
    assert (noise > 0).all()
    table = data.align(weights=data.weights)
    assert np.isfinite(table["decoy_margin"]).all()
    after = iou(data.map_back() > 0, read_stack(data.path("masks.mrcs")) > 0).mean()
    assert after > before - 0.02
    with pytest.raises(ValueError, match="expected transfer and noise"):
        data.align(weights=data.weights[:1])


@pytest.mark.slow
def test_an_average_that_few_volumes_fit_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make(tmp_path)
    data.average()
    table = data.align()
    unsure = table["class"] == NAMES[0]
    write_csv(
        data.path("alignment.csv"),
        table.assign(class_probability=table["class_probability"].where(~unsure, 0.5)),
    )
    with caplog.at_level(logging.WARNING, logger="civa"):
        record = data.refine(tmp_path / "first")
    assert f"average {NAMES[0]}: 0 volumes fit it well (expected 10 or more)" in caplog.text
    assert record["averages"][0]["volumes"] == SIZES["train"]
    for name in MOST_MAPS:
        kept, old = (read_stack(folder / name)[0] for folder in (tmp_path, tmp_path / "first"))
        assert (kept == old).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(finished: Data, tmp_path: Path) -> None:
    again = make(tmp_path)
    again.average()
    for name in MOST_MAPS:
        assert (read_stack(again.path(name)) == read_stack(finished.path(name))).all()


@pytest.mark.slow
def test_without_a_known_defocus_the_average_is_boosted_and_masks_still_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make(tmp_path)
    table = pd.read_csv(data.path("particles.csv"), dtype={"id": str})
    write_csv(data.path("particles.csv"), table.drop(columns="defocus_um"))
    with caplog.at_level(logging.WARNING, logger="civa"):
        assert data.average()["defocus_known"] is False
    assert "no column defocus_um: the contrast transfer is not known" in caplog.text
    assert "the tilt range is not stated: -60 to 60 degrees about y are assumed" in caplog.text
    data.align()
    found, truth = data.map_back() > 0, np.asarray(read_stack(data.path("masks.mrcs"))) > 0
    assert iou(found, truth).mean() > 0.5


@pytest.mark.slow
def test_what_speaks_against_an_average_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = make(tmp_path, noise=30.0, sizes={"train": 16, "validation": 1, "test": 1})
    with caplog.at_level(logging.WARNING, logger="civa"):
        record = noise.average(starts=1)
    for one in record["averages"]:
        (doubt,) = one["doubts"]  # nothing else tells it from an average of particles
        assert re.match(r"the half-sets correlate at -?0\.[01]\d at 60 to 53 Å, beyond", doubt)
        assert f"average {one['title']}: {doubt}" in caplog.text
        assert one["resolution_measured"] is False
        assert one["resolution_angstrom"] == one["shared_angstrom"]


def test_a_contour_that_nothing_reaches_leaves_empty_masks_and_says_so(
    finished: Data, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_json(finished.path("consensus.json"))["empty"] == 0
    with caplog.at_level(logging.WARNING, logger="civa"):
        masks = finished.map_back(contour=1.5)  # the peak, a mean over its voxels, is 1
    try:
        assert not masks.any()
        assert read_json(finished.path("consensus.json"))["empty"] == 44
        assert "44 of 44 masks are empty (contour of 1.5)" in caplog.text
    finally:
        finished.map_back()


@pytest.mark.slow
def test_a_misfit_has_little_trust_and_is_reported(
    finished: Data, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    broken = make(tmp_path)
    for name in (*MOST_MAPS, "averages.csv", "averages.json"):
        broken.path(name).write_bytes(finished.path(name).read_bytes())
    stack = np.array(read_stack(broken.path("volumes.mrcs")))
    nothing = np.random.default_rng(0).standard_normal(stack[21].shape)
    stack[21] = standardize(nothing[None])[0]
    write_stack(broken.path("volumes.mrcs"), stack, voxel_size_angstrom=VOXEL)
    with caplog.at_level(logging.WARNING, logger="civa"):
        trust = broken.align()["trust"].to_numpy()
    table = pd.read_csv(broken.path("alignment.csv"))
    assert trust.argmin() == 21
    assert trust[21] < -3
    assert table["misfit"][21] == 1
    assert table["decoy_margin"].argmin() == 21
    assert (
        "volumes fitted their average badly (trust below -3, or a score that chance would reach); "
        "after other centres and classes were tried, 1 still do"
    ) in caplog.text


def test_the_network_stands_in_for_misfits_alone(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    columns = {"average": 1, "label": 1, "misfit": [0, 1, 0]}
    columns |= pose_columns(np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 3)))
    table = pd.DataFrame({"id": ids, "class": "x", **columns})
    table.to_csv(tmp_path / "alignment.csv", index=False)
    pd.DataFrame({"id": ids, "class": "x", "label": 1}).to_csv(tmp_path / "p.csv", index=False)
    for name, value in (("aligned", 1), ("network", 2)):
        stack = np.full((3, 4, 4, 4), value, dtype=np.int8)
        write_stack(tmp_path / f"{name}.mrcs", stack, voxel_size_angstrom=VOXEL)
    replace_outliers.run(
        tmp_path / "aligned.mrcs",
        tmp_path / "network.mrcs",
        tmp_path / "alignment.csv",
        tmp_path / "p.csv",
        out=tmp_path / "out.mrcs",
        choice=tmp_path / "out.json",
    )
    assert read_stack(tmp_path / "out.mrcs").max(axis=(1, 2, 3)).tolist() == [1, 2, 1]
    assert Stack.open(tmp_path / "out.mrcs").voxel_size_angstrom == VOXEL
    assert read_json(tmp_path / "out.json") == {"replaced": 1, "volumes": 3}


def test_calibration_makes_probabilities_honest_and_says_what_to_expect(finished: Data) -> None:
    report = finished.calibrate()
    assert report["calibrated_on"] == 2 * SIZES["validation"]
    before, after = report["before"], report["after"]
    assert after["ece_percent"] < before["ece_percent"]
    assert after["mean_gap_of_iou"] < 25
    chances = read_stack(finished.path("probability.mrcs"))
    assert chances.dtype == np.float16
    assert chances.min() >= 0 and chances.max() <= 1
    listed = pd.read_csv(finished.path("confidence.csv"), dtype={"id": str})
    assert listed["expected_iou"].between(0, 1).all()
    assert (listed.loc[listed["misfit"] == 1, "expected_iou"] == 0).all()


def test_without_masks_the_half_sets_stand_for_all_uncertainty(
    finished: Data, tmp_path: Path
) -> None:
    bare = Data(tmp_path, finished.matrices, finished.shifts)
    for path in finished.folder.iterdir():
        bare.path(path.name).write_bytes(path.read_bytes())
    masks = np.full(read_stack(bare.path("masks.mrcs")).shape, UNANNOTATED, dtype=np.int8)
    write_stack(bare.path("masks.mrcs"), masks, voxel_size_angstrom=VOXEL)
    report = bare.calibrate()
    assert report["calibrated_on"] == 0
    assert report["curves"]["bent"]["before"] == report["curves"]["bent"]["after"]
    assert "reject" not in report
    assert pd.read_csv(bare.path("confidence.csv"))["expected_iou"].max() > 0.5


@pytest.mark.slow
def test_alignment_mends_a_wrong_class_a_wrong_centre_and_a_wrong_label(
    finished: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = make(tmp_path)
    for name in (*MOST_MAPS, "averages.csv", "averages.json"):
        wrong.path(name).write_bytes(finished.path(name).read_bytes())
    predictions = pd.read_csv(wrong.path("predictions.csv"), dtype={"id": str})
    predictions.loc[21, ["predicted", "guide"]] = 2  # a test volume, of which nobody is sure
    predictions.loc[21, "confidence"] = 0.6
    predictions.loc[3, "predicted"] = 2  # a training volume: its label guides
    predictions.loc[5, ["label", "guide"]] = 2  # a wrong label
    write_csv(wrong.path("predictions.csv"), predictions)
    cams = np.array(read_stack(wrong.path("gradcam.mrcs")))
    cams[16] = 0
    cams[16, 1:4, 1:4, 1:4] = 1  # a corner without anything
    cams[40] = 0
    write_stack(wrong.path("gradcam.mrcs"), cams, voxel_size_angstrom=VOXEL)
    with caplog.at_level(logging.WARNING, logger="civa"):
        table = wrong.align()
    assert table["label"].tolist() == [1] * 22 + [2] * 22
    assert table["average"].tolist() == table["label"].tolist()  # one of each class
    assert table["class"].tolist() == [NAMES[0]] * 22 + [NAMES[1]] * 22
    told = table.index[table["told"] != table["class"]].tolist()
    assert told == [5, 21]
    assert "1 training volumes fit the average of another class" in caplog.text
    assert "all volumes: 1 of 44 localization maps are empty" in caplog.text
    right = pd.read_csv(finished.path("alignment.csv"), dtype={"id": str})
    shifts = [f"shift_{axis}" for axis in "zyx"]
    apart = np.linalg.norm(table[shifts] - right[shifts], axis=1)
    assert apart[21] < 1.5
    assert apart[16] < 5  # the particle has parts as far from its middle; the corner is 14 away


def test_a_defocus_that_is_no_number_is_refused(tmp_path: Path) -> None:
    data = make(tmp_path)
    table = pd.read_csv(data.path("particles.csv"), dtype=str)
    write_csv(data.path("particles.csv"), table.assign(defocus_um="deep"))
    with pytest.raises(ValueError, match=r"defocus_um must be a number of µm .*'000'"):
        data.average()


def test_a_window_that_does_not_fit_the_box_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="radius_voxels is 13: expected 2 to 12"):
        make(tmp_path).average(radius_voxels=13)


def test_poses_of_other_volumes_are_refused(finished: Data, tmp_path: Path) -> None:
    table = pd.read_csv(finished.path("alignment.csv"), dtype={"id": str})
    write_csv(tmp_path / "other.csv", table.iloc[::-1])
    with pytest.raises(ValueError, match=r"does not list the same ids .* rerun 'align'"):
        AlignmentTable.read(tmp_path / "other.csv", table)
