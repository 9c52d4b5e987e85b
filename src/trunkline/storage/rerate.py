"""Costs that were unknown, found out later: attempts weighed again at prices that are known now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from trunkline.accounting.price import cost
from trunkline.storage import ledger, sums
from trunkline.storage.changes import AttemptChange, CallChange, Changes, Weight
from trunkline.storage.database import Database, Session
from trunkline.storage.records import PAYER, bounded, to_attempt, to_json, to_struct
from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Cost, Trail
from trunkline.types.deployment import Price
from trunkline.types.record import Begun, Called, Ended

PriceOf = Callable[[str, int], Price | None]
"""What a deployment (`provider/model`) cost at a moment, in nanoseconds since the epoch."""

_CALLS_AT_ONCE = 500
_NOBODY = ""
_UNKNOWN = "outcome IS NOT NULL AND cost_state = 'unknown' AND started_ns >= ?"
_NEXT = f"""
    SELECT * FROM calls WHERE {_UNKNOWN} AND (started_ns > ? OR call_id > ?)
    ORDER BY started_ns, call_id LIMIT ?"""


class Rerated(Struct, kw_only=True):
    """What was found out."""

    calls: int = 0
    """Whose cost is known now."""
    attempts: int = 0
    cost_nusd: int = 0
    """What these attempts cost."""
    unknown: dict[str, int] = field(default_factory=dict)
    """How many attempts at each deployment have no known cost still."""


def waiting(database: Database, since_ns: int = 0) -> int:
    """Return how many calls have no known cost."""
    with database.session() as db:
        row = db.execute(f"SELECT count(*) FROM calls WHERE {_UNKNOWN}", (since_ns,)).fetchone()
        count: int = row[0]
        return count


def rerate(
    database: Database,
    price_of: PriceOf,
    *,
    since_ns: int = 0,
    dry_run: bool = False,
    told: Callable[[int], object] = lambda calls: None,
) -> Rerated:
    """Give the attempts of unknown cost the one that `price_of` gives, as far as it does.

    It is `estimated`: rows do not say whether a provider reported their tokens. Sums of usage,
    what accounts have settled and the cost of the call follow in the transaction that changes an
    attempt, so it counts once, however often this is run or cut short. What owners were granted
    stays as it is: none of them has spent it from that. What hooks were told is not told again.

    Args:
        since_ns: calls that started before stay as they are.
        dry_run: change nothing, only say what would be.
        told: hears of each transaction how many calls were looked at.

    Raises:
        RecordError: the database cannot be used; what was done until then stays.
    """
    report = Rerated()
    place = (since_ns - 1, "")
    while True:
        with database.session(write=not dry_run) as db:
            rows = db.execute(_NEXT, (max(since_ns, place[0]), *place, _CALLS_AT_ONCE)).fetchall()
            batch = _weighed(db, database, rows, price_of)
            if not dry_run:
                _write(db, database, batch)
        if not rows:
            return report
        place = rows[-1]["started_ns"], rows[-1]["call_id"]
        _count(report, batch)
        told(len(rows))


class _Batch(Struct):
    changes: Changes
    snapshots: list[str]
    """Of the price of each changed attempt."""
    left: list[str]
    """The deployment of each attempt whose cost stays unknown."""


def _weighed(
    db: Session, database: Database, calls: list[Mapping[str, Any]], price_of: PriceOf
) -> _Batch:
    """Weigh all attempts of unknown cost; a call's is known when those of its attempts are."""
    batch = _Batch(Changes([], []), [], [])
    found: dict[str, list[Attempt]] = {row["call_id"]: [] for row in calls}
    for row in db.execute(
        f"SELECT a.*, {', '.join(f'c.{name}' for name in PAYER)} FROM attempts AS a "
        f"JOIN calls AS c ON c.call_id = a.call_id WHERE a.call_id {database.words.listed} "
        "ORDER BY a.call_id, a.n",
        (to_json(tuple(found)),),
    ):
        attempt = to_attempt(row)
        if attempt.cost.nusd is None:
            attempt.cost = _weigh(batch, row, attempt, price_of)
        found[row["call_id"]].append(attempt)
    for row in calls:
        called, attempts = to_struct(Called, row), found[row["call_id"]]
        total = Trail(attempts=attempts).cost
        if total.nusd is not None and len(attempts) >= called.attempts:
            nusd = bounded(total.nusd)
            after = replace(called, cost_nusd=nusd, cost_state=total.state)
            batch.changes.calls.append(CallChange(after, called))
    return batch


def _weigh(batch: _Batch, row: Mapping[str, Any], attempt: Attempt, price_of: PriceOf) -> Cost:
    """Return what an attempt cost, and note it; one of which nothing is known stays unknown."""
    found = Cost(None, "unknown")
    price = price_of(attempt.deployment, attempt.started_ns)
    if price is not None and row["started_ns"] is not None and attempt.usage.total_tokens:
        found = cost(attempt.usage, price, estimated=True)
    if price is None or found.nusd is None:
        batch.left.append(attempt.deployment)
        return found
    end = replace(
        to_struct(Ended, {**dict(row), "usage": to_struct(Usage, row)}),
        cost_nusd=bounded(found.nusd),
        cost_state=found.state,
    )
    before = Weight(attempt.usage, None)
    batch.changes.attempts.append(AttemptChange(to_struct(Begun, row), end, before))
    batch.snapshots.append(price.snapshot)
    return Cost(end.cost_nusd, end.cost_state)


def _write(db: Session, database: Database, batch: _Batch) -> None:
    ends = [change.ended for change in batch.changes.attempts]
    db.executemany(
        "UPDATE attempts SET cost_nusd = ?, cost_state = ?, price_snapshot = ? "
        "WHERE call_id = ? AND n = ?",
        [
            (end.cost_nusd, end.cost_state, snapshot, end.call_id, end.n)
            for end, snapshot in zip(ends, batch.snapshots, strict=True)
        ],
    )
    db.executemany(
        "UPDATE calls SET cost_nusd = ?, cost_state = ? WHERE call_id = ?",
        [
            (called.cost_nusd, called.cost_state, called.call_id)
            for called in (change.called for change in batch.changes.calls)
        ],
    )
    sums.add(db, batch.changes)
    ledger.settle(db, database, _NOBODY, batch.changes)


def _count(report: Rerated, batch: _Batch) -> None:
    report.calls += len(batch.changes.calls)
    report.attempts += len(batch.changes.attempts)
    report.cost_nusd += sum(change.ended.cost_nusd or 0 for change in batch.changes.attempts)
    for deployment in batch.left:
        report.unknown[deployment] = report.unknown.get(deployment, 0) + 1
