"""Limits per minute as callers meet them: headers, refusals, keys, processes that share them."""

import asyncio
import contextlib
import datetime
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.acceptance.conftest import MakeLine, openai_at
from tests.gateways import ADMIN_KEY, administered, running
from tests.servers import Valkey
from tests.serving import Process
from trunkline import Trunkline, errors
from trunkline.config import from_mapping
from trunkline.gateway.app import Gateway
from trunkline.gateway.server import Server
from trunkline.llm_service.ask import NOBODY, ask, chat
from trunkline.testing import FakeUpstream, Json, ManualClock, chat_answer

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
CI_KEY = "sk-ci-0123456789abcdef"
THEIRS = {"x-ratelimit-limit-requests": "777", "x-ratelimit-remaining-requests": "776"}


@contextlib.asynccontextmanager
async def gateway(make_line: MakeLine, up: FakeUpstream, **more: Any) -> AsyncIterator[str]:
    """Serve one model to a key."""
    line = make_line(
        default_provider="openai",
        providers={"openai": openai_at(up, models=["gpt-4o"])},
        **{"keys": [{"name": "ci", "key": CI_KEY}], **more},
    )
    async with running(line) as url:
        yield url


async def test_openai_sdk_reads_what_is_left(make_line: MakeLine, up: FakeUpstream) -> None:
    """As from OpenAI: limit, remaining and reset of both units, ours and not the provider's."""
    limits = {"scope": "key:ci", "requests_per_minute": 2, "tokens_per_minute": 6000}
    async with gateway(make_line, up, rate_limits=[limits]) as url:
        sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=CI_KEY, max_retries=0)
        async with sdk:
            up.script(Json(chat_answer("Hi."), headers=THEIRS))
            raw = await sdk.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=HELLO, max_tokens=100
            )
            headers = raw.headers
            assert headers["x-ratelimit-limit-requests"] == "2"
            assert headers["x-ratelimit-remaining-requests"] == "1"
            assert headers["x-ratelimit-reset-requests"] == "30s"
            assert headers["x-ratelimit-limit-tokens"] == "6000"
            assert 5800 < int(headers["x-ratelimit-remaining-tokens"]) < 5900
            assert headers["x-ratelimit-reset-tokens"].startswith("1.")
            stream = await sdk.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=HELLO, stream=True
            )
            assert stream.headers["x-ratelimit-remaining-requests"] == "0"
            async for _ in stream.parse():
                pass
            with pytest.raises(openai.RateLimitError) as refusal:
                await sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
    answer = refusal.value.response
    assert refusal.value.code == "rate_limited"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert 25 <= int(answer.headers["retry-after"]) <= 30
    assert len(up.requests) == 2


async def test_anthropic_sdk_reads_what_is_left(make_line: MakeLine, up: FakeUpstream) -> None:
    """As from Anthropic: its names, and the time of the reset."""
    limits = {"scope": "key:*", "requests_per_minute": 1, "tokens_per_minute": 6000}
    async with gateway(make_line, up, rate_limits=[limits]) as url:
        sdk = anthropic.AsyncAnthropic(base_url=url, api_key=CI_KEY, max_retries=0)
        async with sdk:
            raw = await sdk.messages.with_raw_response.create(
                model="gpt-4o", messages=HELLO, max_tokens=100
            )
            prefix = "anthropic-ratelimit"
            assert raw.headers[f"{prefix}-requests-limit"] == "1"
            assert raw.headers[f"{prefix}-requests-remaining"] == "0"
            reset = datetime.datetime.fromisoformat(raw.headers[f"{prefix}-requests-reset"])
            away = reset - datetime.datetime.now(datetime.UTC)
            assert 50 < away.total_seconds() <= 61
            assert int(raw.headers[f"{prefix}-tokens-remaining"]) < 6000
            with pytest.raises(anthropic.RateLimitError) as refusal:
                await sdk.messages.create(model="gpt-4o", messages=HELLO, max_tokens=100)
    assert refusal.value.response.headers[f"{prefix}-requests-remaining"] == "0"
    assert "retry-after" in refusal.value.response.headers


