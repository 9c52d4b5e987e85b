"""The litellm backend and its logging bridge; run by `tests/integration/test_litellm.py`."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import eventually
from trunkline import Chat, Trunkline, dialects
from trunkline.errors import (
    AllProvidersUnavailable,
    AuthFailed,
    ContextTooLong,
    FirstTokenTimeout,
    IdleTimeout,
    ProviderError,
    Truncated,
    TrunklineError,
    UpstreamFailed,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.observability import litellm as bridge
from trunkline.reply import Reply
from trunkline.testing import (
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    hang,
    html,
    message_answer,
)
from trunkline.types import Prompt, Text, Thinking, Tool, ToolCall, say

SECRET = "sk-abcdefgh12345678"
TOOL = Tool(name="f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """Give a provider on loopback."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRUNKLINE_DATA", str(tmp_path))


def line(up: FakeUpstream, **fields: Any) -> Trunkline:
    """Return a core whose only provider is litellm."""
    models = ["openai/gpt-4o", "anthropic/claude-sonnet-4-20250514", "nobody/x"]
    provider = {"api_key": SECRET, "base_url": f"{up.url}/v1", "models": models, "retries": 0}
    provider |= fields
    return Trunkline.from_config({"llm_service": {"providers": {"litellm": provider}}})


def chat(*, model: str = "litellm/openai/gpt-4o", stream: bool = False, **prompt: Any) -> Chat:
    """Make a chat of one message."""
    prompt.setdefault("messages", (say("user", "Hi"),))
    return Chat(model=model, body=Prompt(**prompt), stream=stream)


async def read(core: Trunkline, call: Chat) -> Reply:
    """Ask, and read to the end."""
    async with core, await core(call) as reply:
        await reply.message()
        return reply


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_with_its_usage(up: FakeUpstream, stream: bool) -> None:
    """Whole and streamed; usage is the provider's, and litellm's idea of the cost is not ours."""
    call = chat(stream=stream, temperature=0.5, max_output_tokens=9, stop=("x",))
    reply = await read(line(up), call)
    assert ((await reply.message()).text, reply.finish, reply.outcome) == (
        "Hello.",
        "stop",
        "complete",
    )
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (10, 5)
    assert reply.usage.reported_cost_nusd is None
    [request] = up.requests
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    sent = request.json()
    assert (sent["model"], sent["temperature"], sent["stop"]) == ("gpt-4o", 0.5, ["x"])
    assert "metadata" not in sent
    assert "drop_params" not in sent


