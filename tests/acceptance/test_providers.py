"""Every provider of the catalog that is asked over HTTP, through `call_llm` and the gateway.

A new row is tested by being there; a new dialect adds what a call of a tool looks like to `CALLED`.
"""

import json
from typing import Any

import openai
import pytest

from tests.acceptance.conftest import MakeLine
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.catalog import ProviderRow, rows
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Request,
    Sse,
    Status,
    chat_answer,
    chat_chunks,
    chat_usage,
    content_answer,
    converse_answer,
    message_answer,
    ollama_answer,
)
from trunkline.types import Chat, Prompt, say

MODEL = "some-model"
KEY = "test-key-0123456789"
HELLO: list[Any] = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
ARGUMENTS = {"city": "Ulm"}
SETTINGS: dict[str, dict[str, Any]] = {
    "vertex": {"project": "p", "location": "eu"},
    "bedrock": {"region": "eu-central-1"},
}
"""What a type needs beside a key and an address."""
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": f"/v1beta/models/{MODEL}:generateContent",
    "azure_openai": "/openai/v1/chat/completions",
    "mistral": "/v1/chat/completions",
    "zai": "/api/paas/v4/chat/completions",
    "databricks": "/serving-endpoints/chat/completions",
    "github": "/inference/chat/completions",
}
CALL = {"id": "aB3456789", "type": "function"}
CALLED: dict[str, Any] = {
    "openai_chat": chat_answer(
        None,
        finish="tool_calls",
        tool_calls=[CALL | {"function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}],
    ),
    "anthropic": message_answer(
        content=[{"type": "tool_use", "id": "aB3456789", "name": "weather", "input": ARGUMENTS}],
        stop_reason="tool_use",
    ),
    "gemini": content_answer(
        candidates=[
            {
                "content": {
                    "role": "model",
                    "parts": [{"functionCall": {"name": "weather", "args": ARGUMENTS}}],
                },
                "finishReason": "STOP",
            }
        ]
    ),
    "cohere": {
        "id": "c1",
        "finish_reason": "TOOL_CALL",
        "message": {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [
                CALL | {"function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}
            ],
        },
        "usage": {"tokens": {"input_tokens": 10, "output_tokens": 5}},
    },
    "bedrock": converse_answer(
        output={
            "message": {
                "role": "assistant",
                "content": [
                    {"toolUse": {"toolUseId": "aB3456789", "name": "weather", "input": ARGUMENTS}}
                ],
            }
        },
        stopReason="tool_use",
    ),
    "ollama": ollama_answer(
        message={
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "weather", "arguments": ARGUMENTS}}],
        }
    ),
}


OVER_HTTP = [row for row in rows().values() if row.backend == "http"]
EACH = pytest.mark.parametrize("row", OVER_HTTP, ids=lambda row: row.name)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def answer_cohere(request: Request) -> Answer:
    """Greet as Cohere does.

    Source: https://docs.cohere.com/reference/chat 2026-11-20
    """
    words = {"type": "text", "text": "Hello."}
    usage = {"tokens": {"input_tokens": 10, "output_tokens": 5}}
    ended = {"finish_reason": "COMPLETE", "usage": usage}
    if not request.json().get("stream"):
        return Json({"id": "c1", "message": {"role": "assistant", "content": [words]}, **ended})
    started = {"message": {"content": words | {"text": ""}}}
    events: list[dict[str, Any]] = [
        {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": started},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": words}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "id": "c1", "delta": ended},
    ]
    return Sse(events)


