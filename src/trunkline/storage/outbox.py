"""What hooks have still to be told: one row for each hook and attempt.

The rows are made by triggers, so within the transaction that ends an attempt and whichever process
ingests it; no hook ever subscribed, no trigger. A row goes when its hook has taken it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.storage.records import to_struct
from trunkline.storage.sqlite import SqliteStore
from trunkline.types.answer import Usage
from trunkline.types.usage_event import UsageEvent, meter_event, tokens, usd

_FORGOTTEN_NS = 7 * 86_400 * 10**9
"""How long attempts are kept for a hook that no process speaks for any more."""

_NEW = "NEW.outcome IS NOT NULL AND NEW.started_ns IS NOT NULL"
_POST = f"""
    INSERT INTO outbox (hook, call_id, n)
    SELECT name, NEW.call_id, NEW.n FROM hooks
    WHERE NEW.started_ns < seen_ns + {_FORGOTTEN_NS} AND NOT EXISTS
        (SELECT 1 FROM outbox WHERE hook = name AND call_id = NEW.call_id AND n = NEW.n);
"""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS hooks (name TEXT PRIMARY KEY, seen_ns INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS outbox (
        hook TEXT NOT NULL,
        call_id TEXT NOT NULL,
        n INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        tries INTEGER NOT NULL DEFAULT 0,
        due_ns INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        PRIMARY KEY (hook, call_id, n)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS outbox_due ON outbox (hook, state, due_ns)",
    # An attempt is told of once: when it first has both its records. Files that are read a second
    # time after a crash change rows that have both already.
    f"""CREATE TRIGGER IF NOT EXISTS outbox_written AFTER INSERT ON attempts
        WHEN {_NEW} BEGIN {_POST} END""",
    f"""CREATE TRIGGER IF NOT EXISTS outbox_ended AFTER UPDATE ON attempts
        WHEN {_NEW} AND (OLD.outcome IS NULL OR OLD.started_ns IS NULL) BEGIN {_POST} END""",
)
_PAYERS = ("tenant_id", "team_id", "user_id", "key_id")
_DUE = f"""
    SELECT o.call_id, o.n, o.tries, a.started_ns, a.deployment, a.outcome, a.cost_nusd,
        a.cost_state, {", ".join(f"a.{name}" for name in Usage.__struct_fields__)},
        c.model, c.tags, c.tracked, {", ".join(f"c.{name}" for name in _PAYERS)}
    FROM outbox AS o JOIN attempts AS a USING (call_id, n) JOIN calls AS c USING (call_id)
    WHERE o.hook = ? AND o.state = 'waiting' AND o.due_ns <= ? ORDER BY o.due_ns, o.call_id, o.n
    LIMIT ?"""
_KEY = "hook = ? AND call_id = ? AND n = ?"


class Posted(Struct, frozen=True):
    """An event that a hook has to be told."""

    event: UsageEvent
    tries: int
    """How often it failed."""


class Left(Struct, frozen=True):
    """An event that its hook did not take."""

    event: UsageEvent
    error: str
    due_ns: int | None
    """When to try again; None = never, the row is kept as `dead`."""


class Outbox:
    """The outbox of one data folder; every method raises `RecordError` as the store does."""

    def __init__(self, store: SqliteStore, data_dir: Path) -> None:
        self._store = store
        self._data_dir = data_dir

    def subscribe(self, names: Collection[str], now_ns: int) -> None:
        """Keep what ends from now on for these hooks, for a week after this was last called."""
        with self._store._session("BEGIN IMMEDIATE") as db:
            for statement in _TABLES:
                db.execute(statement)
            rows = [(name, now_ns) for name in names]
            db.executemany("INSERT OR REPLACE INTO hooks VALUES (?, ?)", rows)

    def only(self, prefix: str, names: Collection[str]) -> None:
        """Forget the hooks, and what waits for them, that begin with `prefix` and are not here."""
        with self._store._session("BEGIN IMMEDIATE") as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'hooks'").fetchone():
                return
            for (name,) in db.execute("SELECT name FROM hooks").fetchall():
                if name.startswith(prefix) and name not in names:
                    db.execute("DELETE FROM hooks WHERE name = ?", (name,))
                    db.execute("DELETE FROM outbox WHERE hook = ? AND state = 'waiting'", (name,))

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[bool]:
        """Hold the right to tell a hook, or say False where another has it.

        It ends with its process, so nothing has to expire before the next one may go on.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        fd = os.open(self._data_dir / f"hook-{digest}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            try:
                yield True
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child may have a copy of it
        finally:
            os.close(fd)

    def due(self, name: str, now_ns: int, limit: int) -> list[Posted]:
        """Return what a hook is to be told now, what waits longest first.

        What is not tracked goes without being told.
        """
        with self._store._session("BEGIN IMMEDIATE") as db:
            posted: list[Posted] = []
            while not posted:
                rows = db.execute(_DUE, (name, now_ns, limit)).fetchall()
                if not rows:
                    break
                posted = [Posted(_event(row), row["tries"]) for row in rows if row["tracked"]]
                hidden = [(name, row["call_id"], row["n"]) for row in rows if not row["tracked"]]
                db.executemany(f"DELETE FROM outbox WHERE {_KEY}", hidden)
            return posted

    def settle(self, name: str, taken: Sequence[UsageEvent], left: Sequence[Left]) -> None:
        """Write down what a hook took and what it did not."""
        with self._store._session("BEGIN IMMEDIATE") as db:
            db.executemany(
                f"DELETE FROM outbox WHERE {_KEY}",
                [(name, event.call_id, event.attempt) for event in taken],
            )
            db.executemany(
                "UPDATE outbox SET tries = tries + 1, error = ?, due_ns = coalesce(?, due_ns), "
                f"state = iif(? IS NULL, 'dead', state) WHERE {_KEY}",
                [
                    (each.error, each.due_ns, each.due_ns, name, event.call_id, event.attempt)
                    for each in left
                    for event in [each.event]
                ],
            )

    def counts(self) -> dict[str, int]:
        """Return how many rows are `waiting` and how many `dead`, over all hooks."""
        with self._store._session() as db:
            return dict(db.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())

    def waits(self, name: str) -> bool:
        """Tell whether anything waits for a hook, due or not."""
        query = "SELECT 1 FROM outbox WHERE hook = ? AND state = 'waiting' LIMIT 1"
        with self._store._session() as db:
            return db.execute(query, (name,)).fetchone() is not None


def _event(row: Any) -> UsageEvent:
    event_id = f"{row['call_id']}:{row['n']}"
    used = tokens(to_struct(Usage, row))
    at_s = row["started_ns"] // 10**9
    payers = {name: row[name] for name in _PAYERS}
    return UsageEvent(
        id=event_id,
        created_at=at_s,
        call_id=row["call_id"],
        attempt=row["n"],
        model=row["model"],
        deployment=row["deployment"],
        tags=tuple(msgspec.json.decode(row["tags"])),
        outcome=row["outcome"],
        usage=used,
        cost_nusd=row["cost_nusd"],
        cost_usd=usd(row["cost_nusd"]),
        cost_state=row["cost_state"],
        stripe_meter_event=meter_event(event_id, at_s, used.total_tokens, tuple(payers.values())),
        **payers,
    )