async def test_another_wire_format(up: FakeUpstream) -> None:
    """litellm translates, thoughts and tool calls too; its usage includes what was cached."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Well."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    ]
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7}
    up.script(Json(message_answer(content=content, stop_reason="tool_use", usage=usage)))
    call = chat(model="litellm/anthropic/claude-sonnet-4-20250514", tools=(TOOL,))
    reply = await read(line(up, base_url=up.url), call)
    parts = (await reply.message()).parts
    assert [p.text for p in parts if isinstance(p, Text | Thinking)] == ["hm", "Well."]
    [made] = [part for part in parts if isinstance(part, ToolCall)]
    assert (made.id, made.name, made.arguments.replace(" ", "")) == ("toolu_1", "f", '{"a":1}')
    assert reply.finish == "tool_calls"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.cache_read_tokens) == (17, 7)
    assert up.requests[0].path == "/v1/messages"


@pytest.mark.parametrize("stream", [True, False])
async def test_frames_are_of_openais_dialect(up: FakeUpstream, stream: bool) -> None:
    """A gateway can pass them on as they are: chunks up to `[DONE]`, or one body."""
    core = line(up)
    async with core, await core(chat(stream=stream)) as reply:
        raw = b"".join([frame.raw async for frame in reply])
    if not stream:
        assert json.loads(raw)["choices"][0]["message"]["content"] == "Hello."
        return
    *chunks, done, rest = raw.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    told = [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]
    assert all("finish_reason" in choice for chunk in told for choice in chunk["choices"])
    assert "usage" in told[-1]


async def test_streamed_tool_calls(up: FakeUpstream) -> None:
    """Fragments come together."""
    pieces: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    chunks = [chat_chunk({"tool_calls": [piece]}) for piece in pieces]
    up.script(Sse([*chunks, chat_chunk({}, finish="tool_calls")]))
    reply = await read(line(up), chat(stream=True, tools=(TOOL,)))
    call = ToolCall(id="c1", name="f", arguments='{"a":1}')
    assert (await reply.message()).tool_calls == (call,)
    assert reply.finish == "tool_calls"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Status(401, {"error": {"message": f"Incorrect API key provided: {SECRET}"}}), AuthFailed),
        (
            Status(429, {"error": {"message": "slow"}}, headers={"retry-after": "7"}),
            UpstreamRateLimited,
        ),
        (Status(404, {"error": {"message": "The model `x` does not exist"}}), UpstreamNotFound),
        (Status(500, {"error": {"message": "oops"}}), UpstreamFailed),
        (Status(503, {"error": {"message": "oops"}}), UpstreamOverloaded),
        (
            Status(400, {"error": {"message": "maximum context length is 10 tokens"}}),
            ContextTooLong,
        ),
        (html(), ProviderError),
    ],
)
async def test_failures_are_ours(up: FakeUpstream, answer: Any, kind: type[TrunklineError]) -> None:
    """By litellm's classes and statuses; raised before there is a reply, without credentials."""
    up.script(answer)
    core = line(up)
    async with core:
        with pytest.raises(TrunklineError) as raised:
            await core(chat())
    error = raised.value
    causes = error.causes if isinstance(error, AllProvidersUnavailable) else (("", error),)
    [(_, ours)] = causes
    assert type(ours) is kind or (kind is ProviderError and isinstance(ours, kind))
    assert SECRET not in str(error)
    assert SECRET not in repr(ours.__cause__)
    assert len(up.requests) == 1  # nothing was retried behind our back
    if kind is UpstreamRateLimited:
        assert ours.retry_after_s == 7


@pytest.mark.parametrize("model", ["huggingface/gpt2", "openai/http://h/x", "gpt-4o"])
async def test_a_caller_cannot_send_the_key_elsewhere(up: FakeUpstream, model: str) -> None:
    """To another vendor than those of the listed models, or to an address."""
    core = line(up)
    async with core:
        with pytest.raises(TrunklineError, match=r"credentials are not for|no model"):
            await core(chat(model=f"litellm/{model}"))
    assert up.requests == []


