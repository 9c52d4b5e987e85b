"""What a request to administer says: its query and its body, taken apart and checked."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from msgspec import ValidationError
from msgspec.json import decode

from trunkline.codec import BROKEN
from trunkline.errors import InputError

USUAL_LIMIT, MOST_LIMIT = 100, 1000
_MOST_NS = 2**63 - 1


def parameters(query: str, known: Collection[str] | None = None) -> dict[str, str]:
    """Return the parameters of a query.

    Raises:
        InputError: one is not among `known`, where that is given, or stands there twice.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if known is not None and name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InputError(f"{name[:99]}: no such query parameter here; {takes}", param=name[:99])
        if name in found:
            raise InputError(f"{name}: found twice in the query; write it once", param=name)
        if not value:
            raise InputError(f"{name}: found nothing; write a value, or leave it out", param=name)
        found[name] = value
    return found


def fields(body: bytes, known: Collection[str] | None = None) -> dict[str, Any]:
    """Return the fields of a JSON object; nothing is an object without any.

    Raises:
        InputError: it is no object, or one of its fields is not among `known`, where that is given.
    """
    try:
        body.decode()
        found = decode(body or b"{}", type=dict[str, Any])
    except ValidationError:
        raise InputError("the request body must be a JSON object") from None
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    for name in found:
        if known is not None and name not in known:
            raise InputError(
                f"{name[:99]}: no such field; write one of {', '.join(known)}", param=name[:99]
            )
    return found


def limit(asked: Mapping[str, str]) -> int:
    """Return how many rows a page has.

    Raises:
        InputError: it is no number from 1 to 1000.
    """
    text = asked.get("limit", str(USUAL_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) <= MOST_LIMIT):
        raise InputError(f"limit: found {text[:40]!r}; write 1 to {MOST_LIMIT}", param="limit")
    return int(text)


def moment_ns(asked: Mapping[str, str], name: str) -> int | None:
    """Return the moment that a parameter names, in nanoseconds since the epoch.

    Raises:
        InputError: it is neither a date, nor a time, nor seconds since the epoch.
    """
    if (text := asked.get(name)) is None:
        return None
    try:
        if text.isascii() and text.isdecimal():
            at_us = int(text) * 1_000_000
        else:
            at = datetime.datetime.fromisoformat(text)
            at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
            at_us = int(at.timestamp() * 1_000_000)
        if not 0 <= at_us * 1000 <= _MOST_NS:
            raise OverflowError
    except (ValueError, OverflowError):
        raise InputError(
            f"{name}: found {text[:40]!r}; write a date (2026-11-01), a time "
            "(2026-11-01T12:00:00Z), or seconds since the epoch",
            param=name,
        ) from None
    return at_us * 1000


def page(rows: list[Any], cursor: str | None) -> dict[str, Any]:
    """Return a list as it is answered; without a cursor there is nothing after it."""
    return {"object": "list", "data": rows, "has_more": cursor is not None, "next_cursor": cursor}


def iso(at_ns: int) -> str:
    """Write a moment as `2026-11-20T12:00:00.123Z`."""
    at = datetime.datetime.fromtimestamp(at_ns // 1_000_000 / 1000, tz=datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
