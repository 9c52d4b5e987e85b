"""Time as a port, so that every rule about time is tested without waiting.

`SystemClock` is the real one; `trunkline.testing.ManualClock` moves only when told to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


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
        """Call `fire` in `delay_s` seconds on the running loop."""


class SystemClock:
    """The machine's clock and the running loop's timers."""

    now_ns = staticmethod(time.time_ns)
    monotonic_s = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)

    def call_later(self, delay_s: float, fire: Callable[[], None]) -> Timer:
        """Call `fire` in `delay_s` seconds on the running loop."""
        return asyncio.get_running_loop().call_later(delay_s, fire)
