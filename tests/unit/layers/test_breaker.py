"""A deployment that fails is left alone for a while; what is known of it is learned here."""

import asyncio
from typing import Any

import pytest

from tests.scripted import SILENCE, finish, text, usage
from tests.scripted import end as ending
from tests.unit.layers.double import (
    ENDS,
    STREAM,
    TARGET,
    WHOLE,
    Answer,
    Inner,
    ask,
    limited,
    live,
    read,
    settle,
)
from trunkline import errors
from trunkline.errors import (
    AuthFailed,
    CircuitOpen,
    ConnectionLost,
    TrunklineError,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.layers.breaker import breaker
from trunkline.reply import Reply
from trunkline.routing.circuit import LONGEST_REST_S, Event
from trunkline.routing.health import Health, Vital
from trunkline.service import Service
from trunkline.testing import ManualClock
from trunkline.types import Call

CALL: Call = ask(target=TARGET)
LOST = ConnectionLost("reset")
BROKEN: Answer = (text("h"), ConnectionLost("reset"))
MOST_S = 5.0 * 1.2
"""The first rest, jitter included."""


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, Any]]] = []

    def circuit(self, event: Event, **fields: Any) -> None:
        """Keep an event."""
        self.events.append((event, fields))


class Line:
    """A breaker around scripted answers."""

    def __init__(self, *answers: Answer) -> None:
        self.clock, self.health, self.told = ManualClock(), Health(), Told()
        self.inner = Inner(*answers)
        self.service: Service = breaker(self.health, self.clock, self.told)(self.inner)

    @property
    def vital(self) -> Vital:
        """What is known of the target."""
        return self.health.of(TARGET.name)

    def rests(self) -> bool:
        """Whether the provider rests."""
        return self.health.resting("p", self.clock.monotonic_s())

    async def go(self, *, call: Call = CALL) -> str:
        """Make one call and read it; return how it went."""
        return type(await live(self.service, call, "")).__name__


async def opened(*then: Answer) -> Line:
    """Let a circuit open by five failures; `then` is what the provider does afterwards."""
    line = Line(*[LOST] * 5, *then)
    for _ in range(5):
        await line.go()
    return line


@pytest.mark.parametrize("failure", [LOST, BROKEN, (text("h"),)], ids=["raised", "broken", "cut"])
async def test_five_failures_in_a_row_open_it(failure: Answer) -> None:
    """Before the first frame or in mid-stream: the sixth call is refused and told how long."""
    line = Line(failure)
    assert "CircuitOpen" not in [await line.go() for _ in range(5)]
    line.clock.advance(2)
    with pytest.raises(CircuitOpen, match="repeated failures") as refusal:
        await line.service(CALL)
    assert 3 <= (refusal.value.retry_after_s or 0) <= MOST_S - 2
    assert len(line.inner.calls) == 5


async def test_a_success_begins_the_count_again() -> None:
    """Failures in a row, not failures."""
    line = Line(*[LOST] * 4, WHOLE, *[LOST] * 4, STREAM, *[LOST] * 5)
    for _ in range(15):
        assert await line.go() != "CircuitOpen"
    assert await line.go() == "CircuitOpen"


async def test_one_call_probes_after_the_rest() -> None:
    """While its first token is awaited the others stay away; it lets them in again."""
    line = await opened(SILENCE, STREAM)
    line.clock.advance(MOST_S)
    probe = asyncio.ensure_future(line.service(CALL))
    await settle()
    with pytest.raises(CircuitOpen) as refusal:
        await line.service(CALL)
    assert refusal.value.retry_after_s == 1
    probe.cancel()
    await settle()
    reply = await line.service(CALL)
    assert [await line.go() for _ in range(3)] == ["NoneType"] * 3
    await reply.message()
    assert len(line.inner.calls) == 10


@pytest.mark.parametrize("failure", [LOST, BROKEN], ids=["raised", "in mid-stream"])
async def test_a_failing_probe_means_another_rest(failure: Answer) -> None:
    """One failure is enough then, for twice as long."""
    line = await opened(failure, WHOLE)
    line.clock.advance(MOST_S)
    assert await line.go() == "ConnectionLost"
    line.clock.advance(9.9)
    assert await line.go() == "CircuitOpen"
    line.clock.advance(2.2)
    assert await line.go() == "NoneType"
    assert len(line.inner.calls) == 7


