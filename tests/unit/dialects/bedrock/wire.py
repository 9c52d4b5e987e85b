"""What Bedrock says, built for tests, and how it reads; and what it is sent."""

import json
from typing import Any

from trunkline.dialects.bedrock import decode_frame, encode
from trunkline.fold import Fold
from trunkline.testing import event_message
from trunkline.types import Chat, Deployment, Event, Frame, Memo, Message, Outgoing, Prompt, say

Json = dict[str, Any]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-8b-instruct-v1:0"
HI = say("user", "Hi")


def row(model: str = CLAUDE, **fields: Any) -> Deployment:
    """Make a deployment."""
    place = {"base_url": "https://api.test", "dialect": "bedrock"} | fields
    return Deployment(provider="bedrock", model=model, **place)


def made(*messages: Message, model: str = CLAUDE, stream: bool = False, **options: Any) -> Outgoing:
    """Encode a typed prompt."""
    prompt = Prompt(messages=messages or (HI,), **options)
    return encode(Chat(model="m", body=prompt, stream=stream), row(model))


def sent(*messages: Message, model: str = CLAUDE, **options: Any) -> Json:
    """Return the body of a typed prompt."""
    body: Json = json.loads(made(*messages, model=model, **options).body)
    return body


def frames(*events: tuple[str, Json], memo: Memo | None = None) -> list[Frame]:
    """Decode the messages of one stream."""
    memo = memo or Memo()
    return [decode_frame(event_message(kind, data), memo) for kind, data in events]


def message(events: list[Event] | tuple[Event, ...]) -> Message:
    """Fold events."""
    fold = Fold()
    for event in events:
        fold.add(event)
    return fold.message()


def heard(*events: tuple[str, Json]) -> Message:
    """Return the message that a stream says."""
    return message([event for frame in frames(*events) for event in frame.events])


def delta(index: int = 0, **piece: Any) -> tuple[str, Json]:
    """Make one piece of a block."""
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": piece, "p": "abc"}


def start(index: int = 0, **block: Any) -> tuple[str, Json]:
    """Begin a block."""
    return "contentBlockStart", {"contentBlockIndex": index, "start": block, "p": "abc"}


def stop(index: int = 0) -> tuple[str, Json]:
    """End a block."""
    return "contentBlockStop", {"contentBlockIndex": index, "p": "abc"}
