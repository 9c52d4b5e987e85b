"""End what takes too long: the whole call at the caller's time-out, one attempt at its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkline.clock import Clock
from trunkline.errors import AttemptTimeout, DeadlineExceeded, TrunklineError
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call


def call_deadline(clock: Clock) -> Layer:
    """Bound a call that carries `timeout_s`, over all its attempts and to the end of its stream."""

    def limit(call: Call) -> tuple[float | None, Callable[[], TrunklineError]]:
        return call.timeout_s, lambda: DeadlineExceeded(
            f"the call did not end within its {call.timeout_s:g} s"
        )

    return _deadline(clock, limit)


def attempt_deadline(clock: Clock) -> Layer:
    """Bound each attempt by its deployment's `timeout`."""

    def limit(call: Call) -> tuple[float | None, Callable[[], TrunklineError]]:
        target = call.target
        assert target is not None
        timeout_s = target.limits.timeout_s
        return timeout_s, lambda: AttemptTimeout(
            f"{target.name} did not finish its answer within {timeout_s:g} s"
        )

    return _deadline(clock, limit)


def _deadline(
    clock: Clock, limit: Callable[[Call], tuple[float | None, Callable[[], TrunklineError]]]
) -> Layer:
    def layer(inner: Service) -> Service:
        async def service(call: Call) -> Reply:
            timeout_s, late = limit(call)
            if timeout_s is None:
                return await inner(call)
            watch = _Watch(asyncio.current_task(), late)
            timer = clock.call_later(timeout_s, watch.fire)
            try:
                reply = await inner(call)
            except BaseException as error:
                timer.cancel()
                if watch.claims(error):
                    raise late() from None
                raise
            if watch.fired:  # between the last await and here
                watch.claims(None)
                reply.abort(late())
                raise late()
            watch.reply = reply
            reply.on_close(lambda reply: timer.cancel())
            return reply

        return service

    return layer


class _Watch:
    """What a timer must end: the task that waits for the reply, then the reply."""

    __slots__ = ("already", "fired", "late", "reply", "task")

    def __init__(
        self, task: asyncio.Task[object] | None, late: Callable[[], TrunklineError]
    ) -> None:
        self.task = task
        self.already = task.cancelling() if task is not None else 0
        """Requests to cancel the task that were there before us."""
        self.late = late
        self.reply: Reply | None = None
        self.fired = False

    def fire(self) -> None:
        self.fired = True
        if self.reply is not None:
            self.reply.abort(self.late())
        elif self.task is not None:
            self.task.cancel()

    def claims(self, error: BaseException | None) -> bool:
        """Take our own cancellation back; True when `error` was nobody else's."""
        if not self.fired or self.task is None:
            return False
        ours_alone = self.task.uncancel() <= self.already
        return ours_alone and isinstance(error, asyncio.CancelledError)
