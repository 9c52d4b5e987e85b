"""Seed 000's observability: what is logged of every call."""

import logging

import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from trunkline import Trunkline, call_llm, errors, stream_llm
from trunkline.testing import FakeUpstream, Status

HELLO = [{"role": "user", "content": "Hello!"}, {"role": "user", "content": "Still there?"}]


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    """Return the fields of every event called `name`."""
    return [record.__dict__ for record in caplog.records if record.message == name]


@pytest.fixture(autouse=True)
def info_level(caplog: pytest.LogCaptureFixture) -> None:
    """Let INFO through, as an application that looks at its log does."""
    caplog.set_level(logging.INFO, "trunkline")


@pytest.mark.acceptance("G16")
async def test_request_details(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Provider, model and message count."""
    await call_llm(provider="openai", model="gpt-4", messages=HELLO, parameters={})
    line.flush()
    [event] = events(caplog, "LLM request")
    assert (event["provider"], event["model"], event["message_count"]) == ("openai", "gpt-4", 2)


@pytest.mark.acceptance("G17")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_response_metadata(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    """Status, latency, usage, finish reason and ids."""
    if stream:
        async for _ in stream_llm("openai", "gpt-4o", HELLO, {}):
            pass
    else:
        await call_llm("openai", "gpt-4o", HELLO, {})
    line.flush()
    [event] = events(caplog, "LLM response")
    assert event["status"] == "complete"
    assert isinstance(event["latency_ms"], float)
    assert event["latency_ms"] > 0
    assert event["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert event["finish_reason"] == "stop"
    assert str(event["call_id"]).startswith("call_")
    assert event["upstream_id"] == "chatcmpl-fake"
    assert event["cost_state"] == "exact"


@pytest.mark.acceptance("G18")
async def test_errors_have_their_context(
    line: Trunkline, up: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Provider, model, user, and the type of the exception."""
    up.script(Status(503, {"error": {"message": "try later"}}))
    with pytest.raises(errors.UpstreamOverloaded):
        await call_llm("openai", "gpt-4", HELLO, {}, user_id="user-123")
    [event] = events(caplog, "LLM error")
    assert (event["provider"], event["model"], event["user_id"]) == ("openai", "gpt-4", "user-123")
    assert (event["error_type"], event["error_code"]) == (
        "UpstreamOverloaded",
        "upstream_overloaded",
    )
    assert "try later" in str(event["error"])
    assert event["levelname"] == "ERROR"


@pytest.mark.acceptance("G19")
async def test_every_call_is_logged_with_the_default_configuration(
    up: FakeUpstream, make_line: MakeLine, caplog: pytest.LogCaptureFixture
) -> None:
    """N calls leave N request and N response events, and N rows in the records."""
    line = make_line(default_provider="openai", providers={"openai": openai_at(up)})
    for _ in range(7):
        await call_llm("openai", "gpt-4", HELLO, {})
    line.flush()
    assert len(events(caplog, "LLM request")) == len(events(caplog, "LLM response")) == 7
    assert len(line.store.calls(100)) == 7
