"""No more calls at once than a deployment may take; the others wait in order, for a while."""

import asyncio
import random
import threading
from contextlib import suppress

import pytest

from tests.scripted import SILENCE, text
from tests.unit.layers.double import (
    ENDS,
    STREAM,
    WHOLE,
    Answer,
    Inner,
    ask,
    limited,
    live,
    settle,
)
from trunkline.errors import CircuitOpen, ConnectionLost, Overloaded, UpstreamOverloaded
from trunkline.layers import concurrency as layer
from trunkline.layers.breaker import breaker
from trunkline.layers.concurrency import Gate, Parallel, concurrency
from trunkline.observability.log import EventLog
from trunkline.reply import Reply
from trunkline.routing.health import Health, Vital
from trunkline.routing.pressure import Pressure
from trunkline.service import stack
from trunkline.testing import ManualClock
from trunkline.types import Call, Principal, Trail


def request(max_parallel: int | None = 1) -> Call:
    """Make an attempt's call."""
    return ask(target=limited(max_parallel=max_parallel))


async def test_no_more_than_max_parallel_run_at_once() -> None:
    """The third of two waits until one of them is over."""
    inner = Inner(STREAM)
    service = concurrency(Parallel(ManualClock(), Health()))(inner)
    tasks = [asyncio.ensure_future(service(request(2))) for _ in range(3)]
    await settle()
    assert [task.done() for task in tasks] == [True, True, False]
    assert len(inner.calls) == 2
    await tasks[0].result().message()
    await (await tasks[2]).message()
    await tasks[1].result().message()


async def test_those_who_wait_are_served_in_their_order() -> None:
    """First come, first served, also when one of them gave up."""
    clock, order = ManualClock(), list[int]()
    slots = Gate("p/m", Vital(), 1, clock)
    await slots.take("")

    async def wait(number: int) -> None:
        await slots.take("")
        order.append(number)
        slots.give()

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await settle()
    tasks[2].cancel()
    slots.give()
    await asyncio.wait(tasks)
    assert order == [0, 1, 3, 4]
    assert slots.taken == 0
    assert clock.pending == 0


@pytest.mark.parametrize("how", ENDS)
async def test_a_slot_comes_back_however_a_call_ends(how: str) -> None:
    """The next caller gets it at once."""
    inner, clock = Inner(ENDS[how][0], WHOLE), ManualClock()
    service = concurrency(Parallel(clock, Health()))(inner)
    await live(service, request(), how)
    await (await service(request())).message()
    assert clock.pending == 0


@pytest.mark.parametrize("how", ["cancelled", "at the instant of the hand-over", "after it"])
async def test_a_slot_is_not_lost_with_one_who_waited(how: str) -> None:
    """A waiter that is cancelled, even as it gets the slot, passes it on."""
    inner, clock = Inner(STREAM), ManualClock()
    service = concurrency(Parallel(clock, Health()))(inner)
    first = await service(request())
    waiter, next_one = (asyncio.ensure_future(service(request())) for _ in range(2))
    await settle()
    if how == "cancelled":
        waiter.cancel()
        await settle()
        await first.aclose()
    elif how == "at the instant of the hand-over":
        await first.aclose()
        waiter.cancel()
    else:
        waiter.cancel()
        await first.aclose()
    await asyncio.wait({waiter})
    assert waiter.cancelled()
    await (await next_one).message()
    assert len(inner.calls) == 2
    assert clock.pending == 0


async def test_nobody_waits_for_ever() -> None:
    """After 30 s the wait is an `Overloaded`, which another deployment may mend."""
    inner, clock = Inner(STREAM), ManualClock()
    service = concurrency(Parallel(clock, Health()))(inner)
    first = await service(request())
    waiter = asyncio.ensure_future(service(request()))
    await settle()
    clock.advance(29.9)
    await settle()
    assert not waiter.done()
    clock.advance(0.1)
    with pytest.raises(Overloaded, match=r"p/m .* 30 s"):
        await waiter
    await first.aclose()
    await (await service(request())).aclose()


