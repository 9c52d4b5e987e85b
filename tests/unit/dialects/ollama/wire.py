"""What Ollama says, built for tests, and how it reads; and what it is sent."""

import json
from typing import Any

from trunkline.dialects.ollama import decode, decode_frame, encode
from trunkline.fold import Fold
from trunkline.testing import ollama_answer
from trunkline.types import Chat, Deployment, Event, Memo, Message, Outgoing, Prompt, say

Json = dict[str, Any]
HI = say("user", "Hi")


def row(model: str = "qwen3:8b", base_url: str = "http://h:11434/v1", **more: Any) -> Deployment:
    """Make a deployment."""
    return Deployment(provider="o", model=model, dialect="ollama", base_url=base_url, **more)


def line(done: bool = False, **message: Any) -> bytes:
    """Make one line of a stream."""
    said = {"role": "assistant", "content": "", **message}
    last = ollama_answer(message=said)
    begun = {name: last[name] for name in ("model", "created_at", "message")}
    return json.dumps(last if done else begun | {"done": False}).encode() + b"\n"


def events(*raws: bytes, memo: Memo | None = None) -> list[Event]:
    """Decode lines of one stream."""
    memo = memo or Memo()
    return [event for raw in raws for event in decode_frame(raw, memo).events]


def whole(**fields: Any) -> tuple[Event, ...]:
    """Decode a whole answer."""
    return decode(json.dumps(ollama_answer(**fields)).encode(), Memo()).events


def fold(all_events: list[Event] | tuple[Event, ...]) -> Message:
    """Fold events into a message."""
    folded = Fold()
    for one in all_events:
        folded.add(one)
    return folded.message()


def outgoing(prompt: Prompt, deployment: Deployment | None = None, **chat: Any) -> Outgoing:
    """Encode a prompt."""
    return encode(Chat(model="m", body=prompt, **chat), deployment or row())


def sent(*messages: Message, model: str = "qwen3:8b", **options: Any) -> Json:
    """Return the body that a model is sent."""
    body: Json = json.loads(
        outgoing(Prompt(messages=messages or (HI,), **options), row(model)).body
    )
    return body
