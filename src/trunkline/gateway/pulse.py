"""A stream that is silent says so now and then, lest somebody on the way take it for dead."""

from __future__ import annotations

import asyncio

from trunkline.clock import Clock
from trunkline.gateway.http import Request

BEAT_S = 7.0
"""Two beats are the longest silence: less than the 15 s after which some proxies give up."""


class Pulse:
    """Writes `ping` at each beat before which nothing was written since the last.

    Costs a timer for a stream and an assignment for a piece of it; a task only when it writes.
    """

    __slots__ = ("_clock", "_ping", "_request", "_task", "_timer", "silent")

    def __init__(self, request: Request, ping: bytes, clock: Clock) -> None:
        self.silent = False
        """To be made False whenever something is written."""
        self._request = request
        self._ping = ping
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._timer = clock.call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        # A ping that still waits belongs to a caller who does not read: one is enough.
        if self.silent and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._say())
        self.silent = True
        self._timer = self._clock.call_later(BEAT_S, self._beat)

    async def _say(self) -> None:
        if not self._request.ended:  # nothing may follow the last piece
            await self._request.write(self._ping, more=True)

    def stop(self) -> None:
        """Write no more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
