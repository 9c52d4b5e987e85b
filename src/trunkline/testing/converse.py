"""Bodies of AWS Bedrock's Converse, whole and as binary messages, for scripts of a `FakeUpstream`.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
(2026-11-20)
Source: https://smithy.io/2.0/aws/amazon-eventstream.html (2026-11-20)
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

from trunkline.testing.answers import Sse

_USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
_TEXT = 7


def converse_answer(text: str = "Hello.", **fields: object) -> dict[str, Any]:
    """Return a whole answer as Bedrock gives it; `fields` replace its own."""
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": _USAGE,
        "metrics": {"latencyMs": 100},
        **fields,
    }


def converse_messages(text: str = "Hello.", **fields: object) -> list[bytes]:
    """Return the messages of an answer streamed by Bedrock; `fields` are added to the last."""
    words = re.findall(r"\S+\s*|\s+", text)
    events: list[tuple[str, dict[str, Any]]] = [
        ("messageStart", {"role": "assistant"}),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": w}}) for w in words),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 100}, **fields}),
    ]
    return [event_message(kind, data) for kind, data in events]


def event_message(kind: str, data: object, message_type: str = "event") -> bytes:
    """Return one message of an AWS event stream: an event, or an `exception`."""
    headers = {
        f":{message_type}-type": kind,
        ":content-type": "application/json",
        ":message-type": message_type,
    }
    return framed(headers, json.dumps(data, separators=(",", ":")).encode())


def framed(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return headers and a payload as a message, with both of its checksums."""
    head = b"".join(
        struct.pack(">B", len(name)) + name + struct.pack(">BH", _TEXT, len(value)) + value
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    start = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = start + struct.pack(">I", crc32(start)) + head + payload
    return message + struct.pack(">I", crc32(message))


class EventStream(Sse):
    """A stream of such messages: each one HTTP chunk."""

    def __init__(
        self,
        messages: Iterable[bytes],
        *,
        delay_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        own = {"content-type": "application/vnd.amazon.eventstream"}
        super().__init__(messages, delay_s=delay_s, done=False, headers=own | dict(headers or {}))
