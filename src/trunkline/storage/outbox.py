"""What hooks have still to be told: one row for each hook and attempt.

The rows are made within the transaction that brings an attempt into the store, whichever process
ingests it. A row goes when its hook has taken it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from trunkline.storage.changes import Changes
from trunkline.storage.database import Database, Session
from trunkline.storage.records import to_struct
from trunkline.types.answer import Usage
from trunkline.types.usage_event import UsageEvent, meter_event, tokens, usd

_FORGOTTEN_NS = 7 * 86_400 * 10**9
"""How long attempts are kept for a hook that no process speaks for any more."""

_PAYERS = ("tenant_id", "team_id", "user_id", "key_id")
_DUE = f"""
    SELECT o.call_id, o.n, o.tries, a.started_ns, a.deployment, a.outcome, a.cost_nusd,
        a.cost_state, {", ".join(f"a.{name}" for name in Usage.__struct_fields__)},
        c.model, c.tags, c.tracked, {", ".join(f"c.{name}" for name in _PAYERS)}
    FROM outbox AS o JOIN attempts AS a ON a.call_id = o.call_id AND a.n = o.n
        JOIN calls AS c ON c.call_id = o.call_id
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


class Dead(NamedTuple):
    """An event that its hook will not be told again, for a person to look at."""

    hook: str
    call_id: str
    attempt: int
    deployment: str
    started_ns: int
    """When the attempt began."""
    tries: int
    error: str
    """Why it was not taken the last time."""


class Outbox:
    """The outbox of one data folder; every method raises `RecordError` as the store does."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._data_dir = data_dir

    def subscribe(self, names: Collection[str], now_ns: int) -> None:
        """Keep what ends from now on for these hooks, for a week after this was last called."""
        with self._database.session(write=True) as db:
            db.executemany(
                "INSERT INTO hooks (name, seen_ns) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET seen_ns = excluded.seen_ns",
                [(name, now_ns) for name in names],
            )

    def only(self, prefix: str, names: Collection[str]) -> None:
        """Forget the hooks, and what waits for them, that begin with `prefix` and are not here."""
        with self._database.session(write=True) as db:
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
        with self._database.session(write=True) as db:
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
        with self._database.session(write=True) as db:
            db.executemany(
                f"DELETE FROM outbox WHERE {_KEY}",
                [(name, event.call_id, event.attempt) for event in taken],
            )
            db.executemany(
                f"UPDATE outbox SET tries = tries + 1, error = ?, due_ns = ? WHERE {_KEY}",
                [
                    (each.error, each.due_ns or 0, name, each.event.call_id, each.event.attempt)
                    for each in left
                ],
            )
            db.executemany(
                f"UPDATE outbox SET state = 'dead' WHERE {_KEY}",
                [
                    (name, each.event.call_id, each.event.attempt)
                    for each in left
                    if each.due_ns is None
                ],
            )

    def counts(self) -> dict[str, int]:
        """Return how many rows are `waiting` and how many `dead`, over all hooks."""
        with self._database.session() as db:
            return dict(db.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())

    def dead(self, limit: int) -> list[Dead]:
        """Return what hooks never took, the latest attempts first."""
        query = """
            SELECT hook, o.call_id, o.n AS attempt, deployment, started_ns, tries, o.error
            FROM outbox AS o JOIN attempts AS a ON a.call_id = o.call_id AND a.n = o.n
            WHERE state = 'dead' ORDER BY started_ns DESC, o.call_id, o.n, hook LIMIT ?"""
        with self._database.session() as db:
            return [Dead(**dict(row)) for row in db.execute(query, (limit,))]

    def requeue(self, name: str | None = None) -> int:
        """Have a hook told again what it never took, None = every hook; returns how many events.

        A hook that is configured no more is left alone: nobody would tell it.
        """
        which, values = ("", ()) if name is None else (" AND hook = ?", (name,))
        with self._database.session(write=True) as db:
            return db.execute(
                "UPDATE outbox SET state = 'waiting', tries = 0, due_ns = 0 "
                f"WHERE state = 'dead' AND hook IN (SELECT name FROM hooks){which}",
                values,
            ).rowcount

    def waits(self, name: str) -> bool:
        """Tell whether anything waits for a hook, due or not."""
        query = "SELECT 1 FROM outbox WHERE hook = ? AND state = 'waiting' LIMIT 1"
        with self._database.session() as db:
            return db.execute(query, (name,)).fetchone() is not None


def post(db: Session, changes: Changes) -> None:
    """Have every hook told of the attempts that are new."""
    new = [change.begun for change in changes.attempts if change.before is None]
    hooks = db.execute("SELECT name, seen_ns FROM hooks").fetchall() if new else ()
    db.executemany(
        "INSERT INTO outbox (hook, call_id, n) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (hook["name"], begun.call_id, begun.n)
            for hook in hooks
            for begun in new
            if begun.started_ns < hook["seen_ns"] + _FORGOTTEN_NS
        ],
    )


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
