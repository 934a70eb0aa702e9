"""Small files are written whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from civa.data.files import digest, read_json, replacing, write_csv, write_json, write_text


def test_a_failed_write_leaves_the_previous_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "product.csv"
    write_text(path, "first")
    with pytest.raises(RuntimeError, match="killed"), replacing(path) as temporary:
        temporary.write_text("half of the sec")
        raise RuntimeError("killed")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_never_see_a_product_that_is_still_being_written(tmp_path: Path) -> None:
    path = tmp_path / "product.csv"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename is atomic on one file system only
        assert temporary.suffix == path.suffix  # writers choose their format by it
    assert path.read_text() == "half"


def test_folders_of_a_product_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "ünter" / "x.txt"
    write_text(path, "Å")
    assert path.read_bytes() == "Å".encode()


def test_json_survives_the_round_trip_and_paths_become_text(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"b": [1, 2.5, None], "a": {"path": Path("x/y"), "unit": "Å"}})
    assert read_json(path) == {"b": [1, 2.5, None], "a": {"path": "x/y", "unit": "Å"}}


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} trailing'])
def test_what_is_no_json_is_named_with_its_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cut.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"cut\.json is not JSON .* delete it and rerun"):
        read_json(path)


def test_a_json_list_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"list\.json holds a list, expected a JSON object"):
        read_json(path)


def test_csv_has_no_index_and_the_same_line_ends_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, pd.DataFrame({"id": ["007", "a,b"], "x": [0.5, 1.0]}))
    # one comma forces quotes around "a,b"; "\n" on every system, or digests would differ
    assert path.read_bytes() == b'id,x\n007,0.5\n"a,b",1.0\n'


def test_digest_is_the_published_sha256_of_abc(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(path) == expected
