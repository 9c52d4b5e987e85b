"""`/v1/models`: one object that the SDKs of both families read.

Source: https://platform.openai.com/docs/api-reference/models (2026-11-20)
Source: https://platform.claude.com/docs/en/api/models-list (2026-11-20)
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from trunkline.client import Trunkline
from trunkline.errors import InputError, ModelNotFound
from trunkline.gateway.holders import Holder

_MOST = 1000
_EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)


def listing(line: Trunkline, holder: Holder, query: bytes) -> bytes:
    """Return every name the holder may ask for, or the page of them that `query` asks for.

    OpenAI's SDK wants `object: list` and knows no pages, Anthropic's wants `has_more`, `first_id`
    and `last_id`, and asks with `limit` and `after_id` or `before_id`.

    Raises:
        InputError: the query asks for no page there is.
    """
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    names, more = _page(_names(line, holder), asked)
    page = {
        "object": "list",
        "data": [_entry(name) for name in names],
        "has_more": more,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
    return msgspec.json.encode(page)


def single(line: Trunkline, holder: Holder, name: str) -> bytes:
    """Return one name's entry.

    Raises:
        ModelNotFound: the holder may not ask for it, or nobody answers to it.
    """
    if name not in _names(line, holder):
        raise ModelNotFound(f"no model is called {name[:99]!r}", param="model")
    return msgspec.json.encode(_entry(name))


def _page(names: Sequence[str], asked: Mapping[str, str]) -> tuple[Sequence[str], bool]:
    """Return the names on one page, and whether there are more in its direction."""
    text = asked.get("limit", str(_MOST))
    if not (text.isdecimal() and len(text) < 5 and 1 <= int(text) <= _MOST):
        raise InputError(f"limit: found {text[:40]!r}; write 1 to {_MOST}", param="limit")
    limit = int(text) if "limit" in asked else len(names)
    if "before_id" not in asked:
        start = _place(names, asked, "after_id") + 1 if "after_id" in asked else 0
        return names[start : start + limit], start + limit < len(names)
    if "after_id" in asked:
        raise InputError("before_id: write it or after_id, not both", param="before_id")
    end = _place(names, asked, "before_id")
    return names[max(0, end - limit) : end], end > limit


def _place(names: Sequence[str], asked: Mapping[str, str], cursor: str) -> int:
    name = asked[cursor]
    if name not in names:
        raise InputError(
            f"{cursor}: no model is called {name[:99]!r}; write the id of one of the list",
            param=cursor,
        )
    return names.index(name)


def _names(line: Trunkline, holder: Holder) -> list[str]:
    return [name for name in line.models() if not holder.models or name in holder.models]


def _entry(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "type": "model",
        "display_name": name,
        "created": 0,
        "created_at": _EPOCH.isoformat().replace("+00:00", "Z"),
        "owned_by": "trunkline",
        "lifecycle": "active",
    }