async def test_only_options_of_a_chat_are_passed(up: FakeUpstream) -> None:
    """litellm takes addresses, keys and more by name: what a caller says of them is dropped."""
    theirs = {"api_base": "http://127.0.0.1:9", "api_key": "x", "mock_response": "fake", "seed": 3}
    body = {"model": "litellm/openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    call = dialects.load("openai_chat").read(json.dumps(body | theirs).encode())
    reply = await read(line(up), call)
    assert (await reply.message()).text == "Hello."
    assert up.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert up.requests[0].json()["seed"] == 3
    assert reply.call is not None
    assert reply.call.trail is not None
    assert reply.call.trail.dropped == ("api_base", "api_key", "mock_response")


async def test_a_provider_that_litellm_does_not_know(up: FakeUpstream) -> None:
    """The message says how to write the model."""
    core = line(up)
    async with core:
        with pytest.raises(TrunklineError, match="with the prefix") as raised:
            await core(chat(model="litellm/nobody/x"))
    assert up.requests == []
    assert "litellm/replicate/" in str(raised.value)


async def test_a_stream_that_just_ends_is_truncated(up: FakeUpstream) -> None:
    """litellm would make up a finish reason."""
    up.script(Sse([chat_chunk({"role": "assistant", "content": "Hel"})], done=False))
    core = line(up)
    async with core, await core(chat(stream=True)) as reply:
        with pytest.raises(Truncated):
            await reply.message()
    assert (reply.outcome, reply.finish) == ("failed", None)


async def test_silence_ends_an_answer(up: FakeUpstream) -> None:
    """Before the first token, and in the middle."""
    core = line(up, first_token_timeout=0.5, idle_timeout=0.3)
    up.script(hang())
    async with core:
        with pytest.raises(TrunklineError) as raised:
            await core(chat(stream=True))
        cause = getattr(raised.value, "causes", (("", raised.value),))[0][1]
        assert isinstance(cause, FirstTokenTimeout)
        chunks = [chat_chunk({"role": "assistant", "content": "Hel"})]
        up.script(Sse([*chunks, *chunks]).hang_after(400))
        async with await core(chat(stream=True)) as reply:
            with pytest.raises(IdleTimeout):
                await reply.message()


async def test_leaving_early_closes_the_connection(up: FakeUpstream) -> None:
    """The provider stops writing."""
    core = line(up)
    up.script(
        Sse([chat_chunk({"role": "assistant", "content": f"{n} "}) for n in range(99)]).slow(0.05)
    )
    async with core:
        reply = await core(chat(stream=True))
        await reply.aclose()
        await eventually(lambda: not up.busy_connections)
    assert reply.outcome == "abandoned"


async def test_a_stream_that_repeats_itself_is_no_failure(up: FakeUpstream) -> None:
    """litellm would break off after a hundred equal chunks."""
    chunks = [chat_chunk({"content": "same "})] * 150
    up.script(Sse([*chunks, chat_chunk({}, finish="stop")]))
    reply = await read(line(up), chat(stream=True))
    assert (await reply.message()).text == "same " * 150


async def test_nothing_is_printed(up: FakeUpstream, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither advice nor prompts, also when a call fails."""
    up.script(Status(400, {"error": {"message": "no"}}))
    core = line(up)
    async with core:
        with pytest.raises(TrunklineError):
            await core(chat())
    assert capfd.readouterr() == ("", "")


async def test_direct_calls_are_logged_until_they_have_moved(
    up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Provider, model, usage, no words and no keys; the core's own calls not twice."""
    import litellm

    bridge.install()
    bridge.install()
    caplog.set_level(logging.INFO, "trunkline")
    how: dict[str, Any] = {"api_base": f"{up.url}/v1", "api_key": SECRET, "max_retries": 0}
    messages = [{"role": "user", "content": "a private word"}]
    await litellm.acompletion(model="openai/gpt-4o", messages=messages, **how)
    up.script(Status(400, {"error": {"message": f"no {SECRET}"}}))
    with pytest.raises(litellm.BadRequestError):
        await litellm.acompletion(model="openai/gpt-4o", messages=messages, **how)
    await read(line(up), chat())
    await litellm.acompletion(model="openai/last", messages=messages, **how)
    await eventually(lambda: len(caplog.records) == 5)
    records = [r for r in caplog.records if not hasattr(r, "call_id")]
    told = [(record.message, vars(record)["model"]) for record in records]
    assert told == [
        ("LLM response", "gpt-4o"),
        ("LLM error", "gpt-4o"),
        ("LLM response", "last"),
    ]
    good, bad, _ = (vars(record) for record in records)
    assert (good["provider"], good["model"], good["status"]) == ("openai", "gpt-4o", "complete")
    counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert good["usage"] == counts
    assert (bad["status"], bad["error_type"]) == ("failed", "BadRequestError")
    assert not any(SECRET in str(vars(r)) or "private" in str(vars(r)) for r in caplog.records)


async def test_parameters_that_a_model_does_not_take_are_dropped(up: FakeUpstream) -> None:
    """litellm knows which; they are no error."""
    up.script(Json(chat_answer()))
    await read(line(up), chat(model="litellm/openai/o3", temperature=0.3, presence_penalty=0.5))
    assert "presence_penalty" not in up.requests[0].json()
