"""Which calls have a tag: an index of its own, as tags are a list in the row of a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from trunkline.storage.changes import CallChange
from trunkline.storage.database import Session
from trunkline.types.record import Called

_ADD = "INSERT INTO call_tags (tag, started_ns, call_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_DROP = "DELETE FROM call_tags WHERE tag = ? AND started_ns = ? AND call_id = ?"
_FEW = 10_000
_LONGEST = 256
"""Characters; a call with a longer one is refused before it begins, and an index takes only so many
bytes, see `lengths`: what a journal has all the same is found by its other tags.
"""


def add(db: Session, calls: Iterable[CallChange]) -> None:
    """Note the tags of calls that are over now, in place of what was noted for them."""
    gone: list[tuple[str, int, str]] = []
    new: list[tuple[str, int, str]] = []
    for change in calls:
        if change.called.tags:
            new += _rows(change.called)
        if change.before is not None:
            gone += _rows(change.before)
    if gone:
        db.executemany(_DROP, gone)
    if new:
        db.executemany(_ADD, sorted(new))


def drop(db: Session, calls: Iterable[Mapping[str, Any]]) -> None:
    """Forget calls that are deleted: rows of `calls`."""
    gone = [
        (tag, row["started_ns"], row["call_id"])
        for row in calls
        for tag in msgspec.json.decode(row["tags"] or "[]")
    ]
    if gone:
        db.executemany(_DROP, gone)


def rare(db: Session, tag: str) -> bool:
    """Return whether no more calls have a tag than can be looked at one by one."""
    query = "SELECT count(*) FROM (SELECT 1 FROM call_tags WHERE tag = ? LIMIT ?) AS found"
    count: int = db.execute(query, (tag, _FEW)).fetchone()[0]
    return count < _FEW


def _rows(called: Called) -> Iterable[tuple[str, int, str]]:
    return [(tag, called.started_ns, called.call_id) for tag in called.tags if len(tag) <= _LONGEST]
