"""`trunkline db`: check, upgrade, backup."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trunkline.cli import main
from trunkline.storage.migrations.steps import MIGRATIONS

BASELINE = (Path(__file__).parents[1] / "unit/storage/baseline.sql").read_text()
NEWEST = MIGRATIONS[-1].id
Db = Callable[..., Result]


@pytest.fixture
def db() -> Db:
    """Run `trunkline db` in this process."""

    def run(*args: str) -> Result:
        return CliRunner().invoke(main, ["db", *args], catch_exceptions=False)

    return run


@pytest.fixture
def file() -> Path:
    """The file of the database, not there yet, in its folder."""
    folder = Path(os.environ["TRUNKLINE_DATA"])
    folder.mkdir()
    return folder / "trunkline.db"


@pytest.fixture
def old(file: Path) -> Path:
    """The file as the first release made it."""
    with closing(sqlite3.connect(file)) as made:
        made.executescript(BASELINE.format(serial="INTEGER PRIMARY KEY"))
        made.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        made.commit()
    return file


def change(file: Path, sql: str) -> None:
    """Change a database behind our back."""
    with closing(sqlite3.connect(file)) as opened:
        opened.executescript(sql)


def problems(result: Result) -> list[str]:
    """Return what a check that printed JSON found, and hold its exit code to it."""
    found: list[str] = json.loads(result.stdout)["problems"]
    assert result.exit_code == (1 if found else 0)
    return found


def test_where_there_is_no_database_yet(db: Db, tmp_path: Path) -> None:
    """That is no failure, and looking makes none; a copy of it is one; an upgrade makes it."""
    assert problems(db("check", "--json")) == []
    assert "schema none yet" in db("check").stdout
    copied = db("backup", "copy.db")
    assert (copied.exit_code, copied.stdout) == (1, "")
    assert "there is no database" in copied.stderr
    assert [*tmp_path.iterdir()] == []
    assert db("upgrade").stdout == f"tables made\nschema {NEWEST}\n"
    assert db("check").stdout.splitlines()[-1] == "good"


@pytest.mark.acceptance("K29")
def test_an_older_database_is_upgraded_by_hand(db: Db, old: Path) -> None:
    """Checking it changes nothing and names what is pending; the upgrade says what it did."""
    content = old.read_bytes()
    pending = [step.id for step in MIGRATIONS[1:]]
    for _ in range(2):
        told = json.loads(db("check", "--json").stdout)
        assert (told["schema"], told["head"]) == (1, "0001_baseline")
        assert (told["pending"], told["newest"], told["problems"]) == (pending, NEWEST, [])
        assert told["rows"]["calls"] == 0
    assert f"pending: {NEWEST}" in db("check").stdout
    assert old.read_bytes() == content
    done = json.loads(db("upgrade", "--json").stdout)
    assert (done["done"], done["schema"], done["database"]) == (pending, NEWEST, str(old))
    assert db("upgrade").stdout == f"schema {NEWEST}, nothing to do\n"
    assert json.loads(db("check", "--json").stdout)["pending"] == []


def test_a_check_counts_rows(db: Db) -> None:
    """Those of every table."""
    CliRunner().invoke(main, ["call", "hi"])
    CliRunner().invoke(main, ["usage"])
    lines = [line.split() for line in db("check").stdout.splitlines()]
    assert ["calls", "1"] in lines
    assert ["attempts", "1"] in lines


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("UPDATE meta SET value = 99", "newer Trunkline (schema 99"),
        ("UPDATE meta SET value = 'x' WHERE key = 'schema_head'", "another line of releases"),
        ("DROP TABLE hooks", "the table hooks is missing"),
    ],
)
def test_a_database_that_is_not_as_it_should_be(db: Db, file: Path, sql: str, word: str) -> None:
    """Exit code 1, and each thing that is wrong on a line."""
    db("upgrade")
    change(file, sql)
    (problem,) = problems(db("check", "--json"))
    assert word in problem
    assert f"PROBLEM: {problem}" in db("check").stdout.splitlines()


def test_damage_is_found(db: Db, file: Path) -> None:
    """Here an index that lacks a row, as after a write that was lost."""
    db("upgrade")
    change(
        file,
        """
        PRAGMA writable_schema = ON;
        CREATE TEMP TABLE kept AS SELECT * FROM main.sqlite_schema WHERE name = 'calls_started';
        DELETE FROM main.sqlite_schema WHERE name = 'calls_started';
        PRAGMA writable_schema = RESET;
        INSERT INTO calls (call_id, journal) VALUES ('c1', 1);
        PRAGMA writable_schema = ON;
        INSERT INTO main.sqlite_schema SELECT * FROM kept;
        """,
    )
    assert "row 1 missing from index calls_started" in problems(db("check", "--json"))


def test_what_is_not_ours_is_refused(db: Db, file: Path) -> None:
    """By every command, with the file's name, and left alone."""
    file.write_bytes(b"not a database at all" * 100)
    for arguments in (["check"], ["upgrade"], ["backup", "copy.db"]):
        result = db(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert str(file) in result.stderr
    assert file.read_bytes() == b"not a database at all" * 100
    assert not Path("copy.db").exists()


def test_a_backup_is_a_database(db: Db, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In another data folder all is there; the file is written over nothing."""
    CliRunner().invoke(main, ["call", "hi"])
    CliRunner().invoke(main, ["usage"])
    (tmp_path / "other").mkdir()
    target = tmp_path / "other" / "trunkline.db"
    result = json.loads(db("backup", str(target), "--json").stdout)
    assert (result["file"], result["bytes"]) == (str(target), target.stat().st_size)
    again = db("backup", str(target))
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists" in again.stderr
    monkeypatch.setenv("TRUNKLINE_DATA", str(target.parent))
    assert json.loads(db("check", "--json").stdout)["rows"]["calls"] == 1


def test_a_backup_shows_how_far_it_is_on_a_terminal(db: Db) -> None:
    """On standard error, and only there."""
    db("upgrade")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from trunkline.cli import main; main()"]
    done = subprocess.run(
        [*command, "db", "backup", "copy.db"],
        check=True,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=60,
    )
    os.close(theirs)
    assert b"100%" in os.read(ours, 10_000)
    os.close(ours)
    assert done.stdout.startswith(b"wrote copy.db: ")
    assert db("backup", "quiet.db").stderr == ""


def test_postgresql(db: Db, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands look after it; copies are for pg_dump. The password is never shown."""
    monkeypatch.setenv("TRUNKLINE_DATABASE_URL", database_url)
    assert problems(db("check", "--json")) == []
    assert db("upgrade").stdout == f"tables made\nschema {NEWEST}\n"
    assert db("upgrade").stdout == f"schema {NEWEST}, nothing to do\n"
    told = db("check", "--json")
    assert problems(told) == []
    assert json.loads(told.stdout)["rows"]["calls"] == 0
    copied = db("backup", "copy.db")
    assert (copied.exit_code, copied.stdout) == (2, "")
    assert "pg_dump" in copied.stderr
    assert "open-sesame" not in told.stdout + copied.stderr
