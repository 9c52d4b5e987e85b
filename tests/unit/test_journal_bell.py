"""Whoever needs the latest rows has the steward ingest them, where there is one."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.client import Trunkline
from trunkline.journal.bell import ring, socket_path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the test's own, and a path that is too long for a socket."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / ("d" * 100)


@pytest.fixture
def steward(tmp_path: Path) -> Iterator[list[bytes]]:
    """Somebody who says yes; gives what was asked."""
    heard: list[bytes] = []
    path = tmp_path / "data" / "steward.sock"
    path.parent.mkdir()

    def answer() -> None:
        caller, _ = listener.accept()
        with caller:
            heard.append(caller.recv(1000))
            caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield heard
        thread.join()


def test_where_the_steward_listens(tmp_path: Path) -> None:
    """In the data folder."""
    assert socket_path(Path("/data")) == Path("/data/steward.sock")


def test_a_path_that_is_too_long(elsewhere: Path) -> None:
    """A folder that only this user may enter stands in; two data folders do not meet there."""
    with pytest.raises(FileNotFoundError):
        socket_path(elsewhere)
    path = socket_path(elsewhere, make=True)
    assert path == socket_path(elsewhere) != socket_path(elsewhere / "b")
    assert len(os.fsencode(path.name)) < 40
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_folder_that_is_not_ours_alone(elsewhere: Path, kind: str) -> None:
    """Somebody else may listen there, so it is not used."""
    folder = elsewhere.parent / f"trunkline-{os.getuid()}"
    if kind == "a link":
        folder.symlink_to(elsewhere.parent)
    elif kind == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        folder.chmod(0o750)
    with pytest.raises(OSError, match=folder.name):
        socket_path(elsewhere, make=True)
    assert not ring(elsewhere)


def test_nobody_is_there(tmp_path: Path) -> None:
    """Neither a steward, nor a socket that a dead one left."""
    assert not ring(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "steward.sock"))
    assert not ring(tmp_path)


def test_a_line_leaves_it_to_the_steward(steward: list[bytes], tmp_path: Path) -> None:
    """The steward is asked, and the store is not touched."""
    line = Trunkline.from_config({})
    line.flush()
    line._finish.detach()
    assert [said.partition(b" HTTP")[0] for said in steward] == [b"POST /ingest"]
    assert not (tmp_path / "data" / "trunkline.db").exists()


async def test_a_line_that_does_not_ingest(tmp_path: Path) -> None:
    """Its thread leaves the journal alone; whoever asks for the rows gets them all the same."""
    config = Trunkline.from_config({}).config
    line = Trunkline(config, ingesting=False)
    assert not any(line._parts.ingestion.run in job for job in line._parts.keeper._jobs)
    line.flush()
