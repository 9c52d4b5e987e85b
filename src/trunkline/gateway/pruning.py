"""The steward's part in keeping calls, and their sums, no longer than the configuration says."""

from __future__ import annotations

from trunkline.clock import Clock
from trunkline.observability.metrics import Gauge
from trunkline.storage.store import Store

_EVERY_S = 3600.0
_AT_ONCE = 1000
"""Rows in one transaction, some 50 ms, during which nobody else may write."""
_DAY_NS = 86_400 * 10**9


class Pruner:
    """Deletes what is too old once an hour, some calls at a time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._due_s = clock.monotonic_s()
        self._oldest_ns: int | None = None

    def work(self, keep_days: int | None) -> bool:
        """Delete some of what is due; True = there may be more, call again once others had a turn.

        To be called after an ingestion: nothing then waits in a journal that is as old as that.

        Raises:
            RecordError: the store cannot be used; it is tried again in an hour.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return False
        self._due_s = now_s + _EVERY_S
        if keep_days is not None:
            before_ns = self._clock.now_ns() - keep_days * _DAY_NS
            for prune in (self._store.prune, self._store.prune_sums):
                if prune(before_ns, _AT_ONCE) >= _AT_ONCE:
                    self._due_s = now_s
                    return True
        self._oldest_ns = self._store.oldest_ns()
        return False

    def gauges(self) -> list[Gauge]:
        """Return when the oldest call began that is kept, as of the last look."""
        if self._oldest_ns is None:
            return []
        return [
            Gauge(
                "oldest_call_timestamp_seconds",
                "When the oldest call began that is kept; read once an hour.",
                self._oldest_ns // 10**9,
            )
        ]
