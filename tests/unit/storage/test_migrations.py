"""Migrations: from the first schema to this one, and what releases on either side may do."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Open
from tests.journal_records import whole
from trunkline.accounting.leases import Grant, Want
from trunkline.accounting.period import Window
from trunkline.errors import RecordError
from trunkline.storage import migrations
from trunkline.storage.database import Database
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.migrations import mistakes, standing, upgrade
from trunkline.storage.migrations.steps import MIGRATIONS, Migration
from trunkline.storage.outbox import Outbox
from trunkline.storage.principals import KEYS, ApiKey, renew
from trunkline.storage.rows import CallFilter
from trunkline.storage.snapshot import snapshot
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.storage.users import User, UserTable

BASELINE = Path(__file__).with_name("baseline.sql").read_text()
NEXT = MIGRATIONS[-1].number + 1
Apply = Callable[..., None]


@pytest.fixture
def old(place: Open, tmp_path: Path) -> Open:
    """The same, with the tables of the first release."""
    sqlite3.connect(tmp_path / "trunkline.db").close()
    database = place(as_is=True)
    with database.session(write=True) as db:
        for statement in BASELINE.format(serial=database.words.serial).split(";")[:-1]:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        db.execute("INSERT INTO journal_offsets VALUES ('before', 7)")
    return place


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Apply:
    """Make this the release that knows some migrations: `release(more=..., up_to=1)`."""

    def know(*more: Migration, up_to: int = len(MIGRATIONS)) -> None:
        monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS[:up_to], *more))

    return know


def step(*statements: str, number: int = NEXT, name: str = "next", additive: bool = True) -> Any:
    """Make a migration."""
    return Migration(number=number, name=name, additive=additive, statements=statements)


def ask(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Return what a statement gives."""
    with database.session() as db:
        return [tuple(row) for row in db.execute(sql)]


def version(database: Database) -> int | None:
    """Return what a database says of itself."""
    with database.session() as db:
        found = standing(db, database.words)
    return found.version if found else None


def shape(database: Database) -> list[set[tuple[Any, ...]]]:
    """Return all columns and all indexes."""
    if isinstance(database, SqliteDatabase):
        columns = """
            SELECT m.name, p.name, p.type, p."notnull", p.dflt_value, p.pk
            FROM sqlite_schema AS m, pragma_table_info(m.name) AS p WHERE m.type = 'table'"""
        indexes = "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'index'"
    else:
        columns = """
            SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity
            FROM information_schema.columns WHERE table_schema = 'public'"""
        indexes = (
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
    return [set(ask(database, query)) for query in (columns, indexes)]


def work(database: Database, name: str, folder: Path) -> None:
    """Do what a release does with its database, under names of its own."""
    store = Store(database)
    outbox = Outbox(database, folder)
    outbox.subscribe(["hook"], 0)
    before = sum(row.requests for row in store.usage("user"))
    store.apply(f"{name}.1", 1, whole(name, user_id=name, tags=("t",)))
    assert store.offset(f"{name}.1") == 1
    assert sum(row.requests for row in store.usage("user")) == before + 1
    (row,) = store.calls(where=CallFilter(user_id=name))
    assert [attempt.cost.nusd for attempt in row.attempts] == [120]
    assert store.loose_ends(name) == []
    (posted,) = outbox.due("hook", 1, 10)
    outbox.settle("hook", [posted.event], [])
    window = Window(start_ns=0, bucket_ns=0, end_ns=2**62, resets_ns=None)
    want = Want(f"user:{name}", "total", window, 500, 100, 100, 0, 0)
    assert SqlLeases(database).grant(name, [want]) == [Grant(100, 120)]
    user = User(id=name, allowance_nusd=5, period="day", created_ns=1)
    assert UserTable(database).enter(user) == user
    key = ApiKey(id=name, name=name, prefix="tl-abcde", user_id=name, created_ns=7)
    with database.session(write=True) as db:
        KEYS.put(db, key)
        renew(db, name, name.encode(), 0)
    assert name in {found.id for found in snapshot(database).keys}
    assert store.prune(0, 10) == 0


# --- the list ------------------------------------------------------------------------------------


@pytest.mark.acceptance("K29")
def test_the_migrations_have_one_head() -> None:
    """Each leads from the one before it to the next, by a name of its own."""
    assert [*mistakes()] == []


@pytest.mark.acceptance("K29")
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step(number=1), step(number=2, name="a"), step(number=2, name="b")], "2 heads"),
        ([step(number=1, name="a"), step(number=2, name="a")], "have the name a"),
        ([step(number=1), step(number=3, name="b")], "0003_b is where number 2 belongs"),
        ([step(number=2)], "0002_next is where number 1 belongs"),
        ([step(number=1, name="No-name")], "'No-name' is not in lower case"),
    ],
)
def test_a_clash_of_migrations_is_found(steps: list[Migration], expected: str) -> None:
    """Such as two that were written side by side for the same number."""
    (mistake,) = mistakes(steps)
    assert expected in mistake


