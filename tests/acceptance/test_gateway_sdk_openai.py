"""Everything OpenAI's SDK has for chats, unmodified, before each kind of provider."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import openai
import pytest
from pydantic import BaseModel

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from tests.sdks import ULM, call, say
from trunkline import Trunkline
from trunkline.errors import BudgetHeld
from trunkline.gateway import pulse
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    message_answer,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
MODELS = ["gpt-4o", "claude-sonnet-4-5", "demo"]
EACH = pytest.mark.parametrize("model", MODELS)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Weather(BaseModel):
    """Tell the weather of a city."""

    city: str
    unit: Literal["c", "f"]


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line to a provider of each dialect and to the demo."""
    claude = {"api_key": "sk-ant-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
    return make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, models=["gpt-4o", "vendor/model:1"]),
            "anthropic": {**claude, "models": ["claude-sonnet-4-5"]},
            "demo": {"models": ["demo"]},
        },
        keys=[{"name": "ci", "key": "sk-ci-0123456789abcdef", "models": ["demo"]}],
    )


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, retries off so that every answer is seen."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


# --- helpers of the SDK ---------------------------------------------------------------------------


@EACH
async def test_the_streaming_helper(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """Its events and its final completion say what was said, usage where it was asked for."""
    messages = say(up, model, "Once upon a time.", stream=True)
    kinds, words = [], ""
    async with client.chat.completions.stream(
        model=model, messages=messages, stream_options={"include_usage": True}
    ) as stream:
        async for event in stream:
            kinds.append(event.type)
            words += event.delta if event.type == "content.delta" else ""
        final = await stream.get_final_completion()
    [choice] = final.choices
    assert words == choice.message.content == "Once upon a time."
    assert choice.finish_reason == "stop"
    assert set(kinds) == {"chunk", "content.delta", "content.done"}
    assert final.usage is not None


@EACH
async def test_tools_through_the_streaming_helper(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str
) -> None:
    """A call's arguments arrive parsed as the tool's own type."""
    messages = call(up, model, "Weather", stream=True)
    tools = [openai.pydantic_function_tool(Weather)]
    async with client.chat.completions.stream(
        model=model, messages=messages, tools=tools
    ) as stream:
        done = [event async for event in stream if event.type.endswith("function.arguments.done")]
        final = await stream.get_final_completion()
    assert [event.name for event in done] == ["Weather"]  # type: ignore[union-attr]
    [made] = final.choices[0].message.tool_calls or []
    assert made.function.parsed_arguments == Weather(city="Ulm", unit="c")


@STREAM
async def test_sources_and_searches_of_claude(
    client: openai.AsyncOpenAI, up: FakeUpstream, stream: bool
) -> None:
    """However many come, the helper can put them together: sources are numbered, in `citations`."""
    source = {"type": "web_search_result_location", "url": "https://x.test", "title": None}
    cited = {"type": "text", "text": "Hi", "citations": [source, source]}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]}
    up.script(Json(message_answer(content=[found, cited, found, cited])))
    asked: Any = {"model": "claude-sonnet-4-5", "messages": HELLO}
    if stream:
        async with client.chat.completions.stream(**asked) as events:
            final: Any = await events.get_final_completion()
    else:
        final = await client.chat.completions.create(**asked)
    message = final.choices[0].message
    assert message.content == "HiHi"
    assert message.citations == [{"index": number, **source} for number in range(4)]


@EACH
async def test_tools_and_back(client: openai.AsyncOpenAI, up: FakeUpstream, model: str) -> None:
    """A call, its result sent back with the SDK's own message, and the answer to that."""
    messages = call(up, model, "Weather", stream=False)
    tools = [openai.pydantic_function_tool(Weather)]
    first = await client.chat.completions.parse(model=model, messages=messages, tools=tools)
    [made] = first.choices[0].message.tool_calls or []
    assert made.function.parsed_arguments == Weather(city="Ulm", unit="c")
    say(up, model, "It is 20 degrees.", stream=False)
    result = {"role": "tool", "tool_call_id": made.id, "content": "20 degrees"}
    back: list[Any] = [*messages, first.choices[0].message, result]
    second = await client.chat.completions.create(model=model, messages=back, tools=tools)
    assert "20 degrees" in str(second.choices[0].message.content)
    if model == "gpt-4o":
        assert up.requests[1].json()["messages"][2] == result
    elif model != "demo":
        [block] = up.requests[1].json()["messages"][2]["content"]
        assert (block["tool_use_id"], block["content"]) == ("c1", "20 degrees")


