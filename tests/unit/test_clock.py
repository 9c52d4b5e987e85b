"""The real clock: coarse timers fire, are never early, and hold no loop."""

import asyncio
import subprocess
import sys

import pytest
import uvloop

from trunkline import clock as module
from trunkline.clock import SystemClock


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COARSE_FROM_S", 0.02)
    monkeypatch.setattr(module, "_TICK_S", 0.01)


async def _fired_after(clock: SystemClock, delay_s: float) -> float:
    loop = asyncio.get_running_loop()
    fired = loop.create_future()
    start_s = clock.monotonic_s()
    clock.call_later(delay_s, lambda: fired.set_result(clock.monotonic_s() - start_s))
    return float(await fired)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_coarse_timer_is_never_early(new_loop: object) -> None:
    """Whatever the delay, a timer fires after it, on either kind of loop."""

    async def main() -> None:
        clock = SystemClock()
        delays = [0.02, 0.031, 0.025, 0.043, 0.0201]
        late = await asyncio.gather(*(_fired_after(clock, delay) for delay in delays))
        # uvloop's own time stands still within a turn of the loop and counts milliseconds.
        assert all(after > delay - 0.002 for after, delay in zip(late, delays, strict=True))

    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
        runner.run(main())


async def test_a_cancelled_timer_does_not_fire() -> None:
    """Cancelled before its tick, in the tick by a neighbour, or twice: it stays silent."""
    clock = SystemClock()
    log: list[str] = []

    def hush() -> None:
        log.append("one of two")
        for timer in neighbours:
            timer.cancel()

    first = clock.call_later(0.02, lambda: log.append("first"))
    first.cancel()
    first.cancel()
    neighbours = [clock.call_later(0.03, hush) for _ in range(2)]
    await _fired_after(clock, 0.05)
    assert log == ["one of two"]


async def test_an_earlier_timer_comes_first() -> None:
    """A timer set later for an earlier tick fires in its time, and the other one still does."""
    clock = SystemClock()
    log: list[str] = []
    clock.call_later(0.06, lambda: log.append("late"))
    clock.call_later(0.02, lambda: log.append("early"))
    await _fired_after(clock, 0.08)
    assert log == ["early", "late"]


async def test_a_timer_that_fails_stops_no_other() -> None:
    """The loop's handler hears of the failure; the timers of the same tick fire all the same."""
    clock = SystemClock()
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    loop_time = loop.time()
    delay_s = 0.03 - loop_time % 0.01  # both in the middle of one tick

    def fail() -> None:
        raise ValueError("broken")

    clock.call_later(delay_s + 0.004, fail)
    await _fired_after(clock, delay_s + 0.005)
    loop.set_exception_handler(None)
    assert told == ["broken"]


_TWO_LOOPS = """
import asyncio, gc, weakref
from trunkline.clock import SystemClock

clock = SystemClock()

async def main():
    task = asyncio.current_task()
    clock.call_later(5.0, lambda: print(task))
    return weakref.ref(asyncio.get_running_loop())

first = asyncio.run(main())
asyncio.run(main())
gc.collect()
raise SystemExit(first() is not None)
"""


def test_a_loop_that_is_gone_is_let_go() -> None:
    """A timer that was left does not keep a closed loop alive, once there is another."""
    # In an interpreter of its own: here, what other tests left may hold a loop.
    told = subprocess.run([sys.executable, "-c", _TWO_LOOPS], check=False, timeout=60)
    assert told.returncode == 0
