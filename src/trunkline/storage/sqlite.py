"""SQLite, for one machine: one file; the only module that imports its driver."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from trunkline.errors import RecordError
from trunkline.storage import migrations
from trunkline.storage.database import Words
from trunkline.storage.schema import tables

_BUSY_TIMEOUT_S = 10.0
_PAGE_BYTES = 8192
_BACKUP_PAGES = 256
_WORDS = Words(
    provider="substr(a.deployment, 1, instr(a.deployment || '/', '/') - 1)",
    day="strftime('%Y-%m-%d', {}, 'unixepoch')",
    has="EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)",
    each_tag="LEFT JOIN json_each(c.tags) AS t",
    listed="IN (SELECT value FROM json_each(?))",
    serial="INTEGER PRIMARY KEY",
    clustered=" WITHOUT ROWID",
    locked="",
    unhurried="SELECT 1",  # only who waits for the file has a limit
    tables="SELECT name FROM sqlite_schema WHERE type = 'table'",
    integrity="PRAGMA integrity_check",
)
_databases: weakref.WeakSet[SqliteDatabase] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: a child may neither use nor close them.
Source: https://www.sqlite.org/howtocorrupt.html section 2.6 (2026-11-20)."""


class SqliteDatabase:
    """One file; satisfies `Database`. The file is made when first needed."""

    words = _WORDS

    def __init__(self, path: Path, *, as_is: bool = False) -> None:
        self._path = Path(path)
        self._as_is = as_is
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        _databases.add(self)

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    @contextlib.contextmanager
    def session(
        self, *, write: bool = False, durable: bool = False
    ) -> Iterator[sqlite3.Connection]:
        """Open a transaction; see `Database.session`."""
        with self._lock:
            try:
                db = self._connection()
                db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                with _transaction(db, "IMMEDIATE" if write else ""):
                    yield db
            except (sqlite3.Error, OSError) as error:
                raise RecordError(
                    f"cannot use the database {self._path}: {error}. Mend or move the file, or set "
                    "TRUNKLINE_DATA to another folder"
                ) from error

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def backup(self, target: Path, progress: Callable[[int, int], object]) -> None:
        """Copy the database, as it is in one moment, to a new file; others go on using it.

        What is so far only in a journal is not in the copy.

        Args:
            target: where to; for its owner only. It is there when all of it is.
            progress: is told how many pages are copied, and of how many.

        Raises:
            RecordError: there is no database, or the copy cannot be written.
        """
        if not self._path.exists():
            raise RecordError(f"there is no database {self._path} yet: nothing to copy")
        try:
            with (
                _new_file(target) as name,
                contextlib.closing(_connect(self._path)) as source,
                contextlib.closing(_connect(name)) as copy,
                _transaction(source, ""),
            ):
                # Reading keeps the moment: else it would begin anew whenever somebody writes.
                # Source: https://www.sqlite.org/backup.html (2026-11-20)
                source.execute(_WORDS.tables).fetchall()
                source.backup(
                    copy,
                    pages=_BACKUP_PAGES,
                    progress=lambda _, left, pages: progress(pages - left, pages),
                )
        except FileExistsError:
            raise RecordError(f"{target} exists: a copy is written over nothing") from None
        except (sqlite3.Error, OSError) as error:
            raise RecordError(f"cannot copy {self._path} to {target}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            there = self._path.exists()
            if not there and not self._as_is:
                self._create()
                there = True
            db = _connect(self._path if there else ":memory:")
            try:
                if not self._as_is:
                    writing = partial(_transaction, db, "IMMEDIATE")
                    migrations.make_ready(db, _WORDS, self.name, writing)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _create(self) -> None:
        """Make the file ready under another name, so that no process ever sees half of it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            contextlib.suppress(FileExistsError),  # somebody was faster
            _new_file(self._path) as name,
            contextlib.closing(_connect(name)) as db,
        ):
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"BEGIN; {tables(_WORDS)}")  # one wait for the disk, not fifty
            migrations.stamp(db)
            db.execute("COMMIT")

    def _leave_parent(self) -> None:
        """Forget, in a forked child, the connection of the parent."""
        if self._db is not None:
            _inherited.append(self._db)
            self._db = None
        self._lock = threading.Lock()


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[str]:
    """Give another name for a file that is to be there as a whole or not at all.

    Raises:
        FileExistsError: there is one already.
    """
    fd, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    os.close(fd)
    try:
        yield name
        os.link(name, path)
    finally:
        os.unlink(name)


def _connect(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    db.row_factory = sqlite3.Row
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    with db:
        db.execute(f"BEGIN {kind}")
        yield


def _after_fork_in_child() -> None:
    for database in _databases:
        database._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
