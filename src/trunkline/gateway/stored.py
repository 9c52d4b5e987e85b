"""What a request names that a provider holds: answers, conversations, files, stores, containers.

All callers share the provider's account, so there whoever learns an id reads what is another
tenant's. Only the operator knows that there is but one tenant.

Source: https://platform.openai.com/docs/guides/conversation-state 2026-11-21
Source: https://platform.claude.com/docs/en/build-with-claude/files 2026-11-21
Source: https://ai.google.dev/gemini-api/docs/caching 2026-11-21
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw
from msgspec.json import decode

from trunkline.errors import InputError
from trunkline.types import Call, Wire
from trunkline.types.prompt import OWN_TOOLS

_MEDIA = frozenset({"files", "images"})
_HELD_IDS = frozenset(
    {
        *("collection_ids", "container_id", "file_id", "file_ids"),
        *("vector_store_id", "vector_store_ids"),
    }
)
_STORES = frozenset({"collections_search", "fileSearch", "file_search", "retrieval"})
"""Tools that do nothing but read what the account holds."""
_WITHIN = ("content", "file", "file_data", "file_url", "image_url", "output", "source", "url")
"""Where a message has files; what a tool is called with may have any name in it."""
_GEMINI_FILES = "https://generativelanguage.googleapis.com/"
_TELLING = (b"file_id", b"googleapis", b"\\u")
"""Without one of these, bytes name no file; names may be written in escapes."""


def refuse_stored(call: Call) -> None:
    """Refuse a call that names what the provider holds.

    Raises:
        InputError: with the field.
    """
    body = call.body
    if not isinstance(body, Wire) or (body.bounded and not body.needs & _MEDIA):
        return
    place = next(_named(body), "")
    if place:
        raise InputError(
            f"'{place}' names what the provider holds for the account that all callers share; "
            "send the whole conversation, or the content itself, or have the operator write "
            "server.stored_state: allow if there is one tenant",
            param=place,
        )


def _named(body: Wire) -> Iterator[str]:
    """Give each place that names something."""
    if body.stored:
        yield body.stored
    fields = body.fields
    if "container" in fields and _container(decode(fields["container"])):
        yield "container"
    if not body.bounded:
        yield from _named_by_tools(fields.get("tools"))
        items = decode(fields["input"]) if body.dialect == "openai_responses" else ()
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if item.get("type") == "item_reference":
                yield f"input[{index}]"
    for name in ("messages", "input") if body.needs & _MEDIA else ():
        raw = bytes(fields.get(name, b""))
        if any(word in raw for word in _TELLING):
            for index, message in enumerate(decode(raw)):
                if _names_file(message):
                    yield f"{name}[{index}]"


def _named_by_tools(raw: Raw | None) -> Iterator[str]:
    for index, tool in enumerate(() if raw is None else decode(raw)):
        kind = tool.get("type")
        if kind in OWN_TOOLS or kind is None:
            continue
        if kind in _STORES or _names_held(tool) or _container(tool.get("container")):
            yield f"tools[{index}]"


def _container(said: Any) -> bool:
    """Whether it is one that is there already; an object without an id makes a new one."""
    return bool(said.get("id") if isinstance(said, dict) else said)


def _names_held(tool: Any) -> bool:
    if isinstance(tool, dict):
        return any(
            (name in _HELD_IDS and inner) or _names_held(inner) for name, inner in tool.items()
        )
    return isinstance(tool, list) and any(map(_names_held, tool))


def _names_file(part: Any) -> bool:
    if isinstance(part, list):
        return any(map(_names_file, part))
    if isinstance(part, str):
        return part.startswith(_GEMINI_FILES)
    if not isinstance(part, dict):
        return False
    return bool(part.get("file_id")) or any(_names_file(part.get(name)) for name in _WITHIN)
