"""A clock that moves only when told to, so that tests about time neither wait nor flicker."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

_SETTLE_ROUNDS = 20


class ManualTimer:
    """One pending call of a `ManualClock`."""

    __slots__ = ("fire", "when_s")

    def __init__(self, when_s: float, fire: Callable[[], object]) -> None:
        self.when_s = when_s
        self.fire: Callable[[], object] | None = fire

    def cancel(self) -> None:
        """Forget the call; safe to repeat and safe after it happened."""
        self.fire = None


class ManualClock:
    """Implements `trunkline.clock.Clock`.

    `advance` moves time and fires what falls due, in order of time and then of registration.
    Woken tasks run when the test next awaits; where they must run *between* two timers (a task
    that sleeps again and again), use `elapse`.
    """

    def __init__(self, start_ns: int = 1_800_000_000_000_000_000) -> None:
        self._start_ns = start_ns
        self._elapsed_s = 0.0
        self._heap: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def now_ns(self) -> int:
        """Return the wall-clock time in nanoseconds since the epoch."""
        return self._start_ns + round(self._elapsed_s * 1e9)

    def monotonic_s(self) -> float:
        """Return seconds since this clock was made."""
        return self._elapsed_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until time has moved on by `delay_s`."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, delay_s: float, fire: Callable[[], object]) -> ManualTimer:
        """Call `fire` when time has moved on by `delay_s`."""
        timer = ManualTimer(self._elapsed_s + max(0.0, delay_s), fire)
        heapq.heappush(self._heap, (timer.when_s, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers and sleepers are waiting."""
        return sum(timer.fire is not None for _, _, timer in self._heap)

    def advance(self, delay_s: float) -> None:
        """Move time on by `delay_s` and fire what falls due on the way."""
        until_s = self._elapsed_s + delay_s
        while self._fire_next(until_s):
            pass
        self._elapsed_s = until_s

    async def elapse(self, delay_s: float) -> None:
        """Move time on as `advance` does, and let woken tasks run after each timer."""
        until_s = self._elapsed_s + delay_s
        await _settle()
        while self._fire_next(until_s):
            await _settle()
        self._elapsed_s = until_s
        await _settle()

    def _fire_next(self, until_s: float) -> bool:
        """Fire the earliest timer due by `until_s`; tell whether there was one."""
        while self._heap and self._heap[0][0] <= until_s:
            timer = heapq.heappop(self._heap)[2]
            fire, timer.fire = timer.fire, None
            if fire is not None:
                self._elapsed_s = max(self._elapsed_s, timer.when_s)
                fire()
                return True
        return False


async def _settle() -> None:
    """Let the tasks that are ready run, and those that they make ready in turn."""
    for _ in range(_SETTLE_ROUNDS):
        await asyncio.sleep(0)
