"""Tells hooks what calls used, beside the calls: from the outbox, again until each has taken it.

Every hook has a thread of its own, which runs only while something waits for that hook: one that
hangs keeps nobody else waiting, neither calls nor ingestion nor other hooks. Whoever ingests says
`wake` afterwards; of several processes one at a time tells a hook.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from functools import partial

from trunkline.client.keeper import Job, Keeper
from trunkline.client.targets import Target, Verdict
from trunkline.clock import Clock
from trunkline.errors import RecordError
from trunkline.observability.redact import scrub
from trunkline.storage.outbox import Left, Outbox, Posted
from trunkline.types.usage_event import UsageEvent

MOST_TRIES = 30
_LONGEST_S = 3600.0
"""Between two tries; they grow fourfold from 1 s to this, so 30 tries take about a day."""
_JITTER = 0.2
_RETRY_AFTER_S = 86_400.0
"""The longest that a hook may ask us to wait."""
_PACE_S = 1.0
_BUSY_S = 0.02
_AT_ONCE = 16
_RENEWED_S = 3600.0
_WARNED_S = 60.0
"""How often it is said that a hook does not take events; what was given up is always said."""
logger = logging.getLogger("trunkline.hooks")


class Hooks:
    """The hooks of one process."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._keepers: dict[str, Keeper] = {}
        self._subscribed_s: float | None = None
        self.counts: dict[str, int] = {}
        """How many events are `waiting` and `dead`, as of the last look."""

    def take(self, targets: Sequence[Target]) -> None:
        """Tell these from now on, and no other."""
        self.stop()
        self._targets = {target.name: target for target in targets}
        self._keepers = {
            name: Keeper((Job(_PACE_S, partial(self._work, name)),)) for name in self._targets
        }
        self._subscribed_s = None
        self._warned_s: dict[str, float] = {}

    def subscribe(self) -> None:
        """Have events kept from now on; to be called before each ingestion.

        Raises:
            RecordError: the store cannot be used.
        """
        now_s = self._clock.monotonic_s()
        if self._targets and (
            self._subscribed_s is None or now_s > self._subscribed_s + _RENEWED_S
        ):
            self._outbox.subscribe(self._targets, self._clock.now_ns())
            self._subscribed_s = now_s
            self.counts = self._outbox.counts()

    def wake(self) -> None:
        """Say that something may be waiting."""
        for keeper in self._keepers.values():
            keeper.touch()

    async def flush(self, most_s: float) -> None:
        """Tell what is due now, for at most `most_s`; the rest is told by whoever comes next."""
        if self._targets:
            await asyncio.to_thread(self._tell_all, most_s)

    def _tell_all(self, most_s: float) -> None:
        until_s = time.monotonic() + most_s

        def run(name: str) -> None:
            while not self._work(name) and time.monotonic() < until_s:
                time.sleep(_BUSY_S)

        threads = [
            threading.Thread(target=run, args=(name,), name="trunkline-hook", daemon=True)
            for name in self._targets
        ]
        for thread in threads:
            with contextlib.suppress(RuntimeError):  # at exit no thread can be started
                thread.start()
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.monotonic()))

    def stop(self) -> None:
        """Let the threads end; what is under way is not waited for."""
        for keeper in self._keepers.values():
            keeper.stop(0.0)

    def tell(self, name: str) -> bool:
        """Tell one hook what is due; False if another thread or process is at it.

        Raises:
            RecordError: the store cannot be used; nothing is lost.
        """
        target, keeper = self._targets[name], self._keepers[name]
        with self._outbox.turn(name) as mine:
            while mine and not keeper.stopped and (due := self._due(name)):
                events = [each.event for each in due]
                verdicts = asyncio.run(target.tell(events))
                tries = [each.tries + 1 for each in due]
                self._settle(name, list(zip(events, verdicts, tries, strict=True)))
                self.counts = self._outbox.counts()
            return mine

    def _due(self, name: str) -> list[Posted]:
        return self._outbox.due(name, self._clock.now_ns(), _AT_ONCE)

    def _settle(self, name: str, told: list[tuple[UsageEvent, Verdict, int]]) -> None:
        left = [
            Left(event, scrub(verdict.trouble, 200), self._again_ns(verdict, tries))
            for event, verdict, tries in told
            if verdict.trouble
        ]
        self._outbox.settle(
            name, [event for event, verdict, _ in told if not verdict.trouble], left
        )
        dead, now_s = sum(each.due_ns is None for each in left), self._clock.monotonic_s()
        if dead or (left and now_s >= self._warned_s.get(name, now_s)):
            self._warned_s[name] = now_s + _WARNED_S
            logger.warning(
                "usage hook %s: %d events not taken, %d of them given up: %s",
                scrub(name, 200),
                len(left),
                dead,
                left[0].error,
            )

    def _again_ns(self, verdict: Verdict, tries: int) -> int | None:
        """Return when to try again; None = never."""
        if verdict.final or tries >= MOST_TRIES:
            return None
        step_s = min(_LONGEST_S, 4.0 ** (tries - 1)) * random.uniform(1 - _JITTER, 1)
        delay_s = max(step_s, min(verdict.after_s, _RETRY_AFTER_S))
        return self._clock.now_ns() + int(delay_s * 1e9)

    def _work(self, name: str) -> bool:
        """Tell a hook, and ask to be called again while something waits for it."""
        try:
            done = self.tell(name)
            if self._outbox.waits(name):
                self._keepers[name].touch()
            return done
        except (RecordError, OSError, KeyError) as error:  # a KeyError: it was taken away
            logger.warning("usage hook %s: %s", scrub(name, 200), error)
            return True
