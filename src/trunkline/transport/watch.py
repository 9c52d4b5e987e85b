"""The time-outs of one exchange after its connection: the first token, then silence.

One timer per phase, not one per chunk: a reader stamps the time when it begins to wait, and the
timer looks at the stamp only when it fires.
"""

from __future__ import annotations

from trunkline.clock import Clock, Timer
from trunkline.errors import FirstTokenTimeout, IdleTimeout, ProviderError
from trunkline.transport.port import Exchange
from trunkline.types import Limits


class Watch:
    """Breaks an exchange off when its reader has waited too long.

    Before the answer began only `first_token_timeout_s` counts (a model may think in silence for
    minutes), after that only `idle_timeout_s`, and only while somebody reads.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_exchange",
        "_first_due_s",
        "_limits",
        "_timer",
        "now_s",
        "waiting_s",
    )

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        first_s = limits.first_token_timeout_s
        self._first_due_s = None if first_s is None else clock.monotonic_s() + first_s
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._begun = False
        self.now_s = clock.monotonic_s
        self.waiting_s: float | None = None
        """Since when a reader waits for more; readers set it, as a call per chunk would cost."""

    @property
    def connect_timeout_s(self) -> float:
        """What is left for connecting; a first token cannot come before a connection."""
        if self._first_due_s is None:
            return self._limits.connect_timeout_s
        left_s = self._first_due_s - self.now_s()
        return min(self._limits.connect_timeout_s, max(left_s, 0.001))

    def follow(self, exchange: Exchange) -> None:
        """Watch `exchange` from here on: it has a connection now."""
        self.stop()
        self._exchange = exchange
        if self._first_due_s is not None:
            self._arm(self._first_due_s - self.now_s())

    def begin(self) -> None:
        """The answer has begun: from now on only silence counts."""
        if not self._begun:
            self._begun = True
            self.stop()
            self._arm(self._limits.idle_timeout_s)

    def stop(self) -> None:
        """Forget the timer; safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, delay_s: float) -> None:
        self._timer = self._clock.call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_s = self.now_s()
        limits = self._limits
        error: ProviderError
        if not self._begun:
            error = FirstTokenTimeout(f"no first token within {limits.first_token_timeout_s:g} s")
        else:
            since_s = now_s if self.waiting_s is None else self.waiting_s
            if now_s < since_s + limits.idle_timeout_s:
                self._arm(since_s + limits.idle_timeout_s - now_s)
                return
            error = IdleTimeout(f"silent for {limits.idle_timeout_s:g} s")
        assert self._exchange is not None
        self._exchange.fail(error)
