"""Poses as RELION reads them: the files, the choice of volumes, and RELION's own average."""

import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from synthetic import EDGE, VOXEL, blobs, turned

from civa.cli import main
from civa.consensus.alignment_table import AlignmentTable
from civa.consensus.poses import from_relion_angles_deg, pose_columns, to_matrices
from civa.data.files import read_json, write_csv, write_json
from civa.data.stack import write_stack
from civa.data.star import read_star
from civa.data.volume import read_volume
from civa.optics import TiltRange, missing_wedge
from civa.pipeline.provenance import record_path

# Four blobs that are not in one plane: in no orientation is this its own mirror image, and as it
# stands here its flips correlate with it at 0.24 at most.
SHAPE = blobs((4, 4, 1, 1.4), (-1, -4, 3, 1.8), (2, 0, -5, 1.6), (-5, 1, -1, 1.5))
IDS = ["007", "1e5", "part 3", "it's", "../x@y", ",@", "é", "a#b"]


def write_data(folder: Path, boxes: np.ndarray, matrices: np.ndarray, shifts: np.ndarray) -> None:
    """Write volumes and poses as the stages before leave them; two classes, three averages."""
    n = len(boxes)
    ids = [*IDS, *(f"p{i}" for i in range(len(IDS), n))][:n]
    averages = np.arange(n) % 3 + 1
    labels = np.minimum(averages, 2)  # the second class has two averages
    particles = pd.DataFrame({"id": ids, "label": labels})
    particles["class"] = np.array(["", "bent", "long"])[labels]
    found = particles.assign(
        average=averages, score=40.0, misfit=0, **pose_columns(matrices, shifts)
    )
    write_csv(folder / "particles.csv", particles)
    write_csv(folder / "alignment.csv", found)
    write_stack(folder / "volumes.mrcs", boxes, voxel_size_angstrom=VOXEL)
    record = {"voltage_kv": 200.0, "spherical_aberration_mm": 1.4, "amplitude_contrast": 0.1}
    write_json(folder / "averages.json", record)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine small volumes with ids that are hard on names and tables."""
    generator = np.random.default_rng(3)
    matrices = to_matrices(Rotation.random(9, rng=generator))
    boxes = generator.standard_normal((9, 6, 6, 6)).astype(np.float16)
    write_data(tmp_path, boxes, matrices, generator.uniform(-1, 1, (9, 3)))
    return tmp_path


def export(folder: Path, *settings: str) -> int:
    inputs = {
        "--volumes": "volumes.mrcs",
        "--particles": "particles.csv",
        "--averages-record": "averages.json",
        "--alignment": "alignment.csv",
        "--folder": "export",
    }
    paths = [word for flag, name in inputs.items() for word in (flag, str(folder / name))]
    return main(["export", *paths, *settings])


def mark_misfits(folder: Path, *rows: int) -> None:
    table = pd.read_csv(folder / "alignment.csv", dtype={"id": str}, keep_default_na=False)
    table.loc[list(rows), "misfit"] = 1
    write_csv(folder / "alignment.csv", table)


def test_every_volume_has_a_file_and_a_pose(data: Path) -> None:
    assert export(data) == 0
    tables = read_star(data / "export" / "particles.star")
    assert list(tables) == ["optics", "particles"]
    assert tables["optics"].to_dict("records") == [
        {
            "rlnOpticsGroup": 1,
            "rlnOpticsGroupName": "opticsGroup1",
            "rlnVoltage": 200,
            "rlnSphericalAberration": 1.4,
            "rlnAmplitudeContrast": 0.1,
            "rlnImagePixelSize": VOXEL,
            "rlnImageSize": 6,
            "rlnImageDimensionality": 3,
        }
    ]
    listed = tables["particles"]
    assert listed["rlnTomoParticleName"].tolist() == [*IDS, "p8"]
    assert listed["rlnClassNumber"].tolist() == [1, 2, 3] * 3
    assert listed["rlnLogLikeliContribution"].tolist() == [40] * 9
    particles = pd.read_csv(data / "particles.csv", dtype={"id": str}, keep_default_na=False)
    aligned = AlignmentTable.read(data / "alignment.csv", particles)
    angles = listed[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    assert from_relion_angles_deg(angles) == pytest.approx(aligned.matrices, abs=1e-7)
    origins = listed[["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]].to_numpy()
    assert origins == pytest.approx(-VOXEL * aligned.offsets[:, ::-1], abs=1e-6)


def test_files_are_single_volumes_with_safe_names(data: Path) -> None:
    assert export(data) == 0
    listed = read_star(data / "export" / "particles.star")["particles"]
    assert listed["rlnImageName"].tolist()[:7] == [
        "particles/000001_007.mrc",
        "particles/000002_1e5.mrc",
        "particles/000003_part-3.mrc",
        "particles/000004_it-s.mrc",
        "particles/000005_x-y.mrc",
        "particles/000006.mrc",
        "particles/000007.mrc",
    ]
    stack = mrcfile.read(data / "volumes.mrcs")
    for row, name in enumerate(listed["rlnImageName"]):
        with mrcfile.open(data / "export" / name) as mrc:
            assert mrc.data.dtype == np.float32  # RELION 3.1 cannot read float16
            assert (mrc.data == stack[row]).all()
            assert (int(mrc.header.ispg), int(mrc.header.mz)) == (1, 6)
            assert mrc.voxel_size.x == VOXEL
        assert mrcfile.validate(data / "export" / name)
    assert len(list((data / "export" / "particles").iterdir())) == 9


def test_an_odd_box_grows_to_an_even_one_around_its_middle(data: Path) -> None:
    # RELION 3.1 reads odd boxes without a word, and averages them into nothing.
    boxes = np.zeros((9, 5, 5, 5), np.float32)
    boxes[:, 2, 2, 2] = 1
    write_stack(data / "volumes.mrcs", boxes, voxel_size_angstrom=VOXEL)
    assert export(data) == 0
    optics, listed = read_star(data / "export" / "particles.star").values()
    assert optics["rlnImageSize"].tolist() == [6]
    volume = mrcfile.read(data / "export" / listed["rlnImageName"][0])
    assert (volume.shape, np.argwhere(volume).tolist()) == ((6, 6, 6), [[3, 3, 3]])


def test_comments_say_where_to_run_relion_and_which_volumes_these_are(data: Path) -> None:
    assert export(data) == 0
    first, second, third, *_ = (data / "export" / "particles.star").read_text().splitlines()
    assert str(data / "volumes.mrcs") in first
    assert str(data / "alignment.csv") in first
    assert second == "# Class numbers are those of averages: 1 is bent, 2 is long, 3 is long"
    assert third == "# Image names are relative to the folder of this file: run RELION there."


def test_a_record_lies_beside_the_folder_and_an_older_export_is_replaced(data: Path) -> None:
    assert export(data) == 0
    record = read_json(record_path(data / "export"))
    assert record["stage"] == "export"
    assert len(record["inputs"]) == 4
    assert len(record["files"]) == 10
    whole = (data / "export" / "particles.star").read_bytes()
    assert export(data, "--only-average", "3") == 0
    names = [path.name for path in (data / "export" / "particles").iterdir()]
    assert sorted(names) == ["000003_part-3.mrc", "000006.mrc", "000009_p8.mrc"]
    assert export(data) == 0
    assert (data / "export" / "particles.star").read_bytes() == whole
    assert main(["trace", "--file", str(data / "export")]) == 0


def test_what_relion_wrote_into_an_export_is_not_lost(data: Path, tmp_path: Path) -> None:
    assert export(data) == 0
    (data / "export" / "map.mrc").write_text("an average")
    log = tmp_path / "log"
    assert export(data, "--log", str(log)) == 1
    assert "'map.mrc'" in log.read_text()
    assert (data / "export" / "map.mrc").read_text() == "an average"


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ([], [0, 2, 3, 5, 6, 7, 8], "7 of 9 volumes exported; 2 misfits .* left out"),
        (["--include-misfits"], list(range(9)), "9 of 9 volumes exported; 2 misfits .* included"),
        (["--only-class", "long"], [2, 5, 7, 8], "4 of 9 volumes exported; 2 misfits"),
        (["--only-class", "bent"], [0, 3, 6], "3 of 9 volumes exported; 0 misfits"),
        (["--only-average", "2", "--include-misfits"], [1, 4, 7], "3 of 9 .* 2 misfits"),
    ],
)
def test_misfits_are_counted_and_left_out_and_one_class_or_average_can_be_asked_for(
    data: Path, settings: list[str], rows: list[int], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    mark_misfits(data, 1, 4)
    with caplog.at_level("INFO", logger="civa"):
        assert export(data, *settings) == 0
    names = read_star(data / "export" / "particles.star")["particles"]["rlnImageName"]
    assert [int(name[10:16]) - 1 for name in names] == rows
    assert re.search(message, caplog.text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--only-class", "spike"], r"no volume of class 'spike' .* \['bent', 'long'\]"),
        (["--only-average", "4"], r"no volume of average '4' .* \[1, 2, 3\]"),
        (["--only-class", "bent"], "marks all 3 volumes .* --include-misfits"),
    ],
)
def test_a_choice_without_volumes_is_refused(
    data: Path, settings: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    mark_misfits(data, 0, 3, 6)
    assert export(data, *settings) == 1
    assert re.search(message, caplog.text)
    assert not (data / "export").exists()


def test_files_that_do_not_belong_together_are_named(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_stack(data / "volumes.mrcs", np.zeros((8, 6, 6, 6), np.float32), voxel_size_angstrom=10)
    assert export(data) == 1
    assert re.search(r"volumes\.mrcs holds 8 volumes, but .*alignment\.csv lists 9", caplog.text)
    write_json(data / "averages.json", {"contour": 0.25})
    write_stack(data / "volumes.mrcs", np.zeros((9, 6, 6, 6), np.float32), voxel_size_angstrom=10)
    assert export(data) == 1
    assert re.search(r"averages\.json does not state \['voltage_kv', ", caplog.text)


def band_passed(volume: np.ndarray) -> np.ndarray:
    """Frequencies that the shape fills and the box resolves: 1/12 to 1/4 of a cycle per voxel."""
    axis = np.fft.fftfreq(len(volume))
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis)))
    kept = (radius > 1 / 12) & (radius < 1 / 4)
    return np.real(np.fft.ifftn(np.fft.fftn(volume) * kept))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(band_passed(first).ravel(), band_passed(second).ravel())[0, 1])


@pytest.mark.relion
@pytest.mark.skipif(
    shutil.which("relion_reconstruct") is None,
    reason="RELION (relion_reconstruct) is not installed: make test-relion installs it",
)
@pytest.mark.parametrize("odd", [False, True], ids=["even box", "odd box"])
def test_relion_reconstructs_the_shape_from_an_export_as_it_is(tmp_path: Path, odd: bool) -> None:
    generator = np.random.default_rng(5)
    n = 90
    matrices = to_matrices(Rotation.random(n, rng=generator))
    shifts = generator.uniform(-3, 3, (n, 3))
    boxes = np.stack([turned(SHAPE, m, s) for m, s in zip(matrices, shifts, strict=True)])
    boxes = np.fft.ifftn(
        np.fft.fftn(boxes, axes=(1, 2, 3)) * missing_wedge(EDGE, TiltRange()), axes=(1, 2, 3)
    )
    boxes = boxes.real + 1.5 * boxes.real.std() * generator.standard_normal(boxes.shape)
    if odd:  # one plane more at the end of every axis: the middle of 25 is that of 24
        boxes = np.pad(boxes, [(0, 0)] + 3 * [(0, 1)])
    write_data(tmp_path, boxes.astype(np.float32), matrices, shifts)
    mark_misfits(tmp_path, 1, 8)
    assert export(tmp_path) == 0
    command = ["relion_reconstruct", "--i", "particles.star", "--o", "out.mrc", "--3d_rot"]
    done = subprocess.run(command, cwd=tmp_path / "export", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found, voxel_size = read_volume(tmp_path / "export" / "out.mrc")
    assert voxel_size == pytest.approx(VOXEL)
    found = found[1:-1, 1:-1, 1:-1] if odd else found  # exported boxes of 26: one before, one after
    right = correlation(found, SHAPE)
    flips = [np.roll(np.flip(SHAPE, axis), 1, axis) for axis in range(3)]
    mirrored = [correlation(found, flip) for flip in flips]
    print(f"RELION's map and the shape: {right:.3f}; mirrored: {np.round(mirrored, 3)}")
    assert right > 0.95  # displaced by one voxel, it would be 0.87
    assert max(mirrored) < right - 0.3
