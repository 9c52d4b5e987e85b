"""The typed view of a request: its fields -> `Prompt`. `build` is the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Raw
from msgspec.json import decode as load

from trunkline.codec import BROKEN
from trunkline.dialects.anthropic.blocks import messages_of, parts_of, rest
from trunkline.errors import CapabilityMissing, InputError
from trunkline.types import Message, OutputFormat, Prompt, Reasoning, Tool

Json = dict[str, Any]
_PLAIN = ("temperature", "top_p", "top_k")
_THINKING = {"enabled": True, "adaptive": True, "disabled": False}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def parse(fields: Mapping[str, Raw]) -> Prompt:
    """Decode every field of a request that `request.read` has accepted.

    Raises:
        InputError: with `param` naming the part that is wrong.
        CapabilityMissing: the turns before these are held by Anthropic's own server.
    """
    try:
        left: Json = {name: load(raw) for name, raw in fields.items()}
    except BROKEN as error:
        raise InputError(f"the request body is not valid JSON: {error}") from None
    if "thread" in left:
        raise CapabilityMissing(
            "'thread': whoever answers here does not hold the turns before; leave it out and send "
            "the whole conversation",
            param="thread",
        )
    for name in ("model", "stream"):
        left.pop(name, None)
    messages = [*_system(left), *_turns(left.pop("messages"))]
    choice, parallel = _tool_choice(left)
    return Prompt(
        messages=tuple(messages),
        tools=tuple(_tool(wire) for wire in left.pop("tools", ())),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        output_format=_output_format(left),
        reasoning=_reasoning(left),
        max_output_tokens=left.pop("max_tokens", None),
        stop=tuple(left.pop("stop_sequences", ())),
        end_user=_end_user(left),
        **{name: left.pop(name) for name in _PLAIN if name in left},
        extra=left,
    )


def _system(left: Json) -> Iterable[Message]:
    parts = tuple(parts_of(left.pop("system", None), "system"))
    if parts:
        yield Message(role="system", parts=parts)


def _turns(messages: list[Json]) -> Iterable[Message]:
    for index, wire in enumerate(messages):
        param = f"messages[{index}]"
        try:
            yield from messages_of(wire, param)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"'{param}' has a shape nobody knows: {error}", param=param) from None


def _tool(wire: Json) -> Tool:
    kind = wire.get("type", "custom")
    if kind != "custom":  # a tool of the provider's own: all its fields are its configuration
        return Tool(name=wire.get("name") or kind, kind=kind, extra=rest(wire, "type", "name"))
    return Tool(
        name=wire["name"],
        description=wire.get("description"),
        parameters=wire.get("input_schema") or {},
        strict=wire.get("strict"),
        extra=rest(wire, "type", "name", "description", "input_schema", "strict"),
    )


def _tool_choice(left: Json) -> tuple[str | None, bool | None]:
    """Take the choice of a tool; what the neutral words cannot say stays in `left`."""
    wire = left.pop("tool_choice", {})
    parallel = {True: False, False: True}.get(wire.get("disable_parallel_tool_use"))
    if wire.get("type") == "tool" and isinstance(wire.get("name"), str):
        return f"tool:{wire['name']}", parallel
    if wire and wire["type"] not in _CHOICES:
        left["tool_choice"] = wire
    return _CHOICES.get(wire.get("type", "")), parallel


def _output_format(left: Json) -> OutputFormat | None:
    """Take the schema from `output_config`, or from where the beta had it."""
    config = left.get("output_config") or {}
    wire = config.get("format") or left.get("output_format") or {}
    schema = wire.get("schema")
    if wire.get("type") != "json_schema" or not isinstance(schema, dict):
        return None
    left.pop("output_format", None)
    _keep(left, "output_config", rest(config, "format"))
    return OutputFormat(schema=schema)


def _reasoning(left: Json) -> Reasoning | None:
    """Take effort and thinking; a kind of thinking unknown here stays as it is."""
    config = left.get("output_config") or {}
    thinking = left.get("thinking") or {}
    effort = config.get("effort")
    if effort is None and not thinking:
        return None
    _keep(left, "output_config", rest(config, "effort"))
    enabled = _THINKING.get(thinking.get("type", ""))
    if enabled is not None:
        _keep(left, "thinking", rest(thinking, "type", "budget_tokens"))
    budget = thinking.get("budget_tokens")
    return Reasoning(
        effort=effort, budget_tokens=budget if isinstance(budget, int) else None, enabled=enabled
    )


def _end_user(left: Json) -> str | None:
    metadata: Json = left.get("metadata") or {}
    _keep(left, "metadata", rest(metadata, "user_id"))
    return metadata.get("user_id")


def _keep(left: Json, name: str, value: Json) -> None:
    if value:
        left[name] = value
    else:
        left.pop(name, None)
