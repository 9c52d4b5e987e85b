"""What new records change: found before they are written, so that sums can follow them exactly.

The same record may come twice, an end before its beginning, and a real end after one that recovery
made. Whatever is derived from the rows (`sums`, `ledger`, `outbox`) takes these changes, and so
counts every attempt and every call once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from trunkline.storage.database import Database, Session
from trunkline.storage.records import PAYER, Batch, to_json, to_struct
from trunkline.types.answer import Usage
from trunkline.types.record import PROCESS_DIED, Begun, Called, Ended


class Weight(NamedTuple):
    """What an attempt used and cost."""

    usage: Usage
    cost_nusd: int | None


NOTHING = Weight(Usage(), 0)


class AttemptChange(Struct, frozen=True, gc=False):
    """An attempt of which both records are here now, or whose end is another one now."""

    begun: Begun
    ended: Ended
    before: Weight | None
    """What was counted for it until now; None = nothing, it is new."""


class CallChange(Struct, frozen=True, gc=False):
    """A call that is over now, or whose end is another one now."""

    called: Called
    before: Called | None
    """What was counted until now; None = nothing, it is new."""


class Changes(NamedTuple):
    """All that is new."""

    attempts: list[AttemptChange]
    calls: list[CallChange]


def changes(db: Session, database: Database, batch: Batch) -> Changes:
    """Return what `batch` will change; to be called before it is written."""
    ids = to_json(tuple(batch.call_ids()))
    listed = database.words.listed
    payers = ", ".join(f"c.{name}" for name in PAYER)
    known: dict[tuple[str, int], Any] = {
        (row["call_id"], row["n"]): row
        for row in db.execute(
            f"SELECT a.*, {payers} FROM attempts AS a LEFT JOIN calls AS c "
            f"ON c.call_id = a.call_id WHERE a.call_id {listed}",
            (ids,),
        )
    }
    over: dict[str, Any] = {
        row["call_id"]: row
        for row in db.execute(
            f"SELECT * FROM calls WHERE call_id {listed} AND outcome IS NOT NULL", (ids,)
        )
    }
    found = Changes(
        [
            AttemptChange(begun, batch.ended[place], None)
            for place, begun in batch.begun.items()
            if place in batch.ended and place not in known
        ],
        [
            CallChange(called, None)
            for call_id, called in batch.called.items()
            if call_id not in over
        ],
    )
    for place, row in known.items():
        change = _attempt(batch.begun.get(place), batch.ended.get(place), row)
        if change is not None:
            found.attempts.append(change)
    for call_id, row in over.items():
        called = batch.called.get(call_id)
        if called is not None and called.error_code != PROCESS_DIED:
            found.calls.append(CallChange(called, to_struct(Called, row)))
    return found


def _attempt(begun: Begun | None, ended: Ended | None, row: Any) -> AttemptChange | None:
    """Return what the records change of an attempt that has a row."""
    before: Weight | None = None
    if begun is None and row["started_ns"] is not None:
        begun = to_struct(Begun, row)
    if row["outcome"] is not None:
        kept = Ended(
            call_id=row["call_id"],
            n=row["n"],
            outcome=row["outcome"],
            cost_nusd=row["cost_nusd"],
            cost_state=row["cost_state"],
            usage=to_struct(Usage, row),
        )
        if row["started_ns"] is not None:
            before = Weight(kept.usage, kept.cost_nusd)
        if ended is None or ended.error_code == PROCESS_DIED:
            ended = kept
    if begun is None or ended is None or before == Weight(ended.usage, ended.cost_nusd):
        return None
    return AttemptChange(begun, ended, before)
