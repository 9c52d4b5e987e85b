"""The typed view of a request: its fields -> `Prompt`. `build` is the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.openai_chat.messages import message_of
from trunkline.dialects.openai_chat.parts import inside, rest
from trunkline.errors import InputError
from trunkline.types import Message, OutputFormat, Prompt, Reasoning, Tool

Json = dict[str, Any]
_PLAIN = (
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)


def parse(fields: Mapping[str, Raw]) -> Prompt:
    """Decode every field of a request that `request.read` has accepted.

    Raises:
        InputError: with `param` naming the part that is wrong.
    """
    try:
        left: Json = {name: load(raw) for name, raw in fields.items()}
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    for name in ("model", "stream", "stream_options"):
        left.pop(name, None)
    messages = left.pop("messages")
    tools = [_tool(tool) for tool in left.pop("tools", ())]
    tools += [_function(function) for function in left.pop("functions", ())]
    cap = left.pop("max_tokens", None)
    stop = left.pop("stop", ())
    return Prompt(
        messages=tuple(_message(wire, f"messages[{i}]") for i, wire in enumerate(messages)),
        tools=tuple(tools),
        tool_choice=_tool_choice(left),
        output_format=_output_format(left),
        reasoning=_reasoning(left),
        max_output_tokens=left.pop("max_completion_tokens", cap),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        end_user=left.pop("user", None),
        choices=left.pop("n", 1),
        **{name: left.pop(name) for name in _PLAIN if name in left},
        extra=left,
    )


def _message(wire: Json, param: str) -> Message:
    try:
        return message_of(wire, param)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"'{param}' has a shape nobody knows: {error}", param=param) from None


def _tool(wire: Json) -> Tool:
    kind = wire.get("type", "function")
    if kind == "function":
        tool = _function(wire.get("function") or {})
        return Tool(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            strict=tool.strict,
            extra=tool.extra | rest(wire, "type", "function"),
        )
    inner: Json = wire[kind] if isinstance(wire.get(kind), dict) else {}
    return Tool(
        name=inner.get("name") or wire.get("name") or kind,
        description=inner.get("description"),
        kind=kind,
        extra=rest(wire, "type"),
    )


def _function(wire: Json) -> Tool:
    return Tool(
        name=wire["name"],
        description=wire.get("description"),
        parameters=wire.get("parameters") or {},
        strict=wire.get("strict"),
        extra=inside("function", wire, "name", "description", "parameters", "strict"),
    )


def _tool_choice(left: Json) -> str | None:
    """Take the choice of a tool; what the neutral words cannot say stays in `left`."""
    choice = left.pop("tool_choice", None) or left.pop("function_call", None)
    if isinstance(choice, dict):
        kind = choice.get("type")
        named = choice.get(kind, choice) if isinstance(kind, str) else choice
        if isinstance(named, dict) and isinstance(named.get("name"), str):
            return f"tool:{named['name']}"
        left["tool_choice"] = choice
        return None
    return "required" if choice == "any" else choice  # Mistral's word


def _output_format(left: Json) -> OutputFormat | None:
    wire = left.get("response_format") or {"type": "text"}
    schema = wire.get("json_schema")
    if wire["type"] not in {"text", "json_object"} and not isinstance(schema, dict):
        return None
    left.pop("response_format", None)
    if wire["type"] == "text":
        return None
    if schema is None:
        return OutputFormat(schema=wire.get("schema"))  # Together and llama.cpp put it here
    return OutputFormat(
        name=schema.get("name", "answer"),
        schema=schema.get("schema") or {},
        strict=schema.get("strict"),
        description=schema.get("description"),
    )


def _reasoning(left: Json) -> Reasoning | None:
    """Take the effort; OpenRouter's `reasoning` and DeepSeek's `thinking` also stay as they are."""
    effort = left.pop("reasoning_effort", None)
    if isinstance(wire := left.get("reasoning"), dict):
        return Reasoning(
            effort=wire.get("effort") or effort,
            budget_tokens=wire.get("max_tokens"),
            enabled=wire.get("enabled"),
        )
    if isinstance(wire := left.get("thinking"), dict) and effort is None:
        return Reasoning(
            budget_tokens=wire.get("budget_tokens"), enabled=wire.get("type") != "disabled"
        )
    return Reasoning(effort=effort) if effort is not None else None