@pytest.mark.parametrize("order", ["slot first", "time first"])
async def test_the_slot_and_the_end_of_patience_at_one_instant(order: str) -> None:
    """Whichever comes first counts, and no slot is lost."""
    inner, clock = Inner(STREAM), ManualClock()
    service = concurrency(Parallel(clock, Health()))(inner)
    first = await service(request())
    waiter = asyncio.ensure_future(service(request()))
    await settle()
    if order == "slot first":
        await first.aclose()
        clock.advance(30)
        await (await waiter).aclose()
    else:
        clock.advance(30)
        await first.aclose()
        with pytest.raises(Overloaded):
            await waiter
    await (await service(request())).aclose()


async def test_those_who_gave_up_are_forgotten() -> None:
    """A deployment that hangs does not gather those who no longer wait."""
    clock = ManualClock()
    slots = Gate("p/m", Vital(), 1, clock)
    await slots.take("")
    waiters = [asyncio.create_task(slots.take("")) for _ in range(10)]
    await settle()
    for waiter in waiters[:5]:
        waiter.cancel()
    clock.advance(30)
    await asyncio.wait(waiters)
    for waiter in waiters[5:]:
        with pytest.raises(Overloaded):
            await waiter
    assert not slots._waiting


async def test_a_new_limit_counts_those_who_have_a_slot() -> None:
    """A reloaded configuration gives more to those who wait, or fewer once some are given back."""
    inner = Inner(STREAM)
    parallel = Parallel(ManualClock(), Health())
    service = concurrency(parallel)(inner)
    first = await service(request(1))
    waiter = asyncio.ensure_future(service(request(1)))
    await settle()
    third = asyncio.ensure_future(concurrency(parallel)(inner)(request(2)))
    await settle()
    assert (waiter.done(), third.done()) == (True, False)
    last = asyncio.ensure_future(concurrency(parallel)(inner)(request(1)))
    await settle()
    await first.aclose()
    await settle()
    assert not third.done()
    await (await waiter).aclose()
    await (await third).aclose()
    await (await last).aclose()
    assert len(inner.calls) == 4


async def test_without_a_limit_nobody_waits() -> None:
    """`max_parallel` absent means as many as come."""
    inner = Inner(STREAM)
    service = concurrency(Parallel(ManualClock(), Health()))(inner)
    replies = await asyncio.gather(*(service(request(None)) for _ in range(20)))
    for reply in replies:
        await reply.aclose()


def test_each_loop_has_slots_of_its_own() -> None:
    """A slot that died with its loop does not hold up the next one."""
    service = concurrency(Parallel(ManualClock(), Health()))(Inner(SILENCE, WHOLE))

    async def leave() -> None:
        task = asyncio.ensure_future(service(request()))
        await settle()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def use() -> Reply:
        reply = await service(request())
        await reply.message()
        return reply

    asyncio.run(leave())
    assert asyncio.run(use()).outcome == "complete"
    assert asyncio.run(use()).outcome == "complete"


def paying(key: str, size: int = 1) -> Call:
    """Make an attempt's call for which `key` pays."""
    return ask(target=limited(max_parallel=size), principal=Principal(key_id=key))


async def test_turns_go_round_among_those_who_pay() -> None:
    """Who has a hundred calls waiting does not keep the others from theirs."""
    inner = Inner(STREAM)
    service = concurrency(Parallel(ManualClock(), Health()))(inner)
    first = await service(paying("a"))
    tasks: list[asyncio.Future[Reply]] = [
        asyncio.ensure_future(service(paying(key))) for key in "aaaabbc"
    ]
    await settle()
    served = []
    await first.aclose()
    for _ in tasks:
        await settle()
        (done,) = [number for number, task in enumerate(tasks) if task.done()]
        served.append("aaaabbc"[done])
        reply = tasks[done].result()
        tasks[done] = asyncio.get_running_loop().create_future()
        await reply.aclose()
    assert served == list("abcabaa")


