"""End what takes too long: the whole call at the caller's time-out, one attempt at its own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from trunkline.clock import Clock
from trunkline.errors import AttemptTimeout, DeadlineExceeded, TrunklineError, was_sent
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call


def call_deadline(clock: Clock) -> Layer:
    """Bound a call that carries `timeout_s`, over all its attempts and to the end of its stream."""

    def late(call: Call) -> TrunklineError:
        return DeadlineExceeded(f"the call did not end within its {call.timeout_s:g} s")

    def layer(inner: Service) -> Service:
        return _bounded(inner, clock, lambda call: call.timeout_s, late)

    return layer


def attempt_deadline(clock: Clock) -> Layer:
    """Bound each attempt by its deployment's `timeout_s`."""

    def limit_s(call: Call) -> float:
        assert call.target is not None
        return call.target.limits.timeout_s

    def late(call: Call) -> TrunklineError:
        target = call.target
        assert target is not None
        error = AttemptTimeout(
            f"{target.name} did not finish its answer within {target.limits.timeout_s:g} s"
        )
        error.deployment = target.name
        return error

    def layer(inner: Service) -> Service:
        return _bounded(inner, clock, limit_s, late)

    return layer


def _bounded(
    inner: Service,
    clock: Clock,
    limit_s: Callable[[Call], float | None],
    late: Callable[[Call], TrunklineError],
) -> Service:
    async def service(call: Call) -> Reply:
        """Make the call and watch it to the end of its answer."""
        timeout_s = limit_s(call)
        if timeout_s is None:
            return await inner(call)
        watch = _Watch(call, late)
        timer = clock.call_later(timeout_s, watch.fire)
        try:
            reply = await inner(call)
        except BaseException as error:
            timer.cancel()
            if watch.claims(error):
                too_late = late(call)
                if isinstance(too_late, AttemptTimeout):
                    too_late.sent = was_sent(error)
                raise too_late from None
            raise
        if watch.fired:  # somebody below swallowed the cancellation
            watch.claims(None)
            too_late = late(call)
            reply.abort(too_late)
            raise too_late
        watch.reply = weakref.ref(reply)
        reply.on_close(lambda reply: timer.cancel())
        return reply

    return service


class _Watch:
    """What a timer must end: the task that waits for the reply, then the reply."""

    __slots__ = ("already", "call", "fired", "late", "reply", "task")

    def __init__(self, call: Call, late: Callable[[Call], TrunklineError]) -> None:
        self.call = call
        self.late = late
        self.task = task = asyncio.current_task()
        self.already = task.cancelling() if task is not None else 0
        """Requests to cancel the task that were there before us."""
        self.reply: weakref.ref[Reply] | None = None
        """Weak, or the timer would keep a reply that its reader dropped, slot and hold with it."""
        self.fired = False

    def fire(self) -> None:
        self.fired = True
        if self.reply is None:
            if self.task is not None:
                self.task.cancel()
        elif (reply := self.reply()) is not None:
            reply.abort(self.late(self.call))

    def claims(self, error: BaseException | None) -> bool:
        """Take our own cancellation back; True when `error` was nobody else's."""
        if not self.fired or self.task is None:
            return False
        ours_alone = self.task.uncancel() <= self.already
        return ours_alone and isinstance(error, asyncio.CancelledError)