async def test_who_has_no_limits_reads_nothing(make_line: MakeLine, up: FakeUpstream) -> None:
    """Nor what the provider says of its own limits, which are not the caller's."""
    async with gateway(make_line, up) as url, aiohttp.ClientSession() as http:
        up.script(Json(chat_answer("Hi."), headers=THEIRS))
        async with http.post(
            f"{url}/v1/chat/completions",
            json={"model": "gpt-4o", "messages": HELLO},
            headers={"authorization": f"Bearer {ADMIN_KEY}"},
        ) as answer:
            assert answer.status == 200
            assert not [name for name in answer.headers if "ratelimit" in name.lower()]


async def test_a_key_made_at_run_time_has_limits_or_a_tier(tmp_path: Path) -> None:
    """Its own at once, and its tier's when they are taken away again."""
    config = from_mapping(
        {
            "llm_service": {
                "providers": {"demo": {}},
                "rate_limits": [{"scope": "tier:free", "requests_per_minute": 1}],
            }
        },
        {"TRUNKLINE_DATA": str(tmp_path / "d")},
    )
    async with (
        administered(config) as house,
        running_app(house) as url,
        aiohttp.ClientSession(headers={"x-api-key": ADMIN_KEY}) as http,
    ):
        body = {"name": "k", "tier": "free", "rate_limits": {"requests_per_minute": 2}}
        async with http.post(f"{url}/v1/keys", json=body) as answer:
            made = await answer.json()
        assert made["rate_limits"] == {"requests_per_minute": 2, "tokens_per_minute": None}
        assert await spent(http, url, made["key"]) == 2
        async with http.patch(f"{url}/v1/keys/{made['id']}", json={"rate_limits": None}) as answer:
            assert (await answer.json())["rate_limits"] is None
        async with http.post(f"{url}/v1/keys", json={"name": "l", "tier": "free"}) as answer:
            other = await answer.json()
        assert await spent(http, url, other["key"]) == 1
        body = {"name": "m", "rate_limits": {"requests_per_minute": 0}}
        async with http.post(f"{url}/v1/keys", json=body) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["param"] == "rate_limits.requests_per_minute"


