"""The content of a message: a string or a list of parts -> typed parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.errors import InputError
from trunkline.types import AnyPart, Audio, File, Image, Refusal, Text, Thinking

Json = dict[str, Any]


def rest(wire: Json, *known: str) -> Json:
    """Return the fields nobody here names, without nulls."""
    return {name: value for name, value in wire.items() if name not in known and value is not None}


def inside(kind: str, inner: Json, *known: str) -> Json:
    """Return the fields nobody here names of the payload `kind`, under that name."""
    left = rest(inner, *known)
    return {kind: left} if left else {}


def parts_of(content: Any, param: str) -> Iterable[AnyPart]:
    """Give the parts of `content`, which stands at `param`.

    Raises:
        InputError: a part lacks what its type needs.
    """
    if isinstance(content, str):
        if content:
            yield Text(text=content)
        return
    for index, wire in enumerate(content or ()):
        try:
            yield _part(wire)
        except (KeyError, TypeError, AttributeError):
            kind = wire.get("type")
            raise InputError(
                f"'{param}[{index}]' is wrong: a part of type {kind!r} needs '{kind}'; "
                f"write {_SHAPES.get(kind, 'a part as the API reference shows it')}",
                param=f"{param}[{index}].{kind}",
            ) from None


_SHAPES = {
    "text": '{"type": "text", "text": "..."}',
    "refusal": '{"type": "refusal", "refusal": "..."}',
    "image_url": '{"type": "image_url", "image_url": {"url": "https://... or data:..."}}',
    "input_audio": '{"type": "input_audio", "input_audio": {"data": "...", "format": "wav"}}',
    "file": '{"type": "file", "file": {"file_data": "data:...", "filename": "..."}}',
    "thinking": '{"type": "thinking", "thinking": [{"type": "text", "text": "..."}]}',
}


def _part(wire: Json) -> AnyPart:
    kind = wire["type"]
    extra = rest(wire, "type", kind)
    if kind == "text":
        return Text(text=wire["text"] or "", extra=extra)
    if kind == "refusal":
        return Refusal(text=wire["refusal"], extra=extra)
    if kind == "image_url":
        inner = wire["image_url"]
        inner = {"url": inner} if isinstance(inner, str) else inner
        return Image(
            **place_of(inner["url"]),
            detail=inner.get("detail"),
            extra=extra | inside(kind, inner, "url", "detail"),
        )
    if kind == "input_audio":
        inner = wire["input_audio"]
        inner = {"data": inner} if isinstance(inner, str) else inner  # Mistral
        return Audio(
            data=inner["data"],
            format=inner.get("format"),
            extra=extra | inside(kind, inner, "data", "format"),
        )
    if kind == "file":
        inner = wire["file"]
        place = place_of(inner["file_data"]) if inner.get("file_data") else {}
        return File(
            id=inner.get("file_id"),
            name=inner.get("filename"),
            **place,
            extra=extra | inside(kind, inner, "file_id", "filename", "file_data"),
        )
    if kind == "thinking":
        return Thinking(text=thought(wire["thinking"]), spelling="thinking", extra=extra)
    return Text(text="", extra=wire)  # a part nobody here knows travels whole


def thought(thinking: str | list[Json | str]) -> str:
    """Return the words of Mistral's thinking part.

    Source: https://docs.mistral.ai/capabilities/reasoning/ 2026-11-20
    """
    if isinstance(thinking, str):
        return thinking
    return "".join(item if isinstance(item, str) else item.get("text") or "" for item in thinking)


def place_of(url: str) -> Json:
    """Take a data URL apart; anything else is a URL, and bare base64 stays data."""
    head, comma, data = url.partition(",")
    if head.startswith("data:") and head.endswith(";base64"):
        return {"data": data, "media_type": head[5:-7] or None}
    if comma or "://" in url:
        return {"url": url}
    return {"data": url}
