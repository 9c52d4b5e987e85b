"""How providers are, seen by people and programs, without a completion that anybody bills."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.gateways import administered
from tests.serving import eventually
from tests.unit.gateway.talk import ask, said
from trunkline import Chat, LLMService, Trunkline, interfaces, register_provider
from trunkline.config import Config, from_mapping
from trunkline.errors import TrunklineError
from trunkline.gateway import prober, uplink
from trunkline.gateway.app import Gateway
from trunkline.gateway.seen import seen
from trunkline.gateway.uplink import Report, keep_telling
from trunkline.interfaces import ChatResponse
from trunkline.llm_service.ask import chat
from trunkline.testing import FakeUpstream, Status
from trunkline.testing.upstream import answer_hello

ASKED = b'{"messages": [{"role": "user", "content": "Hi"}]}'
MEMBER = {"authorization": "Bearer member-key-1234567"}


def config(url: str) -> Config:
    """One provider elsewhere, in a group with one in this process; a key for one model."""
    root = {
        "default_provider": "vllm",
        "providers": {
            "vllm": {"base_url": url, "models": ["m"], "retries": 0},
            "demo": {"models": [{"name": "d", "lacks": ["images"]}]},
        },
        "groups": {"g": {"deployments": ["vllm/m", "demo/d"], "strategy": "cost"}},
        "keys": [
            {"name": "one", "key": "member-key-1234567", "models": ["d"]},
            {"name": "look", "key": "viewer-key-1234567", "role": "viewer"},
        ],
    }
    return from_mapping({"llm_service": root})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hurry."""
    monkeypatch.setattr(prober, "EVERY_S", 0.05)
    monkeypatch.setattr(prober, "_LOOK_S", 0.02)
    monkeypatch.setattr(uplink, "_EVERY_S", 0.02)


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    """The provider elsewhere."""
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def gateway(up: FakeUpstream, quick: None) -> AsyncIterator[Gateway]:
    """A gateway with a steward that probes."""
    async with administered(config(f"{up.url}/v1")) as found:
        yield found


async def rows(gateway: Gateway, path: str, **headers: str) -> dict[str, Any]:
    """Return the rows of a list by their ids."""
    answer = await ask(gateway, path, method="GET", headers=headers)
    assert answer.status == 200, answer.body
    return {row["id"]: row for row in said(answer)["data"]}


async def until(gateway: Gateway, status: str) -> dict[str, Any]:
    """Wait until the provider elsewhere has a status; return its row."""

    async def there() -> bool:
        return bool((await rows(gateway, "/v1/providers"))["vllm"]["status"] == status)

    await eventually(there)
    found: dict[str, Any] = (await rows(gateway, "/v1/providers"))["vllm"]
    return found


def asked(model: str) -> Chat:
    """Return a call."""
    return chat([{"role": "user", "content": "hi"}], model)


@pytest.mark.acceptance("A18")
async def test_a_provider_goes_down_and_comes_back(gateway: Gateway, up: FakeUpstream) -> None:
    """The gateway and the library see it, and ask for nothing but the list of models."""
    service = LLMService(Trunkline(config(f"{up.url}/v1"), ingesting=False))

    async def library() -> bool:
        return (await asyncio.to_thread(service.get_provider_status))["vllm"]

    assert (await until(gateway, "ok"))["probe"]["ok"]
    assert await library()
    up.on(lambda _: Status(503))
    row = await until(gateway, "down")
    assert row["probe"]["ok"] is False
    assert "503" in row["why"]
    assert not await library()
    up.on(answer_hello)
    assert "200" in (await until(gateway, "ok"))["why"]
    assert await library()
    assert {(one.method, one.path) for one in up.requests} == {("GET", "/v1/models")}


@pytest.mark.acceptance("A18")
@pytest.mark.usefixtures("quick")
async def test_a_provider_that_is_gone() -> None:
    """Nobody listens any more."""
    async with FakeUpstream() as up:
        found = config(f"{up.url}/v1")
    async with administered(found) as gateway:
        assert "cannot connect" in (await until(gateway, "down"))["why"]


class Ill:
    """A provider of the user's own that is not well."""

    lacks = ("tools",)

    def chat(self, messages: list[Any]) -> ChatResponse:
        """Answer, if it is asked all the same."""
        return ChatResponse("Hello.")

    def stream_chat(self, messages: list[Any]) -> Any:
        """Be of no use."""

    def count_tokens(self, text: str) -> int:
        """Count."""
        return 1

    async def health_check(self) -> bool:
        """Say no."""
        return False


