"""How many calls at once a deployment bears, found out while it shows that it has too many.

Additive increase, multiplicative decrease: a sign of overload takes three tenths of what is under
way, once for all that were sent before; answers give back a tenth for each round of them. There is
none of this while a deployment is well: it begins with the first sign, and ends when there was none
for a while.
"""

from __future__ import annotations

SIGNS = frozenset(
    {
        "upstream_rate_limited",
        "upstream_overloaded",
        "first_token_timeout",
        "connect_timeout",
    }
)
"""Codes of errors that say: too much at once."""
KEPT = 0.7
GROWTH = 0.1
CALM_S = 30.0
_MOST = 10_000.0


class Pressure:
    """The limit of one deployment under pressure."""

    __slots__ = ("_since_s", "limit")

    def __init__(self, busy: int, now_s: float) -> None:
        self.limit = max(1.0, busy * KEPT)
        """Calls at once; a fraction of one is not there yet."""
        self._since_s = now_s

    def squeeze(self, busy: int, begun_s: float, now_s: float) -> None:
        """A call that began at `begun_s` met overload; one from before the last sign is no other.

        Args:
            busy: how many are under way.
        """
        if begun_s >= self._since_s:
            self.limit = max(1.0, min(self.limit, float(busy)) * KEPT)
            self._since_s = now_s

    def ease(self, now_s: float) -> bool:
        """An answer came to its end; return whether the pressure is over."""
        self.limit = min(_MOST, self.limit + max(1.0, self.limit * GROWTH) / self.limit)
        return now_s - self._since_s >= CALM_S
