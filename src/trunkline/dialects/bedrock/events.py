"""What a decoded answer or message of a stream means: JSON -> events.

The blocks of a stream begin without a word, except calls and what only this dialect knows.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.dialects.bedrock.usage import usage_of
from trunkline.types import (
    Event,
    Extra,
    Finish,
    FinishReason,
    Memo,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)

Json = dict[str, Any]
OWN = "bedrock"
"""Under this name `extra` keeps a block that only this dialect knows, whole."""
_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
_SERVERS = "server_tool_use"
"""A call with this type was made and answered by the provider itself."""


def events_of(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of a whole answer."""
    for index, block in enumerate(data["output"]["message"].get("content") or ()):
        yield from _block(block, index, memo)
    yield from _finish(data, memo)
    yield from _last(data, memo)


def events_of_message(kind: str, data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one message of a stream; unknown ones say nothing."""
    index: int = data.get("contentBlockIndex", 0)
    if kind == "contentBlockStart":
        yield from _start(data["start"], index, memo)
    elif kind == "contentBlockDelta":
        yield from _delta(data["delta"], index, memo)
    elif kind == "contentBlockStop":
        if (own := _open(memo).pop(index, None)) is not None:
            yield _whole(own, index)
    elif kind == "messageStop":
        yield from _finish(data, memo)
    elif kind == "metadata":
        yield from _last(data, memo)


def _block(block: Json, index: int, memo: Memo) -> Iterable[Event]:
    """Give one block of a whole answer."""
    if "text" in block:
        yield TextDelta(text=block["text"], block=index)
    elif (call := block.get("toolUse")) and call.get("type") != _SERVERS:
        yield _call(call, index, memo, dump(call.get("input") or {}).decode())
    elif thought := block.get("reasoningContent"):
        yield _thought(thought.get("reasoningText") or thought, index)
    elif cited := block.get("citationsContent"):
        text = "".join(one.get("text") or "" for one in cited.get("content") or ())
        yield _cited(text, cited.get("citations") or [], index)
    else:
        _note_fees(block, memo)
        yield _whole(block, index)


def _start(start: Json, index: int, memo: Memo) -> Iterable[Event]:
    """Begin a call; any other block is kept until it is whole."""
    call = start.get("toolUse")
    if call is not None and call.get("type") != _SERVERS:
        yield _call(call, index, memo, "")
    else:
        _note_fees(start, memo)
        _open(memo)[index] = start


def _note_fees(block: Json, memo: Memo) -> None:
    """Note that the provider ran a tool of its own, which it charges apart from tokens.

    Source: https://docs.aws.amazon.com/nova/latest/nova2-userguide/web-grounding.html 2026-11-21
    """
    if "toolUse" in block:
        memo.scratch["apart"] = True


def _delta(delta: Json, index: int, memo: Memo) -> Iterable[Event]:
    if (own := _open(memo).get(index)) is not None:
        _grow(own, delta)
    elif "text" in delta:
        if delta["text"]:
            yield TextDelta(text=delta["text"], block=index)
    elif thought := delta.get("reasoningContent"):
        yield _thought(thought, index)
    elif call := delta.get("toolUse"):
        yield ToolCallDelta(index=memo.calls[index], arguments=call.get("input") or "")
    elif citation := delta.get("citation"):
        yield _cited("", [citation], index)
    else:  # of a block that did not say what it is
        _grow(_open(memo).setdefault(index, {}), delta)


def _open(memo: Memo) -> dict[int, Json]:
    """Return the blocks under way that only this dialect knows."""
    blocks: dict[int, Json] = memo.scratch.setdefault("open", {})
    return blocks


def _grow(block: Json, delta: Json) -> None:
    """Add a piece to a block that is kept until it is whole."""
    for kind, piece in delta.items():
        if isinstance(piece, list):
            block.setdefault(kind, {}).setdefault("content", []).extend(piece)
            continue
        held = block.setdefault(kind, {})
        for name, value in piece.items():
            both_texts = isinstance(value, str) and isinstance(held.get(name), str)
            held[name] = held[name] + value if both_texts else value


def _call(call: Json, index: int, memo: Memo, arguments: str) -> ToolCallDelta:
    number = memo.calls[index] = len(memo.calls)
    return ToolCallDelta(index=number, id=call["toolUseId"], name=call["name"], arguments=arguments)


def _thought(wire: Json, index: int) -> ThinkingDelta:
    return ThinkingDelta(
        text=wire.get("text") or "",
        signature=wire.get("signature") or None,
        redacted=wire.get("redactedContent"),
        spelling=OWN,
        block=index,
    )


def _cited(text: str, citations: list[Json], index: int) -> TextDelta:
    return TextDelta(
        text=text, block=index, extra={OWN: {"citationsContent": {"citations": citations}}}
    )


def _whole(block: Json, index: int) -> TextDelta:
    """Give a block that only this dialect knows; the input of a call is an object again."""
    call = block.get("toolUse")
    if call is not None and isinstance(call.get("input"), str):
        call["input"] = load(call["input"] or "{}")
    return TextDelta(text="", block=index, extra={OWN: block})


def _finish(data: Json, memo: Memo) -> Iterable[Event]:
    raw = data.get("stopReason") or None
    reason = _REASONS.get(raw or "", "unknown")
    if reason in {"stop", "unknown"} and memo.calls:
        reason = "tool_calls"
    told = data.get("additionalModelResponseFields")
    yield Finish(
        reason=reason,
        raw=raw,
        extra={"additionalModelResponseFields": told} if told else {},
    )


def _last(data: Json, memo: Memo) -> Iterable[Event]:
    """Give what stands beside the answer, or after it in a stream."""
    if trace := data.get("trace"):
        yield Extra(fields={"trace": trace})
    if data.get("usage"):
        yield UsageReport(usage=usage_of(data), apart="apart" in memo.scratch)
