"""Seed 003: failover along `fallback_chain`, before anything was shown to the caller."""

import logging
from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import LLMRequest, LLMService, call_llm, complete, errors, stream_llm
from trunkline.testing import (
    Answer,
    FakeUpstream,
    Json,
    Sse,
    Status,
    chat_answer,
    chat_chunk,
    message_events,
    ollama_answer,
)

HELLO = [{"role": "user", "content": "Hello!"}]
DOWN = Status(500, {"error": {"message": "internal", "type": "server_error"}})


@pytest.fixture
def chain(up: FakeUpstream, make_line: MakeLine) -> LLMService:
    """Three providers at one scripted upstream, told apart by their path."""

    def at(name: str, **more: Any) -> dict[str, Any]:
        return {**openai_at(up), "base_url": f"{up.url}/{name}/v1", **more}

    line = make_line(
        default_provider="openai",
        fallback_chain=["openai", "anthropic", "ollama"],
        model_map={"gpt-4": {"anthropic": "claude-3-opus"}},
        providers={
            "openai": at("openai", models=["gpt-4"]),
            "anthropic": at("anthropic", models=["claude-3-haiku", "claude-3-opus"]),
            "ollama": at("ollama", models=["llama2", "mistral"]),
        },
    )
    return LLMService(line)


def asked(up: FakeUpstream) -> list[tuple[str, str]]:
    """Return (provider, model) of every request."""
    return [(request.path.split("/")[1], request.json()["model"]) for request in up.requests]


@pytest.mark.acceptance("A16")
async def test_the_chain_is_walked_with_each_providers_own_model(
    chain: LLMService, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenAI down: Anthropic is asked for the mapped model; it down too: Ollama for its first."""
    caplog.set_level(logging.WARNING, "trunkline")
    up.script(DOWN, DOWN, Json(ollama_answer("from the llama")))
    response = await chain.generate(LLMRequest(messages=HELLO, model="gpt-4"))
    assert (response.content, response.provider) == ("from the llama", "ollama")
    assert asked(up) == [
        ("openai", "gpt-4"),
        ("anthropic", "claude-3-opus"),
        ("ollama", "llama2"),
    ]
    chain.line.flush()
    [warning] = [record for record in caplog.records if record.message == "LLM warning"]
    assert "gpt-4" in str(warning.__dict__["warnings"])
    assert "llama2" in str(warning.__dict__["warnings"])


@pytest.mark.acceptance("A17")
@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        Sse([{"error": {"message": "overloaded", "code": 503}}], done=False),
        Sse([chat_chunk({"role": "assistant", "content": ""})], done=False),
    ],
    ids=["status", "error as first event", "cut before the first token"],
)
async def test_a_stream_fails_over_before_its_first_token(
    chain: LLMService, up: FakeUpstream, failure: Answer
) -> None:
    """Whatever goes wrong before anything was shown, the reader sees only the good answer."""
    up.script(failure, Sse(message_events("all is well"), done=False))
    chunks = [c async for c in stream_llm("openai", "gpt-4", HELLO, {})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "all is well"
    assert [name for name, _ in asked(up)] == ["openai", "anthropic"]


@pytest.mark.acceptance("A17")
async def test_a_stream_never_fails_over_after_its_first_token(
    chain: LLMService, up: FakeUpstream
) -> None:
    """What was shown cannot be taken back: the error reaches the reader, nobody else is asked."""
    up.script(Sse([chat_chunk({"content": "Hel"}), {"error": {"message": "overloaded"}}]))
    seen: list[str | None] = []

    async def read() -> None:
        async for chunk in stream_llm("openai", "gpt-4", HELLO, {}):
            seen.append(chunk.choices[0].delta.content)

    with pytest.raises(errors.ProviderError, match="overloaded"):
        await read()
    assert seen == ["Hel"]
    assert len(up.requests) == 1


async def test_when_all_fail_the_error_has_every_cause(chain: LLMService, up: FakeUpstream) -> None:
    """`AllProvidersUnavailable` names each deployment with its error."""
    up.script(DOWN, DOWN, DOWN)
    with pytest.raises(errors.AllProvidersUnavailable) as caught:
        await complete("gpt-4", HELLO, "t")
    assert [name for name, _ in caught.value.causes] == [
        "openai/gpt-4",
        "anthropic/claude-3-opus",
        "ollama/llama2",
    ]
    assert isinstance(caught.value.__cause__, errors.UpstreamFailed)


async def test_the_callers_own_mistake_is_not_passed_on(
    chain: LLMService, up: FakeUpstream
) -> None:
    """A 400 is the same everywhere."""
    up.script(Status(400, {"error": {"message": "bad", "type": "invalid_request_error"}}))
    with pytest.raises(errors.Refused):
        await complete("gpt-4", HELLO, "t")
    assert len(up.requests) == 1


RETRIED = {
    "429": (Status(429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}), 3),
    "500": (DOWN, 3),
    "529": (Status(529, {"error": {"message": "overloaded"}}), 3),
    "400": (Status(400, {"error": {"message": "bad"}}), 1),
    "401": (Status(401, {"error": {"message": "key"}}), 1),
    "quota": (Status(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), 1),
}


@pytest.mark.acceptance("A22", "K07")
@pytest.mark.parametrize("case", list(RETRIED))
async def test_only_what_may_help_is_retried(
    up: FakeUpstream, make_line: MakeLine, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three attempts on passing failures, one on those that stay; each failure has its class."""
    monkeypatch.setattr("trunkline.layers.retry._BASE_S", 0.0)
    answer, attempts = RETRIED[case]
    up.on(lambda request: answer)
    provider = openai_at(up, retries=2)
    make_line(default_provider="openai", providers={"openai": provider})
    kinds = {
        "429": errors.UpstreamRateLimited,
        "500": errors.UpstreamFailed,
        "529": errors.UpstreamOverloaded,
        "400": errors.Refused,
        "401": errors.AuthFailed,
        "quota": errors.QuotaExhausted,
    }
    with pytest.raises(kinds[case]) as caught:
        await call_llm("openai", "gpt-4", HELLO, {})
    assert type(caught.value) is kinds[case]
    assert len(up.requests) == attempts


@pytest.mark.acceptance("A22")
async def test_retry_after_is_obeyed(
    up: FakeUpstream, make_line: MakeLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that says when to come back is asked again then, not before."""
    monkeypatch.setattr("trunkline.layers.retry._BASE_S", 0.0)
    busy = Status(429, {"error": {"message": "slow"}}, {"retry-after-ms": "120"})
    up.script(busy, Json(chat_answer("now")))
    make_line(default_provider="openai", providers={"openai": openai_at(up, retries=2)})
    content, _ = await call_llm("openai", "gpt-4", HELLO, {})
    assert content == "now"
    assert up.requests[1].time_s - up.requests[0].time_s >= 0.12


@pytest.mark.acceptance("A22")
async def test_a_timeout_is_a_class_of_its_own(up: FakeUpstream, make_line: MakeLine) -> None:
    """No first token in time is a FirstTokenTimeout, and is retried."""
    up.script(Json(chat_answer("late")).late(5.0), Json(chat_answer("in time")))
    provider = openai_at(up, retries=1, first_token_timeout=0.1)
    line = make_line(default_provider="openai", providers={"openai": provider})
    content, _ = await call_llm("openai", "gpt-4", HELLO, {})
    assert content == "in time"
    line.flush()
    [row] = line.store.calls(10)
    assert [attempt.error_code for attempt in row.attempts] == ["first_token_timeout", None]
