"""The steward asks providers of which no call tells, each half a minute."""

import asyncio
from collections.abc import Mapping

import pytest

from trunkline import interfaces, register_provider
from trunkline.clock import Clock
from trunkline.config import Config, Provider, from_mapping
from trunkline.gateway.prober import EVERY_S, Prober
from trunkline.gateway.seen import Seen
from trunkline.testing import ManualClock
from trunkline.transport import Transport
from trunkline.transport.probes import Probe


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those that were asked, none of which is."""
    names: list[str] = []

    async def probe(provider: Provider, transport: Transport, clock: Clock) -> Probe:
        names.append(provider.name)
        return Probe(ok=True, latency_ms=1.0, at_ns=clock.now_ns(), why="answered 200")

    monkeypatch.setattr("trunkline.transport.probes.probe", probe)
    return names


def config(url: str = "http://h/v1") -> Config:
    """Return two providers elsewhere, and one in this process."""
    providers = {"vllm": {"base_url": url}, "ollama": {"base_url": url}, "demo": {}}
    return from_mapping({"llm_service": {"providers": providers}})


def seen(clock: Clock, **fields: object) -> Mapping[str, Seen]:
    """Return news of a deployment of vllm, heard just now."""
    return {"vllm/m": Seen(heard_ns=clock.now_ns(), **fields)}  # type: ignore[arg-type]


async def test_at_once_and_then_now_and_then(asked: list[str]) -> None:
    """The pause has a fifth of it more or less by chance; who is a backend of ours is not asked."""
    clock = ManualClock()
    made = Prober(clock, lambda: 0.0)
    await made.look(config(), {})
    assert asked == ["vllm", "ollama"]
    assert set(made.probes) == {"vllm", "ollama"}
    clock.advance(EVERY_S * 0.8 - 0.1)
    await made.look(config(), {})
    assert len(asked) == 2
    clock.advance(0.2)
    await made.look(config(), {})
    assert asked[2:] == ["vllm", "ollama"]


async def test_providers_of_the_users_own_are_asked(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their `health_check`, in the process of the steward."""
    monkeypatch.setattr(interfaces, "_registry", interfaces._Registry())
    register_provider("mine", type("Mine", (), dict.fromkeys(interfaces.CHAT_METHODS, print)))
    found = from_mapping({"llm_service": {"providers": {"mine": {}, "demo": {}}}})
    await Prober(ManualClock()).look(found, {})
    assert asked == ["mine"]


async def test_calls_tell_enough(asked: list[str]) -> None:
    """Who answered a call lately is not asked; who rests, fails or was silent for long is."""
    clock = ManualClock()
    made = Prober(clock, lambda: 0.5)
    await made.look(config(), seen(clock))
    assert asked == ["ollama"]
    await made.look(config(), seen(clock, state="resting"))
    assert asked == ["ollama", "vllm"]
    clock.advance(EVERY_S + 1)
    await made.look(config(), seen(clock, failing=True))
    assert asked == ["ollama", "vllm", "vllm", "ollama"]
    old = seen(clock)
    clock.advance(EVERY_S + 1)
    await made.look(config(), old)
    assert asked[4:] == ["vllm", "ollama"]


async def test_another_configuration(asked: list[str]) -> None:
    """Who is configured otherwise is asked at once, and what was heard is forgotten."""
    made = Prober(ManualClock())
    await made.look(config(), {})
    await made.look(config("http://other/v1"), {})
    assert asked == ["vllm", "ollama"] * 2
    await made.look(from_mapping({"llm_service": {"providers": {"demo": {}}}}), {})
    assert made.probes == {}


async def test_it_goes_on_until_cancelled(asked: list[str]) -> None:
    """With the configuration of the moment."""
    clock = ManualClock()
    task = asyncio.ensure_future(Prober(clock).run(config, dict))
    await clock.elapse(EVERY_S * 3)
    assert asked.count("vllm") in {3, 4}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.pending == 0
