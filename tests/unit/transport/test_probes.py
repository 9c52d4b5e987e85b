"""Providers are asked for the list of their models, and judged by the status."""

import asyncio
from typing import Any

import pytest

from trunkline.clock import SystemClock
from trunkline.config import from_mapping
from trunkline.testing import Answer, FakeUpstream, Json, Status, hang
from trunkline.transport import probes
from trunkline.transport.probes import Probe, probe_all

KEY = "sk-test-1234567890"


async def probed(url: str, kind: str = "openai", **more: Any) -> Probe:
    """Ask one provider at `url`."""
    fields = {"type": kind, "api_key": KEY, "base_url": url, **more}
    config = from_mapping({"llm_service": {"providers": {"p": fields}}})
    found = await asyncio.to_thread(probe_all, config.providers.values(), SystemClock())
    return found["p"]


@pytest.mark.parametrize(
    ("answer", "ok", "word"),
    [
        (Json({"data": []}), True, "200"),
        (Status(404), True, "404"),
        (Status(403), True, "403"),
        (Status(429), True, "429"),
        (Status(401), False, "api_key"),
        (Status(302, headers={"location": "http://elsewhere/"}), False, "base_url"),
        (Status(500), False, "500"),
    ],
    ids=["200", "404", "403", "429", "401", "302", "500"],
)
async def test_what_an_answer_means(answer: Answer, ok: bool, word: str) -> None:
    """Whoever answers is there, unless it is an error of its own or our key is no good."""
    async with FakeUpstream() as up:
        up.script(answer)
        told = await probed(f"{up.url}/v1")
    assert told.ok is ok
    assert word in told.why
    assert KEY not in told.why
    assert 0 < told.latency_ms < 2000


@pytest.mark.parametrize(
    ("kind", "base", "path", "header"),
    [
        ("openai", "/v1", "/v1/models", "authorization"),
        ("anthropic", "/v1", "/v1/models", "x-api-key"),
        ("gemini", "/v1beta", "/v1beta/models", "x-goog-api-key"),
        ("ollama", "", "/api/tags", "authorization"),
        ("cohere", "/v2", "/v1/models", "authorization"),
        ("bedrock", "", "/foundation-models", "authorization"),
    ],
)
async def test_the_list_is_asked_for_as_calls_are(
    kind: str, base: str, path: str, header: str
) -> None:
    """With the key and the headers of the provider."""
    async with FakeUpstream() as up:
        more = {"region": "us-east-1"} if kind == "bedrock" else {}
        await probed(f"{up.url}{base}", kind, headers={"x-team": "blue"}, **more)
        [request] = up.requests
    assert (request.method, request.path) == ("GET", path)
    assert request.headers[header].endswith(KEY)
    assert request.headers["x-team"] == "blue"
    assert request.body == b""
    assert ("anthropic-version" in request.headers) == (kind == "anthropic")


async def test_nobody_is_there() -> None:
    """No answer in time, no connection, or no address: each is said, none is raised."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "MOST_S", 0.05)
        async with FakeUpstream(lambda _: hang()) as up:
            silent = await probed(f"{up.url}/v1")
    gone = await probed(f"{up.url}/v1")
    nowhere = await probed("http://localhost:1/\N{SNOWMAN}")
    assert [each.ok for each in (silent, gone, nowhere)] == [False] * 3
    assert silent.why.startswith("no answer within")
    assert "cannot connect" in gone.why
    assert "percent-encoded" in nowhere.why


async def test_what_answers_in_this_process() -> None:
    """Is there without being asked; no provider at all is no error."""
    config = from_mapping({"llm_service": {"providers": {"demo": {}}}})
    found = await asyncio.to_thread(probe_all, config.providers.values(), SystemClock())
    assert found["demo"].ok
    assert probe_all([], SystemClock()) == {}


async def test_a_signed_provider_is_asked_with_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the secret itself, and with no key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    fields = {"type": "bedrock", "region": "us-east-1"}
    async with FakeUpstream() as up:
        providers = {"p": {**fields, "base_url": up.url}}
        config = from_mapping({"llm_service": {"providers": providers}})
        await asyncio.to_thread(probe_all, config.providers.values(), SystemClock())
        [request] = up.requests
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert KEY not in str(request.headers)
