"""Let a deployment answer only so many calls at once; the others wait their turn, for a while."""

from __future__ import annotations

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Awaitable

from trunkline.clock import Clock
from trunkline.errors import Overloaded
from trunkline.reply import Reply
from trunkline.service import Layer, Service
from trunkline.types import Call

_LONGEST_WAIT_S = 30.0


class Slots:
    """The slots of one deployment on one loop, handed over in the order of asking."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.free = size
        """Below 0 while more are taken than a new configuration allows."""
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    async def take(self, clock: Clock, name: str) -> None:
        """Take a slot, waiting if there is none.

        Raises:
            Overloaded: none came free in time.
        """
        if self.free > 0:
            self.free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        late = Overloaded(f"{name} had no free slot for {_LONGEST_WAIT_S:g} s", retry_after_s=1.0)

        def give_up() -> None:
            if not turn.done():
                turn.set_exception(late)

        timer = clock.call_later(_LONGEST_WAIT_S, give_up)
        try:
            await turn
        except BaseException:
            self._waiting.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()  # the slot came in the moment of our cancellation
            raise
        finally:
            timer.cancel()

    def give(self) -> None:
        """Give a slot back: to the next that waits, else to whoever comes."""
        self.free += 1
        self._hand_over()

    def resize(self, size: int) -> None:
        """Have so many slots from now on; nobody who has one loses it."""
        self.free += size - self.size
        self.size = size
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self.free > 0:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                self.free -= 1
                turn.set_result(None)


class Parallel:
    """The slots of all deployments; lives longer than any one stack."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Slots]] = (
            weakref.WeakKeyDictionary()
        )

    def slots(self, deployment: str, size: int) -> Slots:
        """Return the deployment's slots on the running loop: `size` of them from now on."""
        here = self._loops.setdefault(asyncio.get_running_loop(), {})
        slots = here.get(deployment)
        if slots is None:
            slots = here[deployment] = Slots(size)
        if slots.size != size:  # a new configuration may say otherwise
            slots.resize(size)
        return slots


def concurrency(parallel: Parallel) -> Layer:
    """Hold one of the deployment's `max_parallel` slots from before the send to the reply's end."""

    def layer(inner: Service) -> Service:
        def service(call: Call) -> Awaitable[Reply]:
            assert call.target is not None
            size = call.target.limits.max_parallel
            return inner(call) if size is None else limited(call, call.target.name, size)

        async def limited(call: Call, deployment: str, size: int) -> Reply:
            slots = parallel.slots(deployment, size)
            await slots.take(parallel.clock, deployment)
            try:
                reply = await inner(call)
            except BaseException:
                slots.give()
                raise
            reply.on_close(lambda reply: slots.give())
            return reply

        return service

    return layer
