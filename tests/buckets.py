"""What tests of rate limits share: a machine that any keeper of buckets has to stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from fractions import Fraction
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trunkline.accounting.rates import MINUTE_NS, Buckets, Draw, Level

LIMITS = {"user:a requests": 7, "user:a tokens": 1000, "tenant:t tokens": 333}
_NAMES = st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=3, unique=True)
_ROUNDING = Fraction(1, 1000)
"""Units; engines count nanoseconds, or hundredths of a microsecond."""

T = TypeVar("T")


def now(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine that waits for nothing gives."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("it waits")


def taken(levels: list[Level]) -> bool:
    """Tell whether there was room."""
    return not any(level.wait_ns for level in levels)


class BucketsMachine(RuleBasedStateMachine):
    """Takes, gives back and moves the clock, beside a model in exact fractions."""

    def open(self, now_ns: Callable[[], int]) -> Buckets:
        """Return new buckets that go by `now_ns`."""
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for an engine."""
        return now(work)

    @initialize(start_s=st.integers(0, 10**7))
    def begin(self, start_s: int) -> None:
        """All buckets are full."""
        self.now_ns = start_s * 10**9
        self.elapsed_ns = 0
        self.buckets = self.open(lambda: self.now_ns)
        self.used = dict.fromkeys(LIMITS, Fraction(0))
        self.net = dict.fromkeys(LIMITS, 0)
        self.beyond = dict.fromkeys(LIMITS, 0)
        self.open_draws: list[Draw] = []

    @rule(names=_NAMES, share=st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0, 1.7]))
    def take(self, names: list[str], share: float) -> None:
        """All or nothing, exactly when there is room, and the wait that is told is the wait."""
        draws = [Draw(name, LIMITS[name], int(LIMITS[name] * share)) for name in names]
        levels = self.run(self.buckets.take(draws))
        rooms = [
            self.used[draw.bucket] + min(draw.units, draw.per_minute) - draw.per_minute
            for draw in draws
        ]
        if taken(levels):
            assert max(rooms) <= _ROUNDING
        else:
            assert max(rooms) > 0
        for draw, level, short in zip(draws, levels, rooms, strict=True):
            if taken(levels):
                self.used[draw.bucket] += draw.units
                self.net[draw.bucket] += draw.units
                self.beyond[draw.bucket] += max(draw.units - draw.per_minute, 0)
                self.open_draws.append(draw)
            else:
                wait = Fraction(level.wait_ns * draw.per_minute, MINUTE_NS)
                assert abs(wait - max(short, Fraction(0))) <= _ROUNDING
            told = Fraction(level.used_ns * draw.per_minute, MINUTE_NS)
            assert abs(told - self.used[draw.bucket]) <= _ROUNDING

    @rule(share=st.sampled_from([0.1, 0.5, 1.0]), data=st.data())
    def give_back(self, share: float, data: st.DataObject) -> None:
        """What was not used can be taken again."""
        if self.open_draws:
            place = data.draw(st.integers(0, len(self.open_draws) - 1))
            draw = self.open_draws.pop(place)
            self._return(draw._replace(units=int(draw.units * share)))

    @rule(name=st.sampled_from(sorted(LIMITS)), units=st.integers(1, 400))
    def use_beyond(self, name: str, units: int) -> None:
        """What was used beyond a reservation is taken, room or not."""
        self.beyond[name] += units
        self._return(Draw(name, LIMITS[name], -units))

    def _return(self, draw: Draw) -> None:
        self._look()
        self.buckets.give_back([draw])
        self._look()  # by then it has been heard
        self.used[draw.bucket] = max(self.used[draw.bucket] - draw.units, Fraction(0))
        self.net[draw.bucket] -= draw.units

    @rule(ms=st.integers(1, 90_000))
    def wait(self, ms: int) -> None:
        """As much flows back as the limit says."""
        self.now_ns += ms * 10**6
        self.elapsed_ns += ms * 10**6
        for name, limit in LIMITS.items():
            left = self.used[name] - Fraction(limit * ms, 60_000)
            self.used[name] = max(left, Fraction(0))

    @rule(seconds=st.sampled_from([1, 59, 3600, 10**6]))
    def put_back(self, seconds: int) -> None:
        """A clock that is put back neither fills a bucket nor blocks it, if somebody looks."""
        self._look()
        self.now_ns = max(self.now_ns - seconds * 10**9, 0)
        self._look()

    def _look(self) -> None:
        self.run(self.buckets.take([Draw(name, LIMITS[name], 0) for name in sorted(LIMITS)]))

    @invariant()
    def never_more_than_the_limit(self) -> None:
        """Limit times time and a burst, and what one call was larger than the whole limit."""
        for name, net in getattr(self, "net", {}).items():
            limit = LIMITS[name]
            flowed = Fraction(limit * self.elapsed_ns, MINUTE_NS)
            assert net <= limit + flowed + self.beyond[name] + _ROUNDING

    def teardown(self) -> None:
        """Leave nothing open."""
        if hasattr(self, "buckets"):
            self.buckets.close()


class LoopMachine(BucketsMachine):
    """The same for an engine that is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait in a loop."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """End the loop as well."""
        super().teardown()
        self.runner.close()
