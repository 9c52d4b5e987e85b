"""Time as a port, so that every rule about time is tested without waiting.

`SystemClock` is the real one; `trunkline.testing.ManualClock` moves only when told to.
"""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

_COARSE_FROM_S = 2.0
_TICK_S = 0.25


class Timer(Protocol):
    """A call that will happen later unless cancelled."""

    def cancel(self) -> None:
        """Forget the call; safe to repeat and safe after it happened."""


class Clock(Protocol):
    """What any code may ask about time."""

    def now_ns(self) -> int:
        """Return wall-clock time in nanoseconds since the epoch, for records."""

    def monotonic_s(self) -> float:
        """Return seconds that never go back, for durations."""

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` seconds."""

    def call_later(self, delay_s: float, fire: Callable[[], None]) -> Timer:
        """Call `fire` in `delay_s` seconds on the running loop, never early.

        A long delay (2 s and more) may last a quarter of a second longer.
        """


class SystemClock:
    """The machine's clock and the running loop's timers."""

    now_ns = staticmethod(time.time_ns)
    monotonic_s = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

    def __init__(self) -> None:
        self._wheels: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Wheel] = (
            weakref.WeakKeyDictionary()
        )
        self._latest: tuple[Callable[[], object], _Wheel] = (lambda: None, _Wheel())

    def call_later(self, delay_s: float, fire: Callable[[], None]) -> Timer:
        """Call `fire` in `delay_s` seconds on the running loop; see `Clock.call_later`."""
        loop = asyncio.get_running_loop()
        if delay_s < _COARSE_FROM_S:
            return loop.call_later(delay_s, fire)
        known, wheel = self._latest
        if known() is not loop:
            wheel = self._wheel(loop)
            self._latest = weakref.ref(loop), wheel
        return wheel.add(loop, delay_s, fire)

    def _wheel(self, loop: asyncio.AbstractEventLoop) -> _Wheel:
        if loop not in self._wheels:
            for other in tuple(self._wheels):
                if other.is_closed():  # with calls under way, whose timers would keep it
                    del self._wheels[other]
        return self._wheels.setdefault(loop, _Wheel())


class _Coarse(Struct, eq=False):
    """A timer on a wheel."""

    slot: dict[_Coarse, None]
    fire: Callable[[], None]

    def cancel(self) -> None:
        """Forget the call."""
        self.slot.pop(self, None)


class _Wheel:
    """The coarse timers of one loop: those of one tick share a timer of the loop.

    A time-out is set for every attempt and nearly always cancelled. Here both are one operation
    on a dict; a timer of the loop costs ten times as much. Knows no loop, which must be able to go.
    """

    __slots__ = ("_next", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, dict[_Coarse, None]] = {}
        self._next: float = math.inf
        """The earliest tick for which the loop was asked to wake us."""

    def add(
        self, loop: asyncio.AbstractEventLoop, delay_s: float, fire: Callable[[], None]
    ) -> _Coarse:
        tick = int((loop.time() + delay_s) / _TICK_S) + 1
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = {}
            if tick < self._next:
                self._wake_at(loop, tick)
        timer = _Coarse(slot, fire)
        slot[timer] = None
        return timer

    def _wake_at(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        self._next = tick
        loop.call_at(tick * _TICK_S, self._turn, loop, tick)

    def _turn(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        if tick != self._next:  # an earlier one came in between, and looks after the rest
            return
        due = self._slots.pop(tick, {})
        self._slots = {at: slot for at, slot in self._slots.items() if slot}
        self._next = math.inf
        if self._slots:
            self._wake_at(loop, min(self._slots))
        while due:
            timer = next(iter(due))
            del due[timer]
            try:
                timer.fire()
            except Exception as error:
                loop.call_exception_handler({"message": "a timer failed", "exception": error})
