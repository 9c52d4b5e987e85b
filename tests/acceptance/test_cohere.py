"""Cohere in its own wire format, from the library and behind the gateway."""

from typing import Any

import openai

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm
from trunkline.testing import FakeUpstream, Json, Sse

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
USAGE = {
    "billed_units": {"input_tokens": 10, "output_tokens": 5},
    "tokens": {"input_tokens": 500, "output_tokens": 9},
    "cached_tokens": 400,
}


def line_to(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """Make a line to Cohere, with a model that has a known price."""
    key = {"api_key": "co-test-1234567890", "base_url": f"{up.url}/v2", "retries": 0}
    return make_line(
        default_provider="cohere", providers={"cohere": {**key, "models": ["command-a-03-2025"]}}
    )


async def test_call_llm(up: FakeUpstream, make_line: MakeLine) -> None:
    """Words and plan come back, and what is billed is what it costs."""
    line = line_to(up, make_line)
    content = [{"type": "text", "text": "Hi."}]
    message = {"role": "assistant", "content": content, "tool_plan": "I greet."}
    up.script(Json({"id": "r", "message": message, "finish_reason": "COMPLETE", "usage": USAGE}))
    text, thoughts = await call_llm(
        "cohere", "command-a-03-2025", HELLO, {"top_p": 0.5, "max_tokens": 9}
    )
    assert text == "Hi."
    assert thoughts["reasoning_content"] == "I greet."
    sent = up.requests[0]
    assert (sent.path, sent.headers["authorization"]) == ("/v2/chat", "Bearer co-test-1234567890")
    assert (sent.json()["p"], sent.json()["max_tokens"]) == (0.5, 9)
    line.flush()
    (row,) = line.store.calls()
    assert (row.call.prompt_tokens, row.call.completion_tokens) == (10, 5)
    assert row.call.cost_nusd == 10 * 2500 + 5 * 10_000


async def test_a_stream_through_openais_sdk(up: FakeUpstream, make_line: MakeLine) -> None:
    """Thoughts, words and calls come piece by piece, then the finish and the usage."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    deltas: list[tuple[str, Any]] = [
        ("content-start", {"content": {"type": "thinking", "thinking": ""}}),
        ("content-delta", {"content": {"thinking": "Hm."}}),
        ("content-delta", {"content": {"text": "Well"}}),
        ("tool-call-start", {"tool_calls": call}),
    ]
    events: list[Any] = [
        {"type": kind, "index": 0, "delta": {"message": message}} for kind, message in deltas
    ]
    ending = {"finish_reason": "TOOL_CALL", "usage": USAGE}
    events = [{"type": "message-start", "id": "r"}, *events]
    up.script(Sse([*events, {"type": "message-end", "delta": ending}]))
    async with (
        running(line_to(up, make_line)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="command-a-03-2025",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "Well"
    thoughts = [(c.delta.model_extra or {}).get("reasoning_content", "") for c in choices]
    assert "".join(thoughts) == "Hm."
    called = [c.delta.tool_calls[0] for c in choices if c.delta.tool_calls]
    assert called[0].function
    assert (called[0].id, called[0].function.name) == ("c1", "f")
    assert choices[-1].finish_reason == "tool_calls"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 15
