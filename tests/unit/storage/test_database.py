"""What every engine owes those who keep something in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from trunkline.errors import RecordError
from trunkline.storage.database import NULL, NULLABLE, Database
from trunkline.storage.migrations.steps import MIGRATIONS
from trunkline.storage.records import to_json

KEEP = "INSERT INTO journal_offsets VALUES (?, ?)"


def keep(database: Database, file: str, offset: int = 1) -> None:
    """Write one row."""
    with database.session(write=True) as db:
        db.execute(KEEP, (file, offset))


def kept(database: Database) -> list[str]:
    """Return the rows that were written."""
    with database.session() as db:
        return [row["file"] for row in db.execute("SELECT file FROM journal_offsets ORDER BY file")]


def ask(database: Database, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Return what a statement gives."""
    with database.session() as db:
        return [tuple(row) for row in db.execute(sql, values)]


def test_the_tables_are_there(database: Database) -> None:
    """Whoever opens a session first finds them made, and of which version they are."""
    version = "SELECT value FROM meta WHERE key = 'schema_version'"
    assert ask(database, version) == [(str(MIGRATIONS[-1].number),)]


def test_a_session_counts_as_a_whole(database: Database) -> None:
    """What is raised within it undoes all of it; the engine's own errors come as one of ours."""
    keep(database, "a")

    def fail(error: type[BaseException]) -> None:
        with database.session(write=True) as db:
            db.execute(KEEP, ("b", 1))
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)

    def twice() -> None:
        with database.session(write=True, durable=True) as db:
            db.executemany(KEEP, [("c", 1), ("a", 2)])

    with pytest.raises(RecordError):
        twice()
    keep(database, "d")
    assert kept(database) == ["a", "d"]


def test_a_closed_one_is_opened_again(database: Database) -> None:
    """Closing loses nothing, and closing twice is fine."""
    keep(database, "a")
    database.close()
    database.close()
    assert kept(database) == ["a"]


def test_rows(database: Database) -> None:
    """They come one by one or all at once, with columns by name and place; and are counted."""
    with database.session(write=True) as db:
        db.executemany(KEEP, [("a", 1), ("b", 2), ("c", 2**63 - 1)])
        db.executemany(KEEP, [])
        rows = db.execute("SELECT file, bytes FROM journal_offsets ORDER BY file")
        first = rows.fetchone()
        assert (first["file"], first[1], dict(first)) == ("a", 1, {"file": "a", "bytes": 1})
        assert [tuple(row) for row in rows.fetchall()] == [("b", 2), ("c", 2**63 - 1)]
        assert rows.fetchone() is None
        assert db.execute("UPDATE journal_offsets SET bytes = 0 WHERE bytes < 3").rowcount == 2


def test_null_is_bound_as_a_number(database: Database) -> None:
    """Where a statement says so; another number next to it is itself."""
    with database.session(write=True) as db:
        db.executemany(
            f"INSERT INTO calls (call_id, journal, model, cost_nusd, latency_ms) "
            f"VALUES (?, ?, {NULLABLE}, {NULLABLE}, {NULLABLE})",
            [("a", 1, NULL, NULL, NULL), ("b", 1, "m", 0, 0.5)],
        )
    query = "SELECT model, cost_nusd, latency_ms FROM calls ORDER BY call_id"
    assert ask(database, query) == [(None, None, None), ("m", 0, 0.5)]


def test_sums_are_whole_numbers(database: Database) -> None:
    """A sum of integers is one, whatever type the engine gives it; of no rows it is None."""
    query = "SELECT sum(bytes) FROM journal_offsets"
    assert ask(database, query) == [(None,)]
    keep(database, "a", 2**61)
    keep(database, "b", 1)
    ((total,),) = ask(database, query)
    assert (type(total), total) == (int, 2**61 + 1)


def test_words(database: Database) -> None:
    """What the engines spell differently means the same."""
    words = database.words
    with database.session(write=True) as db:
        db.executemany(
            "INSERT INTO calls (call_id, journal, deployment, tags) VALUES (?, 1, ?, ?)",
            [("1", "openai/ft:a/b", '["x","ü\\""]'), ("2", "bare", "[]"), ("3", "", '["xx"]')],
        )
        db.execute(f"SELECT 1 FROM calls WHERE call_id = '1'{words.locked}").fetchone()
    provider = f"SELECT {words.provider} FROM calls AS a ORDER BY call_id"
    assert ask(database, provider) == [("openai",), ("bare",), ("",)]
    has = f"SELECT call_id FROM calls WHERE {words.has} ORDER BY call_id"
    assert [ask(database, has, tag) for tag in ("x", 'ü"', "%", "")] == [[("1",)], [("1",)], [], []]
    tags = f"SELECT c.call_id, t.value FROM calls AS c {words.each_tag} ORDER BY 1, 2"
    assert ask(database, tags) == [("1", "x"), ("1", 'ü"'), ("2", None), ("3", "xx")]
    listed = f"SELECT call_id FROM calls WHERE call_id {words.listed} ORDER BY 1"
    assert ask(database, listed, to_json(("3", "1", "4"))) == [("1",), ("3",)]
    assert ask(database, listed, "[]") == []
    day = f"SELECT {words.day.format('(a.journal * 86399)')} FROM calls AS a WHERE call_id = '1'"
    assert ask(database, day) == [("1970-01-01",)]
    assert ask(database, day.replace("86399", "1794960000")) == [("2026-11-18",)]


def test_keys_count_up(database: Database) -> None:
    """Each row of such a table has another one."""
    with database.session(write=True) as db:
        for owner in "ab":
            db.execute("INSERT INTO journals (owner) VALUES (?)", (owner,))
    ((first,), (second,)) = ask(database, "SELECT id FROM journals ORDER BY owner")
    assert first != second


def test_sessions_that_write_come_one_after_the_other(database: Database) -> None:
    """What threads read and then write is as if one had done it."""
    keep(database, "a", 0)

    def add(_: int) -> None:
        with database.session(write=True) as db:
            found = db.execute("SELECT bytes FROM journal_offsets").fetchone()["bytes"]
            db.execute("UPDATE journal_offsets SET bytes = ?", (found + 1,))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(40)))
    assert ask(database, "SELECT bytes FROM journal_offsets") == [(40,)]
