"""What the tests of both official SDKs ask their gateway's providers for."""

import json
from typing import Any

from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    chat_answer,
    chat_chunk,
    chat_chunks,
    chat_usage,
    message_answer,
    message_events,
)

ULM = '{"city": "Ulm", "unit": "c"}'


def say(up: FakeUpstream, model: str, text: str, *, stream: bool) -> list[Any]:
    """Script an answer of words; return the messages that get it."""
    if model == "gpt-4o":
        chunks = Sse(chat_chunks(text, usage=chat_usage(10, 5)))
        up.script(chunks if stream else Json(chat_answer(text)))
    elif model != "demo":
        events = Sse(message_events(text), done=False)
        up.script(events if stream else Json(message_answer(text)))
    return [{"role": "user", "content": f"/demo echo {text}"}]


def call(up: FakeUpstream, model: str, tool: str, *, stream: bool) -> list[Any]:
    """Script a call of `tool` with `ULM`; return the messages that get it."""
    function = {"name": tool, "arguments": ULM}
    made = {"index": 0, "id": "c1", "type": "function", "function": function}
    if model == "gpt-4o" and stream:
        up.script(Sse([chat_chunk({"tool_calls": [made]}), chat_chunk({}, finish="tool_calls")]))
    elif model == "gpt-4o":
        up.script(Json(chat_answer(None, tool_calls=[made], finish="tool_calls")))
    elif model != "demo":  # a whole body, which may answer a request for a stream as well
        block = {"type": "tool_use", "id": "c1", "name": tool, "input": json.loads(ULM)}
        up.script(Json(message_answer(content=[block], stop_reason="tool_use")))
    return [{"role": "user", "content": f"/demo tool {tool} {ULM}"}]
