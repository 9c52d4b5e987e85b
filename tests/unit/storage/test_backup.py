"""A copy of a SQLite database: of one moment, whole or not there."""

from __future__ import annotations

import itertools
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal_records import whole
from trunkline.errors import RecordError
from trunkline.storage import sqlite
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One with a hundred calls, in a folder of its own."""
    store = Store(SqliteDatabase(tmp_path / "data" / "trunkline.db"))
    store.apply("a.1", 1, [record for n in range(100) for record in whole(f"c{n}")])
    return store


def of(store: Store) -> SqliteDatabase:
    """Return the database of a store."""
    assert isinstance(store.database, SqliteDatabase)
    return store.database


def ignore(done: int, pages: int) -> None:
    """Take what is told of the progress."""


def test_a_copy_is_of_one_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who writes all the time neither gets into it nor keeps it from its end."""
    monkeypatch.setattr(sqlite, "_BACKUP_PAGES", 1)
    told: list[tuple[int, int]] = []

    def write(done: int, pages: int) -> None:
        told.append((done, pages))
        assert len(told) <= pages
        store.apply(f"b{done}.1", 1, whole(f"late{done}"))

    of(store).backup(tmp_path / "copy.db", write)
    assert told == [(n + 1, len(told)) for n in range(len(told))]
    assert len(told) > 20
    assert len(store.calls(10_000)) == 100 + len(told)
    with closing(Store(SqliteDatabase(tmp_path / "copy.db"))) as made:
        assert {row.call.call_id for row in made.calls(10_000)} == {f"c{n}" for n in range(100)}
        assert (made.offset("a.1"), made.offset("b1.1")) == (1, 0)


def test_a_copy_is_one_private_file(store: Store, tmp_path: Path) -> None:
    """Nothing else is left beside it."""
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    of(store).backup(target, ignore)
    assert [*target.parent.iterdir()] == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_copy_is_written_over_nothing(store: Store, tmp_path: Path) -> None:
    """What is there stays, also when it came while the copy was made."""
    target = tmp_path / "copy.db"

    def come(done: int, pages: int) -> None:
        target.write_text("mine")

    with pytest.raises(RecordError, match=r"copy\.db exists"):
        of(store).backup(target, come)
    assert target.read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_copy_that_fails_is_not_there(
    store: Store, tmp_path: Path, error: type[BaseException] | BaseException
) -> None:
    """Nor is half of it; the next one works."""
    before = {*tmp_path.rglob("*")}
    steps = itertools.count()

    def fail(done: int, pages: int) -> None:
        if next(steps) == 0:
            raise error

    with pytest.raises((KeyboardInterrupt, RecordError)):
        of(store).backup(tmp_path / "copy.db", fail)
    assert {*tmp_path.rglob("*")} == before
    of(store).backup(tmp_path / "copy.db", fail)


def test_a_copy_that_cannot_be_made(tmp_path: Path, store: Store) -> None:
    """Where there is no database, none is made; where nothing can be written, the file is named."""
    missing = SqliteDatabase(tmp_path / "no" / "trunkline.db")
    with pytest.raises(RecordError, match="there is no database"):
        missing.backup(tmp_path / "copy.db", ignore)
    assert not (tmp_path / "no").exists()
    with pytest.raises(RecordError, match=r"to .*nowhere/copy\.db"):
        of(store).backup(tmp_path / "nowhere" / "copy.db", ignore)
