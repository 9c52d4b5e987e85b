"""`/v1/models`: one object that the SDKs of both families read."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from trunkline.client import Trunkline
from trunkline.errors import ModelNotFound
from trunkline.gateway.keys import Holder

_EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)


def listing(line: Trunkline, holder: Holder) -> bytes:
    """Return every name the holder may ask for.

    OpenAI's SDK wants `object: list`, Anthropic's `has_more`, `first_id` and `last_id`.
    """
    names = _names(line, holder)
    page = {
        "object": "list",
        "data": [_entry(name) for name in names],
        "has_more": False,
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
    }