async def test_who_cannot_expect_a_turn_in_time_is_told_at_once() -> None:
    """Turns come every four seconds here: with two before it a call of ten seconds has no hope."""
    clock = ManualClock()
    gate = Gate("p/m", Vital(), 1, clock)
    await gate.take("")
    waiters = [asyncio.ensure_future(gate.take("")) for _ in range(5)]
    await settle()
    for _ in range(3):
        clock.advance(4)
        gate.give()
        await settle()
    with pytest.raises(Overloaded, match=r"p/m .* 12\.0 s") as refusal:
        await gate.take("", 10.0)
    assert refusal.value.retry_after_s == pytest.approx(12)
    assert gate.shed == 1
    patient = asyncio.ensure_future(gate.take("", 13.0))
    await settle()
    assert gate.waiting == 3
    for waiter in (*waiters, patient):
        waiter.cancel()
    await settle()


async def test_a_call_with_a_deadline_waits_no_longer() -> None:
    """What is left of its time is all that a turn is worth."""
    inner, clock = Inner(STREAM), ManualClock()
    service = concurrency(Parallel(clock, Health()))(inner)
    first = await service(request())
    call = ask(target=limited(max_parallel=1), timeout_s=5.0, trail=Trail(started_s=0.0))
    clock.advance(2)
    waiter = asyncio.ensure_future(service(call))
    await settle()
    clock.advance(3)
    with pytest.raises(Overloaded, match="3 s"):
        await waiter
    await first.aclose()


