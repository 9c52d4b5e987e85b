"""What providers say, built for tests, and how it reads."""

import json
from typing import Any

from trunkline.dialects.openai_chat import decode_frame
from trunkline.fold import Fold
from trunkline.types import (
    Event,
    Memo,
    Message,
    ToolCall,
)

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def whole(message: dict[str, Any] | None = None, **choice: Any) -> bytes:
    """Make a whole answer of one choice."""
    said = {"index": 0, "finish_reason": "stop", "message": message or {"content": "Hi"}} | choice
    return json.dumps({"id": "x1", "model": "m1", "choices": [said], "usage": USAGE}).encode()


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **top: Any) -> bytes:
    """Make one event of a stream, as OpenAI writes it."""
    said = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": reason}
    data = {"id": "x1", "object": "chat.completion.chunk", "choices": [said]} | top
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


def events(*raws: bytes, memo: Memo | None = None) -> list[Event]:
    """Decode events of one stream."""
    memo = memo or Memo()
    frames = [decode_frame(raw, memo) for raw in raws]
    return [event for frame in frames for event in frame.events]


def fold(all_events: list[Event] | tuple[Event, ...]) -> Message:
    """Fold events into a message."""
    folded = Fold()
    for event in all_events:
        folded.add(event)
    return folded.message()


def call(index: int | None, name: str | None, arguments: str | None, **more: Any) -> dict[str, Any]:
    """Make a fragment of a tool call."""
    inner = {"name": name, "arguments": arguments}
    fragment: dict[str, Any] = {"function": {k: v for k, v in inner.items() if v is not None}}
    return ({} if index is None else {"index": index}) | fragment | more


def calls(*fragments: dict[str, Any]) -> list[ToolCall]:
    """Decode tool-call fragments, one per event, and fold them."""
    return list(fold(events(*(chunk({"tool_calls": [one]}) for one in fragments))).tool_calls)
