"""The gateway as unmodified OpenAI clients see it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    chat_chunks,
    chat_usage,
)

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
CI_KEY = "sk-ci-0123456789abcdef"


@pytest.fixture
def gateway_line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line with one model of a known price, and a key that may only ask for it."""
    model = {"name": "gpt-4o", "price": {"input": 1.0, "output": 2.0}}
    return make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=[model, "other"])},
        keys=[
            {
                "name": "ci",
                "key": CI_KEY,
                "models": ["gpt-4o"],
                "budget": {"amount": "0.001", "period": "day"},
            }
        ],
    )


@pytest.fixture
async def url(gateway_line: Trunkline) -> AsyncIterator[str]:
    """A running gateway."""
    async with running(gateway_line) as address:
        yield address


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, retries off so that every answer is seen."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as made:
        yield made


async def test_a_whole_answer(client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """The body is the provider's own, the headers say what it took."""
    sent = chat_answer("Hi there.", usage=chat_usage(10, 5), unheard_of={"kept": True})
    up.script(Json(sent))
    raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO)
    assert json.loads(raw.text) == sent
    assert raw.headers["x-trunkline-deployment"] == "openai/gpt-4o"
    assert raw.headers["x-trunkline-attempts"] == "1"
    assert raw.headers["x-trunkline-cost-usd"] == "0.00002"
    assert raw.headers["x-trunkline-call-id"].startswith("call_")
    assert raw.parse().choices[0].message.content == "Hi there."
    assert up.requests[0].headers["authorization"] == "Bearer sk-test-1234567890"


@pytest.mark.acceptance("T04")
@pytest.mark.parametrize("asked", [False, True], ids=["no usage", "usage asked"])
async def test_a_stream(client: openai.AsyncOpenAI, up: FakeUpstream, asked: bool) -> None:
    """`stream=True` in the request body streams; usage comes only to who asked for it."""
    up.script(Sse(chat_chunks("Once upon a time.", usage=chat_usage(3, 5))))
    options: Any = {"stream_options": {"include_usage": True}} if asked else {}
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, **options
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Once upon a time."
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.total_tokens for usage in told] == ([8] if asked else [])
    if asked:
        extra: Any = told[0].model_extra
        assert extra["trunkline"] == {"cost_nusd": 13_000, "cost_state": "exact"}


async def test_unknown_fields_go_up_and_come_down(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """Nothing the client sends is lost; only the model's name may change."""
    await client.chat.completions.create(
        model="openai/gpt-4o", messages=HELLO, extra_body={"brand_new": [1, {"a": None}]}
    )
    body = up.requests[0].json()
    assert (body["model"], body["brand_new"]) == ("gpt-4o", [1, {"a": None}])


async def test_models(client: openai.AsyncOpenAI) -> None:
    """The list and one entry, as the SDK reads them; an unknown one is a 404."""
    assert [model.id async for model in client.models.list()] == ["gpt-4o", "other"]
    assert (await client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-99")


ERRORS: dict[str, tuple[Status, type[openai.APIStatusError]]] = {
    "refused": (Status(400, {"error": {"message": "bad"}}), openai.BadRequestError),
    "rate": (Status(429, {"error": {"message": "slow"}}), openai.RateLimitError),
    "down": (Status(500, {"error": {"message": "boom"}}), openai.InternalServerError),
    "overloaded": (Status(529, {"error": {"message": "busy"}}), openai.InternalServerError),
    "our key": (Status(401, {"error": {"message": "no"}}), openai.InternalServerError),
}


@pytest.mark.parametrize("case", list(ERRORS))
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_errors_have_openais_shape(
    client: openai.AsyncOpenAI, up: FakeUpstream, case: str, stream: bool
) -> None:
    """Each failure arrives as the SDK's own class, with all four keys and the call's id."""
    answer, kind = ERRORS[case]
    up.script(answer)
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream)
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "code", "param"}
    assert caught.value.response.headers["x-trunkline-call-id"]
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_an_error_in_mid_stream_is_an_error(
    client: openai.AsyncOpenAI, up: FakeUpstream
) -> None:
    """The SDK raises after the words that came; the stream never looks complete."""
    up.script(Sse([chat_chunk({"content": "Hel"}), {"error": {"message": "overloaded"}}]))
    seen: list[str | None] = []

    async def read() -> None:
        stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)

    with pytest.raises(openai.APIError, match="overloaded"):
        await read()
    assert seen == ["Hel"]


