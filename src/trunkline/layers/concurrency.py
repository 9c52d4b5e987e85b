"""Let a deployment answer only so many calls at once; the others wait their turn, for a while.

How many is `max_parallel`, and less while the deployment shows signs of having too many (see
`trunkline.routing.pressure`). Whose turn it is goes round among those who pay. Who cannot expect a
turn in time is told so at once. All of this is per process, `max_parallel` per event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable
from functools import partial
from itertools import chain

from trunkline.clock import Clock
from trunkline.errors import Overloaded
from trunkline.reply import Reply
from trunkline.routing.health import Health, Vital
from trunkline.routing.turns import Turns
from trunkline.service import Layer, Service
from trunkline.types import Call

_LONGEST_WAIT_S = 30.0
_MOST_WAITING = 1024
_MOST_GATES = 4096
_NEW_SHARE = 0.2
"""What the time between the latest two turns counts for in the average."""


class Gate:
    """Where calls wait for one deployment, on one loop."""

    def __init__(self, name: str, vital: Vital, size: int | None, clock: Clock) -> None:
        self.size = size
        """None = as many as the pressure allows."""
        self.taken = 0
        """Slots that somebody has; more than `size` for a while where that was made smaller."""
        self.shed = 0
        """How many were sent away without a slot."""
        self.vital = vital
        """The deployment's; another one once that was forgotten meanwhile."""
        self._name, self._clock = name, clock
        self._waiting: Turns[asyncio.Future[None]] = Turns()
        self._coming = 0
        """Have been given their turn and have not begun yet."""
        self._turn_s = self._served_s = 0.0
        """Average time between two turns; when the last one was."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def take(self, owner: str, most_s: float = _LONGEST_WAIT_S) -> None:
        """Take a slot, waiting at most `most_s` if there is none.

        Raises:
            Overloaded: none came free in time, or none will.
        """
        if not self._waiting and self._has_room():
            self.taken += 1
            return
        self._refuse_the_hopeless(owner, most_s)
        if not self._waiting:
            self._served_s = self._clock.monotonic_s()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(owner, turn)
        timer = self._clock.call_later(most_s, partial(self._give_up, turn, most_s))
        try:
            await turn
        except BaseException:
            self._waiting.discard(owner, turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._coming -= 1  # the turn came in the moment of our cancellation
                self.give()
            raise
        finally:
            timer.cancel()
        self._coming -= 1

    def give(self) -> None:
        """Give a slot back: to the next that waits, else to whoever comes."""
        self.taken -= 1
        self.hand_over()

    def resize(self, size: int | None) -> None:
        """Have so many slots from now on; nobody who has one loses it."""
        self.size = size
        self.hand_over()

    def hand_over(self) -> None:
        """Give turns to those who wait while there is room."""
        while self._waiting and self._has_room():
            turn = self._waiting.pop()
            if turn.done():
                continue
            now_s = self._clock.monotonic_s()
            gap_s, self._served_s = now_s - self._served_s, now_s
            self._turn_s += (gap_s - self._turn_s) * (_NEW_SHARE if self._turn_s else 1.0)
            self.taken += 1
            self._coming += 1
            turn.set_result(None)

    def _has_room(self) -> bool:
        if self.size is not None and self.taken >= self.size:
            return False
        pressure = self.vital.pressure
        return pressure is None or self.vital.busy + self._coming + 1 <= pressure.limit

    def _refuse_the_hopeless(self, owner: str, most_s: float) -> None:
        """Send somebody away where the queue is full: the newcomer, or who takes most of it."""
        wait_s = (self._waiting.ahead(owner) + 1) * self._turn_s
        if wait_s > most_s:
            self.shed += 1
            raise Overloaded(
                f"{self._name} has too many calls waiting: the turn would come in {wait_s:.1f} s",
                retry_after_s=wait_s,
            )
        if len(self._waiting) < _MOST_WAITING:
            return
        self.shed += 1
        full = Overloaded(f"{self._name} has {_MOST_WAITING} calls waiting", retry_after_s=1.0)
        last = self._waiting.pop_last_of_greediest(owner)
        if last is None:
            raise full
        if not last.done():
            last.set_exception(full)

    def _give_up(self, turn: asyncio.Future[None], most_s: float) -> None:
        if not turn.done():
            self.shed += 1
            late = f"{self._name} had no free slot for {most_s:g} s"
            turn.set_exception(Overloaded(late, retry_after_s=max(1.0, self._turn_s)))


_Gates = dict[str, Gate]


class Parallel:
    """The gates of all deployments; lives longer than any one stack."""

    def __init__(self, clock: Clock, health: Health) -> None:
        self.clock = clock
        self.health = health
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Gates] = (
            weakref.WeakKeyDictionary()
        )
        self._shed_before = 0

    def gate(self, deployment: str, vital: Vital, size: int | None) -> Gate:
        """Return the deployment's gate on the running loop, with `size` slots from now on."""
        here = self._loops.setdefault(asyncio.get_running_loop(), {})
        gate = here.get(deployment)
        if gate is None:
            if len(here) >= _MOST_GATES:  # callers may invent model names
                self._clear(here)
            gate = here[deployment] = Gate(deployment, vital, size, self.clock)
        gate.vital = vital
        if gate.size != size:  # a new configuration may say otherwise
            gate.resize(size)
        if vital.pressure is not None and vital.freed is None:
            vital.freed = partial(self._wake, deployment, vital)
        return gate

    def waiting(self) -> dict[str, int]:
        """Return how many wait for each deployment for which anybody does."""
        found: dict[str, int] = {}
        for name, gate in self._gates():
            if gate.waiting:
                found[name] = found.get(name, 0) + gate.waiting
        return found

    @property
    def shed(self) -> int:
        """How many calls were sent away for want of a slot."""
        return self._shed_before + sum(gate.shed for _, gate in self._gates())

    def _gates(self) -> list[tuple[str, Gate]]:
        return list(chain.from_iterable(list(gates.items()) for gates in self._loops.values()))

    def _clear(self, gates: _Gates) -> None:
        for name, gate in list(gates.items()):
            if not gate.taken and not gate.waiting:
                self._shed_before += gate.shed
                del gates[name]

    def _wake(self, deployment: str, vital: Vital) -> None:
        """An attempt is over: give turns to those who wait, on whatever loop."""
        if vital.pressure is None:
            vital.freed = None
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:  # a reply that was dropped ends wherever the collector runs
            here = None
        for loop, gates in list(self._loops.items()):
            gate = gates.get(deployment)
            if gate is None or not gate.waiting:
                continue
            if loop is here:
                gate.hand_over()
            else:
                with contextlib.suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(gate.hand_over)


def concurrency(parallel: Parallel) -> Layer:
    """Hold one of the deployment's slots from before the send to the reply's end."""
    of = parallel.health.of

    def layer(inner: Service) -> Service:
        def service(call: Call) -> Awaitable[Reply]:
            target = call.target
            assert target is not None
            size, vital = target.limits.max_parallel, of(target.name)
            if size is None and vital.pressure is None:
                return inner(call)
            return limited(call, parallel.gate(target.name, vital, size))

        async def limited(call: Call, gate: Gate) -> Reply:
            await gate.take(_owner(call), _patience_s(call, parallel.clock))
            try:
                reply = await inner(call)
            except BaseException:
                gate.give()
                raise
            reply.on_close(lambda reply: gate.give())
            return reply

        return service

    return layer


def _owner(call: Call) -> str:
    who = call.principal
    return who.key_id or who.user_id or who.team_id or who.tenant_id or ""


def _patience_s(call: Call, clock: Clock) -> float:
    """Return for how long a turn is worth waiting for."""
    if call.timeout_s is None or call.trail is None:
        return _LONGEST_WAIT_S
    left_s = call.trail.started_s + call.timeout_s - clock.monotonic_s()
    return max(0.0, min(_LONGEST_WAIT_S, left_s))