@pytest.mark.acceptance("A18")
@pytest.mark.usefixtures("quick")
async def test_a_provider_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked by its `health_check`; calls go to it all the same."""
    monkeypatch.setattr(interfaces, "_registry", interfaces._Registry())
    register_provider("mine", Ill)
    async with administered(from_mapping({"llm_service": {"providers": {"mine": {}}}})) as gateway:

        async def down() -> bool:
            return bool((await rows(gateway, "/v1/providers"))["mine"]["status"] == "down")

        await eventually(down)
        row = (await rows(gateway, "/v1/providers"))["mine"]
        assert row["why"] == "its health_check says no"
        _, body = await uplink.ask(gateway._line.config.data_dir, "/status")
        assert json.loads(body)["providers"]["mine"]["reachable"] is False
        answer = await ask(gateway, "/v1/chat/completions", ASKED)
        assert said(answer)["choices"][0]["message"]["content"] == "Hello."


async def test_what_workers_see(gateway: Gateway, up: FakeUpstream) -> None:
    """A circuit that opened is told with its cause; a good probe does not close it."""
    line = gateway._line

    def told() -> Report:
        return Report(pid=9, open_requests=0, restarts=0, seen=seen(line.health, line.clock))

    telling = asyncio.create_task(keep_telling(line.config.data_dir, told))
    up.script(*[Status(500)] * 5)
    for _ in range(5):
        with pytest.raises(TrunklineError):
            await line(asked("m"))
    row = await until(gateway, "resting")
    assert row["why"] == "upstream_failed"
    found = (await rows(gateway, "/v1/deployments"))["vllm/m"]
    assert (found["status"], found["circuit"]["cause"]) == ("resting", "upstream_failed")
    assert found["circuit"]["until"] is not None
    count = len(up.requests)
    await eventually(lambda: len(up.requests) > count + 1)  # good probes
    assert (await rows(gateway, "/v1/providers"))["vllm"]["status"] == "resting"
    assert line.health.open_circuits(line.clock.monotonic_s()) == ("vllm/m",)
    telling.cancel()


async def test_who_sees_what(gateway: Gateway) -> None:
    """Others than administrators see what their models come to, and only how it is."""
    await until(gateway, "ok")
    assert set(await rows(gateway, "/v1/deployments")) == {"vllm/m", "demo/d"}
    assert await rows(gateway, "/v1/deployments", **MEMBER) == {
        "demo/d": {
            "id": "demo/d", "object": "deployment", "provider": "demo", "model": "d",
            "status": "unknown",
        }
    }  # fmt: skip
    assert set(await rows(gateway, "/providers", **MEMBER)) == {"demo"}
    viewer = {"authorization": "Bearer viewer-key-1234567"}
    found = await rows(gateway, "/providers", **viewer)
    assert found["vllm"] == {
        "id": "vllm", "object": "provider", "type": "vllm", "status": "ok"
    }  # fmt: skip
    nobody = {"authorization": "Bearer nobody"}
    assert (await ask(gateway, "/providers", method="GET", headers=nobody)).status == 401


async def test_pages(gateway: Gateway) -> None:
    """As of every list."""
    first = said(await ask(gateway, "/v1/deployments?limit=1", method="GET"))
    assert (len(first["data"]), first["has_more"]) == (1, True)
    rest = f"/v1/deployments?limit=1&cursor={first['next_cursor']}"
    last = said(await ask(gateway, rest, method="GET"))
    assert (len(last["data"]), last["has_more"], last["next_cursor"]) == (1, False, None)
    assert first["data"] != last["data"]
    for query, word in (("cursor=x", "cursor"), ("limit=0", "limit"), ("page=2", "page")):
        answer = await ask(gateway, f"/v1/providers?{query}", method="GET")
        assert (answer.status, said(answer)["error"]["param"]) == (400, word)


@pytest.mark.acceptance("A18")
async def test_where_a_call_would_go(gateway: Gateway, up: FakeUpstream) -> None:
    """In order, with scores and reasons, and who is skipped; nothing is sent."""
    answer = await ask(gateway, "/v1/route/explain", b'{"model": "g"}')
    found = said(answer)
    assert (answer.status, found["group"], found["strategy"]) == (200, "g", "cost")
    first, second = found["candidates"]
    assert (first["deployment"], first["why"].endswith("best of 2")) == ("vllm/m", True)
    assert (second["deployment"], second["why"].endswith("number 2 of 2")) == ("demo/d", True)
    assert (first["score"], second["score"]) == (0, 0)
    picture = (
        b'{"model": "g", "messages": [{"role": "user", "content": [{"type": "image_url", '
        b'"image_url": {"url": "http://h/i.png"}}]}]}'
    )
    found = said(await ask(gateway, "/route/explain", picture))
    assert [one["deployment"] for one in found["candidates"]] == ["vllm/m"]
    assert found["skipped"] == [{"deployment": "demo/d", "why": "lacks images"}]
    assert all(one.method == "GET" for one in up.requests)


@pytest.mark.parametrize(
    ("body", "headers", "status", "word"),
    [
        (b'{"model": "no-such"}', {}, 404, "model"),
        (b'{"model": "m", "messages": 7}', {}, 400, "messages"),
        (b"[]", {}, 400, None),
        (b'{"model": "m"}', MEMBER, 403, "model"),
        (b'{"model": "d"}', {"authorization": "Bearer viewer-key-1234567"}, 403, None),
    ],
)
async def test_what_cannot_be_explained(
    gateway: Gateway, body: bytes, headers: dict[str, str], status: int, word: str | None
) -> None:
    """What the call itself would be refused with."""
    answer = await ask(gateway, "/v1/route/explain", body, headers)
    assert (answer.status, said(answer)["error"]["param"]) == (status, word)


async def test_the_steward_is_away(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a second; calls go on meanwhile, and can be explained."""

    async def away(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("trunkline.gateway.surfaces.routing.ask", away)
    answer = await ask(gateway, "/v1/providers", method="GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await ask(gateway, "/v1/route/explain", b'{"model": "d"}')).status == 200
