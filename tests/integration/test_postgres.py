"""PostgreSQL as an engine: its sessions, and what breaks them."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.journal_records import begun, called, ended
from tests.servers import Postgres
from trunkline.errors import ConfigError, RecordError
from trunkline.storage import postgres as engine
from trunkline.storage.database import NULL, NULLABLE, Database, Session
from trunkline.storage.postgres import PostgresDatabase
from trunkline.storage.rows import CallFilter
from trunkline.storage.store import Store

KEEP = "INSERT INTO journal_offsets VALUES (?, ?)"


@pytest.fixture
def open_database(database_url: str) -> Iterator[Callable[[], PostgresDatabase]]:
    """Open the test's database as often as wanted."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(PostgresDatabase(database_url)))


@pytest.fixture
def database(open_database: Callable[[], PostgresDatabase]) -> PostgresDatabase:
    """An empty database."""
    return open_database()


def keep(database: Database, file: str, offset: int = 1) -> None:
    """Write one row."""
    with database.session(write=True) as db:
        db.execute(KEEP, (file, offset))


def kept(database: Database) -> list[str]:
    """Return the rows that were written."""
    with database.session() as db:
        return [file for (file,) in db.execute("SELECT file FROM journal_offsets ORDER BY file")]


def _keep_then(database: PostgresDatabase, file: str, act: Callable[[Session], Any]) -> None:
    """Write one row and do something else in the same session."""
    with database.session(write=True) as db:
        db.execute(KEEP, (file, 1))
        act(db)


def _interrupt(db: Session) -> None:
    raise KeyboardInterrupt


def test_the_tables_are_made_once(open_database: Callable[[], PostgresDatabase]) -> None:
    """Several processes may come to an empty database at the same moment."""
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: keep(open_database(), name), "abcdef"))
    assert kept(open_database()) == [*"abcdef"]


def test_a_session_counts_when_it_ends_well(database: PostgresDatabase) -> None:
    """Whatever is raised within it undoes it, and the next one goes on."""
    keep(database, "a")
    with pytest.raises(KeyboardInterrupt):
        _keep_then(database, "b", _interrupt)
    with pytest.raises(RecordError, match="duplicate key"):
        _keep_then(database, "c", lambda db: db.execute(KEEP, ("a", 1)))
    keep(database, "d")
    assert kept(database) == ["a", "d"]


def test_an_error_quotes_no_row(database: PostgresDatabase) -> None:
    """What the server adds about the values stays out of the message."""
    keep(database, "secret")
    with pytest.raises(RecordError) as caught:
        keep(database, "secret")
    assert "secret" not in str(caught.value)


def test_rows_are_known_by_name_and_place(database: PostgresDatabase) -> None:
    """They are what SQLite's are; of two columns by one name the first is meant."""
    with database.session() as db:
        row = db.execute("SELECT 1 AS a, 'x%' AS b, ? AS c, 2 AS a", ("?",)).fetchone()
    assert (row["a"], row[1], row["c"], len(row), [*row]) == (1, "x%", "?", 4, [1, "x%", "?", 2])
    assert dict(row) == {"a": 1, "b": "x%", "c": "?"}


def test_values_go_in_as_they_are(database: PostgresDatabase) -> None:
    """Numbers of any size, fractions, flags and NULL fit the columns, in one prepared statement."""
    marks = f"?, ?, {NULLABLE}, {NULLABLE}, {NULLABLE}"
    columns = "call_id, n, hold_nusd, latency_ms, error"
    values = [None, 0, 7, 70_000, 2**53, -(2**53), True]
    rows: list[Any] = [(f"c{n}", n, value, value, f"%s? {n}") for n, value in enumerate(values)]
    rows.append(("c", 9, None, 0.5, None))
    with database.session(write=True) as db:
        db.executemany(
            f"INSERT INTO attempts ({columns}) VALUES ({marks})",
            [[NULL if value is None else value for value in row] for row in rows],
        )
        db.executemany("DELETE FROM attempts WHERE call_id = ?", [])
        found = db.execute(f"SELECT {columns} FROM attempts ORDER BY n").fetchall()
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'"
        assert [tuple(row) for row in found] == rows
        assert db.execute(prepared).fetchone()[0] == 1


def test_sums_are_whole_numbers(database: PostgresDatabase) -> None:
    """A sum has the type of what it adds up, also where it needs more than 64 bits."""
    with database.session(write=True) as db:
        db.executemany(KEEP, [("a", 2**63 - 1), ("b", 1)])
        total = db.execute("SELECT sum(bytes) FROM journal_offsets").fetchone()[0]
    assert (type(total), total) == (int, 2**63)


def test_what_postgresql_takes_in_no_text_is_replaced(database: PostgresDatabase) -> None:
    r"""NUL stops nothing, by itself or as \u0000 in a list."""
    store = Store(database)
    tag = "a\0b"
    store.apply("o.1", 1, [begun(tags=(tag,)), ended(error=tag), called(tags=(tag,), error=tag)])
    (row,) = store.calls(where=CallFilter(tag=tag))
    assert (row.call.tags, row.call.error) == (("a\ufffdb",), "a\ufffdb")
    assert [row.value for row in store.usage("tag")] == ["a\ufffdb"]


