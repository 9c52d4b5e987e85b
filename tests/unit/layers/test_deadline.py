"""Time that runs out ends a call or an attempt, and nothing else; nobody's cancellation is lost."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from tests.scripted import SILENCE, Script, text
from tests.unit.layers.double import (
    ENDS,
    STREAM,
    Answer,
    Inner,
    ask,
    limited,
    live,
    settle,
)
from trunkline.errors import AttemptTimeout, DeadlineExceeded, TrunklineError
from trunkline.layers.deadline import attempt_deadline, call_deadline
from trunkline.reply import Reply
from trunkline.service import Service, stack
from trunkline.testing import ManualClock
from trunkline.types import Call

LATE: dict[str, type[TrunklineError]] = {"call": DeadlineExceeded, "attempt": AttemptTimeout}
BOTH = pytest.mark.parametrize("which", LATE)


def bounded(which: str, clock: ManualClock, inner: Service) -> Service:
    """Put one of the deadlines, or both, around `inner`."""
    layers = {
        "call": [call_deadline(clock)],
        "attempt": [attempt_deadline(clock)],
        "both": [call_deadline(clock), attempt_deadline(clock)],
    }
    return stack(layers[which], inner)


def request(call_s: float | None = 5, attempt_s: float = 5) -> Call:
    """Make a call with time-outs."""
    return ask(timeout_s=call_s, target=limited(timeout_s=attempt_s))


async def caught(make: Coroutine[None, None, object]) -> tuple[type[BaseException] | None, int]:
    """Return what `make` raised, and the requests to cancel that its task is left with."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await make
    except BaseException as error:
        return type(error), task.cancelling()
    return None, task.cancelling()


async def read(service: Service, call: Call) -> None:
    """Read an answer to its end."""
    async with await service(call) as reply:
        await reply.message()


@BOTH
async def test_waiting_for_the_reply_ends_in_time(which: str) -> None:
    """The task that waits gets the error at the very second, and no cancellation sticks to it."""
    clock, inner = ManualClock(), Inner(SILENCE)
    task = asyncio.create_task(caught(read(bounded(which, clock, inner), request())))
    await settle()
    clock.advance(4.9)
    await settle()
    assert not task.done()
    clock.advance(0.1)
    assert await task == (LATE[which], 0)
    assert inner.open_wires == 0
    assert clock.pending == 0


@BOTH
async def test_a_stream_ends_in_time(which: str) -> None:
    """A reader in mid-stream gets the error; the wire is closed."""
    clock, inner = ManualClock(), Inner((text("h"), SILENCE))
    task = asyncio.create_task(caught(read(bounded(which, clock, inner), request())))
    await settle()
    clock.advance(5)
    assert await task == (LATE[which], 0)
    assert inner.open_wires == 0
    assert clock.pending == 0


@BOTH
async def test_a_reply_that_nobody_reads_ends_in_time(which: str) -> None:
    """The time-out does not wait for a slow reader."""
    clock, inner = ManualClock(), Inner(STREAM)
    reply = await bounded(which, clock, inner)(request())
    await anext(reply)
    clock.advance(5)
    assert (reply.outcome, inner.open_wires) == ("failed", 0)
    with pytest.raises(LATE[which], match="5 s"):
        await anext(reply)


@BOTH
async def test_a_dropped_reply_is_not_kept_until_its_time_is_up(which: str) -> None:
    """The timer knows it only weakly: it settles at once, and there is nothing left to time."""
    clock, inner = ManualClock(), Inner(STREAM)
    reply = await bounded(which, clock, inner)(request())
    with pytest.warns(ResourceWarning, match="dropped without being closed"):
        del reply
    assert (inner.open_wires, clock.pending) == (0, 0)


@pytest.mark.parametrize("how", ENDS)
async def test_no_timer_outlives_its_call(how: str) -> None:
    """However a call ends, both its timers are gone."""
    clock = ManualClock()
    inner = Inner(ENDS[how][0])
    await live(bounded("both", clock, inner), request(), how)
    assert clock.pending == 0
    clock.advance(10)


async def test_an_answer_is_never_late_after_its_end() -> None:
    """Time that runs out after the last frame changes nothing."""
    clock = ManualClock()
    reply = await bounded("both", clock, Inner(STREAM))(request())
    await reply.message()
    clock.advance(5)
    assert (reply.outcome, reply.error) == ("complete", None)


