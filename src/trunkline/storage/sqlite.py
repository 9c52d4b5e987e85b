"""Records in one SQLite file, for one machine; the only module that imports the driver."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import InputError, RecordError
from trunkline.storage.records import (
    PAYER,
    statements,
    to_attempt,
    to_cost,
    to_json,
    to_struct,
)
from trunkline.storage.rows import By, CallFilter, CallRow, UsageRow
from trunkline.storage.schema import TABLES, VERSION
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import Begun, Called, Record

_BUSY_TIMEOUT_S = 10.0
_INT64_MAX = 2**63 - 1

_PROVIDER = "substr(a.deployment, 1, instr(a.deployment || '/', '/') - 1)"
_GROUPS: dict[str, tuple[str, str]] = {
    "model": ("model", "c.model"),
    "deployment": ("deployment", "a.deployment"),
    "provider": ("provider", _PROVIDER),
    "key": ("key_id", "c.key_id"),
    "user": ("user_id", "c.user_id"),
    "tenant": ("tenant_id", "c.tenant_id"),
    "tag": ("tag", "t.value"),
    "day": ("day", "strftime('%Y-%m-%d', c.started_ns / 1000000000, 'unixepoch')"),
}
_SCOPES = {
    "key": "key_id = ?",
    "user": "user_id = ?",
    "team": "team_id = ?",
    "tenant": "tenant_id = ?",
    "run": "run = ?",
    "provider": f"{_PROVIDER} = ?",
    "deployment": "a.deployment = ?",
    "tag": "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)",
}
_BY_ATTEMPT = {"deployment", "provider"}
"""A call may have several of these; all else is said once, in `calls`."""
_PAGE_BYTES = 8192
_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process: a child may neither use nor close them.
Source: https://www.sqlite.org/howtocorrupt.html section 2.6 (2026-11-20)."""


