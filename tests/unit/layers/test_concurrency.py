"""No more calls at once than a deployment may take; the others wait in order, for a while."""

import asyncio
from contextlib import suppress

import pytest

from tests.scripted import SILENCE
from tests.unit.layers.double import ENDS, STREAM, WHOLE, Inner, ask, limited, live, settle
from trunkline.errors import Overloaded
from trunkline.layers.concurrency import Parallel, Slots, concurrency
from trunkline.reply import Reply
from trunkline.testing import ManualClock
from trunkline.types import Call


def request(max_parallel: int | None = 1) -> Call:
    """Make an attempt's call."""
    return ask(target=limited(max_parallel=max_parallel))


async def test_no_more_than_max_parallel_run_at_once() -> None:
    """The third of two waits until one of them is over."""
    inner = Inner(STREAM)
    service = concurrency(Parallel(ManualClock()))(inner)
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
    slots = Slots(1)
    await slots.take(clock, "p/m")

    async def wait(number: int) -> None:
        await slots.take(clock, "p/m")
        order.append(number)
        slots.give()

    tasks = [asyncio.create_task(wait(number)) for number in range(5)]
    await settle()
    tasks[2].cancel()
    slots.give()
    await asyncio.wait(tasks)
    assert order == [0, 1, 3, 4]
    assert slots.free == 1
    assert clock.pending == 0


@pytest.mark.parametrize("how", ENDS)
async def test_a_slot_comes_back_however_a_call_ends(how: str) -> None:
    """The next caller gets it at once."""
    inner, clock = Inner(ENDS[how][0], WHOLE), ManualClock()
    service = concurrency(Parallel(clock))(inner)
    await live(service, request(), how)
    await (await service(request())).message()
    assert clock.pending == 0


@pytest.mark.parametrize("how", ["cancelled", "at the instant of the hand-over", "after it"])
async def test_a_slot_is_not_lost_with_one_who_waited(how: str) -> None:
    """A waiter that is cancelled, even as it gets the slot, passes it on."""
    inner, clock = Inner(STREAM), ManualClock()
    service = concurrency(Parallel(clock))(inner)
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
    service = concurrency(Parallel(clock))(inner)
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
    service = concurrency(Parallel(clock))(inner)
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
    clock, slots = ManualClock(), Slots(1)
    await slots.take(clock, "p/m")
    waiters = [asyncio.create_task(slots.take(clock, "p/m")) for _ in range(10)]
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
    parallel = Parallel(ManualClock())
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
    service = concurrency(Parallel(ManualClock()))(inner)
    replies = await asyncio.gather(*(service(request(None)) for _ in range(20)))
    for reply in replies:
        await reply.aclose()


def test_each_loop_has_slots_of_its_own() -> None:
    """A slot that died with its loop does not hold up the next one."""
    service = concurrency(Parallel(ManualClock()))(Inner(SILENCE, WHOLE))

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
