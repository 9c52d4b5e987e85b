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
    message_answer,
    message_events,
    text_answer,
    text_chunks,
)
from trunkline.testing.clock import ManualClock, ManualTimer
from trunkline.testing.upstream import FakeUpstream, Request, answer_hello

__all__ = [
    "Answer",
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
    "garbage",
    "hang",
    "hang_up",
    "html",
    "message_answer",
    "message_events",
    "replay",
    "reset",
    "text_answer",
    "text_chunks",
]
