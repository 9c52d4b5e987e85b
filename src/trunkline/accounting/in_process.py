"""The leases of a single process, in memory: nothing outlives it, and nobody else sees them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence

from trunkline.accounting.leases import Back, Grant, Lease, Refusal, Seen, Want, afforded, room
from trunkline.accounting.period import Window

_Key = tuple[str, str, int]

_engines: weakref.WeakSet[InProcessLeases] = weakref.WeakSet()

Settled = Callable[[str, int], int]
"""(scope, since_ns) -> nano-USD settled there since, when the account is first asked."""


class _Row:
    """One account in one bucket."""

    def __init__(self, settled_nusd: int) -> None:
        self.settled_nusd = settled_nusd
        self.overrun_nusd = 0
        self.marked_nusd = 0
        self.granted: dict[str, int] = {}
        self.ingested: dict[str, int] = {}

    @property
    def exposed_nusd(self) -> int:
        return sum(
            max(0, nusd - self.ingested.get(owner, 0)) for owner, nusd in self.granted.items()
        )


class InProcessLeases:
    """Satisfies `Leases`; `settled` says what a new account begins with."""

    def __init__(self, settled: Settled = lambda scope, since_ns: 0) -> None:
        self._settled = settled
        self.forget()
        _engines.add(self)

    def forget(self) -> None:
        """Begin afresh, in a forked child."""
        self._lock = threading.Lock()
        self._rows: dict[_Key, _Row] = {}

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Grant all or nothing; see `Leases.grant`."""
        with self._lock:
            grants, rows = [], []
            for place, want in enumerate(wants):
                row = self._row(want.scope, want.period, want.window)
                seen = self._seen(want.scope, want.period, want.window)
                lease = Lease(row.granted.get(owner, 0), row.ingested.get(owner, 0))
                own_nusd = max(0, want.spent_nusd - lease.ingested_nusd)
                nusd = want.need_nusd if forced else room(want, seen, lease)
                if nusd is None:
                    left_nusd = afforded(want, seen, lease)
                    return Refusal(place, seen.settled_nusd + own_nusd, left_nusd)
                grants.append(Grant(nusd, seen.settled_nusd + own_nusd))
                rows.append(row)
            for row, grant in zip(rows, grants, strict=True):
                row.granted[owner] = row.granted.get(owner, 0) + grant.nusd
            return grants

    def give_back(self, owner: str, backs: Sequence[Back]) -> None:
        """Lower what `owner` was granted."""
        with self._lock:
            for scope, period, bucket_ns, nusd in backs:
                self._rows[scope, period, bucket_ns].granted[owner] -= nusd

    def look(self, scope: str, period: str, window: Window) -> Seen:
        """Return the state of one account."""
        with self._lock:
            self._row(scope, period, window)
            return self._seen(scope, period, window)

    def mark(self, scope: str, period: str, bucket_ns: int, mark_nusd: int) -> bool:
        """Note a mark; False = it had been noted."""
        with self._lock:
            row = self._rows[scope, period, bucket_ns]
            first = row.marked_nusd < mark_nusd
            row.marked_nusd = max(row.marked_nusd, mark_nusd)
            return first

    def tend(self) -> bool:
        """Nothing has been put off."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _row(self, scope: str, period: str, window: Window) -> _Row:
        key = (scope, period, window.bucket_ns)
        if key not in self._rows:
            before = any(known[:2] == key[:2] for known in self._rows)
            # Of a rolling window, all that was used before is in the first bucket it makes.
            since_ns = window.bucket_ns if before else window.start_ns
            self._rows[key] = _Row(self._settled(scope, since_ns))
        return self._rows[key]

    def _seen(self, scope: str, period: str, window: Window) -> Seen:
        rows = [
            row
            for (each, name, bucket_ns), row in self._rows.items()
            if (each, name) == (scope, period) and bucket_ns >= window.start_ns
        ]
        return Seen(
            sum(row.settled_nusd for row in rows),
            sum(row.exposed_nusd for row in rows),
            sum(row.overrun_nusd for row in rows),
        )


def _after_fork_in_child() -> None:
    for engine in _engines:
        engine.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