KINDS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, TrunklineError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_only_the_deployments_own_faults_count(kind: type[TrunklineError]) -> None:
    """The class attribute decides; a caller's nonsense is no sign of bad health."""
    line = Line(kind("no"))
    for _ in range(5):
        await line.go()
    assert line.rests() == (kind.fault == "deployment")


OTHER_ENDS = ["cancelled", "cancelled in mid-stream", "abandoned"]


@pytest.mark.parametrize("how", OTHER_ENDS)
async def test_a_caller_who_leaves_says_nothing(how: str) -> None:
    """Neither a failure nor a success: the count stays where it was."""
    line = Line(*[LOST] * 4, ENDS[how][0], LOST)
    for _ in range(4):
        await line.go()
    await live(line.service, CALL, how)
    assert not line.rests()
    assert await line.go() == "ConnectionLost"
    assert line.rests()


async def test_a_probe_whose_caller_leaves_is_free_again() -> None:
    """The next call may probe in its stead."""
    line = await opened(SILENCE, WHOLE)
    line.clock.advance(MOST_S)
    await live(line.service, CALL, "cancelled")
    assert await line.go() == "NoneType"


@pytest.mark.parametrize("end", ["cancelled", "failed", "complete"])
async def test_a_call_from_before_the_rest_changes_nothing(end: str) -> None:
    """It neither lengthens the rest, nor ends it, nor lets a second probe in."""
    line = Line(STREAM if end == "complete" else (text("h"), SILENCE), *[LOST] * 5, SILENCE, STREAM)
    old = await line.service(CALL)
    await anext(old)
    for _ in range(5):
        await line.go()
    line.clock.advance(MOST_S)
    probe = asyncio.ensure_future(line.service(CALL))
    await settle()
    if end == "failed":
        old.abort(LOST)
    elif end == "cancelled":
        reader = asyncio.create_task(read(old))
        await settle()
        reader.cancel()
        await settle()
    else:
        await read(old)
    assert await line.go() == "CircuitOpen"
    probe.cancel()
    await settle()
    assert await line.go() == "NoneType"
    await old.aclose()


async def test_deployments_rest_alone() -> None:
    """Another model of the same provider is not concerned, and the provider is not down."""
    line = await opened(WHOLE)
    assert line.rests()
    assert await line.go(call=ask(target=type(TARGET)(provider="p", model="other"))) == "NoneType"
    assert not line.rests()
    assert not line.health.resting("unheard-of", 0.0)
    assert len(line.inner.calls) == 6


async def test_health_outlives_a_stack() -> None:
    """A reloaded configuration does not wake a resting deployment."""
    line = await opened(WHOLE)
    with pytest.raises(CircuitOpen):
        await breaker(line.health, line.clock, line.told)(line.inner)(CALL)


async def test_a_wait_that_was_asked_for_is_kept() -> None:
    """Exactly so long; nothing is sent, and who comes meanwhile hears what the provider said."""
    line = Line(UpstreamRateLimited("later", retry_after_s=20.0), WHOLE)
    assert await line.go() == "UpstreamRateLimited"
    line.clock.advance(19)
    with pytest.raises(UpstreamRateLimited, match="asked to be left alone") as refusal:
        await line.service(CALL)
    assert (refusal.value.sent, refusal.value.retry_after_s) == (False, 1.0)
    assert len(line.inner.calls) == 1
    line.clock.advance(1)
    assert [await line.go(), await line.go()] == ["NoneType", "NoneType"]
    assert line.told.events == []


async def test_a_refused_credential_is_told_once_and_loudly() -> None:
    """The deployment is disabled; the refusal says what to mend."""
    line = Line(AuthFailed("no", upstream_status=401))
    assert [await line.go() for _ in range(3)] == ["AuthFailed"] * 3
    with pytest.raises(AuthFailed, match="tried again in 300 s, or when") as refusal:
        await line.service(CALL)
    assert (refusal.value.sent, refusal.value.deployment) == (False, "p/m")
    line.clock.advance(300)
    assert [await line.go(), await line.go()] == ["AuthFailed", "AuthFailed"]
    assert len(line.inner.calls) == 4
    (event,) = line.told.events
    fields = {"deployment": "p/m", "error_code": "upstream_auth_failed", "rest_s": 300.0}
    assert event == ("deployment_disabled", fields)


