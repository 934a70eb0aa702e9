"""Products appear together and whole, or not at all; the later of two runs owns them."""

from pathlib import Path

import pytest

from civa.publication import Superseded, publishing

KILLED = []  # runs that never came to an end: a generator that is collected would clean up


def begin_and_be_killed(*products: Path) -> None:
    """Start a run that writes its first product and then is no more."""
    run = publishing(products)
    KILLED.append(run)
    run.__enter__()[products[0]].write_text("half")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_products_appear_when_all_are_there(tmp_path: Path) -> None:
    weights, curve = tmp_path / "run" / "weights", tmp_path / "run" / "masks" / "curve"
    with publishing([weights, curve]) as private:
        private[weights].write_text("w")
        private[curve].write_text("c")
        assert not weights.exists()
        assert private[weights].name == "weights"
    assert (weights.read_text(), curve.read_text()) == ("w", "c")
    assert names(tmp_path / "run") == ["masks", "weights"]
    assert names(tmp_path / "run" / "masks") == ["curve"]


def test_what_lies_beside_a_product_comes_with_it(tmp_path: Path) -> None:
    with publishing([tmp_path / "a"]) as private:
        private[tmp_path / "a"].with_name("a.provenance.json").write_text("{}")
    assert names(tmp_path) == ["a.provenance.json"]  # a product may be left out


def test_a_failure_leaves_the_previous_products(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    weights.write_text("old")
    with pytest.raises(OSError, match="disk is full"), publishing([weights, curve]) as private:
        private[weights].write_text("new")
        raise OSError("the disk is full")
    assert weights.read_text() == "old"
    assert names(tmp_path) == ["weights"]


def test_the_later_of_two_runs_owns_the_products(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    with pytest.raises(Superseded, match=r"another run of this stage took over .*slurm_job"):
        orphan(weights, curve)
    assert not weights.exists()
    assert not curve.exists()
    with publishing([weights, curve]) as again:
        again[weights].write_text("twin")
    assert names(tmp_path) == ["weights"]


def orphan(weights: Path, curve: Path) -> None:
    """A run whose successor starts, writes one product and is killed while it works."""
    with publishing([weights, curve]) as private:
        private[weights].write_text("orphan")
        begin_and_be_killed(weights, curve)
        private[curve].write_text("orphan")  # its folder is gone


def test_an_orphan_that_finishes_after_its_twin_changes_nothing(tmp_path: Path) -> None:
    weights, curve = tmp_path / "weights", tmp_path / "curve"
    with (
        pytest.raises(Superseded, match="it has finished"),
        publishing([weights, curve]),
        publishing([weights, curve]) as twin,
    ):
        twin[weights].write_text("twin")
        twin[curve].write_text("twin")
    assert (weights.read_text(), curve.read_text()) == ("twin", "twin")
    assert names(tmp_path) == ["curve", "weights"]


def test_files_of_a_killed_run_go_with_the_next(tmp_path: Path) -> None:
    product = tmp_path / "product"
    begin_and_be_killed(product)
    assert len(names(tmp_path)) == 2
    with publishing([product]) as private:
        private[product].write_text("whole")
    assert names(tmp_path) == ["product"]


@pytest.mark.parametrize("claim", ["{", "[]", '{"token": "x/../../precious"}', '{"token": "*"}'])
def test_a_broken_claim_stops_nobody_and_deletes_nothing(tmp_path: Path, claim: str) -> None:
    (tmp_path / ".product.claim").write_text(claim)
    other = tmp_path / f".{'0' * 32}.partial"
    other.mkdir()
    with publishing([tmp_path / "product"]) as private:
        private[tmp_path / "product"].write_text("whole")
    other.rmdir()  # it is still there
    assert names(tmp_path) == ["product"]


def test_a_stage_without_products(tmp_path: Path) -> None:
    with publishing([]) as private:
        assert private == {}
