"""The steward: rows, answers on its socket, and workers that come and go."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.serving import eventually
from trunkline import Chat, Trunkline
from trunkline.config import Config, from_mapping
from trunkline.config.handover import encode
from trunkline.gateway import steward, uplink
from trunkline.gateway.admin.registry import Registry
from trunkline.gateway.link import Link, message
from trunkline.gateway.steward import Steward
from trunkline.gateway.told import Told
from trunkline.gateway.uplink import Asker, Question, Report, ask, keep_telling, put
from trunkline.journal.bell import ring, socket_path
from trunkline.llm_service.ask import chat

TOLD = Told(url="http://h:1", pid=7, started_s=1_700_000_000, restarts=0)


@pytest.fixture
def config() -> Config:
    """A configuration with a provider that is down."""
    providers = {"demo": {}, "ollama": {"base_url": "http://127.0.0.1:9"}}
    return from_mapping({"llm_service": {"default_provider": "demo", "providers": providers}})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hurry."""
    monkeypatch.setattr(steward, "_INGEST_S", 0.02)
    monkeypatch.setattr(uplink, "_EVERY_S", 0.02)


@pytest.fixture
async def link(config: Config, quick: None) -> AsyncIterator[socket.socket]:
    """A steward at work; gives the supervisor's end of its link."""
    config.data_dir.mkdir()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        task = asyncio.create_task(Steward(TOLD, config).run(Link(theirs.fileno())))
        await asyncio.to_thread(ours.recv, 1)
        yield ours
        ours.close()
        await asyncio.wait_for(task, 20)


async def told(config: Config) -> dict[str, Any]:
    """Return what the steward says about the gateway."""
    status, body = await ask(config.data_dir, "/status")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


async def until(config: Config, workers: list[int]) -> dict[str, Any]:
    """Wait until the steward knows these workers."""

    async def known() -> bool:
        return [each["pid"] for each in (await told(config))["workers"]] == workers

    await eventually(known)
    return await told(config)


@pytest.mark.usefixtures("link")
async def test_status(config: Config) -> None:
    """The gateway, its providers and how far behind the rows are."""
    found = await told(config)
    assert found.pop("ingest_lag_s") < 5
    assert found == {
        "url": "http://h:1",
        "pid": 7,
        "started": 1_700_000_000,
        "workers": [],
        "default_provider": "demo",
        "providers": {
            "demo": {"reachable": True, "resting": []},
            "ollama": {"reachable": False, "resting": []},
        },
    }


@pytest.mark.usefixtures("link")
async def test_a_worker_comes_and_goes(config: Config) -> None:
    """What it says is known for as long as it is connected."""
    report = Report(pid=9, open_requests=3, restarts=1, resting=("ollama/a", "demo/b"))
    telling = asyncio.create_task(keep_telling(config.data_dir, lambda: report))
    found = await until(config, [9])
    assert found["workers"][0]["open_requests"] == 3
    assert found["providers"]["ollama"]["resting"] == ["ollama/a"]
    _, metrics = await ask(config.data_dir, "/metrics")
    assert b"\ntrunkline_open_requests 3\n" in metrics
    telling.cancel()
    await until(config, [])


async def test_rows(config: Config, link: socket.socket) -> None:
    """They come by themselves and at once when asked for, are counted once, and all at the end."""
    line = Trunkline(config, ingesting=False)

    async def call() -> None:
        async with await line(asked()) as reply:
            await reply.message()

    await call()
    await eventually(line.store.calls)
    await call()
    assert await asyncio.to_thread(ring, config.data_dir)
    assert len(line.store.calls()) == 2
    _, metrics = await ask(config.data_dir, "/metrics")
    assert b'calls_total{deployment="demo/demo",outcome="complete",code=""} 2\n' in metrics
    await call()
    link.close()
    await eventually(lambda: len(line.store.calls()) == 3)
    assert not socket_path(config.data_dir).exists()


def asked() -> Chat:
    """Return a call."""
    return chat([{"role": "user", "content": "hi"}], "demo", provider="demo")


