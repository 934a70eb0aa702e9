"""The stage that judges a run: with a ground truth, with some of it, with none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civa.cli import main
from civa.data.files import read_json, write_json
from civa.data.stack import write_stack
from civa.evaluation.ledger import COLUMNS, STAGES, read_ledger
from civa.pipeline.provenance import record_path
from civa.stages import score

N, EDGE, VOXEL_SIZE = 20, 8, 10.0
STACKS = {"gradcam": "gradcam", "cooccurrence": "pseudo_labels", "iva": "iva", "crf": "crf"}


@dataclass
class Run:
    """Files of a run of two classes, ten volumes each, every other one for testing."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def command(self) -> list[str]:
        flags = {
            "metrics": "classifier.json",
            "predictions": "predictions.csv",
            "masks": "masks.mrcs",
            "particles": "particles.csv",
            "split": "split.csv",
            "out": "ledger.csv",
            **{flag.replace("_", "-"): f"{name}.mrcs" for name, flag in STACKS.items()},
        }
        words = [word for flag, name in flags.items() for word in (f"--{flag}", self.path(name))]
        found = [sorted(self.folder.glob(f"{kind}/*.csv")) for kind in ("scores", "trivial")]
        return list(map(str, ["assess", *words, "--scores", *found[0], "--trivial", *found[1]]))

    def assess(self) -> pd.DataFrame:
        assert main(self.command()) == 0
        return read_ledger(self.path("ledger.csv")).set_index(["stage", "check"])

    def write_masks(self, name: str, masks: np.ndarray) -> None:
        write_stack(self.path(f"{name}.mrcs"), masks, voxel_size_angstrom=VOXEL_SIZE)

    def rescore(self) -> None:
        for kind, names in (("scores", STACKS), ("trivial", ("ball",))):
            for name in names:
                score.run(
                    self.path(f"{name}.mrcs"),
                    *(self.path(f) for f in ("masks.mrcs", "particles.csv", "split.csv")),
                    out=self.path(f"{kind}/{name}.csv"),
                )