class SqliteStore:
    """The records of one data folder; safe to use from any thread and after a fork.

    The file is made when first needed. Every method raises `RecordError` when it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        _stores.add(self)

    def offset(self, file: str) -> int:
        """Return up to where `file` was applied; 0 for an unknown one."""
        with self._session() as db:
            row = db.execute("SELECT bytes FROM journal_offsets WHERE file = ?", (file,)).fetchone()
            return row[0] if row else 0

    def apply(self, file: str, offset: int, records: Sequence[Record]) -> None:
        """Write rows and offset in one transaction; the same records again change nothing."""
        with self._session("BEGIN IMMEDIATE") as db:
            for statement, rows in statements(records, _journal(db, file)):
                db.executemany(statement, rows)
            db.execute("INSERT OR REPLACE INTO journal_offsets VALUES (?, ?)", (file, offset))

    def forget(self, file: str) -> None:
        """Drop the offset; when this returns, all rows are safe from a power failure."""
        with self._session("BEGIN IMMEDIATE", synchronous="FULL") as db:
            db.execute("DELETE FROM journal_offsets WHERE file = ?", (file,))

    def loose_ends(self, owner: str) -> list[tuple[Begun, Cost | None]]:
        """Return the attempts of `owner` that did not end, and all of calls that did not.

        Each comes with its cost if it ended.
        """
        query = f"""
            SELECT a.*, {", ".join(PAYER)}
            FROM attempts AS a JOIN calls AS c USING (call_id)
            WHERE call_id IN (
                SELECT call_id FROM calls WHERE outcome IS NULL
                UNION SELECT call_id FROM attempts WHERE outcome IS NULL)
            AND journal = (SELECT id FROM journals WHERE owner = ?)
            AND a.started_ns IS NOT NULL AND (a.outcome IS NULL OR c.outcome IS NULL)
            ORDER BY call_id, n"""
        with self._session() as db:
            rows = db.execute(query, (owner,)).fetchall()
        return [(to_struct(Begun, row), to_cost(row)) for row in rows]

    def usage(
        self, by: By, since_ns: int | None = None, until_ns: int | None = None
    ) -> list[UsageRow]:
        """Return what tracked calls that started in [since, until) used, dearest first.

        Raises:
            InputError: there is no such grouping.
        """
        if by not in _GROUPS:
            raise InputError(f"by: no such grouping {by!r}; use {', '.join(_GROUPS)}", param="by")
        name, value = _GROUPS[by]
        join = "JOIN" if by in _BY_ATTEMPT else "LEFT JOIN"
        tags = "LEFT JOIN json_each(c.tags) AS t" if by == "tag" else ""
        query = f"""
            SELECT
                {value} AS value,
                count(DISTINCT c.call_id) AS requests,
                coalesce(sum(a.prompt_tokens), 0) AS prompt_tokens,
                coalesce(sum(a.completion_tokens), 0) AS completion_tokens,
                coalesce(sum(a.prompt_tokens + a.completion_tokens), 0) AS total_tokens,
                coalesce(sum(a.cache_read_tokens), 0) AS cached_tokens,
                coalesce(sum(a.reasoning_tokens), 0) AS reasoning_tokens,
                coalesce(sum(a.cost_nusd), 0) AS cost_nusd,
                count(DISTINCT CASE WHEN a.outcome IS NOT NULL AND a.cost_nusd IS NULL
                    THEN c.call_id END) AS unknown_price_requests
            FROM calls AS c {join} attempts AS a ON a.call_id = c.call_id {tags}
            WHERE c.outcome IS NOT NULL AND c.tracked AND c.started_ns >= ? AND c.started_ns < ?
            GROUP BY 1 ORDER BY cost_nusd DESC, total_tokens DESC, value"""
        bounds = (since_ns or 0, _INT64_MAX if until_ns is None else until_ns)
        with self._session() as db:
            return [UsageRow(by=name, **dict(row)) for row in db.execute(query, bounds)]

    def calls(self, limit: int = 50, where: CallFilter | None = None) -> list[CallRow]:
        """Return the latest calls that match, newest first."""
        where = where or CallFilter()
        conditions: dict[str, Any] = {
            f"{name} = ?": getattr(where, name)
            for name in ("call_id", "key_id", "user_id", "tenant_id", "model", "outcome")
        }
        conditions["started_ns >= ?"] = where.since_ns
        conditions[_SCOPES["tag"]] = where.tag
        conditions["tracked = ?"] = None if where.hidden else 1
        given = {sql: value for sql, value in conditions.items() if value is not None}
        query = f"""
            SELECT * FROM calls WHERE {" AND ".join(("outcome IS NOT NULL", *given))}
            ORDER BY started_ns DESC, call_id LIMIT ?"""
        with self._session() as db:
            calls = db.execute(query, (*given.values(), max(limit, 0))).fetchall()
            attempts: dict[str, list[Attempt]] = {row["call_id"]: [] for row in calls}
            for row in db.execute(
                "SELECT * FROM attempts WHERE call_id IN (SELECT value FROM json_each(?)) "
                "ORDER BY call_id, n",
                (to_json(tuple(attempts)),),
            ):
                attempts[row["call_id"]].append(to_attempt(row))
        return [
            CallRow(call=to_struct(Called, row), attempts=attempts[row["call_id"]]) for row in calls
        ]

    def settled(self, scope: str, since_ns: int) -> int:
        """Return the nano-USD that attempts begun since then cost `scope`.

        An attempt that has not ended counts with its hold, one of unknown cost with nothing.
        `scope` is `global`, or one of key, user, team, tenant, tag, run, provider and deployment
        with its value: `user:alice`. Calls with `track_tokens=False` count too.

        Raises:
            InputError: there is no such scope.
        """
        kind, _, value = scope.partition(":")
        if scope != "global" and (kind not in _SCOPES or not value):
            known = ", ".join(f"{name}:..." for name in _SCOPES)
            raise InputError(f"scope: no such scope {scope!r}; use global, {known}", param="scope")
        join = "" if kind in {"global", *_BY_ATTEMPT} else "JOIN calls USING (call_id)"
        query = f"""
            SELECT coalesce(
                sum(CASE WHEN a.outcome IS NULL THEN a.hold_nusd ELSE a.cost_nusd END), 0)
            FROM attempts AS a {join}
            WHERE a.started_ns >= ? AND {_SCOPES.get(kind, "1")}"""
        with self._session() as db:
            bound = (since_ns,) if scope == "global" else (since_ns, value)
            total: int = db.execute(query, bound).fetchone()[0]
            return total

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    @contextlib.contextmanager
    def _session(
        self, begin: str = "BEGIN", *, synchronous: str = "NORMAL"
    ) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                db = self._connection()
                db.execute(f"PRAGMA synchronous = {synchronous}")
                with db:
                    db.execute(begin)
                    yield db
            except (sqlite3.Error, OSError) as error:
                raise RecordError(
                    f"cannot use the database {self._path}: {error}. Mend or move the file, or set "
                    "TRUNKLINE_DATA to another folder"
                ) from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            if not self._path.exists():
                self._create()
            db = _connect(self._path)
            try:
                (version,) = db.execute(
                    "SELECT value FROM meta WHERE key = 'schema_version'"
                ).fetchone()
                if int(version) > VERSION:
                    raise RecordError(
                        f"the database {self._path} was written by a newer Trunkline (schema "
                        f"{version}, this one knows {VERSION}); upgrade this one, or set "
                        "TRUNKLINE_DATA to another folder"
                    )
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _create(self) -> None:
        """Make the file ready under another name, so that no process ever sees half of it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f"{self._path.name}.", dir=self._path.parent)
        os.close(fd)
        try:
            with contextlib.closing(_connect(name)) as db:
                db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(TABLES)
                db.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(VERSION),))
            with contextlib.suppress(FileExistsError):
                os.link(name, self._path)
        finally:
            os.unlink(name)

    def _leave_parent(self) -> None:
        """Forget, in a forked child, the connection of the parent."""
        if self._db is not None:
            _inherited.append(self._db)
            self._db = None
        self._lock = threading.Lock()


def _journal(db: sqlite3.Connection, file: str) -> int:
    """Return the number by which calls know whose `file` it is."""
    owner = file.partition(".")[0]
    db.execute("INSERT INTO journals (owner) VALUES (?) ON CONFLICT DO NOTHING", (owner,))
    row = db.execute("SELECT id FROM journals WHERE owner = ?", (owner,)).fetchone()
    number: int = row["id"]
    return number


def _connect(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    db.row_factory = sqlite3.Row
    return db


def _after_fork_in_child() -> None:
    for store in _stores:
        store._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