async def test_opening_and_closing_are_told() -> None:
    """Once each, not at every failed probe."""
    line = await opened(LOST, WHOLE)
    line.clock.advance(MOST_S)
    await line.go()
    line.clock.advance(LONGEST_REST_S)
    await line.go()
    assert [event for event, _ in line.told.events] == ["circuit_opened", "circuit_closed"]
    assert line.told.events[0][1]["error_code"] == "connection_lost"


@pytest.mark.parametrize("how", ENDS)
async def test_busy_counts_what_is_under_way(how: str) -> None:
    """One more from before the send to the end, however that comes."""
    line = Line(ENDS[how][0])
    if how == "cancelled":
        task = asyncio.ensure_future(line.service(CALL))
        await settle()
        assert line.vital.busy == 1
        task.cancel()
        await settle()
    else:
        await live(line.service, CALL, how)
    assert line.vital.busy == 0


async def test_a_complete_answer_teaches_its_pace() -> None:
    """How long until it began, how long from then, and how many tokens."""
    line = Line((text("h"), finish(), usage(40), ending()))
    reply = await begun_after(line, 2.0, ask(target=TARGET, stream=True))
    line.clock.advance(4)
    await reply.message()
    pace = line.vital.pace
    assert pace.samples == 1
    assert pace.expected_s(40, line.clock.monotonic_s()) == pytest.approx(6, rel=0.2)
    line = Line(LOST)
    await line.go()
    assert line.vital.pace.samples == 0


async def begun_after(line: Line, wait_s: float, call: Call) -> Reply:
    """Make a call whose first token comes after so long."""
    inner = line.inner

    async def late(call: Call) -> Reply:
        await line.clock.sleep(wait_s)
        return await inner(call)

    task = asyncio.ensure_future(breaker(line.health, line.clock, line.told)(late)(call))
    await line.clock.elapse(wait_s)
    return await task


@pytest.mark.parametrize(
    ("timeout_s", "wait_s", "slow"), [(20.0, 16.0, True), (20.0, 14.0, False), (8.0, 7.0, False)]
)
async def test_slow_first_tokens_count_as_failures(
    timeout_s: float, wait_s: float, slow: bool
) -> None:
    """Beyond three quarters of their time-out, and ten seconds at least."""
    line = Line(STREAM)
    call = ask(target=limited(first_token_timeout_s=timeout_s), stream=True)
    for _ in range(5):
        reply = await begun_after(line, wait_s, call)
        await reply.message()
    assert line.rests() == slow


async def test_without_a_time_out_slow_is_against_what_is_usual() -> None:
    """Four times as late as most of the others; where nothing is usual yet nothing is slow."""
    line, call = Line(STREAM), ask(target=TARGET, stream=True)
    for wait_s in [4.0] * 25 + [30.0] * 5:
        reply = await begun_after(line, wait_s, call)
        await reply.message()
    assert line.rests()
    line = Line(STREAM)
    for _ in range(5):
        await (await begun_after(line, 30.0, call)).message()
    assert not line.rests()


async def test_a_whole_answer_is_not_slow() -> None:
    """Nobody knows when its first token came."""
    line = Line(WHOLE)
    for _ in range(5):
        reply = await begun_after(line, 16.0, ask(target=limited(first_token_timeout_s=20.0)))
        await reply.message()
    assert not line.rests()


async def test_signs_of_overload_put_it_under_pressure() -> None:
    """Fewer at once from then on; when answers have come for a while without, it is over."""
    line = Line(*[STREAM] * 9, UpstreamOverloaded("529"), WHOLE)
    others = [await line.service(CALL) for _ in range(9)]
    await line.go()
    assert line.vital.pressure is not None
    assert line.vital.pressure.limit == 7
    line.clock.advance(30)
    await line.go()
    assert line.health.of(TARGET.name).pressure is None
    for reply in others:
        await reply.aclose()
