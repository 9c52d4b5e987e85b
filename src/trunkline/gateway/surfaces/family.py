"""What the families of APIs say in words of their own, besides bodies and events."""

from __future__ import annotations

from msgspec import Struct


class Family(Struct, frozen=True):
    """One family; its SDKs know these words."""

    id_header: str
    """The header in which an answer says its id; errors that SDKs raise show it."""
    ping: bytes
    """What a stream says when it has nothing to say; SDKs pass over it."""


_OPENAI = Family("x-request-id", b": ping\n\n")
"""Source: https://platform.openai.com/docs/api-reference/debugging-requests (2026-11-20)"""
_ANTHROPIC = Family("request-id", b'event: ping\ndata: {"type":"ping"}\n\n')
"""Source: https://platform.claude.com/docs/en/build-with-claude/streaming (2026-11-20)"""


def family_of(dialect: str) -> Family:
    """Return the family whose callers speak `dialect`."""
    return _ANTHROPIC if dialect.startswith("anthropic") else _OPENAI
