"""The gateway as unmodified Anthropic clients see it, over either kind of provider."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    message_answer,
    message_events,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
TOOLS: list[Any] = [
    {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}
]


@pytest.fixture
async def client(up: FakeUpstream, make_line: MakeLine) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The official client, in front of one Anthropic and one OpenAI provider."""
    claude = {
        "api_key": "sk-ant-test-123456",
        "base_url": f"{up.url}/v1",
        "retries": 0,
        "models": ["claude-x"],
    }
    line = make_line(
        default_provider="anthropic",
        providers={"anthropic": claude, "openai": openai_at(up, models=["gpt-4o"])},
    )
    async with (
        running(line) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made,
    ):
        yield made


async def test_same_dialect_is_relayed(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """Unknown fields and beta headers go up, the answer's body comes down as it is."""
    sent = message_answer(brand_new={"kept": True})
    up.script(Json(sent))
    raw = await client.messages.with_raw_response.create(
        model="anthropic/claude-x",
        max_tokens=100,
        messages=HELLO,
        extra_body={"unheard_of": 1},
        extra_headers={"anthropic-beta": "some-beta-2026"},
    )
    assert json.loads(await raw.text()) == sent
    assert raw.headers["x-trunkline-deployment"] == "anthropic/claude-x"
    [request] = up.requests
    assert (request.json()["model"], request.json()["unheard_of"]) == ("claude-x", 1)
    assert request.headers["anthropic-beta"] == "some-beta-2026"
    assert request.headers["x-api-key"] == "sk-ant-test-123456"


async def test_the_streaming_helper(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """The SDK's own accumulation gives the final message."""
    up.script(Sse(message_events("Once upon a time."), done=False))
    async with client.messages.stream(model="claude-x", max_tokens=50, messages=HELLO) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == "Once upon a time."
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 5)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_openai_model_speaks_anthropic(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, stream: bool
) -> None:
    """System, tools and usage are translated, and the answer is a message."""
    usage = chat_usage(10, 5)
    if stream:
        up.script(Sse(chat_chunks("It is sunny.", usage=usage)))
    else:
        up.script(Json(chat_answer("It is sunny.", usage=usage)))
    asked: dict[str, Any] = {
        "model": "gpt-4o",
        "max_tokens": 50,
        "system": "Be brief.",
        "tools": TOOLS,
        "messages": HELLO,
    }
    if stream:
        async with client.messages.stream(**asked) as events:
            message = await events.get_final_message()
    else:
        message = await client.messages.create(**asked)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == "It is sunny."  # type: ignore[union-attr]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, 5)
    body = up.requests[0].json()
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["tools"][0]["function"]["name"] == "weather"


async def test_tool_calls_cross_the_border(
    client: anthropic.AsyncAnthropic, up: FakeUpstream
) -> None:
    """An OpenAI tool call arrives as a tool_use block."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    up.script(Json(chat_answer(None, tool_calls=[call], finish="tool_calls")))
    message = await client.messages.create(
        model="gpt-4o", max_tokens=50, tools=TOOLS, messages=HELLO
    )
    [block] = message.content
    assert (block.type, message.stop_reason) == ("tool_use", "tool_use")


ERRORS: dict[str, tuple[Status, type[anthropic.APIStatusError], int]] = {
    "refused": (Status(400, {"error": {"message": "bad"}}), anthropic.BadRequestError, 400),
    "rate": (Status(429, {"error": {"message": "slow"}}), anthropic.RateLimitError, 429),
    "overloaded": (Status(529, {"error": {"message": "busy"}}), anthropic.APIStatusError, 529),
}


@pytest.mark.parametrize("case", list(ERRORS))
async def test_errors_have_anthropics_shape(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, case: str
) -> None:
    """Each failure arrives as the SDK's own class, in its own envelope."""
    answer, kind, status = ERRORS[case]
    up.script(answer)
    with pytest.raises(kind) as caught:
        await client.messages.create(model="claude-x", max_tokens=9, messages=HELLO)
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert {"type", "message"} <= set(body["error"])


async def test_models_and_keys(client: anthropic.AsyncAnthropic) -> None:
    """The list is read by Anthropic's SDK too; a wrong key is its AuthenticationError."""
    assert [model.id async for model in client.models.list()] == ["claude-x", "gpt-4o"]
    with pytest.raises(anthropic.AuthenticationError):
        await client.with_options(api_key="nobody").models.list()
