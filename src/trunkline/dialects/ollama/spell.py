"""Messages -> Ollama's: each has words, pictures, thoughts and calls, but in no order.

Source: https://docs.ollama.com/api/chat 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.errors import CapabilityMissing
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
_APART = "\n\n"
"""Stands between two texts of a message, as Ollama puts it between two messages of one role.
Source: https://github.com/ollama/ollama/blob/main/template/template.go (collate) 2026-11-20"""


def spelled(messages: tuple[Message, ...]) -> list[Json]:
    """Spell messages; those that say nothing are left out.

    Raises:
        CapabilityMissing: a part has no form here.
    """
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return [wire for message in messages for wire in _message(message, names)]


def _message(message: Message, names: dict[str, str]) -> Iterable[Json]:
    """Spell one message: each result of a tool is a message of its own, before what else it says.

    A call is told apart by its id; servers that know no ids go by the tool's name and the order.
    """
    rest: list[AnyPart] = []
    for part in message.parts:
        if not isinstance(part, ToolResult):
            rest.append(part)
            continue
        name = {"tool_name": names[part.id]} if part.id in names else {}
        yield {"role": "tool", "content": "", "tool_call_id": part.id, **name, **_said(part.parts)}
    said = _said(rest, "" if message.role == "assistant" else _APART)
    if said:
        role = "system" if message.role == "developer" else message.role
        yield {"role": role, "content": "", **said}


def _said(parts: Iterable[AnyPart], apart: str = _APART) -> Json:
    texts: list[str] = []
    lists: dict[str, list[Any]] = {"thinking": [], "images": [], "tool_calls": []}
    for part in parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
        elif isinstance(part, Thinking):
            lists["thinking"].append(part.text)
        elif isinstance(part, ToolCall):
            lists["tool_calls"].append(_call(part))
        elif isinstance(part, Image):
            lists["images"].append(_picture(part))
        else:
            texts.append(_words_of(part))
    wire: Json = {"content": apart.join(filter(None, texts)), **lists}
    wire["thinking"] = "".join(wire["thinking"])
    return {name: value for name, value in wire.items() if value}


def _call(part: ToolCall) -> Json:
    return {"id": part.id, "function": {"name": part.name, "arguments": _object(part.arguments)}}


def _object(arguments: str) -> Json | Raw:
    """Return arguments as the object they must be; anything else becomes a field of one."""
    try:
        if isinstance(load(arguments), dict):
            return Raw(arguments.encode())
    except (*BROKEN, UnicodeEncodeError):
        pass
    return {"input": arguments}


def _picture(part: Image) -> str:
    if part.data is None:
        raise CapabilityMissing(
            "Ollama does not fetch pictures; send it as base64 (a data: URL), or ask another model",
            param="messages",
        )
    return part.data


def _words_of(part: Audio | File | ToolResult) -> str:
    """Return the words of an earlier answer that was spoken; nothing else has a form here.

    Raises:
        CapabilityMissing: it is something else.
    """
    if isinstance(part, Audio) and part.transcript:
        return part.transcript
    kind = "sound" if isinstance(part, Audio) else "files"
    raise CapabilityMissing(
        f"Ollama takes no {kind}; send the text of it, or ask another model", param="messages"
    )
