"""Who is limited to how many requests and tokens per minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec.structs import replace

from trunkline.types import Principal, RateLimit

EACH = "*"
"""The name that stands for everybody of a kind who has no limit of their own."""
_MOST_REMEMBERED = 4096

_WHO: dict[str, Callable[[Principal], str | None]] = {
    "key": lambda who: who.key_id,
    "user": lambda who: who.user_id,
    "team": lambda who: who.team_id,
    "tenant": lambda who: who.tenant_id,
}


class KeyRates(NamedTuple):
    """What is known of the limits of one key."""

    id: str
    tier: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Limited:
    """The limits of principals; never changed once made.

    What is said of somebody by name counts instead of what is said of each; what is said with a
    key counts instead of what is said of its tier, and that instead of what is said of each key.
    """

    def __init__(self, rates: Iterable[RateLimit] = (), keys: Iterable[KeyRates] = ()) -> None:
        """Take limits, whose scopes are `global`, `KIND:NAME` or `KIND:*`, and those with keys."""
        named = {rate.scope: rate for rate in rates}
        for key in keys:
            scope, tier = f"key:{key.id}", named.get(f"tier:{key.tier}")
            if key.requests_per_minute or key.tokens_per_minute:
                named[scope] = RateLimit(scope=scope, **_rates(key))
            elif tier is not None and scope not in named:
                named[scope] = replace(tier, scope=scope)
        self._named = named
        self._everybody = (named["global"],) if "global" in named else ()
        used = {scope.partition(":")[0] for scope in named}
        self._kinds = [(kind, who) for kind, who in _WHO.items() if kind in used]
        self._found: dict[Principal, tuple[RateLimit, ...]] = {}
        self.any = bool(self._kinds or self._everybody)
        """Whether there are any; else nobody needs to ask."""

    def of(self, who: Principal) -> tuple[RateLimit, ...]:
        """Return all limits that a principal has to keep."""
        found = self._found.get(who)
        if found is None:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            rates = (self._one(kind, name(who)) for kind, name in self._kinds)
            found = self._found[who] = (*self._everybody, *filter(None, rates))
        return found

    def _one(self, kind: str, name: str | None) -> RateLimit | None:
        if name is None:
            return None
        scope = f"{kind}:{name}"
        each = self._named.get(f"{kind}:{EACH}")
        return self._named.get(scope) or (each and replace(each, scope=scope))


def _rates(key: KeyRates) -> dict[str, int | None]:
    names = ("requests_per_minute", "tokens_per_minute")
    return {name: getattr(key, name) for name in names}
