"""End what takes too long: the whole call at the caller's time-out, one attempt at its own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.clock import Clock
from trunkline.errors import AttemptTimeout, DeadlineExceeded, TrunklineError, was_sent
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call

Late = Callable[[Call, BaseException | None], TrunklineError]
"""Makes the error of a late call; it is told what our cancellation came out as, if it was that."""


def call_deadline(clock: Clock) -> Layer:
    """Bound a call that carries `timeout_s`, over all its attempts and to the end of its stream."""

    def late(call: Call, error: BaseException | None) -> TrunklineError:
        return DeadlineExceeded(f"the call did not end within its {call.timeout_s:g} s")

    def layer(inner: Service) -> Service:
        return _bounded(inner, clock, lambda call: call.timeout_s, late)

    return layer


def attempt_deadline(clock: Clock) -> Layer:
    """Bound each attempt by its deployment's `timeout_s`."""

    def limit_s(call: Call) -> float:
        assert call.target is not None
        return call.target.limits.timeout_s

    def late(call: Call, error: BaseException | None) -> TrunklineError:
        target = call.target
        assert target is not None
        too_late = AttemptTimeout(
            f"{target.name} did not finish its answer within {target.limits.timeout_s:g} s"
        )
        too_late.deployment = target.name
        if error is not None:
            too_late.sent = was_sent(error)
        return too_late

    def layer(inner: Service) -> Service:
        return _bounded(inner, clock, limit_s, late)

    return layer


def _bounded(
    inner: Service,
    clock: Clock,
    limit_s: Callable[[Call], float | None],
    late: Late,
) -> Service:
    def service(call: Call) -> Awaitable[Reply]:
        timeout_s = limit_s(call)
        return inner(call) if timeout_s is None else watched(call, timeout_s)

    async def watched(call: Call, timeout_s: float) -> Reply:
        """Make the call and watch it to the end of its answer."""
        task = asyncio.current_task()
        already = task.cancelling() if task is not None else 0  # requests before ours
        fired = False
        # Weak, or the timer would keep a reply that its reader dropped, slot and hold with it.
        answer: weakref.ref[Reply] | None = None

        def fire() -> None:
            nonlocal fired
            fired = True
            if answer is not None:
                if (reply := answer()) is not None:
                    reply.abort(late(call, None))
            elif task is not None:
                task.cancel()

        timer = clock.call_later(timeout_s, fire)
        try:
            reply = await inner(call)
        except BaseException as error:
            timer.cancel()
            if fired and _take_back(task, already) and isinstance(error, asyncio.CancelledError):
                raise late(call, error) from None
            raise
        if fired:  # somebody below swallowed the cancellation
            _take_back(task, already)
            too_late = late(call, None)
            reply.abort(too_late)
            raise too_late
        answer = weakref.ref(reply)
        reply.on_close(lambda reply: timer.cancel())
        return reply

    return service


def _take_back(task: asyncio.Task[Any] | None, already: int) -> bool:
    """Take our request to cancel `task` back; True when nobody else wants that."""
    return task is not None and task.uncancel() <= already
