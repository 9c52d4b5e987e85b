"""Providers `gemini` and `vertex`, in their own dialect, through the faces and the gateway."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, running
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    content_answer,
    content_chunks,
    message_answer,
    message_events,
)

HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
QUESTION: Any = {"role": "user", "content": "Weather in Bern?"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
MODEL = "gemini-3.5-flash"
CALLED: list[dict[str, Any]] = [
    {"text": "Thinking of Bern.", "thought": True},
    {
        "functionCall": {"name": "weather", "args": {"city": "Bern"}},
        "thoughtSignature": "c2ln+/==",
    },
]


def candidate(*parts: dict[str, Any], finish: str = "STOP", **more: Any) -> dict[str, Any]:
    """Return an answer with these parts."""
    content = {"role": "model", "parts": list(parts)}
    return content_answer(candidates=[{"content": content, "finishReason": finish}], **more)


def settings(up: FakeUpstream, **more: Any) -> dict[str, Any]:
    """Return the settings of a Gemini at `up`."""
    return {"api_key": "AIza-test-123456", "base_url": up.url, "retries": 0, **more}


@pytest.fixture
def line(up: FakeUpstream, make_line: MakeLine) -> Trunkline:
    """A line whose provider `gemini` is the scripted one."""
    return make_line(default_provider="gemini", providers={"gemini": settings(up)})


async def ask(messages: list[Any], **more: Any) -> tuple[str, Any]:
    """Call Gemini."""
    return await call_llm("gemini", MODEL, messages, more.pop("parameters", {}), **more)


@pytest.mark.acceptance("G06", "G07", "G08", "A02")
async def test_a_call_in_its_own_dialect(line: Trunkline, up: FakeUpstream) -> None:
    """The model stands in the path, the key in its header, the system prompt apart."""
    assert await ask(HELLO, parameters={"temperature": 0.5, "seed": None}) == ("Hello.", None)
    [request] = up.requests
    assert request.path == f"/v1beta/models/{MODEL}:generateContent"
    assert request.headers["x-goog-api-key"] == "AIza-test-123456"
    assert request.json() == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"temperature": 0.5},
    }


@pytest.mark.acceptance("G06", "A02")
async def test_the_openai_and_anthropic_of_the_same_line_answer_too(
    up: FakeUpstream, make_line: MakeLine
) -> None:
    """Each of the three promised providers is accepted by its name, in its own dialect."""
    claude = {"api_key": "sk-ant-123456", "base_url": f"{up.url}/v1"}
    make_line(
        default_provider="openai",
        providers={"openai": openai_at(up), "anthropic": claude, "gemini": settings(up)},
    )
    for provider in ("openai", "anthropic", "gemini"):
        assert await call_llm(provider, "m", HELLO, {}) == ("Hello.", None)
    paths = [request.path for request in up.requests]
    assert paths == ["/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent"]


@pytest.mark.acceptance("A02", "G10")
async def test_tools_over_several_turns(line: Trunkline, up: FakeUpstream) -> None:
    """Calls come back in OpenAI's form with thoughts; results and signatures return in place."""
    up.script(Json(candidate(*CALLED)))
    content, thoughts = await ask([QUESTION], tools=[TOOL])
    [call] = thoughts["tool_calls"]
    assert content == ""
    assert thoughts["reasoning_content"] == "Thinking of Bern."
    assert json.loads(call["function"]["arguments"]) == {"city": "Bern"}
    [tool] = up.requests[0].json()["tools"]
    assert tool["functionDeclarations"][0]["parametersJsonSchema"] == PARAMETERS
    answered = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sun."}
    await ask([QUESTION, answered, result], tools=[TOOL])
    _, said, given = up.requests[1].json()["contents"]
    assert said["parts"][0]["thoughtSignature"] == "c2ln+/=="
    answer = given["parts"][0]["functionResponse"]
    assert answer == {"id": call["id"], "name": "weather", "response": {"output": "Sun."}}
    assert said["parts"][0]["functionCall"]["id"] == call["id"]


