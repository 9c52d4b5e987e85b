"""Public test doubles: a scripted provider over real sockets, and a clock moved by hand.

async with FakeUpstream() as up:
    up.script(Status(429, headers={"retry-after": "1"}), Json(chat_answer("Hi.")))
    ...  # point a provider's base_url at f"{up.url}/v1"
    assert up.requests[1].json()["model"] == "gpt-4o"
"""

from trunkline.testing.answers import (
    Answer,
    Json,
    Raw,
    Sse,
    Status,
    garbage,
    hang,
    hang_up,
    html,
    replay,
    reset,
)
from trunkline.testing.bodies import (
    chat_answer,
    chat_chunk,
    chat_chunks,
    chat_usage,
    content_answer,
    content_chunks,
    message_answer,
    message_events,
    ollama_answer,
    ollama_lines,
    response_answer,
    response_events,
    text_answer,
    text_chunks,
)
from trunkline.testing.clock import ManualClock, ManualTimer
from trunkline.testing.converse import (
    EventStream,
    converse_answer,
    converse_messages,
    event_message,
)
from trunkline.testing.upstream import FakeUpstream, Request, answer_hello

__all__ = [
    "Answer",
    "EventStream",
    "FakeUpstream",
    "Json",
    "ManualClock",
    "ManualTimer",
    "Raw",
    "Request",
    "Sse",
    "Status",
    "answer_hello",
    "chat_answer",
    "chat_chunk",
    "chat_chunks",
    "chat_usage",
    "content_answer",
    "content_chunks",
    "converse_answer",
    "converse_messages",
    "event_message",
    "garbage",
    "hang",
    "hang_up",
    "html",
    "message_answer",
    "message_events",
    "ollama_answer",
    "ollama_lines",
    "replay",
    "reset",
    "response_answer",
    "response_events",
    "text_answer",
    "text_chunks",
]
