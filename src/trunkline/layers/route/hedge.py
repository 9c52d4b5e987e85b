"""A second attempt when the first is late, within a share of a group's calls."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

from trunkline.clock import Clock
from trunkline.config.model import Hedge as Rule
from trunkline.reply import Reply
from trunkline.routing.health import Health
from trunkline.routing.pace import Pace
from trunkline.routing.plan import Candidate

_MOST_SAVED = 10.0
"""Second attempts that a quiet time may save up."""

Leg = asyncio.Task[Reply]


class Hedges:
    """What each group may still spend on second attempts; lives longer than any one stack."""

    def __init__(self, clock: Clock, health: Health) -> None:
        self.clock = clock
        self._health = health
        self._saved: dict[str, float] = {}
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)

    def of(self, group: str, rule: Rule, *, stream: bool) -> Hedge:
        """Count a call of `group` and return what holds for it."""
        saved = self._saved.get(group, 0.0) + rule.max_share
        self._saved[group] = min(saved, _MOST_SAVED)
        wait_s = rule.after
        if wait_s is None:
            wait_s = self._paces[group].late_s(stream=stream)
        return Hedge(self, group, wait_s, stream=stream)

    def is_well(self, deployment: str) -> bool:
        """Whether a deployment may be asked although nobody has to."""
        return self._health.of(deployment).circuit.calm

    def any_awake(self, candidates: Iterable[Candidate]) -> bool:
        """Whether one of them does not rest."""
        circuits = (self._health.of(each.deployment.name).circuit for each in candidates)
        now_s = self.clock.monotonic_s
        return any(circuit.calm or not circuit.rest_s(now_s()) for circuit in circuits)

    def take(self, group: str) -> bool:
        """Take one second attempt from what is saved; False = there is none left."""
        saved = self._saved.get(group, 0.0)
        if saved < 1:
            return False
        self._saved[group] = saved - 1
        return True

    def learn(self, group: str, begun_s: float, *, stream: bool) -> None:
        """Remember how long a caller waited for an answer of `group` to begin."""
        pace, now_s = self._paces[group], self.clock.monotonic_s()
        if stream:
            pace.hear(now_s, begun_s)
        else:
            pace.learn(now_s, begun_s, 0.0, 0, stream=False)


class Hedge:
    """What holds for one call."""

    __slots__ = ("_group", "_hedges", "_stream", "wait_s")

    def __init__(self, hedges: Hedges, group: str, wait_s: float | None, *, stream: bool) -> None:
        self._hedges = hedges
        self._group = group
        self._stream = stream
        self.wait_s = wait_s
        """After so many seconds the first attempt is late; None = too few calls were seen."""

    def take(self, deployment: str) -> bool:
        """Whether `deployment` may be asked as well; if so, that is counted."""
        return self._hedges.is_well(deployment) and self._hedges.take(self._group)

    def learn(self, begun_s: float) -> None:
        """Remember in how many seconds the answer began."""
        self._hedges.learn(self._group, begun_s, stream=self._stream)


def answered(leg: Leg) -> bool:
    """Whether an attempt came to an answer."""
    return leg.done() and not leg.cancelled() and leg.exception() is None


async def race(
    first: Awaitable[Reply],
    ask_another: Callable[[], Awaitable[Reply] | None],
    wait_s: float,
    clock: Clock,
) -> tuple[list[Leg], Leg | None]:
    """Wait for an answer, from `wait_s` on with another attempt if `ask_another` makes one.

    Returns the attempts, all of them over, and the one whose answer counts, if any. The loser is
    cancelled, and has settled what it cost, before this returns. Whoever cancels this cancels both.
    """
    legs = [asyncio.ensure_future(_leg(first))]
    late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_later(wait_s, lambda: None if late.done() else late.set_result(None))
    winner: Leg | None = None
    try:
        await asyncio.wait((legs[0], late), return_when=asyncio.FIRST_COMPLETED)
        if not legs[0].done() and (another := ask_another()) is not None:
            legs.append(asyncio.ensure_future(_leg(another)))
        while not any(map(answered, legs)) and (waiting := [leg for leg in legs if not leg.done()]):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        winner = next(filter(answered, legs), None)
        await _stop([leg for leg in legs if leg is not winner])
    except BaseException:
        await _stop(legs)
        raise
    finally:
        timer.cancel()
    return legs, winner


async def _leg(attempt: Awaitable[Reply]) -> Reply:
    return await attempt


async def _stop(legs: list[Leg]) -> None:
    """Cancel attempts and wait for their ends, however often we are cancelled meanwhile.

    What they cost is written down then, as it must be before the call is.
    """
    cancelled: asyncio.CancelledError | None = None
    for leg in legs:
        leg.cancel()
    while waiting := [leg for leg in legs if not leg.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    for leg in legs:
        if answered(leg):  # it came to an answer in the same moment
            leg.result().abandon()
    if cancelled is not None:
        raise cancelled