async def test_a_stream(line: Trunkline, up: FakeUpstream) -> None:
    """Asked for as events; the chunks are OpenAI's, the usage is the last that was said."""
    up.script(Sse(content_chunks("Once upon a time."), done=False))
    chunks = [c async for c in stream_llm("gemini", MODEL, HELLO, {})]
    assert up.requests[0].path == f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Once upon a time."
    assert [c.usage["total_tokens"] for c in chunks if c.usage][-1] == 15
    up.script(Sse(content_chunks("Once upon a time.")[:-1], done=False))
    with pytest.raises(errors.Truncated):
        [c async for c in stream_llm("gemini", MODEL, HELLO, {})]


async def test_the_second_of_two_answers_may_be_cut(line: Trunkline, up: FakeUpstream) -> None:
    """That the first has ended does not make it an end."""
    parts = [
        {"candidates": [{"index": index, "content": {"parts": [{"text": "Hi"}]}, **ended}]}
        for index, ended in ((0, {"finishReason": "STOP"}), (1, {}), (1, {"finishReason": "STOP"}))
    ]
    up.script(Sse(parts, done=False), Sse(parts[:2], done=False))
    chunks = [c async for c in stream_llm("gemini", MODEL, HELLO, {"n": 2})]
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    with pytest.raises(errors.Truncated):
        [c async for c in stream_llm("gemini", MODEL, HELLO, {"n": 2})]


async def test_the_bill_is_geminis_arithmetic(line: Trunkline, up: FakeUpstream) -> None:
    """Thoughts are billed as output though they stand outside it, what was cached is cheaper."""
    usage = {
        "promptTokenCount": 1300,
        "cachedContentTokenCount": 1000,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 90,
        "totalTokenCount": 1400,
    }
    up.script(Json(content_answer(usageMetadata=usage)))
    await call_llm("gemini", "gemini-2.5-flash", HELLO, {})
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.prompt_tokens, row.call.completion_tokens) == (1300, 100)
    # USD per million: 0.30 in, 0.03 cached, 2.50 out.
    assert row.call.cost_nusd == 300 * 300 + 1000 * 30 + 100 * 2500


async def test_a_filtered_answer_says_so(line: Trunkline, up: FakeUpstream) -> None:
    """A blocked prompt has no candidates and is no success of a model that has nothing to say."""
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}
    up.script(Json(blocked))
    assert (await ask(HELLO))[0] == ""
    line.flush()
    [row] = line.store.calls(1)
    assert row.attempts[0].finish == "content_filter"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "API key not valid. Please pass a valid API key.", errors.AuthFailed),
        (429, "Resource exhausted.", errors.UpstreamRateLimited),
        (503, "The model is overloaded.", errors.UpstreamOverloaded),
    ],
)
async def test_errors_keep_their_meaning(
    line: Trunkline, up: FakeUpstream, status: int, message: str, kind: type[Exception]
) -> None:
    """Before the first frame, also as the only event of a stream."""
    error = {"error": {"code": status, "message": message}}
    up.script(Status(status, error), Sse([error], done=False))
    with pytest.raises(kind):
        await ask(HELLO)
    with pytest.raises(kind):
        [c async for c in stream_llm("gemini", MODEL, HELLO, {})]


@pytest.mark.acceptance("A02")
async def test_vertex_with_a_token(up: FakeUpstream, make_line: MakeLine) -> None:
    """The same words at another path, with a bearer token."""
    vertex = settings(up, api_key="ya29.token-123", project="p", location="eu", type="vertex")
    make_line(default_provider="mine", providers={"mine": vertex})
    assert await call_llm("mine", MODEL, HELLO, {}) == ("Hello.", None)
    [request] = up.requests
    where = "/v1/projects/p/locations/eu/publishers/google/models"
    assert request.path == f"{where}/{MODEL}:generateContent"
    assert request.headers["authorization"] == "Bearer ya29.token-123"


