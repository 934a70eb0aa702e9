"""Records beside products, and the check that nothing changed since."""

import subprocess
from pathlib import Path

import pytest

from civa import __version__
from civa.data.files import digest, read_json
from civa.pipeline import provenance
from civa.pipeline.provenance import (
    commit,
    digests,
    leaves,
    record_path,
    recorded_files,
    trace,
    verify,
    versions,
    write_record,
)


def make(product: Path, *inputs: Path, stage: str = "stage") -> Path:
    """Make a product from its inputs' contents, and record it."""
    product.write_text(product.name + "".join(path.read_text() for path in inputs))
    write_record(
        stage,
        inputs=digests(inputs),
        outputs=[product],
        parameters={"x": 1},
        seconds=0.1234,
        command="civa x",
    )
    return product


@pytest.fixture
def chain(tmp_path: Path) -> dict[str, Path]:
    """source -> atoms -> volumes -> scores, and masks from volumes."""
    source = tmp_path / "source"
    source.write_text("downloaded by hand")
    atoms = make(tmp_path / "atoms", source, stage="build-template")
    volumes = make(tmp_path / "volumes", atoms, stage="simulate")
    masks = make(tmp_path / "masks", volumes, stage="segment")
    scores = make(tmp_path / "scores", volumes, masks, stage="score")
    names = {"source": source, "atoms": atoms, "volumes": volumes, "masks": masks}
    return {**names, "scores": scores}


def test_a_record_says_what_made_the_product(chain: dict[str, Path]) -> None:
    record = read_json(record_path(chain["scores"]))
    assert record_path(chain["scores"]).name == "scores.provenance.json"
    assert record["stage"] == "score"
    assert record["parameters"] == {"x": 1}
    assert record["sha256"] == digest(chain["scores"])
    assert record["inputs"] == {str(chain[n]): digest(chain[n]) for n in ("volumes", "masks")}
    assert record["seconds"] == 0.12
    assert record["versions"] == versions()


def test_versions_name_this_package_and_its_libraries() -> None:
    assert versions()["civa"] == __version__
    assert {"python", "numpy", "scipy", "mrcfile", "gemmi"} <= versions().keys()


def test_a_fresh_product_passes(chain: dict[str, Path]) -> None:
    for path in chain.values():
        verify(path)


@pytest.mark.parametrize("changed", ["source", "atoms", "volumes", "masks", "scores"])
def test_a_change_anywhere_upstream_is_named(chain: dict[str, Path], changed: str) -> None:
    chain[changed].write_text("edited")
    with pytest.raises(ValueError, match=f"{changed} is not the file that stage .* recorded"):
        verify(chain["scores"])


def test_an_ancestor_made_anew_is_noticed_though_its_own_record_is_right(
    chain: dict[str, Path],
) -> None:
    chain["source"].write_text("another download")
    make(chain["atoms"], chain["source"])
    verify(chain["atoms"])
    with pytest.raises(ValueError, match="atoms is not the file that stage 'simulate' recorded"):
        verify(chain["scores"])


def test_what_does_not_lie_upstream_may_change(chain: dict[str, Path]) -> None:
    chain["masks"].write_text("edited")
    verify(chain["volumes"])


def test_a_deleted_intermediate_is_no_contradiction(chain: dict[str, Path]) -> None:
    chain["atoms"].unlink()
    verify(chain["scores"])


def test_products_that_were_not_made_have_no_record(tmp_path: Path) -> None:
    absent = tmp_path / "optional"
    write_record("stage", inputs={}, outputs=[absent], parameters={}, seconds=0, command="civa x")
    assert not record_path(absent).exists()


def test_leaves_are_what_no_stage_made(chain: dict[str, Path], tmp_path: Path) -> None:
    second = tmp_path / "downloaded"
    make(second, stage="fetch-structure")
    final = make(tmp_path / "final", chain["scores"], second)
    assert leaves(final) == {chain["source"]: digest(chain["source"]), second: digest(second)}


def test_leaves_have_the_content_that_was_read(chain: dict[str, Path]) -> None:
    read = digest(chain["source"])
    chain["source"].unlink()
    assert leaves(chain["scores"]) == {chain["source"]: read}


def test_an_input_is_its_own_leaf(chain: dict[str, Path]) -> None:
    assert leaves(chain["source"]) == {chain["source"]: digest(chain["source"])}


def test_the_commit_is_that_of_the_repository_of_this_package() -> None:
    folder = Path(provenance.__file__).parent
    git = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy of the source is no git repository")
    assert commit().removesuffix(" with changes") == head


def test_a_folder_has_one_record_beside_it_that_lists_its_files(tmp_path: Path) -> None:
    folder, source = tmp_path / "export", tmp_path / "source"
    source.write_text("x")
    (folder / "particles").mkdir(parents=True)
    for name in ("particles/1.mrc", "a.star"):
        (folder / name).write_text(name)
    other = tmp_path / "other"
    other.write_text("y")
    write_record(
        "export",
        inputs=digests([source]),
        outputs=[folder, other],
        parameters={},
        seconds=0,
        command="civa export",
    )
    assert recorded_files(folder) == ["a.star", "particles/1.mrc"]
    assert recorded_files(tmp_path / "nothing") == []
    assert "files" not in read_json(record_path(other))
    assert [path for _, path, _ in trace(folder)] == [folder, source]
    verify(folder)
    (folder / "a.star").rename(folder / "b.star")  # a name is content too
    with pytest.raises(ValueError, match="export is not the file that stage 'export' recorded"):
        verify(folder)


def test_a_trace_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "results").mkdir(parents=True)
    monkeypatch.chdir(project)
    source = Path("results/a.txt")
    source.write_text("a")
    middle = make(Path("results/b.txt"), source)
    product = make(Path("results/c.txt"), middle)
    monkeypatch.chdir(tmp_path)
    found = [path for _, path, _ in trace(project / product)]
    assert found == [project / product, project / middle, project / source]
