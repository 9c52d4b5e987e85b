"""The messages of a request -> `Message`; `parts` takes their content apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from msgspec.json import encode as dump

from trunkline.dialects.openai_chat.details import joined
from trunkline.dialects.openai_chat.parts import parts_of, rest
from trunkline.errors import InputError
from trunkline.types import (
    AnyPart,
    Audio,
    Message,
    Refusal,
    Role,
    Thinking,
    ToolCall,
    ToolResult,
)

Json = dict[str, Any]


def message_of(wire: Json, param: str) -> Message:
    """Return one message, which stands at `param`.

    Raises:
        InputError: a part or a tool call lacks what it needs.
    """
    role = wire["role"]
    name = wire.get("name")
    parts = tuple(parts_of(wire.get("content"), f"{param}.content"))
    if role in {"tool", "function"}:
        call = wire.get("tool_call_id") or f"call_{name}"
        return Message(
            role="tool",
            parts=(ToolResult(id=call, parts=parts),),
            name=name,
            extra=rest(wire, "role", "content", "name", "tool_call_id"),
        )
    if role != "assistant":
        return Message(
            role=cast("Role", role),
            parts=parts,
            name=name,
            extra=rest(wire, "role", "content", "name"),
        )
    extra = rest(wire, "role", "content", "name", "refusal", "tool_calls", "function_call")
    thoughts = tuple(_thoughts(extra))
    refusal = (Refusal(text=wire["refusal"]),) if wire.get("refusal") else ()
    heard = (Audio(id=said["id"]),) if isinstance(said := extra.pop("audio", None), dict) else ()
    return Message(
        role="assistant",
        parts=(*thoughts, *parts, *refusal, *heard, *_calls(wire, param)),
        name=name,
        extra=extra,
    )


def _thoughts(extra: Json) -> Iterable[AnyPart]:
    """Take reasoning in every spelling off `extra`, where an unknown one stays.

    The entries of `reasoning_details` go back one by one as they came; the plain text beside them
    says the same again and stays where it is.
    Source: https://openrouter.ai/docs/use-cases/reasoning-tokens 2026-11-20
    """
    details = extra.get("reasoning_details")
    if isinstance(details, list):
        del extra["reasoning_details"]
        whole = joined(details)
        for detail in whole:
            yield Thinking(
                text=detail.get("text") or detail.get("summary") or "",
                signature=detail.get("signature"),
                redacted=detail.get("data"),
                spelling="reasoning_details",
                extra={"reasoning_details": detail},
            )
        if any(detail.get("text") or detail.get("summary") for detail in whole):
            return
    for spelling in ("reasoning_content", "reasoning"):
        if isinstance(text := extra.get(spelling), str):
            del extra[spelling]
            if text:
                yield Thinking(text=text, spelling=spelling)


def _calls(wire: Json, param: str) -> Iterable[ToolCall]:
    legacy = wire.get("function_call")
    calls = wire.get("tool_calls") or ([{"function": legacy}] if legacy else [])
    for index, call in enumerate(calls):
        kind = "custom" if "custom" in call else "function"
        inner = call.get(kind)
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            where = f"{param}.tool_calls[{index}].{kind}.name"
            raise InputError(
                f"'{where}' is missing; write the tool's name as a string", param=where
            )
        said = inner.get("input" if kind == "custom" else "arguments")
        text = said if isinstance(said, str) else dump(said or {}).decode()
        yield ToolCall(
            id=call.get("id") or f"call_{inner['name']}",
            name=inner["name"],
            arguments=text or "{}",
            kind=kind,
            extra=rest(call, "id", "type", "index", kind),
        )
