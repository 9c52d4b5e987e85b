"""What the families of APIs say in words of their own, besides bodies and events."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator

from msgspec import Struct

from trunkline.types import Allowance, Room

Headers = tuple[tuple[str, str], ...]


class Family(Struct, frozen=True):
    """One family; its SDKs know these words."""

    id_header: str
    """The header in which an answer says its id; errors that SDKs raise show it."""
    ping: bytes
    """What a stream says when it has nothing to say; SDKs pass over it."""
    rate_headers: Callable[[Allowance, int], Headers]
    """Says what a caller may still ask for, at a time in nanoseconds since the epoch."""


def _openai_rates(allowance: Allowance, now_ns: int) -> Headers:
    """Source: https://platform.openai.com/docs/guides/rate-limits (2026-11-20)"""
    return tuple(
        (f"x-ratelimit-{what}-{unit}", text)
        for unit, room in _rooms(allowance)
        for what, text in (
            ("limit", str(room.limit)),
            ("remaining", str(room.left)),
            ("reset", duration(room.full_s)),
        )
    )


def _anthropic_rates(allowance: Allowance, now_ns: int) -> Headers:
    """Source: https://platform.claude.com/docs/en/api/rate-limits (2026-11-20)"""
    return tuple(
        (f"anthropic-ratelimit-{unit}-{what}", text)
        for unit, room in _rooms(allowance)
        for what, text in (
            ("limit", str(room.limit)),
            ("remaining", str(room.left)),
            ("reset", _moment(now_ns / 1e9 + room.full_s)),
        )
    )


def _rooms(allowance: Allowance) -> Iterator[tuple[str, Room]]:
    if allowance.requests is not None:
        yield "requests", allowance.requests
    if allowance.tokens is not None:
        yield "tokens", allowance.tokens


def duration(seconds: float) -> str:
    """Write a time as `6m0s`, `17.56s` or `6ms`, rounded up."""
    total_ms = math.ceil(seconds * 1000)
    if 0 < total_ms < 1000:
        return f"{total_ms}ms"
    minutes, rest_ms = divmod(total_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    return f"{text}{minutes}m{rest_ms / 1000:g}s" if text or minutes else f"{rest_ms / 1000:g}s"


def _moment(at_s: float) -> str:
    at = datetime.datetime.fromtimestamp(math.ceil(at_s), tz=datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


_OPENAI = Family("x-request-id", b": ping\n\n", _openai_rates)
"""Source: https://platform.openai.com/docs/api-reference/debugging-requests (2026-11-20)"""
_ANTHROPIC = Family("request-id", b'event: ping\ndata: {"type":"ping"}\n\n', _anthropic_rates)
"""Source: https://platform.claude.com/docs/en/build-with-claude/streaming (2026-11-20)"""


def family_of(dialect: str) -> Family:
    """Return the family whose callers speak `dialect`."""
    return _ANTHROPIC if dialect.startswith("anthropic") else _OPENAI
