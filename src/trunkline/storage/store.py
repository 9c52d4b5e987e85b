"""The records of calls and attempts in a database: taken in, and asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trunkline.storage import ledger, outbox, spans, sums, tagged
from trunkline.storage.changes import changes
from trunkline.storage.database import Database, Session
from trunkline.storage.records import (
    PAYER,
    Batch,
    statements,
    to_attempt,
    to_cost,
    to_json,
    to_struct,
)
from trunkline.storage.rows import By, CallFilter, CallRow, UsageFilter, UsageRow
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import Begun, Called, Record

_OLDEST = """
    SELECT call_id, started_ns, tags FROM calls AS c WHERE started_ns < ? AND outcome IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.call_id = c.call_id AND a.outcome IS NULL)
    AND call_id NOT IN (SELECT call_id FROM outbox WHERE state = 'waiting')
    ORDER BY started_ns LIMIT ?"""


class Store:
    """The records in `database`; every method raises `RecordError` when it cannot be used."""

    def __init__(
        self,
        database: Database,
        observe: Callable[[Sequence[Record]], None] = lambda records: None,
    ) -> None:
        """`observe` is told of all records that were taken in."""
        self.database = database
        self._observe = observe

    # --- for ingestion: see `trunkline.journal.RowStore` --------------------------------------

    def offset(self, file: str) -> int:
        """Return up to where `file` was applied; 0 for an unknown one."""
        with self.database.session() as db:
            row = db.execute("SELECT bytes FROM journal_offsets WHERE file = ?", (file,)).fetchone()
            return row["bytes"] if row else 0

    def apply(self, file: str, offset: int, records: Sequence[Record]) -> None:
        """Write rows and offset in one transaction; the same records again change nothing."""
        owner = file.partition(".")[0]
        batch = Batch(records)
        with self.database.session(write=True) as db:
            new = changes(db, self.database, batch)
            for statement, rows in statements(batch, _journal(db, owner)):
                if rows:
                    db.executemany(statement, rows)
            tagged.add(db, new.calls)
            sums.add(db, new)
            spans.make(db, self.database.words)
            ledger.settle(db, self.database, owner, new)
            outbox.post(db, new)
            db.execute(
                "INSERT INTO journal_offsets (file, bytes) VALUES (?, ?) "
                "ON CONFLICT (file) DO UPDATE SET bytes = excluded.bytes",
                (file, offset),
            )
        self._observe(records)

    def forget(self, file: str) -> None:
        """Drop the offset; when this returns, all rows are safe from a power failure."""
        with self.database.session(write=True, durable=True) as db:
            db.execute("DELETE FROM journal_offsets WHERE file = ?", (file,))

    def release(self, owner: str) -> None:
        """Drop what a dead owner was granted: all that it spent is in the rows."""
        with self.database.session(write=True) as db:
            ledger.release(db, owner)

    def loose_ends(self, owner: str) -> list[tuple[Begun, Cost | None]]:
        """Return the attempts of `owner` that did not end, and all of calls that did not.

        Each comes with its cost if it ended.
        """
        query = f"""
            SELECT a.*, {", ".join(PAYER)}
            FROM attempts AS a JOIN calls AS c ON c.call_id = a.call_id
            WHERE a.call_id IN (
                SELECT call_id FROM calls WHERE outcome IS NULL
                UNION SELECT call_id FROM attempts WHERE outcome IS NULL)
            AND journal = (SELECT id FROM journals WHERE owner = ?)
            AND a.started_ns IS NOT NULL AND (a.outcome IS NULL OR c.outcome IS NULL)
            ORDER BY a.call_id, n"""
        with self.database.session() as db:
            rows = db.execute(query, (owner,)).fetchall()
        return [(to_struct(Begun, row), to_cost(row)) for row in rows]

    # --- for whoever asks ---------------------------------------------------------------------

    def usage(self, by: By, where: UsageFilter | None = None) -> list[UsageRow]:
        """Return what tracked calls used, dearest first.

        Raises:
            InputError: there is no such grouping.
        """
        with self.database.session() as db:
            return sums.usage(db, self.database, by, where or UsageFilter())

    def settled(self, scope: str, since_ns: int) -> int:
        """Return the nano-USD that attempts begun since then cost a scope; see `sums.settled`."""
        with self.database.session() as db:
            return sums.settled(db, self.database, scope, since_ns)

    def calls(self, limit: int = 50, where: CallFilter | None = None) -> list[CallRow]:
        """Return the latest calls that match, newest first.

        Whoever turns pages with `CallFilter.after` sees no call twice, and all that were over when
        he began, whatever arrives meanwhile.
        """
        where = where or CallFilter()
        with self.database.session() as db:
            source, order, conditions, bound = _which(db, where)
            query = f"""
                SELECT c.* FROM {source} WHERE {" AND ".join(conditions)}
                ORDER BY {order}.started_ns DESC, {order}.call_id DESC LIMIT ?"""
            calls = db.execute(query, (*bound, max(limit, 0))).fetchall()
            attempts: dict[str, list[Attempt]] = {row["call_id"]: [] for row in calls}
            for row in db.execute(
                f"SELECT * FROM attempts WHERE call_id {self.database.words.listed} "
                "ORDER BY call_id, n",
                (to_json(tuple(attempts)),),
            ):
                attempts[row["call_id"]].append(to_attempt(row))
        return [
            CallRow(call=to_struct(Called, row), attempts=attempts[row["call_id"]]) for row in calls
        ]

    # --- for the steward ----------------------------------------------------------------------

    def prune(self, before_ns: int, most: int) -> int:
        """Delete the oldest calls that started before, with their attempts; return how many.

        What is not over stays, and what a hook has still to be told. Sums and ledger stay as they
        are, see `prune_sums`. Fewer than `most` = nothing is left to delete.

        Args:
            before_ns: earlier than all that a journal may still have: records of a call that was
                deleted are taken for new ones.
            most: calls in one transaction, which keeps others from writing.
        """
        listed = self.database.words.listed
        with self.database.session(write=True) as db:
            rows = db.execute(_OLDEST, (before_ns, most)).fetchall()
            ids = to_json(tuple(row["call_id"] for row in rows))
            tagged.drop(db, rows)
            for table in ("outbox", "attempts", "calls"):
                db.execute(f"DELETE FROM {table} WHERE call_id {listed}", (ids,))
        return len(rows)

    def prune_sums(self, before_ns: int, most: int) -> int:
        """Delete the oldest sums by the quarter of an hour; see `sums.prune`.

        Fewer than `most` = nothing is left to delete.
        """
        with self.database.session(write=True) as db:
            return sums.prune(db, before_ns, most)

    def oldest_ns(self) -> int | None:
        """Return when the oldest call began, in nanoseconds since the epoch; None = no call."""
        with self.database.session() as db:
            row = db.execute("SELECT min(started_ns) AS ns FROM calls").fetchone()
            oldest_ns: int | None = row["ns"]
            return oldest_ns

    def close(self) -> None:
        """Let go of the database; a later use opens it again."""
        self.database.close()


def _journal(db: Session, owner: str) -> int:
    """Return the number by which calls know whose files they are in."""
    db.execute("INSERT INTO journals (owner) VALUES (?) ON CONFLICT DO NOTHING", (owner,))
    row = db.execute("SELECT id FROM journals WHERE owner = ?", (owner,)).fetchone()
    number: int = row["id"]
    return number


def _which(db: Session, where: CallFilter) -> tuple[str, str, list[str], list[Any]]:
    """Return where calls are looked for, in whose order, the conditions and their values."""
    source, order = "calls AS c", "c"
    conditions, bound = ["c.outcome IS NOT NULL"], list[Any]()
    if where.tag is not None:
        bound.append(where.tag)
        conditions.append("t.tag = ?")
        same = "t.started_ns = c.started_ns AND t.call_id = c.call_id"
        one = where.call_id or where.key_id or where.user_id or where.tenant_id
        if one and not tagged.rare(db, where.tag):
            conditions[-1] = f"EXISTS (SELECT 1 FROM call_tags AS t WHERE t.tag = ? AND {same})"
        else:
            # CROSS: SQLite begins at the tags.
            source, order = "call_tags AS t CROSS JOIN calls AS c", "t"
            conditions.append(same)
    equal = ("call_id", "key_id", "user_id", "tenant_id", "model", "deployment", "outcome")
    given: dict[str, Any] = {f"c.{name} = ?": getattr(where, name) for name in equal}
    given[f"{order}.started_ns >= ?"] = where.since_ns
    given[f"{order}.started_ns < ?"] = where.until_ns
    given["c.tracked = ?"] = None if where.hidden else 1
    given = {sql: value for sql, value in given.items() if value is not None}
    conditions += given
    bound += given.values()
    if where.after is not None:
        started_ns, call_id = where.after
        # The first of the two is what an index can begin at.
        conditions.append(
            f"{order}.started_ns <= ? AND ({order}.started_ns < ? OR {order}.call_id < ?)"
        )
        bound += [started_ns, started_ns, call_id]
    return source, order, conditions, bound