async def test_another_configuration(config: Config, link: socket.socket) -> None:
    """It speaks of the new providers."""
    link.sendall(message(encode(from_mapping({"llm_service": {"providers": {"demo": {}}}}))))

    async def known() -> bool:
        return list((await told(config))["providers"]) == ["demo"]

    await eventually(known)


async def test_administration_by_another_configuration(config: Config, link: socket.socket) -> None:
    """What it names may be named."""
    budget = {"scope": "key:ci", "amount_usd": 1, "period": "day"}
    question = Question(
        method="POST",
        path="/v1/budgets",
        body=json.dumps(budget).encode(),
        asker=Asker(id="admin", role="admin"),
    )
    status, body = await put(config.data_dir, question, 5)
    assert (status, json.loads(body)["param"]) == (400, "scope")
    keys = {"keys": [{"name": "ci", "key": "k" * 16}]}
    link.sendall(message(encode(from_mapping({"llm_service": keys}))))

    async def made() -> bool:
        return (await put(config.data_dir, question, 5))[0] == 200

    await eventually(made)


@pytest.mark.usefixtures("link")
async def test_who_may_not(config: Config) -> None:
    """The steward knows it as well, should a worker ever forget to ask."""
    for role in ("member", "viewer"):
        asker = Asker(id="key_1", role=role)
        for method, path in (("GET", "/v1/keys"), ("DELETE", "/v1/keys/key_1")):
            question = Question(method=method, path=path, asker=asker)
            assert (await put(config.data_dir, question, 5))[0] == 403


@pytest.mark.usefixtures("link")
async def test_what_nobody_thought_of(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks learns nothing of it but that it is in the log."""

    def broken(self: Registry, kind: str, id: str) -> None:
        raise ZeroDivisionError("a detail")

    monkeypatch.setattr(Registry, "find", broken)
    question = Question(path="/v1/keys/key_1", asker=Asker(id="admin", role="admin"))
    status, body = await put(config.data_dir, question, 5)
    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert b"detail" not in body
    assert "a detail" in caplog.text


@pytest.mark.usefixtures("link")
async def test_the_socket_is_for_this_user(config: Config) -> None:
    """Nobody else may connect."""
    assert socket_path(config.data_dir).stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("link")
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
        (b"POST /worker HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}", b""),
        (b"nonsense\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b""),
        (b"x" * 100_000, b""),
        (b"GET /status", b""),
        (b"GET /v1/keys HTTP/1.1\r\nx-trunkline-asker: {}\r\n\r\n", b""),
        (b"GET /v1/keys HTTP/1.1\r\n\r\n", b"HTTP/1.1 403 Forbidden"),
        (b"GET /v1/nowhere HTTP/1.1\r\n\r\n", b"HTTP/1.1 403 "),
    ],
)
async def test_who_speaks_nonsense(config: Config, said: bytes, answer: bytes) -> None:
    """Is hung up on, and others are answered as before."""
    reader, writer = await asyncio.open_unix_connection(socket_path(config.data_dir))
    writer.write(said)
    writer.write_eof()
    try:
        assert (await reader.read()).startswith(answer)
    except ConnectionError:
        assert not answer
    writer.close()
    assert (await told(config))["pid"] == 7


@pytest.mark.usefixtures("quick")
async def test_a_worker_without_a_steward(config: Config) -> None:
    """It looks for one until there is one, which does not end before it."""
    config.data_dir.mkdir()
    report = Report(pid=os.getpid(), open_requests=0, restarts=0)
    telling = asyncio.create_task(keep_telling(config.data_dir, lambda: report))
    with pytest.raises(OSError, match=r"."):
        await ask(config.data_dir, "/status")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        task = asyncio.create_task(Steward(TOLD, config).run(Link(theirs.fileno())))
        await asyncio.to_thread(ours.recv, 1)
        await until(config, [os.getpid()])
        ours.close()
        await eventually(lambda: not socket_path(config.data_dir).exists())
        assert not task.done()
        telling.cancel()
        await asyncio.wait_for(task, 20)