@contextlib.asynccontextmanager
async def running_app(house: Gateway) -> AsyncIterator[str]:
    """Serve a gateway that is there already."""
    server = Server(house)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.start(listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await server.stop()


async def spent(http: aiohttp.ClientSession, url: str, key: str, most: int = 5) -> int:
    """Call until refused; return how many calls were answered."""
    for count in range(most):
        async with http.post(
            f"{url}/v1/chat/completions",
            json={"model": "demo", "messages": HELLO},
            headers={"authorization": f"Bearer {key}"},
        ) as answer:
            if answer.status != 200:
                assert answer.status == 429
                return count
    return most


@pytest.mark.acceptance("A13")
async def test_a_limit_flows_back_by_the_clock(up: FakeUpstream, tmp_path: Path) -> None:
    """After so long as the refusal says, the next call is answered; and no earlier."""
    clock = ManualClock()
    openai_ = openai_at(up, models=["m"], rate_limits={"requests_per_minute": 60})
    config = from_mapping(
        {"llm_service": {"providers": {"openai": openai_}}},
        {"TRUNKLINE_DATA": str(tmp_path / "d")},
    )
    async with Trunkline(config, clock=clock) as line:
        for _ in range(60):
            await ask(line, chat(HELLO, "m", {}), NOBODY)
        for early_s in (0.0, 0.99):
            clock.advance(early_s)
            with pytest.raises(errors.RateLimited):
                await ask(line, chat(HELLO, "m", {}), NOBODY)
        clock.advance(0.011)
        await ask(line, chat(HELLO, "m", {}), NOBODY)
    assert len(up.requests) == 61


@pytest.mark.acceptance("A13")
@pytest.mark.parametrize("scope", ["provider:openai", "deployment:openai/m"])
async def test_a_quota_of_a_provider_sends_calls_to_the_next(
    up: FakeUpstream, make_line: MakeLine, scope: str
) -> None:
    """A budget on it that is used up is a reason to ask another; the last one's is the error."""
    priced = [{"name": "m", "price": {"input": 1000, "output": 1000}}]
    quota = {"scope": scope, "amount": 0.045, "period": "day"}
    line = make_line(
        default_provider="openai",
        fallback_chain=["openai", "ollama"],
        providers={
            "openai": openai_at(up, models=priced),
            "ollama": {"base_url": f"{up.url}/ollama/v1", "models": ["m"]},
        },
        budgets=[quota],
    )
    call = {"max_tokens": 1}
    for _ in range(3):
        await ask(line, chat(HELLO, "openai/m", call), NOBODY)
    paths = [request.path for request in up.requests]
    assert paths == ["/v1/chat/completions", *["/ollama/api/chat"] * 2]


def settings(folder: Path, up: FakeUpstream, **more: Any) -> Path:
    """Write a configuration of one limited provider and one limited key."""
    file = folder / "trunkline.yaml"
    openai_ = openai_at(up, models=["gpt-4o"], rate_limits={"requests_per_minute": 40})
    keys = [
        {"name": "ci", "key": CI_KEY},
        {"name": "few", "key": f"{CI_KEY}-few", "rate_limits": {"requests_per_minute": 15}},
    ]
    file.write_text(
        json.dumps({"llm_service": {"providers": {"openai": openai_}, "keys": keys, **more}})
    )
    return file


async def storm(urls: list[str], key: str, count: int) -> list[int]:
    """Make many calls at once, each on a connection of its own; return how they ended."""

    async def one(http: aiohttp.ClientSession, url: str) -> int:
        async with http.post(
            f"{url}/chat/completions",
            json={"model": "gpt-4o", "messages": HELLO},
            headers={"authorization": f"Bearer {key}"},
        ) as answer:
            await answer.read()
            return answer.status

    connector = aiohttp.TCPConnector(force_close=True, limit=20)
    async with aiohttp.ClientSession(connector=connector) as http:
        return await asyncio.gather(*(one(http, urls[n % len(urls)]) for n in range(count)))


async def told(url: str, path: str) -> str:
    """Ask for something that everybody may have."""
    base = url.removesuffix("/v1")
    async with aiohttp.ClientSession() as http, http.get(f"{base}{path}") as answer:
        return await answer.text()


@pytest.mark.slow
@pytest.mark.acceptance("A13")
async def test_workers_keep_one_limit(up: FakeUpstream, tmp_path: Path) -> None:
    """Two processes on one port: of the provider's 40 and the key's 15 calls, each exactly."""
    file = settings(tmp_path, up)
    process = Process("--config", str(file), "--port", "0", "--workers", "2")
    try:
        few = await storm([process.url], f"{CI_KEY}-few", 40)
        assert few.count(200) == 15
        many = await storm([process.url], CI_KEY, 60)
        assert many.count(200) in {25, 26}  # what flowed back meanwhile
        assert set(few + many) == {200, 429}
        refused = {"key": 25, "provider": many.count(429), "user": 0}
        for scope, count in refused.items():
            await until_told(
                process.url,
                "/metrics",
                f'trunkline_rate_limited_total{{scope="{scope}"}} {count}\n',
            )
        assert "trunkline_rate_limits_alone 0" in await told(process.url, "/metrics")
    finally:
        process.end()


@pytest.mark.slow
@pytest.mark.acceptance("A13")
async def test_replicas_keep_one_limit_and_go_on_without_valkey(
    up: FakeUpstream,
    tmp_path: Path,
    database_url: str,
    valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two gateways share Valkey; it dies under calls, is told to be missing, and comes back."""
    monkeypatch.setenv("TRUNKLINE_SECRET", "s" * 32)
    storage = {"database_url": database_url, "redis_url": valkey.url}
    file = settings(tmp_path, up, storage=storage)
    replicas = [
        Process("--config", str(file), "--port", "0", TRUNKLINE_DATA=str(tmp_path / name))
        for name in ("one", "two")
    ]
    urls = [replica.url for replica in replicas]
    try:
        few = await storm(urls, f"{CI_KEY}-few", 40)
        assert 15 <= few.count(200) <= 16
        assert await told(urls[0], "/ready") == '{"status":"ready"}'
        storming = asyncio.create_task(storm(urls, CI_KEY, 30))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(valkey.stop)
        assert set(await storming) <= {200, 429}
        assert set(await storm(urls, CI_KEY, 100)) == {200, 429}
        assert len(up.requests) <= 16 + 2 * 41
        for url in urls:
            await until_told(url, "/ready", '"status":"degraded"')
            await until_told(url, "/metrics", "trunkline_rate_limits_alone 1")
        valkey.start()
        for url in urls:
            await until_told(url, "/ready", '{"status":"ready"}')
            await until_told(url, "/metrics", "trunkline_rate_limits_alone 0")
    finally:
        for replica in replicas:
            replica.end()


async def until_told(url: str, path: str, text: str) -> None:
    """Wait until an answer has `text`."""
    async with asyncio.timeout(20):
        while text not in await told(url, path):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)
