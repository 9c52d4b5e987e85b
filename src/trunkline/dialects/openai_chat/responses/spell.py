"""`Message`s -> the items of an input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trunkline.dialects.openai_chat.responses.items import OWN
from trunkline.types import (
    AnyPart,
    Audio,
    File,
    Image,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
_CONTENT = ("input_", "output_")
_FERNET = "gAAAA"
"""How the proofs of OpenAI and Azure begin, whatever dialect they travelled through."""
_FORMATS = ("openai-responses", "azure-openai-responses", "xai-responses")


def items_of(messages: Iterable[Message]) -> list[Json]:
    """Return the items of an input, without what was marked as `instructions`."""
    items: list[Json] = []
    custom: set[str] = set()
    for message in messages:
        if own_of(message.extra).get("instructions"):
            continue
        if message.role == "assistant":
            items += _said(message, custom)
        else:
            items += _given(message, custom)
    return items


def own_of(extra: Json) -> Json:
    """Return what this dialect keeps in `extra`; a caller of any may write there."""
    own = extra.get(OWN)
    return own if isinstance(own, dict) else {}


def _note(extra: Json, name: str) -> Json:
    note = own_of(extra).get(name)
    return note if isinstance(note, dict) else {}


def _whole(part: AnyPart) -> Json | None:
    """Return the item that travels whole in a part, if it does."""
    own = own_of(part.extra) if isinstance(part, Text) else {}
    kind = own.get("type")
    return own if isinstance(kind, str) and not kind.startswith(_CONTENT) else None


def _given(message: Message, custom: set[str]) -> Iterable[Json]:
    """Give the items of what the user, the system or a tool said."""
    said: list[AnyPart] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            yield _result(part, custom)
        elif (item := _whole(part)) is not None:
            yield item
        elif not isinstance(part, Thinking | ToolCall):
            said.append(part)
    if said:
        role = "user" if message.role == "tool" else message.role
        yield {"role": role, "content": _content(said)} | _note(message.extra, "item")


def _said(message: Message, custom: set[str]) -> Iterable[Json]:
    """Give the items of what the model said, in their order."""
    words: list[Text | Refusal] = []
    for part in message.parts:
        joins = isinstance(part, Text | Refusal) and _whole(part) is None
        if words and not (joins and _same_item(words[-1], part)):
            yield _message(words)
            words = []
        if isinstance(part, ToolCall):
            yield _call(part, custom)
        elif isinstance(part, Thinking):
            if is_proven(part):
                yield _thought(part)
        elif (item := _whole(part)) is not None:
            yield item
        elif isinstance(part, Text | Refusal):
            words.append(part)
        elif isinstance(part, Audio) and part.transcript:
            words.append(Text(text=part.transcript))
    if words:
        yield _message(words)


def _same_item(one: AnyPart, other: AnyPart) -> bool:
    return _note(one.extra, "item") == _note(other.extra, "item")


def _message(words: Sequence[Text | Refusal]) -> Json:
    """Spell words of the model; its own items need the long form."""
    beside = _note(words[0].extra, "item")
    first = words[0]
    if len(words) == 1 and isinstance(first, Text) and first.text and not own_of(first.extra):
        return {"role": "assistant", "content": first.text}
    content = [_word(part) for part in words]
    return {"type": "message", "role": "assistant", "content": content} | beside


def _word(part: Text | Refusal) -> Json:
    own = own_of(part.extra)
    if "type" in own:
        return own
    beside = _note(part.extra, "part")
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text} | beside
    return {"type": "output_text", "text": part.text} | beside


def is_proven(part: Thinking) -> bool:
    """Whether a thought is this API's own, or has what proves it to be.

    Source: https://openrouter.ai/docs/use-cases/reasoning-tokens 2026-11-20
    """
    if part.spelling == OWN:
        return True
    detail = part.extra.get("reasoning_details")
    whose = detail.get("format") if isinstance(detail, dict) else None
    if isinstance(whose, str):
        return whose.startswith(_FORMATS) and bool(part.signature or part.redacted)
    return (part.signature or part.redacted or "").startswith(_FERNET)


def _thought(part: Thinking) -> Json:
    item: Json = {"type": "reasoning", "summary": []}
    if part.text:
        item["summary"] = [{"type": "summary_text", "text": part.text}]
    if proof := part.signature or part.redacted:
        item["encrypted_content"] = proof
    return item | _note(part.extra, "item")


def _call(part: ToolCall, custom: set[str]) -> Json:
    said = {"call_id": part.id, "name": part.name} | _note(part.extra, "item")
    if part.kind == "custom":
        custom.add(part.id)
        return {"type": "custom_tool_call", **said, "input": part.arguments}
    return {"type": "function_call", **said, "arguments": part.arguments}


def _result(part: ToolResult, custom: set[str]) -> Json:
    kind = "custom_tool_call_output" if part.id in custom else "function_call_output"
    item: Json = {"type": kind, "call_id": part.id, "output": _content(part.parts)}
    return item | _note(part.extra, "item")


def _content(parts: Sequence[AnyPart]) -> str | list[Json]:
    """Spell what was given to the model: a string where it is nothing but one text."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not own_of(parts[0].extra):
        return parts[0].text
    return [wire for part in parts if (wire := _part(part)) is not None]


def _part(part: AnyPart) -> Json | None:
    beside = _note(part.extra, "part")
    if isinstance(part, Text):
        own = own_of(part.extra)
        return own if "type" in own else {"type": "input_text", "text": part.text} | beside
    if isinstance(part, Image):
        url = part.url or _data_url(part.media_type or "image/png", part.data)
        detail = {"detail": part.detail} if part.detail else {}
        return {"type": "input_image", "image_url": url} | detail | beside
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, File):
        data = _data_url(part.media_type or "application/pdf", part.data) if part.data else None
        file = {"file_id": part.id, "file_url": part.url, "file_data": data, "filename": part.name}
        if data and not part.name:
            file["filename"] = "file"  # the API wants one beside data
        return {"type": "input_file"} | {k: v for k, v in file.items() if v is not None} | beside
    if isinstance(part, Refusal):
        return {"type": "input_text", "text": part.text}
    return None


def _data_url(media_type: str, data: str | None) -> str:
    return f"data:{media_type};base64,{data or ''}"
