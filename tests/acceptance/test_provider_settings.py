"""Seed 003's provider settings, by their effect on real calls."""

from typing import Any

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import LLMRequest, LLMService, call_llm, errors
from trunkline.testing import FakeUpstream, Json, Sse, chat_answer, chat_chunks

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.mark.acceptance("A11")
async def test_key_url_and_models_have_effect(up: FakeUpstream, make_line: MakeLine) -> None:
    """The key is sent, the address is asked, a listed model finds its provider by itself."""
    make_line(
        default_provider="ollama",
        providers={
            "openai": openai_at(up, models=["gpt-4"]),
            "ollama": {"base_url": f"{up.url}/elsewhere/v1", "models": ["llama2"]},
        },
    )
    await call_llm("openai", "gpt-4", HELLO, {})
    await call_llm(None, "llama2", HELLO, {})  # type: ignore[arg-type]
    first, second = up.requests
    assert first.headers["authorization"] == "Bearer sk-test-1234567890"
    assert first.path == "/v1/chat/completions"
    assert "authorization" not in second.headers
    assert second.path == "/elsewhere/api/chat"


@pytest.mark.acceptance("A11")
async def test_requests_per_minute(up: FakeUpstream, make_line: MakeLine) -> None:
    """The call over the limit is not sent: it is refused with the wait, or goes to the next."""
    limited = openai_at(up, models=["gpt-4"], rate_limits={"requests_per_minute": 2})
    make_line(default_provider="openai", providers={"openai": limited})
    await call_llm("openai", "gpt-4", HELLO, {})
    await call_llm("openai", "gpt-4", HELLO, {})
    with pytest.raises(errors.RateLimited) as caught:
        await call_llm("openai", "gpt-4", HELLO, {})
    assert caught.value.retry_after_s == pytest.approx(30, abs=2)
    assert len(up.requests) == 2
    line = make_line(
        default_provider="second",
        fallback_chain=["second", "ollama"],
        providers={
            "second": {"type": "openai", **limited},
            "ollama": {"base_url": f"{up.url}/ollama/v1", "models": ["llama2"]},
        },
    )
    service = LLMService(line)
    asked = [await service.generate(LLMRequest(HELLO, "gpt-4")) for _ in range(3)]
    assert [answer.provider for answer in asked] == ["second", "second", "ollama"]


@pytest.mark.acceptance("A11")
async def test_tokens_per_minute(up: FakeUpstream, make_line: MakeLine) -> None:
    """What an answer really used counts, so a large one keeps the next call away."""
    limited = openai_at(up, rate_limits={"tokens_per_minute": 5000})
    make_line(default_provider="openai", providers={"openai": limited})
    usage = {"prompt_tokens": 4000, "completion_tokens": 900, "total_tokens": 4900}
    up.script(Json(chat_answer("long", usage=usage)))
    await call_llm("openai", "gpt-4", HELLO, {"max_tokens": 200})
    with pytest.raises(errors.RateLimited, match="tokens per minute"):
        await call_llm("openai", "gpt-4", HELLO, {"max_tokens": 200})


@pytest.mark.acceptance("A11")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_timeout(up: FakeUpstream, make_line: MakeLine, stream: bool) -> None:
    """An answer that is not finished in `timeout` seconds is an AttemptTimeout, and is closed."""
    slow: dict[str, Any] = openai_at(up, timeout=0.2)
    line = make_line(default_provider="openai", providers={"openai": slow})
    up.script(
        Sse(chat_chunks("one two three four five"), delay_s=0.1)
        if stream
        else Json(chat_answer("late")).late(5.0)
    )
    with pytest.raises(errors.AttemptTimeout):
        await call_llm("openai", "gpt-4", HELLO, {})
    await up.wait_idle()
    line.flush()
    [row] = line.store.calls(1)
    assert (row.call.error_code, row.attempts[0].outcome) == ("attempt_timeout", "failed")
