"""What the writer owes: flushed means written, once, whole, in a file of one's own."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal_records import begun, called, ended
from trunkline.clock import SystemClock
from trunkline.errors import RecordError
from trunkline.journal import Journal, read
from trunkline.journal.frames import MOST_RECORDS
from trunkline.types.answer import Usage
from trunkline.types.record import Record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journal of a test lies."""
    return tmp_path / "data" / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    """A journal that is closed after the test."""
    made = Journal(folder, clock=SystemClock())
    yield made
    made.close()


def written(folder: Path) -> list[Record]:
    """Return every record in every file, in the order of the files."""
    return [
        record
        for path in sorted(folder.glob("*.log"))
        for frame, _ in read(path)
        for record in frame
    ]


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the lock on `path`."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Writes:
    """Stands for `os.write`: counts, writes at most `most` bytes, fails when `room` is used up."""

    def __init__(self, room: int = 10**9, most: int = 10**9) -> None:
        self.count = 0
        self.room = room
        self.most = most
        self._write = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        self.count += 1
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = self._write(fd, data[: min(self.most, self.room)])
        self.room -= done
        return done


def test_nothing_is_made_before_the_first_flush(folder: Path, journal: Journal) -> None:
    """A journal that was never flushed leaves no trace on the disk."""
    journal.append(begun(), flush=False)
    assert not folder.parent.exists()


