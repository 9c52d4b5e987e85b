"""A small world of deployments that are slow, flaky, limited or dead, in simulated time."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from trunkline.errors import (
    ConnectFailed,
    FirstTokenTimeout,
    ProviderError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRateLimited,
)
from trunkline.testing import ManualClock

NAMES = ("a/m", "b/m", "c/m")
FIRST_TOKEN_TIMEOUT_S = 10.0
_TOKEN_S = 0.02
_REFUSED_S, _FAILED_S = 0.02, 0.2

Process = Generator[float, None, None]
"""Yields how many seconds to wait."""


@dataclass(frozen=True)
class Phase:
    """How a deployment behaves from `since_s` to `until_s`."""

    since_s: float = 0.0
    until_s: float = 1e9
    slow: float = 1.0
    """How many times as long as usual everything takes."""
    failing: float = 0.0
    """The share of attempts that end with a 500."""
    hangs: bool = False
    refuses: bool = False
    per_second: int | None = None
    """Requests that it takes in one second; the next gets a 429 with Retry-After."""
    warming_s: float = 0.0
    """For so long it bears few calls at once, first one, and answers 503 to others."""


@dataclass
class Server:
    """A deployment; `first_s` is the usual time to its first token."""

    first_s: float = 0.3
    capacity: int = 40
    """With so many calls at once it takes twice as long."""
    phases: Sequence[Phase] = ()
    busy: int = 0
    _second: tuple[int, int] = (0, 0)

    def attempt(self, now_s: float, chance: random.Random) -> tuple[float, ProviderError | None]:
        """Return after how many seconds the first token or the error comes."""
        phase = next((p for p in self.phases if p.since_s <= now_s < p.until_s), Phase())
        if phase.refuses:
            return _REFUSED_S, ConnectFailed("refused", sent=False)
        if phase.hangs:
            return FIRST_TOKEN_TIMEOUT_S, FirstTokenTimeout("silence")
        if chance.random() < phase.failing:
            return _FAILED_S, UpstreamFailed("500")
        if phase.per_second is not None:
            second, taken = self._second
            taken = taken + 1 if second == int(now_s) else 1
            self._second = int(now_s), taken
            if taken > phase.per_second:
                return _REFUSED_S, UpstreamRateLimited("429", retry_after_s=1.0)
        warm = (now_s - phase.since_s) / phase.warming_s if phase.warming_s else 1.0
        if warm < 1 and self.busy > 1 + warm * 20:
            return _FAILED_S, UpstreamOverloaded("503")
        load = 1 + self.busy / self.capacity
        return self.first_s * phase.slow * load * chance.lognormvariate(0, 0.3), None

    def rest_s(self, now_s: float, tokens: int) -> float:
        """Return how long the rest of an answer takes."""
        phase = next((p for p in self.phases if p.since_s <= now_s < p.until_s), Phase())
        return _TOKEN_S * tokens * phase.slow


class Watch:
    """Is told what becomes of an attempt, and does nothing about it."""

    def answer(self) -> None:
        """The first token is there."""

    def end(self, tokens: int) -> None:
        """The answer came to its end, with so many tokens."""

    def fail(self, error: ProviderError) -> None:
        """There was none."""


class Policy(Protocol):
    """Who is asked, and what is learned from it."""

    def order(self, number: int) -> Sequence[str]:
        """Return whom to ask for a call, in order."""

    def admit(self, name: str) -> bool:
        """Tell whether an attempt may be made."""

    def begin(self, name: str) -> Watch:
        """Return who is told what becomes of an attempt."""


@dataclass
class Result:
    """What became of all calls."""

    calls: int = 0
    first_s: list[float] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    attempts: list[tuple[float, str, bool]] = field(default_factory=list)
    """(when, at whom, whether it failed)"""

    def add(self, other: Result, names: Sequence[str]) -> None:
        """Count `other`, whose deployments are called `names` here."""
        self.calls += other.calls
        self.first_s += other.first_s
        theirs = dict(zip(names, NAMES, strict=True))
        for name in names:
            self.answered[theirs[name]] += other.answered[name]
        self.attempts += [(at_s, theirs[who], failed) for at_s, who, failed in other.attempts]

    @property
    def success(self) -> float:
        """The share of calls that were answered."""
        return len(self.first_s) / self.calls

    @property
    def wasted(self) -> float:
        """Failed attempts for each 100 calls."""
        return 100 * sum(failed for _, _, failed in self.attempts) / self.calls

    def first_token_s(self, share: float) -> float:
        """Return the quantile of the time from the call to its first token; inf = no answer."""
        waits = sorted(self.first_s) + [float("inf")] * (self.calls - len(self.first_s))
        return waits[min(int(share * len(waits)), len(waits) - 1)]

    def share(self, name: str) -> float:
        """Return the share of the answers that `name` gave."""
        return self.answered[name] / max(1, sum(self.answered.values()))

    def failed_at(self, name: str, since_s: float, until_s: float) -> int:
        """Count failed attempts at `name` in that time."""
        return sum(
            failed
            for at_s, who, failed in self.attempts
            if who == name and since_s <= at_s < until_s
        )


class World:
    """Runs calls through a policy; one seed, one outcome."""

    def __init__(self, servers: dict[str, Server], seed: int) -> None:
        self.clock = ManualClock()
        self.result = Result()
        self._servers = servers
        self._chance = random.Random(seed)

    def run(self, policy: Policy, *, per_second: float, seconds: float) -> Result:
        """Make calls at random moments for so long, and see all of them end."""
        at_s = 0.0
        while (at_s := at_s + self._chance.expovariate(per_second)) < seconds:
            self.result.calls += 1
            self._step_in(at_s, self._call(policy, self.result.calls))
        self.clock.advance(seconds + 100)
        return self.result

    def _step_in(self, delay_s: float, process: Process) -> None:
        self.clock.call_later(delay_s, lambda: self._step(process))

    def _step(self, process: Process) -> None:
        with suppress(StopIteration):
            self._step_in(next(process), process)

    def _call(self, policy: Policy, number: int) -> Process:
        now = self.clock.monotonic_s
        begun_s = now()
        tokens = self._chance.randint(50, 150)
        for name in policy.order(number):
            if not policy.admit(name):
                continue
            server, sent_s = self._servers[name], now()
            server.busy += 1
            wait_s, error = server.attempt(sent_s, self._chance)
            watch = policy.begin(name)
            yield wait_s
            self.result.attempts.append((sent_s, name, error is not None))
            if error is not None:
                server.busy -= 1
                watch.fail(error)
                continue
            self.result.first_s.append(now() - begun_s)
            self.result.answered[name] += 1
            watch.answer()
            yield server.rest_s(now(), tokens)
            server.busy -= 1
            watch.end(tokens)
            return
