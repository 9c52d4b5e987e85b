"""Two processes and a provider that is down: what one has found out keeps the other away."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serving import starting
from trunkline import Trunkline, errors
from trunkline.llm_service.ask import NOBODY, ask, chat
from trunkline.testing import FakeUpstream, Status

ROOT = Path(__file__).parents[2]
ADMIN = "a-key-of-the-administrator"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello!"}]
SCRIPT = """
import asyncio, json, sys
from trunkline import Trunkline
from trunkline.errors import TrunklineError
from trunkline.llm_service.ask import NOBODY, ask, chat

async def main():
    said = [{"role": "user", "content": "Hello!"}]
    async with Trunkline.from_config(json.loads(sys.argv[1])) as line:
        circuit = line.health.of("openai/one").circuit
        print("ready", flush=True)
        while circuit.calm:
            await ask(line, chat(said, "demo/m", {}), NOBODY)
            await asyncio.sleep(0.02)
        try:
            await ask(line, chat(said, "openai/one", {}), NOBODY)
        except TrunklineError as error:
            print(error.code, circuit.cause, flush=True)

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where both keep their records."""
    if request.param == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("database_url")}


def popen(config: dict[str, Any]) -> "subprocess.Popen[str]":
    """Start the other process."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def test_a_second_process_stays_away_as_well(storage: dict[str, str]) -> None:
    """Within seconds, without an attempt of its own."""
    async with FakeUpstream() as up:
        up.on(lambda request: Status(500, {"error": {"message": "down"}}))
        openai = {"api_key": "sk-test-123456", "base_url": f"{up.url}/v1", "retries": 0}
        providers = {"openai": {**openai, "models": ["one"]}, "demo": {"models": ["m"]}}
        config: dict[str, Any] = {"llm_service": {"providers": providers, "storage": storage}}
        other = popen(config)
        assert other.stdout is not None
        with other:
            try:
                assert await asyncio.to_thread(other.stdout.readline) == "ready\n"
                async with Trunkline.from_config(config) as line:
                    for _ in range(5):
                        with pytest.raises(errors.UpstreamFailed):
                            await ask(line, chat(HELLO, "openai/one", {}), NOBODY)
                    async with asyncio.timeout(20):
                        said = await asyncio.to_thread(other.stdout.readline)
            finally:
                other.kill()
        assert said == "circuit_open upstream_failed\n"
        assert len(up.requests) == 5


def configure(url: str) -> None:
    """Write the configuration of a gateway with two workers."""
    openai = {"api_key": "sk-test-123456", "models": ["one"], "base_url": f"{url}/v1"}
    config = {"llm_service": {"providers": {"openai": openai}, "server": {"workers": 2}}}
    Path("trunkline.yaml").write_text(json.dumps(config))


async def test_the_gateway_tells() -> None:
    """A refused credential is said once on standard error, and in `/metrics` for all workers."""
    with FakeUpstream.in_thread() as up, starting() as start:
        up.on(lambda request: Status(401, {"error": {"message": "no"}}))
        configure(up.url)
        process = start("--port", "0", TRUNKLINE_ADMIN_KEY=ADMIN)
        root, bearer = process.url.removesuffix("/v1"), {"authorization": f"Bearer {ADMIN}"}
        everywhere = 'trunkline_circuits{deployment="openai/one",state="disabled"} 2\n'
        async with aiohttp.ClientSession(headers=bearer) as session, asyncio.timeout(30):
            body = {"model": "openai/one", "messages": HELLO}
            for _ in range(5):
                async with session.post(f"{root}/v1/chat/completions", json=body) as answer:
                    assert answer.status == 502
            metrics = ""
            while everywhere not in metrics:
                await asyncio.sleep(0.1)
                async with session.get(f"{root}/metrics") as answer:
                    metrics = await answer.text()
        code, said = process.end()
    assert code == 0
    assert said == "trunkline: LLM deployment disabled: openai/one, upstream_auth_failed\n"
    assert sum(one.method == "POST" for one in up.requests) == 3
