"""A second attempt when the first is late: whose answer counts, what it may cost, what is left."""

import asyncio
from typing import Any

import pytest

from tests.scripted import SILENCE, text, whole
from tests.unit.layers.double import STREAM, WHOLE, Answer, Inner, ask, settle
from trunkline.config.model import Group, Hedge
from trunkline.errors import AllProvidersUnavailable, BudgetHeld, ConnectionLost, InputError
from trunkline.layers.route import Hedges, route
from trunkline.reply import Reply
from trunkline.routing.health import Health
from trunkline.routing.plan import Candidate, Plan
from trunkline.testing import ManualClock
from trunkline.types import Attempt, Call, Deployment, Trail

OTHER = (whole("other"),)


class House:
    """A group of deployments `p0/m`, `p1/m`, ... of which each plays its answers."""

    def __init__(self, *answers: Answer, hedge: Hedge | None = None, note_from: int = 9) -> None:
        self.clock, self.health = ManualClock(), Health()
        self.inners = [Inner(answer) for answer in answers]
        rows = [Deployment(provider=f"p{n}", model="m") for n in range(len(answers))]
        self.plan = Plan(
            tuple(
                Candidate(row, "other" if n >= note_from else None) for n, row in enumerate(rows)
            ),
            group=Group(
                name="g",
                deployments=tuple(rows),
                hedge=hedge or Hedge(after=0.3, max_share=1.0),
            ),
        )
        self.hedges = Hedges(self.clock, self.health)
        self.service = route(lambda call: self.plan, self.hedges)(self._inner)
        self.call = ask(trail=Trail())

    async def _inner(self, call: Call) -> Reply:
        assert call.target is not None
        assert call.trail is not None
        number = int(call.target.provider[1:])
        call.trail.attempts.append(
            Attempt(n=len(call.trail.attempts) + 1, deployment=call.target.name, started_ns=0)
        )
        return await self.inners[number](call)

    def begin(self, **fields: Any) -> asyncio.Task[Reply]:
        """Make a call of its own trail."""
        self.call = ask(trail=Trail(), **fields)
        return asyncio.ensure_future(self.service(self.call))

    @property
    def asked(self) -> list[int]:
        """How often each was asked."""
        return [len(inner.calls) for inner in self.inners]

    @property
    def open_wires(self) -> int:
        """How many wires nobody closed."""
        return sum(inner.open_wires for inner in self.inners)

    @property
    def route(self) -> list[str]:
        """What the trail says."""
        assert self.call.trail is not None
        return self.call.trail.route


async def test_the_second_answers_when_the_first_is_late() -> None:
    """The loser is cancelled at once, its wire closed; the attempt that answered stands last."""
    house = House(SILENCE, OTHER)
    task = house.begin()
    await house.clock.elapse(0.29)
    assert house.asked == [1, 0]
    await house.clock.elapse(0.02)
    reply = await task
    assert (await reply.message()).text == "other"
    assert house.open_wires == 0
    assert house.clock.pending == 0
    assert house.route == [
        "p1/m: asked as well after 0.30 s",
        "p0/m: cancelled, the other was first",
        "p1/m: answered",
    ]


