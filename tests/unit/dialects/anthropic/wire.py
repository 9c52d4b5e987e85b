"""What Anthropic says, built for tests, and how it reads."""

import json
from typing import Any

from trunkline.dialects.anthropic import decode_frame
from trunkline.fold import Fold
from trunkline.types import Chat, Deployment, Event, Memo, Message, Prompt, say

USAGE = {"input_tokens": 3, "output_tokens": 2}
ROW = Deployment(
    provider="anthropic",
    model="claude-sonnet-4-5",
    dialect="anthropic",
    base_url="https://api.test/v1",
)
CHAT = Chat(id="01J", model="m", body=Prompt(messages=(say("user", "Hi"),)))


def event(kind: str, **fields: Any) -> bytes:
    """Make one event of a stream, as Anthropic writes it."""
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data[:-1]}   }}\n\n".encode()


def start(**usage: Any) -> bytes:
    """Make the event every stream begins with."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "content": []}
    return event("message_start", message=message | {"usage": USAGE | usage})


def begin(index: int, **block: Any) -> bytes:
    """Begin a block."""
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, **said: Any) -> bytes:
    """Say a piece of a block."""
    return event("content_block_delta", index=index, delta=said)


def text(words: str, index: int = 0) -> bytes:
    """Say a piece of text."""
    return delta(index, type="text_delta", text=words)


def end(index: int) -> bytes:
    """End a block."""
    return event("content_block_stop", index=index)


def finish(reason: str = "end_turn", usage: dict[str, Any] | None = None, **said: Any) -> bytes:
    """Say why the answer ended."""
    delta = {"stop_reason": reason, "stop_sequence": None, **said}
    return event("message_delta", delta=delta, usage=usage or {"output_tokens": 7})


STOP = event("message_stop")
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def whole(*blocks: dict[str, Any], **fields: Any) -> bytes:
    """Make a whole answer."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1"}
    ended = {"stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE}
    return json.dumps(message | {"content": list(blocks)} | ended | fields).encode()


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