def test_flush_writes_all_that_waits_with_one_write(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffered records and the flushed one leave in their order, in a single system call."""
    writes = Writes()
    monkeypatch.setattr(os, "write", writes)
    journal.append(ended(), flush=False)
    assert writes.count == 0
    journal.append(called(), flush=True)
    assert writes.count == 1
    assert written(folder) == [ended(), called()]


def test_a_crowd_that_waits_is_written_in_its_order(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More records than a frame holds leave in several; those written before a failure count."""
    records: list[Record] = [ended(f"c{i}") for i in range(2 * MOST_RECORDS)]
    for record in records:
        journal.append(record, flush=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Writes(room=300))
        with pytest.raises(RecordError):
            journal.append(begun(), flush=True)
    assert written(folder) == records[:MOST_RECORDS]
    journal.append(called(), flush=True)
    assert written(folder) == [*records, called()]


def test_short_writes_are_finished(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that takes seven bytes at a time still gets the whole record."""
    monkeypatch.setattr(os, "write", Writes(most=7))
    journal.append(called(), flush=True)
    assert written(folder) == [called()]


def test_files_and_folders_are_private(folder: Path, journal: Journal) -> None:
    """Nobody else can look: 0700 for the folders made, 0600 for the file."""
    journal.append(begun(), flush=True)
    (path,) = folder.iterdir()
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (folder.parent, folder, path)]
    assert modes == [0o700, 0o700, 0o600]


def test_the_file_is_locked_until_close_and_reopened_after(folder: Path, journal: Journal) -> None:
    """The lock says that the owner lives; a closed journal can be used again, in a new file."""
    journal.append(begun(), flush=True)
    (first,) = folder.iterdir()
    assert is_locked(first)
    journal.close()
    assert not is_locked(first)
    journal.append(ended(), flush=True)
    assert len(list(folder.iterdir())) == 2
    assert written(folder) == [begun(), ended()]


def test_close_writes_what_waits(folder: Path, journal: Journal) -> None:
    """Closing loses nothing that was only buffered, and may be repeated."""
    journal.append(ended(), flush=False)
    journal.close()
    journal.close()
    assert written(folder) == [ended()]


def test_a_full_file_is_followed_by_another(folder: Path) -> None:
    """Beyond the limit a new file begins; the full one is let go of once it is on the disk."""
    journal = Journal(folder, clock=SystemClock(), limit_bytes=200)
    records: list[Record] = [begun(f"c{i}") for i in range(12)]
    for record in records:
        journal.append(record, flush=True)
    paths = sorted(folder.iterdir())
    assert len(paths) > 2
    assert written(folder) == records
    assert all(is_locked(path) for path in paths)
    journal.sync()
    assert [is_locked(path) for path in paths] == [False] * (len(paths) - 1) + [True]
    journal.close()


def test_sync_reaches_the_disk_once_per_change(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without news there is no fsync; what was only buffered is written and synced."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    journal.sync()
    assert synced == []
    journal.append(ended(), flush=False)
    journal.sync()
    assert written(folder) == [ended()]
    assert synced
    count = len(synced)
    journal.sync()
    assert len(synced) == count


def test_a_failed_sync_is_told_and_tried_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error at fsync raises, and does not count as done."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal.append(begun(), flush=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(RecordError, match="Input/output error"):
                journal.sync()
    journal.sync()


def test_a_deleted_file_is_noticed(folder: Path, journal: Journal) -> None:
    """When somebody deletes the file under us, sync says so and the next record gets a new one."""
    journal.append(begun(), flush=True)
    next(folder.iterdir()).unlink()
    with pytest.raises(RecordError, match="deleted"):
        journal.sync()
    journal.append(ended(), flush=True)
    journal.sync()
    assert written(folder) == [ended()]


def test_a_begin_that_cannot_be_written_is_forgotten(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt is not made, so it must not turn up later; what happened already must."""
    journal.append(begun("a"), flush=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Writes(room=0))
        journal.append(ended("a"), flush=False)
        with pytest.raises(RecordError, match="No space left"):
            journal.append(begun("b"), flush=True)
        with pytest.raises(RecordError):
            journal.append(called("a"), flush=True)
    journal.append(begun("c"), flush=True)
    assert written(folder) == [begun("a"), ended("a"), called("a"), begun("c")]


@pytest.mark.parametrize("room", range(0, 260, 13))
@pytest.mark.parametrize("can_truncate", [True, False])
def test_a_disk_full_in_mid_write_leaves_whole_records(
    folder: Path,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
    can_truncate: bool,
) -> None:
    """Wherever the disk fills up, each record is there once and whole, in this file or the next."""

    def refuse(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal.append(begun("a"), flush=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Writes(room=room))
        if not can_truncate:
            patch.setattr(os, "ftruncate", refuse)
        journal.append(ended("a"), flush=False)
        journal.append(ended("b"), flush=False)
        with pytest.raises(RecordError):
            journal.append(begun("c", tags=("x" * 200,)), flush=True)
    journal.append(called("a"), flush=True)
    assert written(folder) == [begun("a"), ended("a"), ended("b"), called("a")]
    assert len(list(folder.iterdir())) <= (1 if can_truncate else 2)


@pytest.mark.parametrize("place", ["file", "under-file", "proc"])
def test_an_unwritable_folder_is_a_clear_error(tmp_path: Path, place: str) -> None:
    """The error names the path and what to set, also for root."""
    (tmp_path / "taken").write_text("")
    folder = {
        "file": tmp_path / "taken",
        "under-file": tmp_path / "taken" / "journal",
        "proc": Path("/proc/trunkline/journal"),
    }[place]
    with pytest.raises(RecordError) as caught:
        Journal(folder, clock=SystemClock()).append(begun(), flush=True)
    assert str(folder) in caught.value.message
    assert "TRUNKLINE_DATA" in caught.value.message


def test_what_cannot_be_encoded_is_mended_not_lost(folder: Path, journal: Journal) -> None:
    """Lone surrogates, absurd numbers and endless texts do not cost a record."""
    journal.append(ended(error="bad \ud800"), flush=True)
    journal.append(ended(usage=Usage(prompt_tokens=10**30)), flush=True)
    journal.append(called(error="x" * 10**6, tags=("é" * 10**4,) * 100), flush=True)
    first, second, third = written(folder)
    assert first == ended(error="bad \\ud800")
    assert second == ended(usage=Usage(prompt_tokens=2**63 - 1))
    assert third == called(error="x" * 800, tags=("é" * 400,) * 32)


@pytest.mark.parametrize("unlink", [True, False])
def test_a_file_taken_by_an_ingester_is_not_used(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, unlink: bool
) -> None:
    """An ingester that locks or deletes the new file before we lock it gets it; we take another."""
    flock = fcntl.flock
    seen: list[int] = []

    def taken(fd: int, flags: int) -> None:
        seen.append(fd)
        if len(seen) > 1:
            return flock(fd, flags)
        if not unlink:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked")
        return next(folder.iterdir()).unlink()

    monkeypatch.setattr(fcntl, "flock", taken)
    journal.append(begun(), flush=True)
    path = max(folder.iterdir())
    assert path.name.endswith(".000001.log")
    assert [record for frame, _ in read(path) for record in frame] == [begun()]


def test_threads_do_not_tear_each_others_records(folder: Path) -> None:
    """Four threads that append at once, over many files and syncs, lose and mix nothing."""
    journal = Journal(folder, clock=SystemClock(), limit_bytes=5_000)
    start = threading.Barrier(5)

    def work(thread: int) -> None:
        start.wait()
        for i in range(200):
            journal.append(begun(f"{thread}-{i}"), flush=True)
            journal.append(ended(f"{thread}-{i}"), flush=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    for _ in range(20):
        journal.sync()
    for thread in threads:
        thread.join()
    journal.close()
    for number in range(4):
        mine = [r for r in written(folder) if r.call_id.startswith(f"{number}-")]
        assert mine == [
            record
            for i in range(200)
            for record in (begun(f"{number}-{i}"), ended(f"{number}-{i}"))
        ]