def test_a_session_that_does_not_write_sees_one_moment(
    open_database: Callable[[], PostgresDatabase],
) -> None:
    """What others write meanwhile is not in it, and it cannot write."""
    database, other = open_database(), open_database()
    keep(database, "a")
    count = "SELECT count(*) FROM journal_offsets"
    with database.session() as db:
        assert db.execute(count).fetchone()[0] == 1
        keep(other, "b")
        assert db.execute(count).fetchone()[0] == 1
    with pytest.raises(RecordError, match="read-only"), database.session() as db:
        db.execute(KEEP, ("c", 1))


def test_sessions_that_write_come_one_after_the_other(
    open_database: Callable[[], PostgresDatabase],
) -> None:
    """What several processes read and then write is as if one had done it."""
    databases = [open_database() for _ in range(4)]
    keep(databases[0], "a", 0)

    def add(database: PostgresDatabase) -> None:
        for _ in range(25):
            with database.session(write=True) as db:
                (found,) = db.execute("SELECT bytes FROM journal_offsets").fetchone()
                db.execute("UPDATE journal_offsets SET bytes = ?", (found + 1,))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, databases * 2))
    with databases[0].session() as db:
        assert db.execute("SELECT bytes FROM journal_offsets").fetchone()[0] == 200


def test_a_session_has_limits(database: PostgresDatabase) -> None:
    """Neither a statement nor a process that stands still keeps others waiting for ever."""
    for write in (False, True):
        with database.session(write=write) as db:
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                assert db.execute(f"SHOW {limit}").fetchone()[0] == "10s"


def test_a_durable_session_waits_for_the_disk(
    database: PostgresDatabase, database_url: str
) -> None:
    """So it does where the server was told not to; else its own setting stays."""
    for given, durable, waits in (
        ("off", False, "off"),
        ("off", True, "on"),
        ("remote_apply", True, "remote_apply"),
    ):
        with psycopg.connect(database_url, autocommit=True) as admin:
            name = admin.info.dbname
            admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = {given}".encode())
        database.close()
        with database.session(write=True, durable=durable) as db:
            assert db.execute("SHOW synchronous_commit").fetchone()[0] == waits


def test_it_goes_on_when_the_server_is_back(postgres: Postgres, database: PostgresDatabase) -> None:
    """While the server is away sessions fail and name it, not its password; then all is there."""
    keep(database, "a")
    postgres.stop()
    for _ in range(2):
        with pytest.raises(RecordError) as caught:
            kept(database)
        assert f"at 127.0.0.1:{postgres.port}" in str(caught.value)
        assert "open-sesame" not in str(caught.value)
    postgres.start()
    assert kept(database) == ["a"]


def test_a_restart_between_sessions_goes_unnoticed(
    postgres: Postgres, database: PostgresDatabase
) -> None:
    """A connection that the server has left is replaced before anything is done on it."""
    keep(database, "a")
    postgres.stop()
    postgres.start()
    keep(database, "b")
    assert kept(database) == ["a", "b"]


def test_a_restart_within_a_session_undoes_it(
    postgres: Postgres, database: PostgresDatabase
) -> None:
    """Half a session is not carried over to the next connection."""

    def restart(db: Session) -> None:
        postgres.stop()
        postgres.start()
        db.execute(KEEP, ("b", 1))

    with pytest.raises(RecordError):
        _keep_then(database, "a", restart)
    assert kept(database) == []


def test_a_server_that_does_not_answer_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those who stood in line meanwhile are told at once; later it is tried again."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        database = PostgresDatabase(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x")
        monkeypatch.setattr(engine, "_SLOW_S", 0)
        for expected in ("refused", "a moment ago", "a moment ago"):
            with pytest.raises(RecordError, match=expected):
                kept(database)
        monkeypatch.setattr(database, "_rests_until_s", 0.0)
        with pytest.raises(RecordError, match="refused"):
            kept(database)


def test_threads_share_one(database: PostgresDatabase) -> None:
    """Any thread may use it."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: keep(database, name), "abcdefgh"))
    assert kept(database) == [*"abcdefgh"]


def test_a_forked_child_has_its_own_connection(database: PostgresDatabase) -> None:
    """It neither uses nor ends the one of its parent, even if that one was in use."""
    keep(database, "a")
    with database.session(write=True) as db:
        db.execute(KEEP, ("b", 1))
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                os._exit(0 if kept(database) == ["a"] else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        db.execute(KEEP, ("c", 1))
    assert kept(database) == ["a", "b", "c"]


def test_a_newer_schema_is_refused(open_database: Callable[[], PostgresDatabase]) -> None:
    """What a newer release wrote is left alone."""
    with open_database().session(write=True) as db:
        db.execute("UPDATE meta SET value = '99'")
    with pytest.raises(RecordError, match="newer Trunkline"):
        kept(open_database())


@pytest.mark.parametrize("url", ["postgresql://u:pa%zzss@h/d", "hunter2", "postgresql://h/d?x=y"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The message says what one looks like, and repeats nothing of it."""
    with pytest.raises(
        ConfigError, match="postgresql://user:password@host:5432/database"
    ) as caught:
        PostgresDatabase(url)
    assert "zz" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_password_is_told_without_it(database_url: str) -> None:
    """The server's word is in the message, the password is not."""
    database = PostgresDatabase(database_url.replace("open-sesame", "hunter2"))
    with pytest.raises(RecordError, match="password authentication failed") as caught:
        kept(database)
    assert "hunter2" not in str(caught.value)


def test_a_missing_driver_is_named() -> None:
    """The message says what to install."""
    code = "import sys; sys.modules['psycopg'] = None; import trunkline.storage.postgres"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'trunkline[postgres]'" in done.stderr.splitlines()[-1]
