"""`reasoning_details`: OpenRouter's list of thoughts and of what proves them.

Source: https://openrouter.ai/docs/use-cases/reasoning-tokens 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_GROWING = ("text", "summary", "data", "signature")


def joined(pieces: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the pieces of a streamed list: those of one type and index belong together.

    Pieces without an index, and lists that came whole, are returned as they are.
    """
    whole: list[dict[str, Any]] = []
    last: dict[tuple[Any, Any], dict[str, Any]] = {}
    for piece in pieces:
        key = (piece.get("type"), piece.get("index"))
        known = last.get(key)
        if known is None or key[1] is None or not _same(known.get("id"), piece.get("id")):
            last[key] = dict(piece)
            whole.append(last[key])
            continue
        for name, value in piece.items():
            if name in _GROWING and isinstance(value, str) and isinstance(known.get(name), str):
                known[name] += value
            elif value is not None:
                known[name] = value
    return whole


def _same(one: object, other: object) -> bool:
    return one is None or other is None or one == other
