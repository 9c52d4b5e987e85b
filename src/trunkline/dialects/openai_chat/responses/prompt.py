"""The typed view of a request: its fields -> `Prompt`. `build` is the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.openai_chat.parts import rest
from trunkline.dialects.openai_chat.responses.items import OWN, messages_of
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import Message, OutputFormat, Prompt, Reasoning, Text, Tool

Json = dict[str, Any]
_PLAIN = ("parallel_tool_calls", "temperature", "top_p")
_HELD = {
    "previous_response_id": "send the whole conversation as 'input' instead",
    "conversation": "send the whole conversation as 'input' instead",
    "prompt": "write 'instructions' and 'input' instead of a stored prompt",
    "store": "leave it out or write false; no answer is kept there",
}
"""What only OpenAI's own server can do: it holds answers and prompts."""
INSTRUCTIONS = {OWN: {"instructions": True}}
"""What marks the system message that came as `instructions`."""


def parse(fields: Mapping[str, Raw]) -> Prompt:
    """Decode every field of a request that `request.read` has accepted.

    Raises:
        InputError: with `param` naming the part that is wrong.
        CapabilityMissing: it needs what OpenAI's own server holds.
    """
    try:
        left: Json = {name: load(raw) for name, raw in fields.items()}
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    for name, remedy in _HELD.items():
        if left.get(name):
            raise CapabilityMissing(
                f"'{name}': whoever answers here holds nothing of OpenAI's; {remedy}", param=name
            )
    for name in ("model", "stream"):
        left.pop(name, None)
    return Prompt(
        messages=tuple(_messages(left)),
        tools=tuple(_tool(wire) for wire in left.pop("tools", ())),
        tool_choice=_tool_choice(left),
        output_format=_output_format(left),
        reasoning=_reasoning(left),
        max_output_tokens=left.pop("max_output_tokens", None),
        end_user=left.pop("user", None),
        **{name: left.pop(name) for name in _PLAIN if name in left},
        extra=left,
    )


def _messages(left: Json) -> Iterable[Message]:
    if instructions := left.pop("instructions", None):
        yield Message(role="system", parts=(Text(text=instructions),), extra=INSTRUCTIONS)
    given = left.pop("input", ())
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    yield from messages_of(given)


def _tool(wire: Json) -> Tool:
    kind = wire["type"]
    known = ("type", "name", "description", "parameters", "strict")
    if kind == "function":
        return Tool(
            name=wire["name"],
            description=wire.get("description"),
            parameters=wire.get("parameters") or {},
            strict=wire.get("strict"),
            extra=_own(rest(wire, *known)),
        )
    if kind == "custom":
        beside = rest(wire, "type", "name", "description")
        return Tool(
            name=wire["name"],
            description=wire.get("description"),
            kind=kind,
            extra=_own(beside),
        )
    return Tool(name=wire.get("name") or kind, kind=kind, extra={OWN: wire})


def _own(beside: Json) -> Json:
    return {OWN: beside} if beside else {}


def _tool_choice(left: Json) -> str | None:
    """Take the choice of a tool; what the neutral words cannot say stays in `left`."""
    choice = left.pop("tool_choice", None)
    if not isinstance(choice, dict):
        return str(choice) if choice is not None else None
    if choice.get("type") in {"function", "custom"} and isinstance(choice.get("name"), str):
        return f"tool:{choice['name']}"
    left["tool_choice"] = choice
    return None


def _output_format(left: Json) -> OutputFormat | None:
    """Take the schema from `text`, where the rest stays."""
    text = left.pop("text", {})
    wire = text.get("format") or {"type": "text"}
    beside = rest(text, "format")
    if wire["type"] not in {"text", "json_object", "json_schema"}:
        beside["format"] = wire
    if beside:
        left["text"] = beside
    if wire["type"] == "json_object":
        return OutputFormat()
    if wire["type"] != "json_schema":
        return None
    return OutputFormat(
        name=wire.get("name", "answer"),
        schema=wire.get("schema") or {},
        strict=wire.get("strict"),
        description=wire.get("description"),
    )


def _reasoning(left: Json) -> Reasoning | None:
    """Take the effort; the rest (a summary, ...) stays in `left`."""
    wire = left.pop("reasoning", {})
    if beside := rest(wire, "effort"):
        left["reasoning"] = beside
    effort = wire.get("effort")
    return None if effort is None else Reasoning(effort=effort)
