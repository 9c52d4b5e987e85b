"""A deployment that fails again and again is left alone for a while, then tried with one call."""

import asyncio

import pytest

from tests.scripted import SILENCE, text
from tests.unit.layers.double import (
    ENDS,
    STREAM,
    TARGET,
    WHOLE,
    Answer,
    Inner,
    ask,
    live,
    read,
    settle,
)
from trunkline import errors
from trunkline.errors import CircuitOpen, ConnectionLost, TrunklineError
from trunkline.layers.breaker import Health, breaker
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import Call

CALL: Call = ask(target=TARGET)
LOST = ConnectionLost("reset")
BROKEN: Answer = (text("h"), ConnectionLost("reset"))


async def told(service: Service) -> str:
    """Make one call and read it; return how it went."""
    return type(await live(service, CALL, "")).__name__


async def opened(*then: Answer) -> tuple[Service, Inner, ManualClock, Health]:
    """Let a circuit open by five failures; `then` is what the provider does afterwards."""
    clock = ManualClock()
    health, inner = Health(clock), Inner(*[LOST] * 5, *then)
    service = breaker(health)(inner)
    for _ in range(5):
        await told(service)
    return service, inner, clock, health


@pytest.mark.parametrize("failure", [LOST, BROKEN, (text("h"),)], ids=["raised", "broken", "cut"])
async def test_five_failures_in_a_row_open_it(failure: Answer) -> None:
    """Before the first frame or in mid-stream: the sixth call is refused and told how long."""
    clock, inner = ManualClock(), Inner(failure)
    service = breaker(Health(clock))(inner)
    assert "CircuitOpen" not in [await told(service) for _ in range(5)]
    clock.advance(4)
    with pytest.raises(CircuitOpen) as refusal:
        await service(CALL)
    assert refusal.value.retry_after_s == 6
    assert len(inner.calls) == 5


async def test_a_success_begins_the_count_again() -> None:
    """Failures in a row, not failures."""
    inner = Inner(*[LOST] * 4, WHOLE, *[LOST] * 4, STREAM, *[LOST] * 5)
    service = breaker(Health(ManualClock()))(inner)
    for _ in range(15):
        assert await told(service) != "CircuitOpen"
    assert await told(service) == "CircuitOpen"


async def test_one_call_probes_after_the_rest() -> None:
    """While it is under way the others stay away; its success lets them in again."""
    service, inner, clock, _ = await opened(STREAM)
    clock.advance(10)
    probe = await service(CALL)
    with pytest.raises(CircuitOpen) as refusal:
        await service(CALL)
    assert refusal.value.retry_after_s == 1
    await probe.message()
    assert [await told(service) for _ in range(3)] == ["NoneType"] * 3
    assert len(inner.calls) == 9


@pytest.mark.parametrize("failure", [LOST, BROKEN], ids=["raised", "in mid-stream"])
async def test_a_failing_probe_means_another_rest(failure: Answer) -> None:
    """One failure is enough then, for as long again."""
    service, inner, clock, _ = await opened(failure, WHOLE)
    clock.advance(10)
    assert await told(service) == "ConnectionLost"
    clock.advance(9.9)
    assert await told(service) == "CircuitOpen"
    clock.advance(0.1)
    assert await told(service) == "NoneType"
    assert len(inner.calls) == 7


KINDS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, TrunklineError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_only_the_deployments_own_faults_count(kind: type[TrunklineError]) -> None:
    """The class attribute decides; a caller's nonsense is no sign of bad health."""
    health = Health(ManualClock())
    service = breaker(health)(Inner(kind("no")))
    for _ in range(5):
        await told(service)
    assert health.resting("p") == (kind.fault == "deployment")


OTHER_ENDS = ["cancelled", "cancelled in mid-stream", "abandoned"]


@pytest.mark.parametrize("how", OTHER_ENDS)
async def test_a_caller_who_leaves_says_nothing(how: str) -> None:
    """Neither a failure nor a success: the count stays where it was."""
    health = Health(ManualClock())
    service = breaker(health)(Inner(*[LOST] * 4, ENDS[how][0], LOST))
    for _ in range(4):
        await told(service)
    await live(service, CALL, how)
    assert not health.resting("p")
    assert await told(service) == "ConnectionLost"
    assert health.resting("p")


@pytest.mark.parametrize("how", OTHER_ENDS)
async def test_a_probe_whose_caller_leaves_is_free_again(how: str) -> None:
    """The next call may probe in its stead."""
    service, _, clock, _ = await opened(ENDS[how][0], WHOLE)
    clock.advance(10)
    await live(service, CALL, how)
    assert await told(service) == "NoneType"


@pytest.mark.parametrize("end", ["cancelled", "failed", "complete"])
async def test_a_call_from_before_the_rest_changes_nothing(end: str) -> None:
    """It neither lengthens the rest, nor ends it, nor lets a second probe in."""
    clock = ManualClock()
    inner = Inner(STREAM if end == "complete" else (text("h"), SILENCE), *[LOST] * 5, STREAM)
    service = breaker(Health(clock))(inner)
    old = await service(CALL)
    await anext(old)
    for _ in range(5):
        await told(service)
    clock.advance(10)
    probe = await service(CALL)
    if end == "failed":
        old.abort(LOST)
    elif end == "cancelled":
        reader = asyncio.create_task(read(old))
        await settle()
        reader.cancel()
        await settle()
    else:
        await read(old)
    assert await told(service) == "CircuitOpen"
    await probe.message()
    assert await told(service) == "NoneType"


async def test_deployments_rest_alone() -> None:
    """Another model of the same provider is not concerned, and the provider is not down."""
    service, inner, _, health = await opened(WHOLE)
    other = ask(target=type(TARGET)(provider="p", model="other"))
    assert health.resting("p")
    await (await service(other)).message()
    assert not health.resting("p")
    assert not health.resting("unheard-of")
    assert len(inner.calls) == 6


async def test_health_outlives_a_stack() -> None:
    """A reloaded configuration does not wake a resting deployment."""
    _, inner, _, health = await opened(WHOLE)
    with pytest.raises(CircuitOpen):
        await breaker(health)(inner)(CALL)