async def test_a_call_without_a_time_out_has_no_timer() -> None:
    """`timeout_s=None` costs nothing."""
    clock = ManualClock()
    reply = await bounded("call", clock, Inner(STREAM))(request(call_s=None))
    assert clock.pending == 0
    await reply.aclose()


@pytest.mark.parametrize("step", [SILENCE, text("h")], ids=["waiting", "in mid-stream"])
@pytest.mark.parametrize(
    ("call_s", "attempt_s", "wanted"),
    [(5, 5, DeadlineExceeded), (5, 7, DeadlineExceeded), (7, 5, AttemptTimeout)],
)
async def test_the_earlier_of_two_deadlines_wins(
    step: str, call_s: float, attempt_s: float, wanted: type[TrunklineError]
) -> None:
    """Of two at the same instant it is the call's: it was the first to be set."""
    clock, answer = ManualClock(), SILENCE if step == SILENCE else (step, SILENCE)
    service = bounded("both", clock, Inner(answer))
    task = asyncio.create_task(caught(read(service, request(call_s, attempt_s))))
    await settle()
    clock.advance(5)
    assert await task == (wanted, 0)
    assert clock.pending == 0


@pytest.mark.parametrize("order", ["cancel first", "deadline first"])
@pytest.mark.parametrize("which", ["call", "attempt", "both"])
@pytest.mark.parametrize("answer", [SILENCE, (text("h"), SILENCE)], ids=["waiting", "reading"])
async def test_a_cancellation_at_the_same_instant_stays_one(
    order: str, which: str, answer: Answer
) -> None:
    """Whoever cancels the task finds it cancelled, whichever came first."""
    clock = ManualClock()
    task = asyncio.create_task(read(bounded(which, clock, Inner(answer)), request()))
    await settle()
    acts: list[Callable[[], object]] = [task.cancel, lambda: clock.advance(5)]
    for act in acts if order == "cancel first" else reversed(acts):
        act()
    await asyncio.wait({task})
    assert task.cancelled()
    assert task.cancelling() == 1
    assert clock.pending == 0


@pytest.mark.parametrize("which", ["call", "attempt", "both"])
@pytest.mark.parametrize("answer", [SILENCE, (text("h"), SILENCE)], ids=["waiting", "reading"])
async def test_a_timeout_of_asyncio_at_the_same_instant_stays_one(
    which: str, answer: Answer
) -> None:
    """`asyncio.timeout` around the call raises its own `TimeoutError`."""
    clock = ManualClock()
    around = asyncio.timeout(None)

    async def caller() -> None:
        async with around:
            await read(bounded(which, clock, Inner(answer)), request())

    task = asyncio.create_task(caught(caller()))
    await settle()
    loop = asyncio.get_running_loop()
    around.reschedule(loop.time() - 1)
    loop.call_soon(clock.advance, 5)  # right after the time-out's own timer
    assert await task == (TimeoutError, 0)
    assert clock.pending == 0


@BOTH
@pytest.mark.parametrize("answer", [SILENCE, (text("h"), SILENCE)], ids=["waiting", "reading"])
async def test_an_older_cancellation_is_left_as_it_was(which: str, answer: Answer) -> None:
    """A task that was cancelled before and carried on gets the error, and keeps its count."""
    clock = ManualClock()

    async def stubborn() -> tuple[type[BaseException] | None, int]:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return await caught(read(bounded(which, clock, Inner(answer)), request()))
        raise AssertionError

    task = asyncio.create_task(stubborn())
    await settle()
    task.cancel()
    await settle()
    clock.advance(5)
    assert await task == (LATE[which], 1)


@BOTH
async def test_a_swallowed_cancellation_is_late_all_the_same(which: str) -> None:
    """A service below that answers although it was cancelled is not believed."""
    clock, script = ManualClock(), Script(*STREAM)

    async def stubborn(call: Call) -> Reply:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return Reply(script, limited())
        raise AssertionError

    task = asyncio.create_task(caught(read(bounded(which, clock, stubborn), request())))
    await settle()
    clock.advance(5)
    assert await task == (LATE[which], 0)
    assert script.log == ["wire closed"]


@BOTH
async def test_an_error_on_the_way_out_is_kept(which: str) -> None:
    """When the work below answers its cancellation with an error of its own, that one is raised."""
    clock = ManualClock()

    async def failing(call: Call) -> Reply:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise LookupError from None
        raise AssertionError

    task = asyncio.create_task(caught(read(bounded(which, clock, failing), request())))
    await settle()
    clock.advance(5)
    assert await task == (LookupError, 0)
