"""How many retries are allowed: a share of what is asked, so that an outage multiplies nothing.

Each provider has a budget in each process: as many retries as a fifth of the calls of the last
seconds, and ten more, so that the few calls of a quiet time are retried as configured.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp

SHARE = 0.2
FLOOR = 10.0
WINDOW_S = 10.0
"""After so long a call, and a retry, counts for a third."""


class RetryBudget:
    """Of one provider; what it counts fades."""

    __slots__ = ("_at_s", "_calls", "_retries", "fresh", "name", "refused")

    def __init__(self, name: str, now_s: float) -> None:
        self.name = name
        self.fresh = 0
        """Calls since the last look, for whoever makes one to count up."""
        self.refused = 0
        """Retries that were not allowed."""
        self._calls = self._retries = 0.0
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one retry, if there is one; `now_s` is monotonic seconds."""
        age = max(now_s - self._at_s, 1e-6) / WINDOW_S
        keep = exp(-age)
        # Those since the last look came evenly.
        self._calls = self._calls * keep + self.fresh * (1 - keep) / age
        self._retries *= keep
        self._at_s, self.fresh = now_s, 0
        if self._retries + 1 > FLOOR + SHARE * self._calls:
            self.refused += 1
            return False
        self._retries += 1
        return True


class RetryBudgets:
    """The budgets of all providers; lives longer than any one stack."""

    def __init__(self) -> None:
        self._budgets: dict[str, RetryBudget] = {}

    def of(self, provider: str, now: Callable[[], float]) -> RetryBudget:
        """Return a provider's budget; `now` gives monotonic seconds, when it is made."""
        budget = self._budgets.get(provider)
        if budget is None:
            budget = self._budgets.setdefault(provider, RetryBudget(provider, now()))
        return budget

    @property
    def refused(self) -> int:
        """How many retries were not allowed."""
        return sum(budget.refused for budget in tuple(self._budgets.values()))
