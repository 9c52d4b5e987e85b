"""Names short enough to be looked up by: an index takes only so many bytes in one row.

Calls whose names are longer are refused before they begin, see `trunkline.layers.trace`. What a
journal has all the same, from another version or another hand, must not stop ingestion for good.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from trunkline.types.record import Begun, Called, Ended

_MOST_BYTES = 2600
"""In one index.
Source: https://www.postgresql.org/docs/18/btree.html, 2,704 bytes (2026-11-20)."""
_LONGEST_BYTES = 1024
"""One of them, which is alone in others."""
_SURELY_BYTES = 400
"""Too few to be too many, though JSON should spell each of them with six."""
_CUT_BYTES = 128
_DIGITS = 32
_TAGS_BYTES = 1800
"""Beside six names that were cut."""

_TOGETHER = ("model", "deployment", "key_id", "user_id", "team_id", "tenant_id")
"""In one index, with the tags."""
_names = attrgetter("call_id", "run", *_TOGETHER, "tags")
_named = attrgetter("run", *_TOGETHER)
_encode = msgspec.msgpack.Encoder().encode
_R = TypeVar("_R", Begun, Called)


def fitting(record: _R) -> _R:
    """Return `record`; where its names are too long they are cut, and the last tags are gone."""
    if len(_encode(_names(record))) <= _SURELY_BYTES:
        return record
    tags = tuple(dict.fromkeys(record.tags))
    sizes = [len((name or "").encode()) for name in _named(record)]
    longest = max(*sizes, *(len(tag.encode()) for tag in tags))
    if longest > _LONGEST_BYTES or sum(sizes[1:]) + _json(tags) > _MOST_BYTES:
        short = {name: _cut(getattr(record, name)) for name in ("run", *_TOGETHER)}
        tags = tuple(filter(None, map(_cut, tags)))
        while _json(tags) > _TAGS_BYTES:
            tags = tags[:-1]
        record = replace(record, tags=tags, **short)
    return record if _is_id(record.call_id) else replace(record, call_id=_cut(record.call_id))


def fitting_end(ended: Ended) -> Ended:
    """Return `ended`, of the call that `fitting` makes of its call."""
    return ended if _is_id(ended.call_id) else replace(ended, call_id=_cut(ended.call_id))


def _is_id(call_id: str) -> bool:
    return len(call_id.encode()) <= _SURELY_BYTES


def _cut(name: str | None) -> str | None:
    """Return a name that is short enough, and as a rule nobody else's."""
    if name is None or len(name.encode()) <= _CUT_BYTES:
        return name
    start = name.encode()[: _CUT_BYTES - _DIGITS - 1].decode(errors="ignore")
    return f"{start}~{hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]}"


def _json(tags: tuple[str, ...]) -> int:
    return len(msgspec.json.encode(tags))
