"""Ingestion: every record reaches the store once, whoever dies at whatever moment."""

from __future__ import annotations

import fcntl
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.journal_records import begun, called, ended
from trunkline.clock import SystemClock
from trunkline.errors import RecordError
from trunkline.journal import Journal, ingest
from trunkline.journal.ingest import recover
from trunkline.storage.rows import CallFilter, CallRow
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.types.call import Cost
from trunkline.types.record import Called, Ended, Record


class Crash(Exception):
    """Stands for the death of the ingesting process."""


class Fragile(Store):
    """A store whose user dies when it is about to do something for the n-th time."""

    def __init__(self, path: Path, dies_at: int) -> None:
        super().__init__(SqliteDatabase(path))
        self.left = dies_at

    def _step(self) -> None:
        self.left -= 1
        if not self.left:
            raise Crash

    def apply(self, file: str, offset: int, records: Sequence[Record]) -> None:
        """Apply, then die before anybody hears of it."""
        super().apply(file, offset, records)
        self._step()

    def forget(self, file: str) -> None:
        """Forget, then die before the file is deleted."""
        super().forget(file)
        self._step()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The store of the data folder."""
    made = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal whose files are full after two or three records; closing it is its death."""
    made = Journal(tmp_path / "journal", clock=SystemClock(), limit_bytes=200)
    yield made
    made.close()


def files(tmp_path: Path) -> list[str]:
    """Return the names of the files in the journal folder."""
    return sorted(path.name for path in (tmp_path / "journal").iterdir())


def only(store: Store) -> CallRow:
    """Return the one call there is."""
    (row,) = store.calls()
    return row


def write_call(journal: Journal, call_id: str = "c1") -> None:
    """Write a call as the layers do."""
    journal.append(begun(call_id), flush=True)
    journal.append(ended(call_id), flush=False)
    journal.append(called(call_id), flush=True)


def test_without_a_journal_there_is_nothing_to_do(tmp_path: Path, store: Store) -> None:
    """A data folder that nobody has used is left as it is."""
    report = ingest(tmp_path / "unused", store)
    assert (report.busy, report.records) == (False, 0)
    assert not (tmp_path / "unused").exists()