@EACH
@STREAM
async def test_structured_output(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str, stream: bool
) -> None:
    """`parse` and `stream` give the caller's own type; the schema reaches the provider."""
    say(up, model, ULM, stream=stream)
    if stream:
        async with client.chat.completions.stream(
            model=model, messages=HELLO, response_format=Weather
        ) as events:
            final = await events.get_final_completion()
    else:
        final = await client.chat.completions.parse(
            model=model, messages=HELLO, response_format=Weather
        )
    parsed = final.choices[0].message.parsed
    assert parsed == Weather(city="demo" if model == "demo" else "Ulm", unit="c")
    if model == "gpt-4o":
        sent = up.requests[0].json()["response_format"]["json_schema"]["schema"]
    elif model != "demo":
        sent = up.requests[0].json()["output_config"]["format"]["schema"]
    if model != "demo":
        assert sent["required"] == ["city", "unit"]


@EACH
async def test_the_sync_client(url: str, up: FakeUpstream, model: str) -> None:
    """Whole, streamed and through the helper, from a thread."""
    for stream in (False, True, True):
        messages = say(up, model, "Hello there.", stream=stream)

    def ask() -> list[str | None]:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
            whole = client.chat.completions.create(model=model, messages=messages)
            with client.chat.completions.create(
                model=model, messages=messages, stream=True
            ) as chunks:
                words = "".join(c.choices[0].delta.content or "" for c in chunks)
            with client.chat.completions.stream(model=model, messages=messages) as events:
                final = events.get_final_completion()
        return [choice.message.content for choice in (*whole.choices, *final.choices)] + [words]

    assert await asyncio.to_thread(ask) == ["Hello there."] * 3


@EACH
@STREAM
async def test_raw_headers(
    client: openai.AsyncOpenAI, up: FakeUpstream, model: str, stream: bool
) -> None:
    """Each answer has an id the SDK shows: the provider's own or, from elsewhere, the call's."""
    messages = say(up, model, "Hi", stream=stream)
    raw = client.chat.completions.with_raw_response
    answer = await raw.create(model=model, messages=messages, stream=stream)
    headers = answer.headers
    assert headers["x-request-id"] == headers["x-trunkline-call-id"]
    assert headers["x-trunkline-deployment"].endswith(f"/{model}")
    assert headers["x-trunkline-attempts"] == "1"
    up.script(Json(chat_answer(), headers={"x-request-id": "req_theirs"}))
    theirs = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert theirs._request_id == "req_theirs"


async def test_the_streaming_response(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """`with_streaming_response` has the head before the body, and gives its lines."""
    up.script(Sse(chat_chunks("Hi there.")))
    async with client.chat.completions.with_streaming_response.create(
        model="gpt-4o", messages=HELLO, stream=True
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [line async for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


# --- errors ---------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str, str]] = {
    "a wrong field": (
        {"temperature": "hot"},
        openai.BadRequestError,
        "invalid_request_error",
        "invalid_request",
    ),
    "a wrong key": (
        {"extra_headers": {"authorization": "Bearer no"}},
        openai.AuthenticationError,
        "authentication_error",
        "invalid_api_key",
    ),
    "a model that is not for this key": (
        {"extra_headers": {"authorization": "Bearer sk-ci-0123456789abcdef"}},
        openai.PermissionDeniedError,
        "permission_error",
        "forbidden",
    ),
    "no such model": (
        {"model": "demo2/x"},
        openai.NotFoundError,
        "invalid_request_error",
        "model_not_found",
    ),
}


@pytest.mark.parametrize("case", list(ERRORS))
async def test_errors_of_ours(client: openai.AsyncOpenAI, up: FakeUpstream, case: str) -> None:
    """Each is the SDK's own class, with type, code and an id; nothing is sent."""
    change, kind, type_, code = ERRORS[case]
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **change})
    assert (caught.value.type, caught.value.code) == (type_, code)
    assert caught.value.request_id
    assert up.requests == []