def cubes(edges: Sequence[int], labels: np.ndarray) -> np.ndarray:
    """Cubes of these edges in a corner of the box, with their labels."""
    stack = np.zeros((len(labels), EDGE, EDGE, EDGE), dtype=np.int8)
    for volume, edge, label in zip(stack, edges, labels, strict=True):
        volume[:edge, :edge, :edge] = label
    return stack


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The truth are cubes of 4 voxels; stages find them ever better, the ball hardly."""
    made = Run(tmp_path)
    labels = np.repeat([1, 2], N // 2)
    names = np.array(["one", "two"])[labels - 1]
    ids = [f"{i:03d}" for i in range(N)]
    table = pd.DataFrame({"id": ids, "class": names, "label": labels})
    table.to_csv(made.path("particles.csv"), index=False)
    parts = np.tile(["train", "test", "validation", "test", "train"], N // 5)
    table[["id", "class"]].assign(part=parts).to_csv(made.path("split.csv"), index=False)
    predictions = table[["id", "label"]].assign(predicted=labels, guide=labels, confidence=0.9)
    predictions.to_csv(made.path("predictions.csv"), index=False)
    write_json(made.path("classifier.json"), {"test_class_accuracy": 1.0, "chance": 0.5})
    made.write_masks("masks", cubes([4] * N, labels))
    for name, edge in zip((*STACKS, "ball"), (2, 3, 5, 4, 1), strict=True):
        made.write_masks(name, cubes([edge] * N, labels))
    made.rescore()
    return made


def test_a_ledger_has_the_stages_in_their_order_and_a_record(run: Run) -> None:
    ledger = run.assess().reset_index()
    assert tuple(ledger.columns) == COLUMNS
    assert list(dict.fromkeys(ledger["stage"])) == [
        *("data", "classifier", "Grad-CAM", "co-occurrence", "pseudo labels"),
        *("affinity network", "CRF", "trivial rules"),
    ]
    inputs = read_json(record_path(run.path("ledger.csv")))["inputs"]
    assert str(run.path("scores/crf.csv")) in inputs


def test_figures_of_a_run_by_hand(run: Run) -> None:
    ledger = run.assess()["value"]
    # Cubes in one corner: IoU is the ratio of the volumes, 8 : 27 : 64 : 125 voxels.
    assert ledger["Grad-CAM", "test mIoU"] == 12.5
    assert ledger["co-occurrence", "test mIoU"] == 42.2
    assert ledger["affinity network", "test mIoU"] == 51.2
    assert ledger["CRF", "test mIoU"] == 100
    gain = "gain in test mIoU over the stage before"
    assert ledger["co-occurrence", f"{gain} (Grad-CAM)"] == 29.7
    assert ledger["CRF", f"{gain} (affinity network)"] == 48.8
    supervision = "mIoU of the training part, which supervises the network"
    assert ledger["pseudo labels", supervision] == 42.2
    shared = "agreement of proposals with Grad-CAM, mean IoU"
    assert ledger["affinity network", shared] == 6.4  # 8 of 125
    assert ledger["trivial rules"].tolist() == [98.4]  # the ball has 1 of 64 voxels
    diameter = "diameter of a ball as large as the median mask (one)"
    assert ledger["CRF", diameter] == 50  # 64 voxels of 10 Å: 2 * (3 * 64 / 4 pi)^(1/3) = 4.96


def test_pseudo_labels_are_judged_on_the_part_that_they_supervise(run: Run) -> None:
    parts = pd.read_csv(run.path("split.csv"))["part"]
    edges = np.where(parts == "train", 4, 3)
    run.write_masks("cooccurrence", cubes(edges.tolist(), np.repeat([1, 2], N // 2)))
    run.rescore()
    values = run.assess()["value"]
    assert values["co-occurrence", "test mIoU"] == 42.2
    supervision = "mIoU of the training part, which supervises the network"
    assert values["pseudo labels", supervision] == 100


def test_one_bad_stage_shows_in_its_own_lines(run: Run) -> None:
    labels = np.repeat([1, 2], N // 2)
    run.write_masks("crf", cubes([0, 8] * (N // 2), labels))
    run.rescore()
    verdicts = run.assess()["verdict"]
    assert verdicts["CRF", "volumes without a mask"] == "red"
    assert verdicts["CRF", "masks over 25 % of the box"] == "red"
    assert (verdicts["co-occurrence"] == "green").all()
    assert (verdicts["trivial rules"] == "green").all()  # 8 of 64 voxels and more


def test_a_classifier_that_guesses_is_red(run: Run) -> None:
    table = pd.read_csv(run.path("predictions.csv"), dtype={"id": str}).assign(predicted=1)
    table.to_csv(run.path("predictions.csv"), index=False)
    write_json(run.path("classifier.json"), {"test_class_accuracy": 0.5})
    lines = run.assess().loc["classifier"]
    assert lines["verdict"].tolist() == ["red", "red"]
    assert lines["value"].tolist() == [50, 0]
    assert "(two)" in lines.index[1]
    assert lines["advice"].str.contains("classifier.").all()


def test_without_a_ground_truth_labels_carry_the_ledger(run: Run) -> None:
    run.write_masks("masks", np.full((N, EDGE, EDGE, EDGE), -1, dtype=np.int8))
    run.rescore()
    ledger = run.assess()
    needs_truth = ledger.index.get_level_values("check").str.contains("mIoU|ground truth|lead")
    assert (ledger["verdict"][needs_truth] == "n/a").all()
    assert ledger["value"][needs_truth].isna().all()
    others = ledger[~needs_truth]
    assert others["value"].notna().all()
    assert (others["verdict"][others["unit"] != "Å"] != "n/a").all()
    assert len(others) > 10


def test_masks_of_some_volumes_are_enough(run: Run) -> None:
    labels = np.repeat([1, 2], N // 2)
    truth = cubes([4] * N, labels)
    truth[N // 2 :] = -1  # nothing is known of the second class
    run.write_masks("masks", truth)
    crf = cubes([4] * (N // 2) + [1] * (N // 2), labels)  # and there the CRF fails
    run.write_masks("crf", crf)
    run.rescore()
    ledger = run.assess()
    assert ledger["value"]["CRF", "test mIoU"] == 100
    assert ledger["value"]["CRF", "test mIoU, worst class (one)"] == 100
    assert ledger["value"]["data", "test images with a ground truth"] == 4
    supervision = "mIoU of the training part, which supervises the network"
    assert ledger["value"]["pseudo labels", supervision] == 42.2


def test_a_network_that_was_not_trained_is_no_crash(run: Run) -> None:
    for name in ("iva", "crf"):
        run.write_masks(name, np.full((N, EDGE, EDGE, EDGE), -1, dtype=np.int8))
    run.rescore()
    ledger = run.assess()
    assert ledger["verdict"]["affinity network", "volumes without a mask"] == "red"
    assert ledger["verdict"]["affinity network", "test mIoU"] == "n/a"
    assert ledger["verdict"]["trivial rules"].tolist() == ["n/a"]


def test_scores_that_were_not_made_are_not_available(run: Run) -> None:
    for path in (*run.folder.glob("scores/*.csv"), *run.folder.glob("trivial/*.csv")):
        path.unlink()
    verdicts = run.assess()["verdict"]
    for stage in STAGES.values():
        assert verdicts[stage, "test mIoU"] == "n/a"


def spoil_masks(run: Run) -> None:
    run.write_masks("iva", np.zeros((3, EDGE, EDGE, EDGE), dtype=np.int8))


def spoil_predictions(run: Run) -> None:
    table = pd.DataFrame({"id": ["x"], "predicted": [1], "guide": [1], "confidence": [1.0]})
    table.to_csv(run.path("predictions.csv"), index=False)


def spoil_metrics(run: Run) -> None:
    write_json(run.path("classifier.json"), {"accuracy": 1.0})


def spoil_figures(run: Run) -> None:
    columns = "id,class,iou,iou_agnostic,voxels,true_voxels"
    run.path("scores/crf.csv").write_text(f"{columns}\n001,one,x,0.5,1,1\n")


def spoil_scores(run: Run) -> None:
    run.path("scores/crf.csv").write_text("id,class\n001,one\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_masks, "iva.mrcs holds 3 volumes: expected one for each of the 20 rows"),
        (spoil_predictions, "predictions.csv does not list the same ids"),
        (spoil_metrics, "classifier.json holds ['accuracy']: expected test_class_accuracy"),
        (spoil_figures, "crf.csv is no table of scores (could not convert string to float: 'x')"),
        (
            spoil_scores,
            "crf.csv has no column ['iou', 'iou_agnostic', 'voxels', 'true_voxels']: expected",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(
    run: Run, spoil, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(run)
    assert main(run.command()) == 1
    assert message in caplog.messages[-1]
    assert "; rerun" in caplog.messages[-1] or ": rerun" in caplog.messages[-1]


def test_the_new_method_is_judged_where_its_products_are_given(run: Run) -> None:
    figures = {"half_sets": 0.97, "agreement_of_starts": 0.99, "volumes": 8, "of_volumes": 8}
    figures["agreement_at_resolution"] = 0.9
    averages = [{**figures, "title": name, "class": name} for name in ("one", "two")]
    write_json(run.path("averages.json"), {"averages": averages})
    misfit = [0] * (N - 1) + [1]
    table = pd.read_csv(run.path("particles.csv"), dtype={"id": str})[["id", "class", "label"]]
    aligned = table.assign(average=table["label"], misfit=misfit, decoy_margin=20.0, trust=0.0)
    aligned = aligned.assign(pose_agreement=0.8, probability=1.0)
    poses = {f"shift_{axis}": 0.0 for axis in "zyx"}
    poses |= {f"quaternion_{axis}": float(axis == "w") for axis in "xyzw"}
    aligned.assign(**poses).to_csv(run.path("alignment.csv"))
    flags = {"averages": "averages.json", "alignment": "alignment.csv", "consensus": "crf.mrcs"}
    words = [word for flag, name in flags.items() for word in (f"--{flag}", run.path(name))]
    assert main([*run.command(), *map(str, words)]) == 0
    lines = read_ledger(run.path("ledger.csv")).set_index(["stage", "check"])
    found = lines.loc["CIVA-Consensus"]
    assert found["value"]["volumes that fit the average of no class"] == 5
    assert (
        found["value"]["correlation of half-sets beyond the shells they share, worst class (one)"]
        == 97
    )
    assert found["value"]["volumes without a mask"] == 0
    (accuracy,) = (name for name in found.index if "class accuracy of alignment" in name)
    assert found["value"][accuracy] == 100
    expected = found["value"]["IoU to expect of a mask, without a look at any, mean"]
    assert expected == round(100 * 0.9 * 0.8 * (N - 1) / N, 1)
    assert found["verdict"]["test mIoU"] == "n/a"  # no scores were given
