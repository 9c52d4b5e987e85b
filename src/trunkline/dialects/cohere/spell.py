"""Messages -> Cohere's.

Source: https://docs.cohere.com/reference/chat 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trunkline.errors import CapabilityMissing
from trunkline.types import (
    AnyPart,
    Audio,
    Image,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]
PLAN = "tool_plan"
"""The spelling of what a model plans before it calls tools."""


def spelled(messages: tuple[Message, ...]) -> list[Json]:
    """Spell messages; those that say nothing are left out.

    Each result of a tool is a message of its own, of words; its pictures follow as the user's,
    once all results are there.

    Raises:
        CapabilityMissing: a part has no form here.
    """
    wires: list[Json] = []
    pictures: list[AnyPart] = []
    for message in messages:
        rest: list[AnyPart] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                wires.append(_result(part))
                pictures += (inner for inner in part.parts if isinstance(inner, Image))
            else:
                rest.append(part)
        if rest and pictures:
            wires += _said("user", pictures)
            pictures = []
        wires += _answer(rest) if message.role == "assistant" else _said(message.role, rest)
    return [*wires, *_said("user", pictures)]


def _result(result: ToolResult) -> Json:
    words = [_block(part) for part in result.parts if not isinstance(part, Image)]
    text = "".join(block["text"] for block in words)
    return {"role": "tool", "tool_call_id": result.id, "content": text}


def _said(role: str, parts: Iterable[AnyPart]) -> Iterable[Json]:
    if content := [block for part in parts if (block := _block(part)) != _NOTHING]:
        yield {"role": "system" if role in {"system", "developer"} else "user", "content": content}


_NOTHING = {"type": "text", "text": ""}


def _answer(parts: Iterable[AnyPart]) -> Iterable[Json]:
    content: list[Json] = []
    calls: list[Json] = []
    plan = ""
    for part in parts:
        if isinstance(part, ToolCall):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, Thinking):
            if part.spelling == PLAN:
                plan += part.text
            elif part.text:
                content.append({"type": "thinking", "thinking": part.text})
        elif (block := _block(part)) != _NOTHING:
            content.append(block)
    said = {"content": content, "tool_calls": calls, PLAN: plan}
    if wire := {name: value for name, value in said.items() if value}:
        yield {"role": "assistant", **wire}


def _block(part: AnyPart) -> Json:
    if isinstance(part, Text | Refusal):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if isinstance(part, Audio) and part.transcript:
        return {"type": "text", "text": part.transcript}
    kind = "sound" if isinstance(part, Audio) else "files"
    raise CapabilityMissing(
        f"Cohere takes no {kind}; send the text of it, or ask another model", param="messages"
    )
