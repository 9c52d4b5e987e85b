"""What an answer means: whole bodies and events of a stream -> events.

Source: https://docs.cohere.com/reference/chat-stream 2026-11-20
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trunkline.dialects.cohere.spell import PLAN
from trunkline.types import (
    Event,
    Extra,
    Finish,
    FinishReason,
    Memo,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

Json = dict[str, Any]
_REASONS: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
    "ERROR_TOXIC": "content_filter",
}


def answer_events(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of a whole answer."""
    message = data["message"]
    yield Started(id=data.get("id"))
    if plan := message.get(PLAN):
        yield ThinkingDelta(text=plan, spelling=PLAN)
    for index, block in enumerate(message.get("content") or ()):
        yield from _content(block, index)
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield _call(call, index, memo)
    if citations := message.get("citations"):
        yield Extra(fields={"citations": citations})
    if logprobs := data.get("logprobs"):
        yield Extra(fields={"logprobs": logprobs})
    yield from _end(data, memo)


def stream_events(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one event of a stream; a kind that is not known has none."""
    kind = data.get("type")
    if kind == "message-start":
        yield Started(id=data.get("id"))
    elif kind == "message-end":
        yield from _end(data["delta"], memo)
    elif kind in _PIECES:
        delta = data["delta"]
        yield from _PIECES[kind](delta["message"], data.get("index", 0), memo)
        if logprobs := delta.get("logprobs") or data.get("logprobs"):
            yield Extra(fields={"logprobs": [logprobs]})


def usage_of(wire: Json) -> Usage | None:
    """Return what is charged: the billed units, which leave out what Cohere adds to a prompt.

    `tokens` counts that too, and `cached_tokens` is a part of it, without a price of its own.
    Source: https://docs.cohere.com/docs/how-does-cohere-pricing-work 2026-11-20
    """
    billed = wire.get("billed_units") or wire.get("tokens") or {}
    given, made = billed.get("input_tokens"), billed.get("output_tokens")
    if given is None and made is None:
        return None
    completion = int(made or 0)
    thought = int((wire.get("tokens") or {}).get("reasoning_tokens") or 0)
    return Usage(
        prompt_tokens=int(given or 0),
        completion_tokens=completion,
        reasoning_tokens=min(thought, completion),
    )


def _content(block: Json, index: int) -> Iterable[Event]:
    if (thought := block.get("thinking")) is not None:
        yield ThinkingDelta(text=thought)
    elif (text := block.get("text")) is not None:
        yield TextDelta(text=text, block=index)


def _call(call: Json, index: int, memo: Memo) -> ToolCallDelta:
    memo.calls[index] = index
    function = call.get("function") or {}
    return ToolCallDelta(
        index=index,
        id=call.get("id"),
        name=function.get("name"),
        arguments=function.get("arguments") or "",
    )


def _plan(message: Json, _: int, memo: Memo) -> Iterable[Event]:
    yield ThinkingDelta(text=message[PLAN], spelling=PLAN)


def _cited(message: Json, _: int, memo: Memo) -> Iterable[Event]:
    cited = message["citations"]
    yield Extra(fields={"citations": cited if isinstance(cited, list) else [cited]})


def _said(message: Json, index: int, memo: Memo) -> Iterable[Event]:
    yield from _content(message["content"], index)


def _called(message: Json, index: int, memo: Memo) -> Iterable[Event]:
    yield _call(message["tool_calls"], index, memo)


_PIECES: dict[str, Callable[[Json, int, Memo], Iterable[Event]]] = {
    "content-start": _said,
    "content-delta": _said,
    "tool-plan-delta": _plan,
    "tool-call-start": _called,
    "tool-call-delta": _called,
    "citation-start": _cited,
}


def _end(data: Json, memo: Memo) -> Iterable[Event]:
    if (usage := usage_of(data.get("usage") or {})) is not None:
        yield UsageReport(usage=usage)
    raw = data.get("finish_reason")
    reason = _REASONS.get(raw or "", "unknown")
    yield Finish(reason="tool_calls" if memo.calls and reason == "stop" else reason, raw=raw)
