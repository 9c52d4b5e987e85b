"""When to leave a deployment alone: a state machine that is told how attempts ended.

    closed ──failures──▶ resting ──time──▶ probing ──a first token──▶ ramping ──time──▶ closed
       └──asked to wait──▶ limited ──time──────────────────────────────▲   │
       └──credential refused──▶ disabled ──long time──▶ probing ◀─resting◀─┘ a failure

It opens when half of what came in the last seconds failed, or when failures follow each other with
nothing between. It rests ever longer, up to two minutes, until it has gone through a whole ramp. A
deployment that says itself when to come back is `limited` for exactly so long: that is no failure.
No clock here: `now_s` is monotonic seconds, of one clock for all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp
from typing import Literal

from trunkline.errors import AuthFailed, QuotaExhausted, TrunklineError

State = Literal["closed", "resting", "limited", "disabled", "probing", "ramping"]
Event = Literal["circuit_opened", "circuit_closed", "deployment_disabled"]

WINDOW_S = 20.0
"""After so long an outcome counts for a third."""
LEAST_SAMPLES = 20
_FIRST_SAMPLES = 2 * LEAST_SAMPLES
"""What answers count for of which nobody knows when they came."""
SHARE_TO_OPEN = 0.5
RUN_TO_OPEN = 5
"""Failures in a row that are enough while there are fewer than `LEAST_SAMPLES` outcomes; else it
takes `LEAST_SAMPLES` of them, which chance does not make."""
FIRST_REST_S = 5.0
LONGEST_REST_S = 120.0
JITTER = 0.2
RAMP_S = 10.0
FIRST_ALLOWANCE = 0.1
DISABLED_S = 300.0
"""How often a credential that was refused is tried again: somebody may have mended its account."""
LONGEST_ASKED_S = 3600.0
"""Nobody who asks for more is believed without being asked again."""
AUTH_RUN = 3
"""In a row: a 403 may be for what was asked, and some providers have answered 401 by mistake."""
SLOW = "slow_first_token"
_ASKING = frozenset({"upstream_rate_limited", "upstream_overloaded"})
"""Codes of errors whose `retry_after_s` says when the deployment has room again."""


class Circuit:
    """Of one deployment; safe to use from several threads.

    `chance` returns a float in [0, 1): rests differ a little, lest all come back at once.
    """

    __slots__ = (
        "_asked",
        "_auth_run",
        "_bad",
        "_chance",
        "_good",
        "_now_s",
        "_openings",
        "_probe",
        "_run",
        "_state",
        "calm",
        "cause",
        "era",
        "fresh",
        "until_s",
    )

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.calm = True
        """Closed, and no ramp: there is nothing to ask `admit` about."""
        self.cause = ""
        """The code of the error for which it is not closed."""
        self.until_s = 0.0
        """When the rest ends; in a ramp, when that began."""
        self.era = 0
        """Counts the changes of state: what an attempt of another era tells is not believed."""
        self.fresh = 0
        """Answers that came to their end since the last failure."""
        self._chance = chance
        self._state: State = "closed"
        self._good = self._bad = self._now_s = 0.0
        self._run = self._auth_run = self._openings = 0
        self._probe: list[None] = []
        """Holds one thing while nobody probes: to take it is one step for all threads."""

    # --- before an attempt --------------------------------------------------------------------

    def rest_s(self, now_s: float) -> float:
        """Return how many seconds to stay away, 0 = none."""
        if self.calm or self._state == "ramping":
            return 0.0
        if now_s < self.until_s:
            return self.until_s - now_s
        return 0.0 if self._probe else 1.0

    def admit(self, now_s: float) -> float | None:
        """Return None to let an attempt pass, as the only probe if need be; else as `rest_s`."""
        if self.calm:
            return None
        if rest_s := self.rest_s(now_s):
            return rest_s
        if self._state == "limited":
            self._turn("ramping", now_s)
        elif self._state == "ramping":
            if now_s >= self.until_s + RAMP_S:
                self._close()
        else:
            try:
                self._probe.pop()
            except IndexError:  # another thread was faster
                return 1.0
        return None

    def allowance(self, now_s: float) -> float:
        """Return how much of its usual share it should get, 0 to 1."""
        if self.calm:
            return 1.0
        if self.rest_s(now_s):
            return 0.0
        if self._state != "ramping":
            return FIRST_ALLOWANCE
        return min(1.0, FIRST_ALLOWANCE + (1 - FIRST_ALLOWANCE) * (now_s - self.until_s) / RAMP_S)

    def state(self, now_s: float) -> State:
        """Return what to call it now."""
        if self.rest_s(now_s):
            return "probing" if now_s >= self.until_s else self._state
        if self._state == "ramping" and now_s >= self.until_s + RAMP_S:
            return "closed"
        return "ramping" if self._state == "limited" else self._state

    # --- what an attempt told -----------------------------------------------------------------

    def answer(self, now_s: float, era: int) -> Event | None:
        """A first token came; need not be told while it is `calm`."""
        if era != self.era or self._state not in {"resting", "disabled"}:
            return None
        self._turn("ramping", now_s)
        return "circuit_closed"

    def succeed(self) -> None:
        """An answer came to its end."""
        self.fresh += 1
        self._run = self._auth_run = 0

    def fail(self, error: TrunklineError, now_s: float, era: int) -> Event | None:
        """An attempt failed, which may be nobody's fault here."""
        if error.retry_after_s and error.code in _ASKING:
            self._limit(now_s, error.retry_after_s, error.code, era)
            return None
        if era != self.era:
            return None
        if error.fault != "deployment":
            self.leave(era)
            return None
        if isinstance(error, AuthFailed):
            self._auth_run += 1
            if self._auth_run >= AUTH_RUN:
                again = self._state == "disabled"
                self._rest("disabled", now_s, DISABLED_S, error.code)
                return None if again else "deployment_disabled"
        return self._count(now_s, error.code, certain=isinstance(error, QuotaExhausted))

    def be_slow(self, now_s: float, era: int) -> Event | None:
        """A first token came so late that it counts as a failure."""
        return self._count(now_s, SLOW, certain=False) if era == self.era else None

    def leave(self, era: int) -> None:
        """An attempt ended that says nothing about the deployment; if it was the probe, another."""
        if era == self.era and self._state in {"resting", "disabled"} and not self._probe:
            self._probe.append(None)

    def retry_soon(self, now_s: float) -> None:
        """Another configuration is there: a refused credential may be another one now."""
        if self._state == "disabled":
            self.until_s = min(self.until_s, now_s)

    def adopt(self, state: State, until_s: float, cause: str, now_s: float) -> None:
        """Take over what another process found out, a little later than it did itself."""
        if state in {"resting", "disabled", "limited"}:
            later_s = (until_s - now_s) * JITTER * self._chance() if state != "limited" else 0.0
            if until_s > now_s and not (self._resting(now_s) and self.until_s >= until_s):
                self._rest(state, now_s, until_s + later_s - now_s, cause)
        elif self._state in {"resting", "disabled"}:
            self._turn("ramping", now_s)

    # --- inside -------------------------------------------------------------------------------

    def _resting(self, now_s: float) -> bool:
        return self._state in {"resting", "disabled", "limited"} and now_s < self.until_s

    def _limit(self, now_s: float, wait_s: float, code: str, era: int) -> None:
        """Stay away for as long as it asked, whenever it was asked."""
        wait_s = min(wait_s, LONGEST_ASKED_S)
        if era == self.era or (self._state == "limited" and now_s + wait_s > self.until_s):
            self._rest("limited", now_s, wait_s, code)

    def _count(self, now_s: float, cause: str, *, certain: bool) -> Event | None:
        """Count a failure; the first ends a probe, and a ramp after a rest that was begun here."""
        self._age(now_s)
        self._bad += 1
        self._run += 1
        again = self._state in {"resting", "disabled"}
        if not (certain or again or self._openings or self._too_many()):
            return None
        rest_s = min(LONGEST_REST_S, FIRST_REST_S * float(2**self._openings))
        self._openings = min(self._openings + 1, 8)
        self._rest("resting", now_s, rest_s * (1 + JITTER * self._chance()), cause)
        return None if again else "circuit_opened"

    def _too_many(self) -> bool:
        total = self._good + self._bad
        if total < LEAST_SAMPLES:
            return self._run >= RUN_TO_OPEN
        return self._run >= LEAST_SAMPLES or self._bad >= SHARE_TO_OPEN * total

    def _age(self, now_s: float) -> None:
        """Let old outcomes count for less; fresh ones came evenly since the last failure."""
        age = max(now_s - self._now_s, 1e-6) / WINDOW_S
        keep = exp(-age)
        fresh = self.fresh * (1 - keep) / age if self._now_s else min(self.fresh, _FIRST_SAMPLES)
        self._good = self._good * keep + fresh
        self._bad *= keep
        self._now_s, self.fresh = now_s, 0

    def _rest(self, state: State, now_s: float, rest_s: float, cause: str) -> None:
        self.cause, self.until_s = cause, now_s + rest_s
        self._state, self.era, self.calm = state, self.era + 1, False
        self._probe = [None]

    def _turn(self, state: State, now_s: float) -> None:
        self._state, self.until_s, self.era, self.calm = state, now_s, self.era + 1, False
        self._good = self._bad = 0.0
        self._run = self._auth_run = self.fresh = 0

    def _close(self) -> None:
        self._state, self.cause, self.calm, self._openings = "closed", "", True, 0
