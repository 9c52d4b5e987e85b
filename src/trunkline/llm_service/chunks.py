"""The objects `stream_llm` yields: OpenAI's chunk, with attributes, and never without a choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from trunkline.types import (
    Event,
    Finish,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

_CARRIED = "extra_content"
"""Where Google's models have the signature of a call.
Source: https://ai.google.dev/gemini-api/docs/openai 2026-11-20"""


class FunctionDelta(Struct, kw_only=True):
    """A piece of a function call; `arguments` are fragments to be joined."""

    name: str | None = None
    arguments: str = ""


class ToolDelta(Struct, kw_only=True):
    """A piece of tool call number `index`."""

    index: int
    id: str | None = None
    type: str = "function"
    function: FunctionDelta
    extra_content: dict[str, Any] | None = None
    """What some providers want back with the call, unchanged."""


class Delta(Struct, kw_only=True):
    """What this chunk adds."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolDelta] | None = None


class Choice(Struct, kw_only=True):
    """One answer's part of the chunk."""

    index: int = 0
    delta: Delta
    finish_reason: str | None = None


class Chunk(Struct, kw_only=True):
    """One step of a streamed answer; `choices` is never empty."""

    id: str
    model: str
    choices: list[Choice]
    usage: dict[str, int] | None = None
    """On the last chunk, where the provider reported it."""
    object: str = "chat.completion.chunk"


def usage_dict(usage: Usage | None) -> dict[str, int]:
    """Return the seeds' three counts; zeros when nothing was reported."""
    usage = usage or Usage()
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def chunk(events: Iterable[Event], *, call_id: str, model: str) -> Chunk | None:
    """Make one chunk of a frame's events; None when there is nothing in them for a reader."""
    choices: dict[int, Choice] = {}
    usage: dict[str, int] | None = None
    for event in events:
        if isinstance(event, UsageReport):
            usage = usage_dict(event.usage)
            continue
        if not isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta | RefusalDelta | Finish):
            continue
        choice = choices.get(event.choice)
        if choice is None:
            choice = choices[event.choice] = Choice(index=event.choice, delta=Delta())
        _add(choice, event)
    if usage is not None and not choices:
        choices[0] = Choice(delta=Delta())
    if not choices:
        return None
    return Chunk(id=call_id, model=model, choices=list(choices.values()), usage=usage)


def _add(choice: Choice, event: Event) -> None:
    delta = choice.delta
    if isinstance(event, TextDelta):
        delta.content = (delta.content or "") + event.text
    elif isinstance(event, ThinkingDelta):
        delta.reasoning_content = (delta.reasoning_content or "") + event.text
    elif isinstance(event, RefusalDelta):
        delta.refusal = (delta.refusal or "") + event.text
    elif isinstance(event, ToolCallDelta):
        function = FunctionDelta(name=event.name, arguments=event.arguments)
        call = ToolDelta(
            index=event.index,
            id=event.id,
            type=event.kind,
            function=function,
            extra_content=event.extra.get(_CARRIED),
        )
        delta.tool_calls = [*(delta.tool_calls or []), call]
    elif isinstance(event, Finish):
        choice.finish_reason = event.reason


def tool_call_dicts(calls: Iterable[Any]) -> list[dict[str, Any]]:
    """Return tool calls in OpenAI's form `{id, type, function: {name, arguments}}`.

    A call that came signed has `extra_content` too; send it back unchanged.
    """
    return [
        {
            "id": call.id,
            "type": call.kind,
            "function": {"name": call.name, "arguments": call.arguments},
            **{name: call.extra[name] for name in (_CARRIED,) if name in call.extra},
        }
        for call in calls
    ]