def at(row: ProviderRow, up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """Return a line whose only provider is `row`, at `up`."""
    if row.dialect == "cohere":
        up.on(answer_cohere)
    entry = {"api_key": KEY, "base_url": up.url, "retries": 0, **SETTINGS.get(row.name, {})}
    return make_line(default_provider=row.name, providers={row.name: entry})


def proven(request: Request) -> bool:
    """Tell whether the key went up, in whatever header, and nowhere else."""
    shown = any(KEY in value for value in request.headers.values())
    return shown and KEY not in request.path and KEY.encode() not in request.body


@pytest.mark.acceptance("G06", "A02", "A03", "A26")
@EACH
@STREAM
async def test_it_answers(
    row: ProviderRow, up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """The words come, the credential went up, the model was named, the usage is on record."""
    line = at(row, up, make_line)
    if stream:
        if "no_stream_options" in row.quirks:  # it says so without being asked
            up.script(Sse(chat_chunks(usage=chat_usage(10, 5))))
        chunks = [c async for c in stream_llm(row.name, MODEL, HELLO, {})]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello."
    else:
        assert await call_llm(row.name, MODEL, HELLO, {}) == ("Hello.", None)
        assert up.requests[0].path.partition("?")[0] == PATHS.get(row.name, up.requests[0].path)
    [request] = up.requests
    assert proven(request)
    assert MODEL.encode() in request.path.encode() + request.body
    line.flush()
    [call] = line.store.calls(1)
    assert (call.call.prompt_tokens, call.call.completion_tokens) == (10, 5)


@pytest.mark.acceptance("A02", "A03", "A26")
@EACH
async def test_it_calls_tools(row: ProviderRow, up: FakeUpstream, make_line: MakeLine) -> None:
    """A call comes back in OpenAI's form; its result goes up; who has no tools is not asked."""
    at(row, up, make_line)
    if "tools" in row.lacks:
        with pytest.raises(errors.CapabilityMissing):
            await call_llm(row.name, MODEL, HELLO, {}, tools=TOOLS)
        assert up.requests == []
        return
    up.script(Json(CALLED[row.dialect]))
    _, thoughts = await call_llm(row.name, MODEL, HELLO, {}, tools=TOOLS)
    assert thoughts is not None
    [call] = thoughts["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny."}
    await call_llm(row.name, MODEL, [*HELLO, said, result], {}, tools=TOOLS)
    assert all(b"weather" in request.body for request in up.requests)
    assert b"Sunny." in up.requests[1].body


@pytest.mark.acceptance("A02", "A03")
@EACH
async def test_it_stands_behind_the_gateway(
    row: ProviderRow, up: FakeUpstream, make_line: MakeLine
) -> None:
    """OpenAI's SDK gets its words, whole and as a stream, without a word about the provider."""
    async with (
        running(at(row, up, make_line)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client,
    ):
        asked: dict[str, Any] = {"model": f"{row.name}/{MODEL}", "messages": HELLO}
        whole = await client.chat.completions.create(**asked)
        assert whole.choices[0].message.content == "Hello."
        assert whole.choices[0].finish_reason == "stop"
        async with client.chat.completions.stream(**asked) as pieces:
            told = await pieces.get_final_completion()
        assert told.choices[0].message.content == "Hello."
    assert len(up.requests) == 2


def azure(up: FakeUpstream, make_line: MakeLine, **more: Any) -> Trunkline:
    """Return a line to an Azure deployment `d` of gpt-4o, asked in the dated API."""
    entry = {"type": "azure_openai", "api_key": KEY, "base_url": up.url, "retries": 0}
    entry |= {"api_version": "2024-10-21", "deployments": {"gpt-4o": "d"}}
    return make_line(default_provider="azure", providers={"azure": entry | more})


@pytest.mark.acceptance("A02")
async def test_an_azure_deployment_is_priced_as_its_model(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """The name in the path is the account's, the price is the model's."""
    line = azure(up, make_line)
    await call_llm("azure", "gpt-4o", HELLO, {})
    [request] = up.requests
    assert request.path == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == KEY
    assert request.json()["model"] == "d"
    line.flush()
    [row] = line.store.calls(1)
    assert row.attempts[0].deployment == "azure/gpt-4o"
    assert row.call.cost_nusd == 10 * 2_500 + 5 * 10_000  # USD per million: 2.50 in, 10 out


FILTERED = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]


@pytest.mark.acceptance("A02")
async def test_filter_results_of_azure_survive(up: FakeUpstream, make_line: MakeLine) -> None:
    """The first event has nothing but them; they reach a client of the gateway, also whole."""
    line = azure(up, make_line)
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    first["prompt_filter_results"] = FILTERED
    whole = chat_answer() | {"prompt_filter_results": FILTERED}
    up.script(Sse([first, *chat_chunks()]), Json(whole))
    async with (
        running(line) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (chunks[0].model_extra or {})["prompt_filter_results"] == FILTERED
    assert (answer.model_extra or {})["prompt_filter_results"] == FILTERED


@pytest.mark.acceptance("A02")
async def test_a_prompt_that_azure_refuses(up: FakeUpstream, make_line: MakeLine) -> None:
    """The filter's 400 is `ContentBlocked`; a 429 says in milliseconds how long to wait.

    Written from the documentation, no recording has either.
    Source: https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter 2026-11-20
    """
    azure(up, make_line)
    inner = {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
    }
    refused = {"message": "The response was filtered.", "code": "content_filter", "status": 400}
    limited = {"code": "RateLimitReached", "message": "Your requests have exceeded the limit."}
    wait = {"retry-after": "1", "retry-after-ms": "250"}
    up.script(
        Status(400, {"error": refused | {"param": "prompt", "innererror": inner}}),
        Status(429, {"error": limited}, headers=wait),
    )
    with pytest.raises(errors.ContentBlocked):
        await call_llm("azure", "gpt-4o", HELLO, {})
    with pytest.raises(errors.UpstreamRateLimited) as caught:
        await call_llm("azure", "gpt-4o", HELLO, {})
    assert caught.value.retry_after_s == 0.25


@pytest.mark.parametrize(
    ("provider", "beside"),
    [
        ("perplexity", {"citations": ["https://a.test"], "search_results": [{"title": "A"}]}),
        ("azure_openai", {"prompt_filter_results": FILTERED}),
    ],
)
async def test_what_stands_beside_an_answer_survives(
    up: FakeUpstream, make_line: MakeLine, provider: str, beside: dict[str, Any]
) -> None:
    """Sources and filter results are in the message, from a stream as from a whole answer."""
    line = at(rows()[provider], up, make_line)
    up.script(Json(chat_answer() | beside), Sse([*chat_chunks()[:-1], chat_chunks()[-1] | beside]))
    for stream in (False, True):
        chat = Chat(model="m", stream=stream, body=Prompt(messages=(say("user", "Hi"),)))
        async with await line(chat) as reply:
            assert (await reply.message()).extra == beside
