"""What a decoded answer or stream event means: JSON -> events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming 2026-11-20
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.json import decode as load
from msgspec.json import encode as dump

from trunkline.codec import BROKEN
from trunkline.dialects.anthropic.blocks import OWN, beside, rest
from trunkline.dialects.anthropic.usage import apart, merged, usage_of
from trunkline.types import (
    Event,
    Finish,
    FinishReason,
    Memo,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageReport,
)

Json = dict[str, Any]
REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}
_BESIDE = ("stop_sequence", "stop_details", "container", "context_management", "diagnostics")


def events_of_message(message: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of a whole answer, in their order."""
    yield Started(id=_words(message.get("id")), model=_words(message.get("model")))
    for index, block in enumerate(message["content"]):
        yield from _begun(block, index, memo)
        yield from _ended(index, memo)
    yield from _closing(message, message.get("usage"), memo, whole=True)


def events_of(data: Json, memo: Memo) -> Iterable[Event]:
    """Give the meanings of one event of a stream; one that is unknown means nothing."""
    kind = data.get("type")
    if kind == "content_block_delta":
        yield from _continued(data["delta"], data["index"], memo)
    elif kind == "content_block_start":
        yield from _begun(data["content_block"], data["index"], memo)
    elif kind == "content_block_stop":
        yield from _ended(data["index"], memo)
    elif kind == "message_start":
        message = data["message"]
        yield Started(id=_words(message.get("id")), model=_words(message.get("model")))
        yield from _usage(message.get("usage"), memo)
    elif kind == "message_delta":
        said = data.get("delta") or {}
        yield from _closing(rest(data, "type", "delta", "usage") | said, data.get("usage"), memo)


def _words(value: Any) -> str | None:
    return str(value) if value else None


def _usage(wire: Any, memo: Memo) -> Iterable[Event]:
    if isinstance(wire, dict):
        memo.scratch["usage"] = usage = merged(memo.scratch.get("usage", {}), wire)
        yield UsageReport(usage=usage_of(usage), apart=apart(usage))


def _closing(said: Json, usage: Any, memo: Memo, *, whole: bool = False) -> Iterable[Event]:
    raw = _words(said.get("stop_reason"))
    if raw or whole:
        reason = REASONS.get(raw or "", "unknown")
        if memo.calls and reason in {"stop", "unknown"}:  # local servers say end_turn after calls
            reason = "tool_calls"
        told = {name: said[name] for name in _BESIDE if said.get(name) is not None}
        yield Finish(reason=reason, raw=raw, extra=told)
    yield from _usage(usage, memo)


def _begun(block: Json, index: int, memo: Memo) -> Iterable[Event]:
    kind = block["type"]
    if kind == "text":
        extra = {"citations": block["citations"]} if block.get("citations") else {}
        if block.get("text") or extra:
            yield TextDelta(text=block.get("text") or "", block=index, extra=extra)
    elif kind == "thinking":
        if block.get("thinking") or block.get("signature"):
            yield _thought(index, block.get("thinking") or "", block.get("signature") or None)
    elif kind == "redacted_thinking":
        yield ThinkingDelta(redacted=block["data"], block=index, spelling=OWN)
    elif kind == "tool_use":
        number = memo.calls.setdefault(index, len(memo.calls))
        _open(memo)[index] = {"input": block.get("input") or {}}
        yield ToolCallDelta(
            index=number,
            id=_words(block.get("id")),
            name=_words(block.get("name")),
            extra=beside(block),
        )
    else:
        _open(memo)[index] = dict(block)


def _continued(delta: Json, index: int, memo: Memo) -> Iterable[Event]:
    kind = delta["type"]
    under_way = _open(memo).get(index)
    if kind == "input_json_delta" and under_way is not None:
        piece = delta.get("partial_json") or ""
        if index not in memo.calls:
            under_way["input_json"] = under_way.get("input_json", "") + piece
        elif piece:
            under_way["input"] = None
            yield ToolCallDelta(index=memo.calls[index], arguments=piece)
    elif under_way is not None:
        for name, value in rest(delta, "type").items():
            known = under_way.get(name)
            both_texts = isinstance(known, str) and isinstance(value, str)
            under_way[name] = known + value if both_texts else value
    elif kind == "text_delta":
        yield TextDelta(text=delta["text"], block=index)
    elif kind == "thinking_delta":
        yield _thought(index, delta["thinking"], None)
    elif kind == "signature_delta":
        yield _thought(index, "", delta["signature"])
    elif kind == "citations_delta":
        yield TextDelta(text="", block=index, extra={"citations": [delta["citation"]]})


def _ended(index: int, memo: Memo) -> Iterable[Event]:
    """Give what can only be said of a block when it is whole.

    That is the input of a call which did not come in pieces, and a block that only this dialect
    knows.
    """
    block = _open(memo).pop(index, None)
    if block is None:
        return
    if index in memo.calls:
        if block["input"] is not None:
            arguments = dump(block["input"]).decode()
            yield ToolCallDelta(index=memo.calls[index], arguments=arguments)
        return
    if pieces := block.pop("input_json", ""):
        try:
            block["input"] = load(pieces)
        except BROKEN:
            block["input"] = {"input": pieces}
    yield TextDelta(text="", block=index, extra={OWN: block})


def _thought(index: int, text: str, signature: str | None) -> ThinkingDelta:
    return ThinkingDelta(text=text, signature=signature, spelling=OWN, block=index)


def _open(memo: Memo) -> dict[int, Json]:
    """Return the blocks under way that are more than text: calls, and what is of our own."""
    under_way: dict[int, Json] = memo.scratch.setdefault("open", {})
    return under_way
