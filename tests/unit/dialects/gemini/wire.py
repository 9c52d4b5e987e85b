"""What Gemini says, built for tests, and how it reads; and what it is sent."""

import json
from typing import Any

from trunkline.dialects.gemini import decode, decode_frame, encode
from trunkline.fold import Fold
from trunkline.types import Chat, Deployment, Event, Memo, Message, Outgoing, Prompt, Secret, say

Json = dict[str, Any]
ROW = Deployment(
    provider="gemini",
    model="gemini-3.5-flash",
    dialect="gemini",
    base_url="https://api.test/v1beta",
    api_key=Secret("AIza-test-key"),
)
HI = say("user", "Hi")
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln+/=="}}}


def response(*parts: Json, finish: Any = None, **fields: Any) -> Json:
    """Make one answer, or one piece of a stream."""
    ended = {} if finish is None else {"finishReason": finish}
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0} | ended
    return {"candidates": [candidate], "modelVersion": "m1", "responseId": "r1", **fields}


def event(*parts: Json, **more: Any) -> bytes:
    """Make one event of a stream."""
    return f"data: {json.dumps(response(*parts, **more))}\r\n\r\n".encode()


def events(*raws: bytes, memo: Memo | None = None) -> list[Event]:
    """Decode events of one stream."""
    memo = memo or Memo()
    return [event for raw in raws for event in decode_frame(raw, memo).events]


def whole(*parts: Json, finish: Any = "STOP", **fields: Any) -> tuple[Event, ...]:
    """Decode a whole answer."""
    return decode(json.dumps(response(*parts, finish=finish, **fields)).encode(), Memo()).events


def fold(all_events: list[Event] | tuple[Event, ...]) -> Message:
    """Fold events into a message."""
    folded = Fold()
    for one in all_events:
        folded.add(one)
    return folded.message()


def outgoing(prompt: Prompt, row: Deployment = ROW, *, stream: bool = False) -> Outgoing:
    """Encode a prompt."""
    return encode(Chat(model="m", body=prompt, stream=stream), row)


def sent(*messages: Message, model: str = ROW.model, **options: Any) -> Json:
    """Return the body that a model is sent."""
    row = Deployment(provider="gemini", model=model, dialect="gemini", base_url=ROW.base_url)
    body: Json = json.loads(outgoing(Prompt(messages=messages or (HI,), **options), row).body)
    return body