THEIRS: dict[int, tuple[type[openai.APIStatusError], str]] = {
    400: (openai.BadRequestError, "upstream_refused"),
    401: (openai.InternalServerError, "upstream_auth_failed"),
    404: (openai.NotFoundError, "upstream_not_found"),
    422: (openai.BadRequestError, "upstream_refused"),
    429: (openai.RateLimitError, "upstream_rate_limited"),
    500: (openai.InternalServerError, "upstream_failed"),
    529: (openai.InternalServerError, "upstream_overloaded"),
}


@pytest.mark.parametrize("status", list(THEIRS))
async def test_failures_of_providers_are_not_retried_by_the_sdk(
    client: openai.AsyncOpenAI, up: FakeUpstream, status: int
) -> None:
    """What is retried was retried by us: a patient client asks the provider no second time."""
    kind, code = THEIRS[status]
    up.on(lambda _: Status(status, {"error": {"message": "no"}}))
    patient = client.with_options(max_retries=5)
    with pytest.raises(kind) as caught:
        await patient.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert caught.value.code == code
    assert caught.value.request_id == caught.value.response.headers["x-trunkline-call-id"]
    assert len(up.requests) == 1


async def test_refusals_of_ours_are_retried_by_the_sdk(
    client: openai.AsyncOpenAI, line: Trunkline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What passes soon says so, and the SDK comes again when it was told to."""
    real, asked_s = line._service, []

    async def held_once(call: Any) -> Any:
        asked_s.append(time.monotonic())
        if len(asked_s) == 1:
            raise BudgetHeld("held by other calls", retry_after_s=0.3)
        return await real(call)

    monkeypatch.setattr(line, "_service", held_once)
    patient = client.with_options(max_retries=1)
    answer = await patient.chat.completions.create(model="demo", messages=HELLO)
    assert answer.choices[0].message.content
    assert 0.9 < asked_s[1] - asked_s[0] < 5  # the header is in whole seconds


async def test_a_connection_that_breaks(url: str, up: FakeUpstream) -> None:
    """Nobody there is the SDK's `APIConnectionError`; time-outs are its `APITimeoutError`."""
    async with openai.AsyncOpenAI(
        base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0
    ) as nowhere:
        with pytest.raises(openai.APIConnectionError):
            await nowhere.chat.completions.create(model="gpt-4o", messages=HELLO)
    up.script(Json(chat_answer()).late(30))
    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=0.3
    ) as hasty:
        with pytest.raises(openai.APITimeoutError):
            await hasty.chat.completions.create(model="gpt-4o", messages=HELLO)
    await up.wait_idle(timeout_s=1.0)


# --- leaving, silence -----------------------------------------------------------------------------

SLOW = Sse(chat_chunks("word " * 200), delay_s=0.05)


@pytest.mark.parametrize("how", ["cancel", "close", "leave the helper"])
async def test_who_stops_reading_stops_the_provider(
    client: openai.AsyncOpenAI, up: FakeUpstream, line: Trunkline, how: str
) -> None:
    """A cancelled task, a closed stream and a helper that is left: within a second all is over."""
    up.script(SLOW)
    begun = asyncio.Event()

    async def read() -> None:
        if how == "leave the helper":
            async with client.chat.completions.stream(model="gpt-4o", messages=HELLO) as events:
                await anext(aiter(events))
            return
        stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
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


async def test_the_sync_stream_closed(url: str, up: FakeUpstream) -> None:
    """From a thread, too."""
    up.script(SLOW)

    def read() -> None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY) as client:
            stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            next(stream)
            stream.close()

    await asyncio.to_thread(read)
    await up.wait_idle(timeout_s=1.0)


async def test_a_silent_stream_is_kept_alive(
    url: str, client: openai.AsyncOpenAI, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments fill the silence, which the SDK does not see."""
    monkeypatch.setattr(pulse, "BEAT_S", 0.02)
    words = Sse(chat_chunks("Hi there.", usage=chat_usage(1, 2)), delay_s=0.1)
    up.script(words, words)
    async with aiohttp.ClientSession() as session:
        body = {"model": "gpt-4o", "messages": HELLO, "stream": True}
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with session.post(f"{url}/chat/completions", json=body, headers=headers) as raw:
            blocks = (await raw.text()).split("\n\n")
    assert blocks.count(": ping") >= 3
    assert blocks[-2:] == ["data: [DONE]", ""]
    async with client.chat.completions.stream(model="gpt-4o", messages=HELLO) as events:
        assert (await events.get_final_completion()).choices[0].message.content == "Hi there."
