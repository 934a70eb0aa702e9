"""Downloading one structure, from a server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from civa.cli import main

CONTENT = b"data_1ABC\n_entry.id 1ABC\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A stand-in for the PDB that first answers with ``failures``, then with the entry."""

    address: str = ""
    failures: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            known = self.path == "/download/1abc.cif"
            status = state.failures.pop(0) if state.failures else 200 if known else 404
            body = CONTENT if status == 200 else b"<html>no</html>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # a site's proxy must not answer for us
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)  # between retries
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.address = f"http://127.0.0.1:{httpd.server_port}/download"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def fetch(tmp_path: Path, address: str, *more: str, name: str = "1ABC") -> tuple[int, str]:
    """Fetch into a folder of structures; return the status and the last line of the log."""
    log = tmp_path / "log.txt"
    out = tmp_path / "structures" / "1abc.cif"
    given = [f"--out={out}", f"--name={name}", f"--server={address}", f"--log={log}"]
    status = main(["fetch-structure", *given, *more])
    (*_, last) = log.read_text(encoding="utf-8").splitlines()
    return status, last


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "structures").glob("*"))


@pytest.mark.parametrize("checksum", [(), ("--sha256", SHA256)])
def test_an_entry_is_fetched_and_its_checksum_logged(
    tmp_path: Path, server: Server, checksum: tuple[str, ...]
) -> None:
    status, last = fetch(tmp_path, server.address, *checksum)
    assert status == 0
    assert (tmp_path / "structures" / "1abc.cif").read_bytes() == CONTENT
    assert f"sha256 {SHA256}" in last  # to be copied into the configuration
    assert server.requests == ["/download/1abc.cif"]
    assert left_behind(tmp_path) == ["1abc.cif", "1abc.cif.provenance.json"]


def test_a_server_that_fails_at_first_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.failures = [503, 500]
    assert fetch(tmp_path, server.address)[0] == 0
    assert (tmp_path / "structures" / "1abc.cif").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_retries_come_to_an_end(tmp_path: Path, server: Server) -> None:
    server.failures = [503] * 9
    status, last = fetch(tmp_path, server.address, "--retries", "2")
    assert status == 1
    assert len(server.requests) == 3  # one attempt and two retries
    assert "503" in last
    assert left_behind(tmp_path) == []


def test_a_wrong_checksum_leaves_no_file(tmp_path: Path, server: Server) -> None:
    status, last = fetch(tmp_path, server.address, "--sha256", "0" * 64, "--retries", "1")
    assert status == 1
    assert "hash" in last
    assert "1abc.cif" in last
    assert left_behind(tmp_path) == []


def test_an_unknown_entry_says_what_to_put_where(tmp_path: Path, server: Server) -> None:
    status, last = fetch(tmp_path, server.address, "--retries", "0", name="9ZZZ")
    assert status == 1
    for word in ("cannot download 9zzz.cif", server.address, "404", "put 9zzz.cif or 9zzz.pdb"):
        assert word in last
    assert str(tmp_path / "structures") in last.split("put 9zzz.cif")[1]  # the folder, by name
    assert left_behind(tmp_path) == []


def test_a_machine_without_network_says_what_to_put_where(tmp_path: Path, server: Server) -> None:
    # nobody listens on the reserved port 1: refused at once, like a node without network
    status, last = fetch(tmp_path, "http://127.0.0.1:1", "--retries", "1")
    assert status == 1
    assert "cannot download 1abc.cif from http://127.0.0.1:1" in last
    assert "put 1abc.cif or 1abc.pdb into" in last
    assert left_behind(tmp_path) == []


def test_a_file_that_is_there_stays_when_it_cannot_be_fetched_again(
    tmp_path: Path, server: Server
) -> None:
    assert fetch(tmp_path, server.address)[0] == 0
    files = {path: path.read_bytes() for path in (tmp_path / "structures").iterdir()}
    status, last = fetch(tmp_path, server.address, "--sha256", "0" * 64)
    assert status == 1
    assert f"save 1abc.cif as {tmp_path / 'structures' / '1abc.cif'}" in last
    assert {path: path.read_bytes() for path in (tmp_path / "structures").iterdir()} == files
