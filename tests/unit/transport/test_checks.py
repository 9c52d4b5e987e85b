"""Providers of the user's own are asked by their `health_check`, and hold up nobody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from trunkline import LLMProvider, LLMRequest, LLMResponse, Trunkline, interfaces, register_provider
from trunkline.clock import SystemClock
from trunkline.config import from_mapping, handover
from trunkline.testing import ManualClock
from trunkline.transport import probes
from trunkline.transport.probes import Probe, probe_all


class Mine(LLMProvider):
    """Answers a check with whatever `says` returns or raises."""

    def __init__(self, says: Callable[[], Any]) -> None:
        self.says = says
        self.asked = 0

    async def generate(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse("words")

    async def stream_generate(self, request: LLMRequest) -> AsyncIterator[LLMResponse]:
        yield LLMResponse("words")

    def get_available_models(self) -> list[str]:
        return []

    async def health_check(self) -> bool:
        self.asked += 1
        said = self.says()
        return bool(await said if asyncio.iscoroutine(said) else said)


class Plain:
    """The other shape; its check is optional, and here no coroutine."""

    def chat(self, *_: Any, **__: Any) -> None: ...
    def stream_chat(self, *_: Any, **__: Any) -> None: ...
    def count_tokens(self, text: str) -> int:
        return 1


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interfaces, "_registry", interfaces._Registry())


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a moment only."""
    monkeypatch.setattr(probes, "MOST_S", 0.1)


def fail() -> bool:
    """Raise what tells a key."""
    raise ValueError("no disk at sk-test-1234567890abcdef")


def leave() -> bool:
    """End the process, if it can."""
    raise SystemExit(3)


def probed(provider: object) -> Probe:
    """Register a provider and ask it."""
    register_provider("mine", provider)
    config = from_mapping({"llm_service": {"providers": {"mine": {}}}})
    return probe_all(config.providers.values(), SystemClock())["mine"]


@pytest.mark.parametrize(
    ("says", "ok", "why"),
    [
        (lambda: True, True, "its health_check says yes"),
        (lambda: False, False, "its health_check says no"),
        (fail, False, "its health_check raised ValueError: no disk at "),
        (leave, False, "its health_check raised SystemExit: 3"),
    ],
    ids=["yes", "no", "raises", "exits"],
)
def test_its_own_word_counts(says: Callable[[], bool], ok: bool, why: str) -> None:
    """Whatever it raises is a no, which tells no key."""
    told = probed(Mine(says))
    assert told.ok is ok
    assert told.why.startswith(why)
    assert "1234567890" not in told.why


def test_a_check_may_be_missing_or_no_coroutine() -> None:
    """Who has three methods is well unless a fourth says otherwise."""
    assert probed(Plain()).why == "answers inside this process"
    ill = type("Ill", (Plain,), {"health_check": lambda _: False})
    assert not probed(ill()).ok


@pytest.mark.usefixtures("hurry")
def test_who_hangs_is_not_waited_for() -> None:
    """It is cancelled."""
    ended = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    told = probed(Mine(hang))
    assert (told.ok, told.why[:12]) == (False, "no answer wi")
    assert ended.wait(5)


@pytest.mark.usefixtures("hurry")
def test_who_blocks_is_asked_once() -> None:
    """Until it returns no second thread waits for it; its answer then counts for whoever waits."""
    go = threading.Event()
    slow = Mine(lambda: go.wait(30))
    assert [probed(slow).ok, probed(slow).ok, slow.asked] == [False, False, 1]
    assert probed(Mine(lambda: True)).ok  # another one under the same name does not wait
    go.set()


async def test_status_asks_it() -> None:
    """As any provider, also where a loop runs."""
    ill = Mine(lambda: False)
    register_provider("mine", ill)
    async with Trunkline(from_mapping({})) as line:
        assert line.status() == {"mine": False}
        ill.says = lambda: True
        assert line.status() == {"mine": True}


class Point:
    """An entry point of an installed package."""

    value = "mine:Mine"

    def load(self) -> type:
        return type("Ill", (Plain,), {"health_check": lambda _: False})


def test_looking_loads_only_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a process that was handed the configuration; other packages stay unloaded."""
    sections: dict[bool, Any] = {True: {}, False: {"providers": {"mine": {}}}}
    for ok, section in sections.items():
        monkeypatch.setattr(interfaces._registry, "_offered", {"mine": Point()})
        config = handover.decode(handover.encode(from_mapping({"llm_service": section})))
        interfaces._registry.given.clear()
        assert probe_all(config.providers.values(), ManualClock())["mine"].ok is ok
        assert interfaces.is_loaded("mine") is not ok