# --- from the first schema to this one ------------------------------------------------------------


@pytest.mark.acceptance("K29")
def test_an_upgraded_database_is_what_a_new_one_is(
    old: Open, other: Database, tmp_path: Path
) -> None:
    """Opening it is enough: the same columns and indexes, the rows of before, and all works.

    Whoever sees this fail changed the schema without a migration.
    """
    database = old()
    work(database, "new", tmp_path)
    assert Store(database).offset("before") == 7
    assert version(database) == MIGRATIONS[-1].number
    assert shape(other) == shape(database)
    columns = "SELECT key, value FROM meta WHERE key LIKE 'schema%' ORDER BY key"
    assert ask(other, columns) == ask(database, columns)


def test_calls_of_before_are_found_by_their_tags(old: Open) -> None:
    """Those that are over: the others are when they are."""
    with old(as_is=True).session(write=True) as db:
        db.execute(
            """
            INSERT INTO calls (call_id, journal, started_ns, outcome, tags) VALUES
            ('a', 1, 7, 'failed', '["x","y"]'), ('b', 1, 7, NULL, '["x"]'),
            ('c', 1, 7, 'failed', '[]'), ('d', 1, 7, 'failed', NULL)"""
        )
    found = ask(old(), "SELECT tag, started_ns, call_id FROM call_tags ORDER BY tag")
    assert found == [("x", 7, "a"), ("y", 7, "a")]


def test_several_processes_upgrade_at_once(old: Open) -> None:
    """One of them does, the others find it done."""
    ready, go = os.pipe()
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            try:
                os.close(go)
                os.read(ready, 1)
                os._exit(0 if version(old()) == MIGRATIONS[-1].number else 1)
            finally:
                os._exit(2)
        children.append(child)
    os.close(go)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    os.close(ready)
    assert version(old(as_is=True)) == MIGRATIONS[-1].number


def test_who_is_killed_meanwhile_leaves_what_was(old: Open, release: Apply) -> None:
    """Nothing of what it began is there; the next one does all of it."""

    def deadly() -> Iterator[str]:
        yield "CREATE TABLE halfway (a BIGINT)"
        os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        try:
            statements: Any = deadly()
            dying = Migration(number=NEXT, name="x", additive=True, statements=statements)
            release(dying)
            version(old())
        finally:
            os._exit(2)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert version(old(as_is=True)) == 1
    release(step("CREATE TABLE halfway (a BIGINT)"))
    assert version(old()) == NEXT


def test_an_upgrade_that_fails_changes_nothing(old: Open, release: Apply) -> None:
    """The error says what to do; the release that made the database goes on with it."""
    release(step("CREATE TABLE halfway (a BIGINT)", "CREATE INDEX x ON nowhere (a)"))
    with pytest.raises(RecordError) as caught:
        version(old())
    for word in (f"has schema 1, this Trunkline needs {NEXT}", "nowhere", "trunkline db upgrade"):
        assert word in str(caught.value)
    release(up_to=1)
    assert version(old()) == 1
    assert ask(old(), "SELECT count(*) FROM journal_offsets") == [(1,)]