async def test_the_first_may_still_be_first() -> None:
    """Then the second is cancelled, and the first attempt is moved to the end."""
    house = House(SILENCE, SILENCE)
    task = house.begin()
    await house.clock.elapse(0.3)
    [first] = house.inners[0].scripts
    first.steps.append("unused")
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()

    house = House(WHOLE, SILENCE)
    house.inners[0].turns = 100
    task = house.begin()
    house.clock.advance(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    house.clock.advance(0.3)
    reply = await task
    assert (await reply.message()).text == "hi"
    assert house.asked == [1, 1]
    assert house.call.trail is not None
    assert [attempt.n for attempt in house.call.trail.attempts] == [2, 1]
    assert house.open_wires == 0


async def test_in_time_nobody_else_is_asked() -> None:
    """No timer is left either."""
    house = House(WHOLE, OTHER)
    reply = await house.begin()
    assert (await reply.message()).text == "hi"
    await house.clock.elapse(1)
    assert house.asked == [1, 0]
    assert house.route == ["p0/m: answered"]


@pytest.mark.parametrize("failure", [ConnectionLost("reset"), BudgetHeld("held"), InputError("no")])
async def test_a_second_that_fails_does_not_matter(failure: Exception) -> None:
    """A budget that refuses it, say: the first is waited for."""
    house = House(WHOLE, failure)
    house.inners[0].turns = 100
    task = house.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    house.clock.advance(0.3)
    assert (await (await task).message()).text == "hi"
    assert house.asked == [1, 1]


async def test_when_both_fail_the_rest_is_asked() -> None:
    """Neither of them again; when all fail, each cause is told once."""
    for last in (OTHER, ConnectionLost("three")):
        house = House(ConnectionLost("one"), ConnectionLost("two"), last)
        house.inners[0].turns = 100
        task = house.begin()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        house.clock.advance(0.3)
        if last is OTHER:
            assert (await (await task).message()).text == "other"
        else:
            with pytest.raises(AllProvidersUnavailable) as caught:
                await task
            assert [name for name, _ in caught.value.causes] == ["p0/m", "p1/m", "p2/m"]
        assert house.asked == [1, 1, 1]


async def test_never_more_than_two() -> None:
    """However late both are."""
    house = House(SILENCE, SILENCE, OTHER)
    task = house.begin()
    await house.clock.elapse(60)
    assert house.asked == [1, 1, 0]
    task.cancel()
    await asyncio.wait({task})
    await settle()
    assert house.open_wires == 0
    assert house.clock.pending == 0


async def test_only_who_is_well_and_of_the_same_group_is_asked() -> None:
    """Nobody hedges to a deployment that rests, nor to a fallback group."""
    house = House(SILENCE, SILENCE, OTHER)
    house.health.of("p1/m").circuit.calm = False
    task = house.begin()
    await house.clock.elapse(0.3)
    assert (await (await task).message()).text == "other"
    assert house.asked == [1, 0, 1]

    house = House(SILENCE, OTHER, note_from=1)
    task = house.begin()
    await house.clock.elapse(60)
    assert house.asked == [1, 0]
    task.cancel()
    await asyncio.wait({task})


async def test_no_more_than_its_share() -> None:
    """One in ten calls, however many are late; a new stack goes on counting."""
    house = House(SILENCE, OTHER, hedge=Hedge(after=0.3, max_share=0.1))
    hedged = 0
    for _ in range(100):
        task = house.begin()
        await house.clock.elapse(0.3)
        hedged += task.done()
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result().abandon()
    assert hedged in {9, 10}
    assert house.asked == [100, hedged]


@pytest.mark.parametrize("stream", [False, True])
async def test_p95_of_what_the_group_has_seen(stream: bool) -> None:
    """No second attempt before enough calls were seen; then at the time 95 of 100 began in."""
    house = House(SILENCE, OTHER, hedge=Hedge(max_share=1.0))
    silent, quick = house.inners[0].answers, STREAM if stream else WHOLE
    for _ in range(20):
        silent[0] = quick
        house.inners[0].turns = 3
        task = house.begin(stream=stream)
        await asyncio.sleep(0)
        house.clock.advance(0.2)
        (await task).abandon()
    assert house.asked == [20, 0]
    silent[0] = SILENCE
    task = house.begin(stream=stream)
    await house.clock.elapse(0.15)
    assert house.asked == [21, 0]
    await house.clock.elapse(0.06)
    assert house.asked == [21, 1]
    assert (await (await task).message()).text == "other"


@pytest.mark.parametrize("both", [False, True], ids=["the first", "both"])
async def test_cancelled_whoever_is_asked(both: bool) -> None:
    """No wire, no task and no timer is left."""
    house = House((text("h"), SILENCE) if not both else SILENCE, SILENCE)
    house.inners[0].turns = 100
    task: asyncio.Task[Any] = house.begin()
    await asyncio.sleep(0)
    await house.clock.elapse(0.3 if both else 0.1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert house.open_wires == 0
    assert house.clock.pending == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
