"""Everything Anthropic's SDK has for messages, unmodified, before each kind of provider."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import anthropic
import pytest
from pydantic import BaseModel

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from tests.sdks import ULM, call, say
from trunkline import Trunkline
from trunkline.errors import Overloaded
from trunkline.gateway import pulse
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_chunk,
    chat_chunks,
    chat_usage,
    message_answer,
    message_events,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
EACH = pytest.mark.parametrize("model", ["claude-x", "gpt-4o", "demo"])
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CI_KEY = "sk-ci-0123456789abcdef"


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    unit: Literal["c", "f"]


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line to a provider of each dialect and to the demo."""
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(
        default_provider="anthropic",
        providers={
            "anthropic": {**claude, "models": ["claude-x", "claude-y"]},
            "openai": openai_at(up, models=["gpt-4o", "vendor/model:1"]),
            "demo": {"models": ["demo"]},
        },
        keys=[
            {
                "name": "ci",
                "key": CI_KEY,
                "models": ["demo", "gpt-4o"],
                "budget": {"amount": "0", "period": "day"},
            }
        ],
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The official client, retries off so that every answer is seen."""
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


# --- helpers of the SDK ---------------------------------------------------------------------------


@EACH
async def test_the_streaming_helper(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str
) -> None:
    """Its events, its text and its final message say what was said, with usage."""
    kinds = []
    for way in ("events", "text"):
        messages = say(up, model, "Once upon a time.", stream=True)
        async with client.messages.stream(model=model, max_tokens=50, messages=messages) as stream:
            if way == "events":
                kinds = [event.type async for event in stream]
            else:
                words = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
            assert await stream.get_final_text() == "Once upon a time."
    assert words == "Once upon a time."
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens >= 5
    assert final.usage.input_tokens > 0


@EACH
async def test_tools_through_the_streaming_helper(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str
) -> None:
    """A call's input arrives in pieces and whole."""
    messages = call(up, model, "weather", stream=True)
    tools: list[Any] = [{"name": "weather", "input_schema": Weather.model_json_schema()}]
    async with client.messages.stream(
        model=model, max_tokens=50, messages=messages, tools=tools
    ) as stream:
        seen = [event.snapshot async for event in stream if event.type == "input_json"]
        final = await stream.get_final_message()
    [block] = final.content
    assert block.type == "tool_use"
    assert block.input == seen[-1] == {"city": "Ulm", "unit": "c"}
    assert final.stop_reason == "tool_use"


@EACH
@STREAM
async def test_the_tool_runner(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str, stream: bool
) -> None:
    """The SDK calls the tool, sends its result back and gets the answer to that.

    It would leave the turns before to the server, which may hold nothing for callers, so it sends
    them all.
    """
    asked_for: list[tuple[str, str]] = []

    @anthropic.beta_async_tool
    async def weather(city: str, unit: str) -> str:
        """Tell the weather of a city."""
        asked_for.append((city, unit))
        return "20 degrees"

    messages = call(up, model, "weather", stream=stream)
    say(up, model, "It is 20 degrees.", stream=stream)
    runner: Any = client.beta.messages.tool_runner(
        model=model, max_tokens=50, messages=messages, tools=[weather], stream=stream
    )
    final = await runner.until_done()
    assert asked_for == [("Ulm", "c")]
    assert "20 degrees" in final.content[0].text
    if model == "gpt-4o":
        _, second = [request.json()["messages"] for request in up.requests]
        assert [message["role"] for message in second] == ["user", "assistant", "tool"]
        assert (second[2]["tool_call_id"], second[2]["content"]) == ("c1", "20 degrees")
    elif model != "demo":
        first, second = [request.json() for request in up.requests]
        assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
        assert "thread" not in first | second


async def test_a_thread_that_nobody_can_hold(client: anthropic.AsyncAnthropic) -> None:
    """A conversation kept by the server is refused by its own error, never cut short in silence."""
    thread = client.beta.messages.thread(model="demo", max_tokens=50, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError) as caught:
        await thread.send()
    assert caught.value.error_code == "thread_unsupported_request"
    assert "whole conversation" in str(caught.value.api_message)


@EACH
@STREAM
async def test_structured_output(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str, stream: bool
) -> None:
    """`parse` and `stream` give the caller's own type; the schema reaches the provider."""
    say(up, model, ULM, stream=stream)
    asked: Any = {"model": model, "max_tokens": 50, "messages": HELLO, "output_format": Weather}
    if stream:
        async with client.messages.stream(**asked) as events:
            final = await events.get_final_message()
    else:
        final = await client.messages.parse(**asked)
    assert final.parsed_output == Weather(city="demo" if model == "demo" else "Ulm", unit="c")
    if model == "gpt-4o":
        sent = up.requests[0].json()["response_format"]["json_schema"]["schema"]
    elif model != "demo":
        sent = up.requests[0].json()["output_config"]["format"]["schema"]
    if model != "demo":
        assert sent["required"] == ["city", "unit"]


async def test_thoughts(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """What a model of OpenAI's dialect thinks is a thinking block."""
    up.script(
        Sse(
            [chat_chunk({"reasoning_content": "Hm."}), *chat_chunks("Yes.", usage=chat_usage(9, 9))]
        )
    )
    async with client.messages.stream(model="gpt-4o", max_tokens=50, messages=HELLO) as stream:
        thought = "".join([e.thinking async for e in stream if e.type == "thinking"])
        final = await stream.get_final_message()
    assert thought == "Hm."
    assert [block.type for block in final.content] == ["thinking", "text"]


@EACH
async def test_the_sync_client(url: str, up: FakeUpstream, model: str) -> None:
    """Whole, streamed and through the helper, from a thread."""
    for stream in (False, True, True):
        messages = say(up, model, "Hello there.", stream=stream)
    asked: Any = {"model": model, "max_tokens": 50, "messages": messages}

    def ask() -> list[str]:
        with anthropic.Anthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as client:
            whole: Any = client.messages.create(**asked).content[0]
            with client.messages.create(**asked, stream=True) as events:
                words = [e.delta.text for e in events if e.type == "content_block_delta"]
            with client.messages.stream(**asked) as stream:
                final = stream.get_final_text()
        return [whole.text, "".join(words), final]

    assert await asyncio.to_thread(ask) == ["Hello there."] * 3


@EACH
@STREAM
async def test_raw_headers(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, model: str, stream: bool
) -> None:
    """Each answer has an id the SDK shows: the provider's own or, from elsewhere, the call's."""
    messages = say(up, model, "Hi", stream=stream)
    raw = client.messages.with_raw_response
    answer = await raw.create(model=model, max_tokens=9, messages=messages, stream=stream)
    headers = answer.headers
    assert headers["request-id"] == headers["x-trunkline-call-id"]
    assert headers["x-trunkline-deployment"].endswith(f"/{model}")
    up.script(Json(message_answer(), headers={"request-id": "req_theirs"}))
    theirs = await client.messages.create(model="claude-x", max_tokens=9, messages=HELLO)
    assert theirs._request_id == "req_theirs"


async def test_the_streaming_response(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """`with_streaming_response` has the head before the body, and gives its lines."""
    up.script(Sse(chat_chunks("Hi there.")))
    async with client.messages.with_streaming_response.create(
        model="gpt-4o", max_tokens=9, messages=HELLO, stream=True
    ) as answer:
        assert answer.headers["request-id"]
        lines = [line async for line in answer.iter_lines() if line]
    assert lines[-2] == "event: message_stop"


async def test_ways_to_say_who_calls(url: str, up: FakeUpstream) -> None:
    """`x-api-key`, `Authorization` or both; a version of the API need not be named."""
    ways: list[dict[str, str]] = [
        {"x-api-key": ADMIN_KEY},
        {"authorization": f"Bearer {ADMIN_KEY}"},
        {"authorization": f"Bearer {ADMIN_KEY}", "x-api-key": ADMIN_KEY},
    ]
    body = {"model": "claude-x", "max_tokens": 9, "messages": HELLO}
    async with aiohttp.ClientSession() as session:
        for headers in ways:
            async with session.post(
                f"{url}/v1/messages?beta=true", json=body, headers=headers
            ) as raw:
                assert raw.status == 200
    assert len(up.requests) == 3
    assert all(request.headers["anthropic-version"] for request in up.requests)
    async with anthropic.AsyncAnthropic(base_url=url, auth_token=ADMIN_KEY) as by_token:
        answer = await by_token.messages.create(model="demo", max_tokens=9, messages=HELLO)
    assert answer.content


# --- errors ---------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[dict[str, Any], type[anthropic.APIStatusError], str]] = {
    "a wrong field": (
        {"extra_body": {"temperature": "hot"}},
        anthropic.BadRequestError,
        "invalid_request_error",
    ),
    "a wrong key": (
        {"key": "no"},
        anthropic.AuthenticationError,
        "authentication_error",
    ),
    "no money": (
        {"key": CI_KEY},
        anthropic.APIStatusError,
        "billing_error",
    ),
    "a model that is not for this key": (
        {"model": "claude-x", "key": CI_KEY},
        anthropic.PermissionDeniedError,
        "permission_error",
    ),
    "no such model": ({"model": "demo2/x"}, anthropic.NotFoundError, "not_found_error"),
    "too large": (
        {"system": "x" * (33 * 1024 * 1024)},
        anthropic.APIStatusError,
        "invalid_request_error",
    ),
    "no time": (
        {
            "extra_headers": {"x-trunkline-timeout-ms": "1"},
            "messages": [{"role": "user", "content": "/demo slow 9"}],
            "model": "demo",
        },
        anthropic.InternalServerError,
        "timeout_error",
    ),
}


@pytest.mark.parametrize("case", list(ERRORS))
async def test_errors_of_ours(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, case: str
) -> None:
    """Each is the SDK's own class, with its type and an id; nothing is sent."""
    change, kind, type_ = ERRORS[case]
    asked: Any = {"model": "gpt-4o", "max_tokens": 9, "messages": HELLO, **change}
    caller = client.with_options(api_key=asked.pop("key", ADMIN_KEY))
    with pytest.raises(kind) as caught:
        await caller.messages.create(**asked)
    error = caught.value
    assert error.type == type_
    assert isinstance(error.body, dict)
    assert error.request_id
    assert error.body["request_id"] == error.request_id
    assert up.requests == []


THEIRS: dict[int, tuple[type[anthropic.APIStatusError], str]] = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.InternalServerError, "api_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    422: (anthropic.BadRequestError, "invalid_request_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    529: (anthropic.APIStatusError, "overloaded_error"),
}


@pytest.mark.parametrize("status", list(THEIRS))
async def test_failures_of_providers_are_not_retried_by_the_sdk(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, status: int
) -> None:
    """What is retried was retried by us: a patient client asks the provider no second time."""
    kind, type_ = THEIRS[status]
    up.on(lambda _: Status(status, {"type": "error", "error": {"type": "x", "message": "no"}}))
    patient = client.with_options(max_retries=5)
    with pytest.raises(kind) as caught:
        await patient.messages.create(model="claude-x", max_tokens=9, messages=HELLO)
    assert caught.value.type == type_
    assert caught.value.request_id == caught.value.response.headers["x-trunkline-call-id"]
    assert caught.value.status_code == (529 if status == 529 else caught.value.status_code)
    assert len(up.requests) == 1


async def test_refusals_of_ours_are_retried_by_the_sdk(
    client: anthropic.AsyncAnthropic, line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being overloaded passes: the SDK comes again."""
    real, asked = line._service, []

    async def busy_once(call: Any) -> Any:
        asked.append(call)
        if len(asked) == 1:
            raise Overloaded("no slot came free")
        return await real(call)

    monkeypatch.setattr(line, "_service", busy_once)
    patient = client.with_options(max_retries=1)
    answer = await patient.messages.create(model="demo", max_tokens=9, messages=HELLO)
    assert answer.content
    assert len(asked) == 2


async def test_an_error_in_mid_stream(client: anthropic.AsyncAnthropic, up: FakeUpstream) -> None:
    """The SDK raises it with its type after the words that came."""
    up.script(Sse([chat_chunk({"content": "Hel"}), {"error": {"message": "overloaded_error"}}]))
    seen = []

    async def read() -> None:
        async with client.messages.stream(model="gpt-4o", max_tokens=9, messages=HELLO) as stream:
            async for piece in stream.text_stream:
                seen.append(piece)

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert seen == ["Hel"]
    assert caught.value.type in {"api_error", "overloaded_error"}


async def test_a_connection_that_breaks(url: str, up: FakeUpstream) -> None:
    """Nobody there is the SDK's `APIConnectionError`; time-outs are its `APITimeoutError`."""
    asked: Any = {"model": "claude-x", "max_tokens": 9, "messages": HELLO}
    async with anthropic.AsyncAnthropic(
        base_url="http://127.0.0.1:9", api_key="k", max_retries=0
    ) as nowhere:
        with pytest.raises(anthropic.APIConnectionError):
            await nowhere.messages.create(**asked)
    up.script(Json(message_answer()).late(30))
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key=ADMIN_KEY, max_retries=0, timeout=0.3
    ) as hasty:
        with pytest.raises(anthropic.APITimeoutError):
            await hasty.messages.create(**asked)
    await up.wait_idle(timeout_s=1.0)


# --- leaving, silence -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "close", "leave the helper"])
async def test_who_stops_reading_stops_the_provider(
    client: anthropic.AsyncAnthropic, up: FakeUpstream, line: Trunkline, how: str
) -> None:
    """A cancelled task, a closed stream and a helper that is left: within a second all is over."""
    up.script(Sse(message_events("word " * 200), done=False, delay_s=0.05))
    asked: Any = {"model": "claude-x", "max_tokens": 999, "messages": HELLO}
    begun = asyncio.Event()

    async def read() -> None:
        if how == "leave the helper":
            async with client.messages.stream(**asked) as helper:
                await anext(aiter(helper.text_stream))
            return
        stream = await client.messages.create(**asked, stream=True)
        async for _ in stream:
            begun.set()
            if how == "close":
                await stream.close()
                return

    task = asyncio.create_task(read())
    if how == "cancel":
        await begun.wait()
        task.cancel()
    await asyncio.wait([task])
    await up.wait_idle(timeout_s=1.0)
    line.flush()
    assert [row.call.outcome for row in line.store.calls(5)] == ["abandoned"]


@pytest.mark.parametrize("model", ["claude-x", "gpt-4o"])
async def test_a_silent_stream_is_kept_alive(
    url: str,
    client: anthropic.AsyncAnthropic,
    up: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    """Pings fill the silence, which the SDK does not see."""
    monkeypatch.setattr(pulse, "BEAT_S", 0.02)
    quiet = [event for event in message_events("Hi there.") if b"event: ping" not in event]
    claude, gpt = Sse(quiet, done=False, delay_s=0.1), Sse(chat_chunks("Hi there."), delay_s=0.1)
    up.script(*[claude if model == "claude-x" else gpt] * 2)
    asked: Any = {"model": model, "max_tokens": 9, "messages": HELLO}
    async with aiohttp.ClientSession() as session:
        body, headers = {**asked, "stream": True}, {"x-api-key": ADMIN_KEY}
        async with session.post(f"{url}/v1/messages", json=body, headers=headers) as raw:
            blocks = (await raw.text()).split("\n\n")
    assert blocks.count('event: ping\ndata: {"type":"ping"}') >= 3
    assert blocks[-2].startswith("event: message_stop\n")
    async with client.messages.stream(**asked) as stream:
        assert await stream.get_final_text() == "Hi there."