@pytest.fixture
async def url(line: Trunkline) -> AsyncIterator[str]:
    """A running gateway in front of Gemini."""
    async with running(line) as address:
        yield address


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_of_openai_holds_a_conversation(
    url: str, up: FakeUpstream, stream: bool
) -> None:
    """The unmodified SDK returns the message as it came, and with it the signature."""
    up.script(*[Sse([candidate(*CALLED)], done=False) if stream else Json(candidate(*CALLED))])
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ADMIN_KEY, max_retries=0) as client:
        asked: dict[str, Any] = {"model": f"gemini/{MODEL}", "tools": [TOOL]}
        if stream:
            async with client.chat.completions.stream(messages=[QUESTION], **asked) as pieces:
                completion: Any = await pieces.get_final_completion()
        else:
            completion = await client.chat.completions.create(messages=[QUESTION], **asked)
        message = completion.choices[0].message
        assert completion.choices[0].finish_reason == "tool_calls"
        [call] = message.tool_calls
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "Sun."}
        answered = message.model_dump(exclude_none=True)
        told = await client.chat.completions.create(
            messages=[QUESTION, answered, result],
            **asked,
        )
    assert told.choices[0].message.content == "Hello."
    _, said, given = up.requests[1].json()["contents"]
    assert said["parts"][-1]["thoughtSignature"] == "c2ln+/=="
    assert given["parts"][0]["functionResponse"]["response"] == {"output": "Sun."}


async def test_a_client_of_anthropic_holds_a_conversation(url: str, up: FakeUpstream) -> None:
    """Its SDK keeps a field that it does not know, so the signature of a call comes back."""
    up.script(Json(candidate(*CALLED)))
    tools: Any = [{"name": "weather", "input_schema": PARAMETERS}]
    asked: dict[str, Any] = {"model": f"gemini/{MODEL}", "max_tokens": 99, "tools": tools}
    async with anthropic.AsyncAnthropic(base_url=url, api_key=ADMIN_KEY, max_retries=0) as client:
        message = await client.messages.create(messages=[QUESTION], **asked)
        assert message.stop_reason == "tool_use"
        use = message.content[-1]
        assert use.type == "tool_use"
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "Sun."}
        history: list[Any] = [
            QUESTION,
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result]},
        ]
        told = await client.messages.create(messages=history, **asked)
    assert told.content[0].type == "text"
    _, said, given = up.requests[1].json()["contents"]
    assert said["parts"][-1]["thoughtSignature"] == "c2ln+/=="
    assert given["parts"][0]["functionResponse"]["name"] == "weather"


@pytest.mark.parametrize("stream", [False, True])
async def test_claude_on_vertex_is_asked_as_its_own_sdk_asks(
    up: FakeUpstream, make_line: MakeLine, stream: bool
) -> None:
    """The same provider, Anthropic's dialect: the model in the path, the version in the body."""
    vertex = settings(up, api_key="ya29.token-123", project="p", location="eu")
    make_line(default_provider="vertex", providers={"vertex": vertex})
    events = Sse(message_events(), done=False)
    up.script(*[events if stream else Json(message_answer()) for _ in range(2)])
    model = "claude-sonnet-4-5@20250929"
    hello: list[Any] = [{"role": "user", "content": "Hi"}]
    if stream:
        assert [c async for c in stream_llm("vertex", model, hello, {"max_tokens": 9})]
    else:
        assert await call_llm("vertex", model, hello, {"max_tokens": 9}) == ("Hello.", None)
    async with anthropic.AsyncAnthropicVertex(
        base_url=f"{up.url}/v1", project_id="p", region="eu", access_token="ya29.token-123"
    ) as client:
        await client.messages.create(model=model, max_tokens=9, messages=hello, stream=stream)
    ours, theirs = up.requests
    assert (ours.path, ours.headers["authorization"]) == (
        theirs.path,
        theirs.headers["authorization"],
    )
    said = ours.json()
    assert said.pop("anthropic_version") == "vertex-2023-10-16"  # as documented; the SDK's is newer
    assert said == {name: value for name, value in theirs.json().items() if name in said}
    assert said.keys() == {"max_tokens", "messages", *(["stream"] if stream else [])}
