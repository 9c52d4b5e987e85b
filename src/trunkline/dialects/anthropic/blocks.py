"""The messages of a request and their content: blocks -> `Message` and its parts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from itertools import groupby
from typing import Any, Literal

from msgspec.json import encode as dump

from trunkline.errors import InputError
from trunkline.types import AnyPart, File, Image, Message, Text, Thinking, ToolCall, ToolResult

Json = dict[str, Any]
OWN = "anthropic"
"""Under this name `extra` keeps a block that only this dialect knows, whole."""
FERNET = "gAAAA"
"""How OpenAI's proof of a thought begins (a Fernet token), which says by itself whose it is.
Source: https://platform.openai.com/docs/guides/reasoning 2026-11-20"""
SEAL = "trunkline:"
"""How a signature begins that `write` made of another provider's proof; its spelling follows."""


def rest(wire: Json, *known: str) -> Json:
    """Return the fields nobody here names, without nulls."""
    return {name: value for name, value in wire.items() if name not in known and value is not None}


def messages_of(wire: Json, param: str) -> Iterable[Message]:
    """Give the messages of one turn: each tool result is one of its own, in its place.

    Raises:
        InputError: a block lacks what its type needs.
    """
    parts = tuple(parts_of(wire["content"], f"{param}.content"))
    role: Literal["user", "assistant", "system"] = wire["role"]
    extra = rest(wire, "role", "content")
    if role != "user":
        yield Message(role=role, parts=parts, extra=extra)
        return
    for is_result, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        if is_result:
            yield from (Message(role="tool", parts=(part,)) for part in run)
        else:
            yield Message(role="user", parts=tuple(run), extra=extra)


def parts_of(content: Any, param: str) -> Iterable[AnyPart]:
    """Give the parts of `content`, which stands at `param`.

    Raises:
        InputError: a block lacks what its type needs.
    """
    if isinstance(content, str):
        if content:
            yield Text(text=content)
        return
    for index, wire in enumerate(content or ()):
        try:
            yield _part(wire, f"{param}[{index}]")
        except (AttributeError, KeyError, TypeError) as error:
            kind = wire.get("type") if isinstance(wire, dict) else None
            raise InputError(
                f"'{param}[{index}]' is wrong: a block of type {kind!r} needs {error}; "
                f"write {_SHAPES.get(str(kind), 'a block as the API reference shows it')}",
                param=f"{param}[{index}]",
            ) from None


_SHAPES = {
    "text": '{"type": "text", "text": "..."}',
    "image": '{"type": "image", "source": {"type": "base64", "media_type": ..., "data": ...}}',
    "document": '{"type": "document", "source": {"type": "url", "url": ...}}',
    "tool_use": '{"type": "tool_use", "id": ..., "name": ..., "input": {...}}',
    "tool_result": '{"type": "tool_result", "tool_use_id": ..., "content": ...}',
    "thinking": '{"type": "thinking", "thinking": ..., "signature": ...}',
    "redacted_thinking": '{"type": "redacted_thinking", "data": ...}',
}


def _part(wire: Json, param: str) -> AnyPart:
    kind = wire["type"]
    if kind == "text":
        return Text(text=wire["text"], extra=rest(wire, "type", "text"))
    if kind == "tool_use":
        return ToolCall(
            id=wire["id"],
            name=wire["name"],
            arguments=dump(wire["input"]).decode(),
            extra=beside(wire),
        )
    if kind == "tool_result":
        return ToolResult(
            id=wire["tool_use_id"],
            parts=tuple(parts_of(wire.get("content"), f"{param}.content")),
            is_error=bool(wire.get("is_error")),
            extra=rest(wire, "type", "tool_use_id", "content", "is_error"),
        )
    if kind == "thinking":
        signature, spelling = wire.get("signature") or None, OWN
        if isinstance(signature, str) and signature.startswith(SEAL):
            spelling, _, signature = signature.removeprefix(SEAL).partition(":")
        return Thinking(
            text=wire["thinking"],
            signature=signature,
            spelling=spelling,
            extra=rest(wire, "type", "thinking", "signature"),
        )
    if kind == "redacted_thinking":
        return Thinking(redacted=wire["data"], spelling=OWN, extra=rest(wire, "type", "data"))
    if kind == "image":
        return _image(wire)
    if kind == "document":
        return _document(wire)
    return whole(wire)


def beside(tool_use: Json) -> Json:
    """Return what a tool_use says beside the call; that the model itself made it goes unsaid."""
    extra = rest(tool_use, "type", "id", "name", "input")
    if extra.get("caller") == {"type": "direct"}:
        del extra["caller"]
    return extra


def whole(wire: Json) -> Text:
    """Return a block only this dialect knows, with what in it another one can read."""
    if wire["type"] != "search_result":
        return Text(text="", extra={OWN: wire})
    words = [wire.get("title"), wire.get("source"), _words(wire.get("content"))]
    return Text(text="\n".join(word for word in words if word), extra={OWN: wire})


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(block["text"] for block in blocks if isinstance(block.get("text"), str))


def _image(wire: Json) -> AnyPart:
    source = wire["source"]
    extra = rest(wire, "type", "source")
    if source["type"] == "base64":
        return Image(data=source["data"], media_type=source["media_type"], extra=extra)
    if source["type"] == "url":
        return Image(url=source["url"], extra=extra)
    return whole(wire)  # an uploaded file: its id means nothing elsewhere


def _document(wire: Json) -> AnyPart:
    source = wire["source"]
    kind = source["type"]
    place: Json
    if kind == "base64":
        place = {"data": source["data"], "media_type": source["media_type"]}
    elif kind == "text":
        data = b64encode(source["data"].encode("utf-8", "surrogatepass")).decode()
        place = {"data": data, "media_type": source.get("media_type") or "text/plain"}
    elif kind == "url":
        place = {"url": source["url"]}
    elif kind == "file":
        place = {"id": source["file_id"]}
    else:
        return Text(text=_words(source.get("content")), extra={OWN: wire})
    return File(name=wire.get("title"), **place, extra=rest(wire, "type", "source", "title"))