def test_a_database_that_may_only_be_read_is_not_upgraded(
    old: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says who has to do it."""
    database = old()
    if isinstance(database, SqliteDatabase):
        connect = sqlite3.connect
        read_only = f"file:{tmp_path / 'trunkline.db'}?mode=ro"
        monkeypatch.setattr(
            sqlite3, "connect", lambda _, **how: connect(read_only, uri=True, **how)
        )
    else:
        with old(as_is=True).session(write=True) as db:
            (name,) = db.execute("SELECT current_database()").fetchone()
            db.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(RecordError, match=r"read.?only.*trunkline db upgrade"):
        version(database)
    assert version(old(as_is=True)) == 1


# --- releases on either side ----------------------------------------------------------------------


def test_an_older_release_goes_on_with_the_new_schema(
    old: Open, tmp_path: Path, release: Apply
) -> None:
    """What was added is not in its way, and it leaves the stamp alone."""
    work(old(), "new", tmp_path)
    release(up_to=1)
    work(old(), "old", tmp_path)
    assert version(old(as_is=True)) == MIGRATIONS[-1].number


def test_whatever_a_later_release_adds_this_one_goes_on(
    place: Open, tmp_path: Path, release: Apply
) -> None:
    """A column to every table, while this one is at work, as well as when it comes afterwards."""
    running = place()
    for number in range(6):  # from then on the driver has statements prepared
        work(running, f"before{number}", tmp_path)
    tables = [name for name in ask_tables(running) if not name.startswith(("sqlite", "pg_"))]
    release(step(*(f"ALTER TABLE {name} ADD COLUMN later TEXT" for name in tables)))
    work(place(), "later", tmp_path)
    release()
    assert version(running) == NEXT
    work(running, "running", tmp_path)
    work(place(), "restarted", tmp_path)


def ask_tables(database: Database) -> list[str]:
    """Return the names of all tables of ours."""
    known = BASELINE.split("CREATE TABLE ")[1:]
    ours = {text.split()[0] for text in known}
    return [name for (name,) in ask(database, database.words.tables) if name in ours]


def test_a_breaking_migration_waits_for_somebody(
    place: Open, release: Apply, tmp_path: Path
) -> None:
    """Nobody who only opens the database carries it out; then older releases are refused."""
    work(place(), "before", tmp_path)
    release(step("DROP TABLE hooks", additive=False), step(number=NEXT + 1, name="on"))
    with pytest.raises(RecordError, match="make a backup, run `trunkline db upgrade`"):
        version(place())
    database = place(as_is=True)
    with database.session(write=True) as db:
        done = upgrade(db, database.words, database.name)
    assert [one.id for one in done] == [f"{NEXT:04}_next", f"{NEXT + 1:04}_on"]
    assert version(place()) == NEXT + 1
    release()
    with pytest.raises(RecordError, match=rf"newer Trunkline \(schema {NEXT + 1}, this one knows"):
        version(place())


def test_a_database_of_another_line_is_refused(place: Open, release: Apply) -> None:
    """Its last migration has our number and is another one: what it has is not known."""
    release(step(name="theirs"))
    version(place())
    release(step(name="ours"))
    with pytest.raises(RecordError, match=rf"its schema is {NEXT:04}_theirs, here {NEXT}"):
        version(place())


@pytest.mark.parametrize("value", ["'x'", None])
def test_a_database_that_does_not_say_its_version_is_refused(
    place: Open, value: str | None
) -> None:
    """It is somebody else's, or damaged."""
    with place().session(write=True) as db:
        where = "WHERE key = 'schema_version'"
        db.execute(f"UPDATE meta SET value = {value} {where}" if value else "DELETE FROM meta")
    with pytest.raises(RecordError, match="without a schema_version"):
        version(place())
