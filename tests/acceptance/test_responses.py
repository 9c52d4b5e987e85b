"""Newer models of OpenAI, through its Responses API, and the choice between its two APIs."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import FakeUpstream, Json, Sse, Status, response_answer, response_events

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
    {"role": "assistant", "content": "It rains."},
    {"role": "user", "content": "Still?"},
]
THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [
        {"type": "summary_text", "text": "I look out."},
        {"type": "summary_text", "text": "It is wet."},
    ],
    "encrypted_content": "gAAAAAproof",
}
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_7",
    "name": "weather",
    "arguments": '{"city": "Ulm"}',
}
SAID: dict[str, Any] = response_answer("It rains.")["output"][0]


async def ask(
    model: str, messages: list[dict[str, Any]], parameters: dict[str, Any], **more: Any
) -> tuple[str, Any]:
    """Call OpenAI."""
    return await call_llm("openai", model, messages, parameters, **more)


@pytest.mark.acceptance("G20")
async def test_a_newer_model_is_asked_there_with_the_whole_history(
    line: Trunkline, up: FakeUpstream
) -> None:
    """Every turn is on the wire, calls and results too; nothing is stored at the provider."""
    content, _ = await ask("gpt-5.6-terra", HISTORY, {"reasoning_effort": "low"}, tools=[TOOL])
    assert content == "Hello."
    [request] = up.requests
    assert request.path == "/v1/responses"
    assert request.headers["authorization"] == "Bearer sk-test-1234567890"
    body = request.json()
    assert body["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
        {"role": "assistant", "content": "It rains."},
        {"role": "user", "content": "Still?"},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]
    assert body["reasoning"] == {"effort": "low"}
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])


@pytest.mark.acceptance("G20")
@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gpt-4o", "/v1/chat/completions"),
        ("gpt-5-chat-latest", "/v1/chat/completions"),
        ("gpt-6-luna", "/v1/responses"),
        ("o3-pro", "/v1/responses"),
        ("o3", "/v1/chat/completions"),
        ("gpt-5.3-codex", "/v1/responses"),
    ],
)
async def test_the_model_decides(line: Trunkline, up: FakeUpstream, model: str, path: str) -> None:
    """Each model is asked through the API it needs, by itself."""
    assert await ask(model, HISTORY, {}) == ("Hello.", None)
    assert [request.path for request in up.requests] == [path]


async def test_the_configuration_overrides(up: FakeUpstream, make_line: MakeLine) -> None:
    """`api` names one of the two for a provider, and for a model of it."""
    models = ["gpt-6", {"name": "gpt-4o", "api": "responses"}]
    make_line(
        default_provider="openai",
        providers={
            "openai": openai_at(up, api="chat", models=models),
            "mine": openai_at(up, type="openai_compatible", api="responses", models=["m"]),
        },
    )
    for provider, model in (("openai", "gpt-6"), ("openai", "gpt-4o"), ("mine", "m")):
        await call_llm(provider, model, HISTORY, {})
    assert [request.path for request in up.requests] == [
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/responses",
    ]


@pytest.mark.acceptance("G23")
async def test_summaries_are_thoughts(line: Trunkline, up: FakeUpstream) -> None:
    """The summary of a reasoning item comes back as a thought, with what proves it."""
    up.script(Json(response_answer(output=[THOUGHT, SAID])))
    parameters = {"reasoning": {"effort": "high", "summary": "auto"}}
    content, thoughts = await ask("gpt-5.5", HISTORY, parameters)
    assert content == "It rains."
    assert thoughts["reasoning_content"] == "I look out.\n\nIt is wet."
    assert thoughts["blocks"][0]["signature"] == "gAAAAAproof"
    assert up.requests[0].json()["reasoning"] == parameters["reasoning"]


@pytest.mark.acceptance("G23")
async def test_streamed_summaries_are_thoughts(line: Trunkline, up: FakeUpstream) -> None:
    """Thoughts and words come piece by piece, in their order; calls keep their own id."""
    up.script(Sse(response_events(output=[THOUGHT, SAID, CALLED]), done=False))
    chunks = [
        chunk
        async for chunk in stream_llm("openai", "gpt-5.5", HISTORY, {})
        if chunk.choices[0].delta is not None
    ]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    thought = "".join(delta.reasoning_content or "" for delta in deltas)
    assert thought.replace("\n", "") == "I look out.It is wet."
    assert "".join(delta.content or "" for delta in deltas) == "It rains."
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert calls[0].id == "call_7"
    assert "".join(call.function.arguments for call in calls) == '{"city": "Ulm"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.acceptance("G26")
async def test_what_the_api_does_not_take_is_dropped(line: Trunkline, up: FakeUpstream) -> None:
    """Sampling options of a reasoning model, and those the API has no place for, stay here."""
    parameters = {"temperature": 0.2, "seed": 7, "stop": ["."], "max_tokens": 900}
    await ask("gpt-5.5", HISTORY, parameters)
    body = up.requests[0].json()
    assert body["max_output_tokens"] == 900
    assert not {"temperature", "seed", "stop", "max_tokens"} & body.keys()


async def test_a_stream_that_is_cut_is_an_error(line: Trunkline, up: FakeUpstream) -> None:
    """The end of the bytes is not the end of the answer."""
    up.script(Sse(response_events("Once upon a time.")[:-3], done=False))
    with pytest.raises(errors.Truncated):
        [chunk async for chunk in stream_llm("openai", "gpt-5.5", HISTORY, {})]


async def test_a_failure_under_a_200_is_an_error(line: Trunkline, up: FakeUpstream) -> None:
    """`response.failed` raises what it names; so do the event `error` and a failed whole answer."""
    error = {"code": "rate_limit_exceeded", "message": "Slow down."}
    failed = response_answer(status="failed", output=[], error=error)
    nested = b'event: error\ndata: {"type":"error","error":{"code":"insufficient_quota",'
    nested += b'"type":"insufficient_quota","message":"You exceeded your current quota"}}\n\n'
    up.script(
        Sse(response_events(status="failed", output=[], error=error), done=False),
        Json(failed),
        Sse([*response_events()[:2], nested], done=False),
    )
    for kind in (errors.UpstreamRateLimited, errors.UpstreamRateLimited, errors.QuotaExhausted):
        with pytest.raises(kind):
            await ask("gpt-5.5", HISTORY, {})


async def test_an_unknown_model_is_not_found(line: Trunkline, up: FakeUpstream) -> None:
    """This API says 400 where chat completions say 404."""
    error = {"message": "The requested model 'gpt-7' does not exist.", "code": "model_not_found"}
    up.script(Status(400, {"error": error | {"type": "invalid_request_error", "param": "model"}}))
    with pytest.raises(errors.UpstreamNotFound):
        await ask("gpt-7", HISTORY, {})