async def test_a_full_queue_sheds_the_greediest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its latest call makes room for somebody who has fewer; its own next one is refused."""
    monkeypatch.setattr(layer, "_MOST_WAITING", 4)
    gate = Gate("p/m", Vital(), 1, ManualClock())
    await gate.take("")
    greedy = [asyncio.ensure_future(gate.take("a")) for _ in range(4)]
    await settle()
    with pytest.raises(Overloaded, match="4 calls waiting"):
        await gate.take("a")
    modest = asyncio.ensure_future(gate.take("b"))
    await settle()
    with pytest.raises(Overloaded):
        await greedy[3]
    assert (gate.waiting, gate.shed) == (4, 2)
    assert not modest.done()
    for waiter in (*greedy, modest):
        waiter.cancel()
    await settle()
    assert gate.waiting == 0


class Rush:
    """A deployment without `max_parallel`, behind both layers."""

    def __init__(self, *answers: Answer) -> None:
        self.clock, self.health = ManualClock(), Health()
        self.parallel = Parallel(self.clock, self.health)
        self.inner = Inner(*answers)
        layers = [concurrency(self.parallel), breaker(self.health, self.clock, EventLog())]
        self.service = stack(layers, self.inner)
        self.vital = self.health.of("p/m")

    def start(self, count: int) -> list[asyncio.Future[Reply]]:
        """Make some calls at once."""
        return [asyncio.ensure_future(self.service(request(None))) for _ in range(count)]


async def test_under_pressure_fewer_go_at_once() -> None:
    """Those under way before are counted; as they end the others get their turn."""
    rush = Rush(*[STREAM] * 9, UpstreamOverloaded("529"), STREAM)
    running = [await each for each in rush.start(9)]
    (refused,) = rush.start(1)
    with pytest.raises(UpstreamOverloaded):
        await refused
    waiting = rush.start(4)
    await settle()
    assert rush.parallel.waiting() == {"p/m": 4}
    for done, reply in enumerate(running[:4]):
        assert sum(task.done() for task in waiting) == max(0, done - 2)
        await reply.aclose()
        await settle()
    assert rush.vital.busy == 7
    for reply in running[4:]:
        await reply.aclose()
    for task in waiting:
        await (await task).aclose()
    assert rush.vital.busy == 0
    assert rush.parallel.waiting() == {}


async def test_when_the_pressure_is_over_all_may_go() -> None:
    """And nothing is counted any more."""
    rush = Rush(*[STREAM] * 2, UpstreamOverloaded("529"), STREAM)
    first, second = [await each for each in rush.start(2)]
    (refused,) = rush.start(1)
    with pytest.raises(UpstreamOverloaded):
        await refused
    rush.clock.advance(29)
    waiting = rush.start(5)
    await settle()
    assert not any(task.done() for task in waiting)
    await first.aclose()
    rush.clock.advance(1)
    waiting += rush.start(5)
    await second.message()
    await settle()
    assert all(task.done() for task in waiting)
    for task in waiting:
        await (await task).aclose()
    assert rush.vital.pressure is None
    await (await rush.start(1)[0]).aclose()
    assert rush.vital.freed is None


async def test_no_turn_is_lost_whatever_await_is_cut() -> None:
    """Calls that are cancelled at any point, refused or broken off leave the gate as it was."""
    chance = random.Random(5)
    answers: list[Answer] = [STREAM, WHOLE, ConnectionLost("reset"), (text("h"), SILENCE)]
    rush = Rush(*[chance.choice(answers) for _ in range(400)], STREAM)
    rush.inner.turns = 1
    rush.vital.pressure = Pressure(5, 0.0)

    async def caller(size: int | None) -> None:
        with suppress(ConnectionLost, CircuitOpen):
            reply = await rush.service(request(size))
            await asyncio.sleep(0)
            await reply.aclose()

    tasks = []
    for _ in range(400):
        tasks.append(asyncio.ensure_future(caller(3)))
        if chance.random() < 0.7:
            await asyncio.sleep(0)
        if chance.random() < 0.4:
            chance.choice(tasks).cancel()
    for _ in range(500):
        await asyncio.sleep(0)
    await asyncio.wait(tasks)
    gate = rush.parallel.gate("p/m", rush.vital, 3)
    assert (gate.taken, gate.waiting, gate._coming, rush.vital.busy) == (0, 0, 0, 0)
    assert rush.clock.pending == 0


def test_who_waits_on_another_loop_is_woken() -> None:
    """Pressure is the process's: a call that ends on one loop makes room on another."""
    rush = Rush(STREAM)
    rush.vital.pressure = Pressure(1, 0.0)
    began, ended = threading.Event(), threading.Event()

    async def hold() -> None:
        reply = await rush.service(request(None))
        began.set()
        for _ in range(10_000):
            if rush.parallel.waiting():
                break
            await asyncio.sleep(0.001)
        await reply.aclose()

    async def wait() -> None:
        async with asyncio.timeout(10):
            await (await rush.service(request(None))).aclose()
        ended.set()

    holder = threading.Thread(target=asyncio.run, args=(hold(),))
    holder.start()
    assert began.wait(10)
    asyncio.run(wait())
    holder.join(10)
    assert ended.is_set()


async def test_a_gate_goes_by_the_vital_of_now() -> None:
    """The one it was made with may have been forgotten, and its pressure with it."""
    parallel, vital = Parallel(ManualClock(), Health()), Vital()
    parallel.gate("p/m", Vital(), None)
    vital.busy, vital.pressure = 1, Pressure(1, 0.0)
    task = asyncio.ensure_future(parallel.gate("p/m", vital, None).take(""))
    await asyncio.sleep(0)
    assert parallel.waiting() == {"p/m": 1}
    vital.busy = 0
    assert vital.freed is not None
    vital.freed()
    await task


async def test_names_that_callers_invent_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates where nobody is are forgotten when there are many, and what they counted is not."""
    monkeypatch.setattr(layer, "_MOST_GATES", 3)
    parallel = Parallel(ManualClock(), Health())
    parallel.gate("p/0", Vital(), 1).shed = 7
    await parallel.gate("p/busy", Vital(), 1).take("")
    for number in range(20):
        parallel.gate(f"p/{number}", Vital(), 1)
    assert len(parallel._gates()) <= 4
    assert parallel.gate("p/busy", Vital(), 1).taken == 1
    assert parallel.shed == 7