async def test_keys(url: str, client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """A declared key may ask for its models, and pays from its own budget; no key is a 401."""
    ci = client.with_options(api_key=CI_KEY)
    await ci.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=20)
    assert [model.id async for model in ci.models.list()] == ["gpt-4o"]
    with pytest.raises(openai.PermissionDeniedError):
        await ci.chat.completions.create(model="other", messages=HELLO)
    up.script(Json(chat_answer("dear", usage=chat_usage(10, 600))))
    await ci.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=20)
    with pytest.raises(openai.APIStatusError) as caught:
        await ci.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=20)
    assert (caught.value.status_code, caught.value.code) == (402, "budget_exhausted")
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-nobody-knows").models.list()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_caller_who_leaves_closes_the_upstream(
    url: str, gateway_line: Trunkline, up: FakeUpstream, stream: bool
) -> None:
    """Within a second the upstream is closed and the attempt is billed from what was received."""
    slow = Sse(chat_chunks("one two three four five six seven eight"), delay_s=0.05)
    up.script(slow if stream else Json(chat_answer("late")).late(30))
    body = {"model": "gpt-4o", "messages": HELLO, "stream": stream}
    async with aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        call = session.post(f"{url}/v1/chat/completions", json=body, headers=headers)
        if stream:
            async with call as answer:
                await answer.content.readany()
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await call
    await up.wait_idle(timeout_s=1.0)
    gateway_line.flush()
    [row] = gateway_line.store.calls(5)
    assert row.call.outcome == ("abandoned" if stream else "cancelled")
    assert row.call.cost_state == "estimated"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"data": b"{"}, 400, "invalid_request"),
        ({"data": b"[]"}, 400, "invalid_request"),
        ({"headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"headers": {"content-encoding": "br"}}, 415, "unsupported_media_type"),
        ({"headers": {"content-encoding": "gzip"}}, 400, "invalid_request"),
        ({"headers": {"authorization": "Bearer nope"}}, 401, "invalid_api_key"),
        ({"headers": {"host": "evil.example"}}, 403, "forbidden"),
        ({"headers": {"origin": "https://evil.example"}}, 403, "forbidden"),
        ({"headers": {"x-trunkline-timeout-ms": "soon"}}, 400, "invalid_request"),
        ({"path": "/v1/nothing"}, 404, "unknown_path"),
        ({"method": "GET"}, 405, "method_not_allowed"),
        ({"data": b" " * (33 * 1024 * 1024)}, 413, "body_too_large"),
    ],
)
async def test_bad_requests(
    url: str, up: FakeUpstream, change: dict[str, Any], status: int, code: str
) -> None:
    """Each is refused before anything is sent, in OpenAI's shape, with its own code."""
    good = json.dumps({"model": "gpt-4o", "messages": HELLO}).encode()
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            change.get("method", "POST"),
            url + change.get("path", "/v1/chat/completions"),
            data=io.BytesIO(change.get("data", good)),
            headers=headers | change.get("headers", {}),
        ) as answer,
    ):
        said = await answer.json()
    assert (answer.status, said["error"]["code"]) == (status, code)
    assert set(said["error"]) == {"message", "type", "code", "param"}
    assert up.requests == []


async def test_health_needs_no_key(url: str) -> None:
    """Liveness and readiness are for probes."""
    async with aiohttp.ClientSession() as session:
        for path in ("/health", "/ready"):
            async with session.get(url + path) as answer:
                assert answer.status == 200


async def test_the_time_out_header(url: str, client: openai.AsyncOpenAI, up: FakeUpstream) -> None:
    """The caller's own deadline bounds the whole call."""
    up.script(Json(chat_answer("late")).late(30))
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(
            model="gpt-4o", messages=HELLO, extra_headers={"x-trunkline-timeout-ms": "200"}
        )
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