def test_records_of_a_living_owner_arrive_while_it_writes(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    """Each ingestion brings what is new; what is under way stays under way."""
    write_call(journal, "a")
    journal.append(begun("b"), flush=True)
    assert ingest(tmp_path, store).records == 4
    assert ingest(tmp_path, store).records == 0
    assert store.settled("global", 0) == 120
    journal.append(ended("b"), flush=False)
    journal.append(called("b"), flush=True)
    assert ingest(tmp_path, store).records == 2
    assert store.settled("global", 0) == 240
    assert [row.call for row in store.calls()] == [called("b"), called("a")]


def test_full_files_of_a_living_owner_go_and_nobody_is_declared_dead(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    """A file that was rotated away is deleted once it is in; its open attempts stay open."""
    journal.append(begun("open"), flush=True)
    for i in range(10):
        write_call(journal, f"c{i}")
    journal.sync()
    before = files(tmp_path)
    report = ingest(tmp_path, store)
    assert len(before) > 3
    assert (report.deleted, report.recovered) == (len(before) - 1, 0)
    assert files(tmp_path) == before[-1:]
    journal.append(ended("open"), flush=False)
    journal.append(called("open"), flush=True)
    journal.close()
    assert ingest(tmp_path, store).recovered == 0
    assert files(tmp_path) == []
    assert store.settled("global", 0) == 11 * 120


def test_a_rotation_during_the_look_is_no_death(
    tmp_path: Path, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that lets go of its only file between listing and locking has opened the next."""
    for i in range(4):
        journal.append(begun(f"c{i}"), flush=True)
    journal.sync()
    ingest(tmp_path, store)
    flock, locks = fcntl.flock, itertools.count()

    def rotate_first(fd: int, flags: int) -> None:
        if next(locks) == 1:
            for i in range(4, 8):
                journal.append(begun(f"c{i}"), flush=True)
            journal.sync()
        flock(fd, flags)

    monkeypatch.setattr(fcntl, "flock", rotate_first)
    report = ingest(tmp_path, store)
    assert (report.deleted, report.recovered) == (1, 0)


def test_a_death_ends_what_was_open_at_its_hold(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    """A begun attempt costs its hold as estimated, though its file was deleted long ago."""
    journal.append(begun("open", user_id="alice"), flush=True)
    for i in range(10):
        write_call(journal, f"c{i}")
    journal.sync()
    ingest(tmp_path, store)
    journal.close()
    report = ingest(tmp_path, store)
    assert report.recovered == 1
    (row,) = store.calls(where=CallFilter(user_id="alice"))
    assert (row.call.outcome, row.call.cost_nusd) == ("abandoned", 500)
    assert row.attempts[0].cost == Cost(500, "estimated")
    assert store.settled("global", 0) == 10 * 120 + 500


def test_a_call_without_an_end_gets_one(tmp_path: Path, store: Store, journal: Journal) -> None:
    """A death between two attempts leaves a call that says so, with the sum of what it cost."""
    journal.append(begun(user_id="alice", tags=("x",), tenant_id="t"), flush=True)
    journal.append(ended(outcome="failed", error_code="upstream_failed"), flush=False)
    journal.append(begun(n=2, deployment="anthropic/claude", user_id="alice"), flush=True)
    journal.close()
    ingest(tmp_path, store)
    row = only(store)
    assert row.call == called(
        kind="unknown",
        outcome="abandoned",
        attempts=2,
        deployment="anthropic/claude",
        error_code="process_died",
        cost_nusd=620,
        cost_state="estimated",
        prompt_tokens=0,
        completion_tokens=0,
        user_id="alice",
        tenant_id="t",
        tags=("x",),
    )
    assert [(a.outcome, a.cost) for a in row.attempts] == [
        ("failed", Cost(120)),
        ("abandoned", Cost(500, "estimated")),
    ]
    assert ingest(tmp_path, store).recovered == 0


def test_a_death_after_the_last_attempt_keeps_its_end(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    """An attempt that did end is not touched when only its call was left open."""
    journal.append(begun(), flush=True)
    journal.append(ended(), flush=True)
    journal.close()
    report = ingest(tmp_path, store)
    assert report.recovered == 0
    assert only(store).call.outcome == "abandoned"
    assert (only(store).call.cost_nusd, only(store).call.cost_state) == (120, "exact")
    assert only(store).attempts[0].outcome == "complete"


def test_an_attempt_without_a_price_stays_unknown() -> None:
    """Recovery invents no cost: no hold means unknown, for the attempt and for its call."""
    end, call = recover([(begun(hold_nusd=None), None)])
    assert isinstance(end, Ended)
    assert isinstance(call, Called)
    assert (end.cost_nusd, end.cost_state) == (None, "unknown")
    assert (call.cost_nusd, call.cost_state) == (None, "unknown")


def test_an_end_that_comes_late_wins(tmp_path: Path, store: Store, journal: Journal) -> None:
    """An owner that was taken for dead (closed, then used again) has the last word."""
    journal.append(begun(), flush=True)
    journal.close()
    ingest(tmp_path, store)
    assert only(store).call.outcome == "abandoned"
    journal.append(ended(), flush=False)
    journal.append(called(), flush=True)
    ingest(tmp_path, store)
    assert only(store).call == called()
    assert store.settled("global", 0) == 120


def test_only_one_ingests_at_a_time(tmp_path: Path, store: Store, journal: Journal) -> None:
    """Who does not get the lock does nothing and says so."""
    write_call(journal)
    with (tmp_path / "ingest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ingest(tmp_path, store).busy
        assert store.calls() == []
    assert not ingest(tmp_path, store).busy
    assert len(store.calls()) == 1


@pytest.mark.parametrize("dies_at", range(1, 12))
def test_a_death_of_the_ingester_loses_and_doubles_nothing(tmp_path: Path, dies_at: int) -> None:
    """Wherever it dies - rows in but file there, offset gone but file there - the next mends it."""
    journal = Journal(tmp_path / "journal", clock=SystemClock(), limit_bytes=400)
    for i in range(4):
        write_call(journal, f"c{i}")
    journal.append(begun("open"), flush=True)
    journal.close()
    fragile = Fragile(tmp_path / "trunkline.db", dies_at)
    steps = 2 * len(files(tmp_path)) + 1
    if dies_at <= steps:
        with pytest.raises(Crash):
            ingest(tmp_path, fragile)
    fragile.close()
    store = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    ingest(tmp_path, store)
    assert files(tmp_path) == []
    (row,) = store.usage("model")
    assert (row.requests, row.total_tokens, row.cost_nusd) == (5, 60, 4 * 120 + 500)
    assert store.settled("global", 0) == 4 * 120 + 500
    store.close()


def test_a_lost_database_is_filled_again(tmp_path: Path, store: Store, journal: Journal) -> None:
    """With the offsets gone too, what the journal still has is read from its start."""
    write_call(journal)
    ingest(tmp_path, store)
    other = Store(SqliteDatabase(tmp_path / "other.db"))
    ingest(tmp_path, other)
    assert other.calls() == store.calls()
    other.close()


def test_a_store_that_is_away_loses_nothing(tmp_path: Path, journal: Journal) -> None:
    """Ingestion raises, the journal stays, and the next one succeeds."""
    write_call(journal)
    (tmp_path / "bad.db").mkdir()
    with pytest.raises(RecordError):
        ingest(tmp_path, Store(SqliteDatabase(tmp_path / "bad.db")))
    store = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    ingest(tmp_path, store)
    assert only(store).call == called()
    store.close()


def test_a_torn_tail_is_dropped_with_its_file(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    """What a death cut short was never acknowledged; the file goes."""
    write_call(journal)
    journal.close()
    path = max((tmp_path / "journal").iterdir())
    path.write_bytes(path.read_bytes() + b"\0\0\0\x40half")
    report = ingest(tmp_path, store)
    assert (report.lost_bytes, report.damaged) == (8, [])
    assert files(tmp_path) == []
    assert only(store).call == called()


def test_a_damaged_file_is_kept_and_told(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything readable is ingested, the loss is logged, and the bytes stay for a look."""
    journal = Journal(tmp_path / "journal", clock=SystemClock())
    write_call(journal, "a")
    write_call(journal, "b")
    journal.close()
    (path,) = (tmp_path / "journal").iterdir()
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR, logger="trunkline.journal"):
        report = ingest(tmp_path, store)
    assert report.records == 5
    assert report.damaged == [path.with_suffix(".damaged").name] == files(tmp_path)
    assert report.lost_bytes > 20
    assert "damaged" in caplog.text
    assert {row.call.call_id for row in store.calls()} == {"a", "b"}
    assert store.settled("global", 0) == 120
    assert ingest(tmp_path, store).records == 0
