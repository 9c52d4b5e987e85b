"""SQLite as an engine: its file, and who shares it."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal_records import whole
from trunkline.errors import RecordError
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store

FILE = "owner.000000.log"


def test_the_file_is_private_and_made_when_needed(tmp_path: Path) -> None:
    """Constructing touches nothing; the file and its folder are for their owner only."""
    path = tmp_path / "data" / "trunkline.db"
    store = Store(SqliteDatabase(path))
    assert not path.parent.exists()
    store.apply(FILE, 1, whole("c1"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["trunkline.db"]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file that a newer version wrote is left alone, with words on what to do."""
    path = tmp_path / "trunkline.db"
    store = Store(SqliteDatabase(path))
    store.apply(FILE, 1, whole("c1"))
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = '99'")
        db.commit()
    with pytest.raises(RecordError, match=r"newer Trunkline \(schema 99"):
        store.usage("model")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_file_that_is_no_database_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file; its content is left alone."""
    path = tmp_path / "trunkline.db"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"trunkline\.db.*TRUNKLINE_DATA"):
        Store(SqliteDatabase(path)).usage("model")
    assert path.read_bytes() == content


@pytest.mark.parametrize("durable", [False, True])
def test_a_durable_session_waits_for_the_disk(tmp_path: Path, *, durable: bool) -> None:
    """Others are safe from the death of the process, which is quicker."""
    with (
        closing(SqliteDatabase(tmp_path / "trunkline.db")) as database,
        database.session(write=True, durable=durable) as db,
    ):
        assert db.execute("PRAGMA synchronous").fetchone()[0] == (2 if durable else 1)


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        ("key_id = ?", "calls_key"),
        ("user_id = ?", "calls_user"),
        ("tenant_id = ?", "calls_tenant"),
        ("tracked = ?", "calls_started"),
    ],
)
def test_pages_of_calls_come_out_of_an_index(tmp_path: Path, conditions: str, index: str) -> None:
    """Neither are all calls read nor are they sorted, however many there are."""
    query = (
        f"EXPLAIN QUERY PLAN SELECT * FROM calls WHERE outcome IS NOT NULL AND {conditions} "
        "AND started_ns <= ? AND (started_ns < ? OR call_id < ?) "
        "ORDER BY started_ns DESC, call_id DESC LIMIT 50"
    )
    with (
        closing(SqliteDatabase(tmp_path / "trunkline.db")) as database,
        database.session() as db,
    ):
        plan = [row["detail"] for row in db.execute(query, ("x", 1, 1, "x"))]
    assert f"USING INDEX {index} (" in plan[0]
    assert "started_ns<?" in plan[0]
    assert plan[1:] == ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"]  # of one nanosecond
