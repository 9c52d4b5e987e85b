"""The purses of this process and the accounts it shares with others: asked, told, given back to.

Everything here asks the engine, so none of it is for an event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from trunkline.accounting.account import Alert
from trunkline.accounting.leases import Leases, Refusal, Unsure
from trunkline.accounting.purse import Purse
from trunkline.accounting.tab import Amounts
from trunkline.clock import Clock
from trunkline.errors import BudgetHeld, RecordError

_REFRESH_S = 1.0


_KEPT_LOOKS = 16
"""A busy process keeps what it would use in so many times 200 ms; others may need the rest."""


class Shared(NamedTuple):
    """Where the ledger of a process meets those of the others."""

    leases: Leases
    owner: Callable[[], str]
    """Whose grants they are: what this process spends is ingested under that name."""
    refresh: Callable[[], None] = lambda: None
    """Brings what has been spent so far into the accounts: before one is asked the first time, and
    when money seems to be held, which may be spent, or held by the dead."""
    wake: Callable[[], None] = lambda: None
    """Has `tend` called some 200 ms later."""


class Purses:
    """Those with something to look after: held, free, overdrawn, or spent since the last look."""

    def __init__(self, shared: Shared, clock: Clock, alert: Alert) -> None:
        self._shared = shared
        self._clock = clock
        self._alert = alert
        self._begin()

    def forget(self) -> None:
        """Begin afresh, in a forked child."""
        for purse in self.live:
            purse.moved = True  # so that nobody looks after what is the parent's
        self._begin()

    def _begin(self) -> None:
        self._refreshed_s = -_REFRESH_S
        self.lock = threading.RLock()  # a dropped reply may be settled in the middle of a hold
        """Taken around every look at a purse and every change of one."""
        self.live: set[Purse] = set()
        self._asking = threading.Lock()
        """Held from the look at a purse until it has the answer: nothing is asked for twice."""

    def watch(self, purse: Purse) -> None:
        """Look after a purse that was moved; under the lock."""
        purse.moved = True
        self.live.add(purse)

    def wake(self) -> None:
        """Have `tend` called."""
        self._shared.wake()

    def ask(self, short: Amounts, *, forced: bool = False) -> None:
        """Ask the shared accounts for what is short.

        Args:
            forced: it is spent already.

        Raises:
            BudgetExhausted: an account has too little left.
            BudgetHeld: it has too little that nobody holds.
            RecordError: the accounts cannot be asked, and a budget fails closed.
        """
        try:
            if not all(purse.fresh for purse, _ in short):
                self._refresh()
                for purse, _ in short:
                    purse.fresh = True
            try:
                self._ask(short, forced=forced)
            except BudgetHeld:
                if self._clock.monotonic_s() - self._refreshed_s < _REFRESH_S:
                    raise
                self._refresh()
                self._ask(short, forced=forced)
        except RecordError as error:
            unsure = isinstance(error, Unsure)
            going_on = not forced and all(
                purse.account.rule.when_store_down == "open" for purse, _ in short
            )
            with self.lock:
                for purse, amount_nusd in short if going_on or unsure else ():
                    purse.unsure |= unsure
                    if going_on:
                        purse.owe(amount_nusd)
                    self.live.add(purse)
            if not going_on:
                self.wake()
                raise
        self.wake()

    def _refresh(self) -> None:
        self._shared.refresh()
        self._refreshed_s = self._clock.monotonic_s()

    def _ask(self, short: Amounts, *, forced: bool) -> None:
        # What caps answers comes last: none is capped for a call that another budget refuses.
        short = sorted(short, key=lambda each: each[0].account.rule.cap_output)
        with self._asking:
            with self.lock:
                wants = [purse.want(amount_nusd) for purse, amount_nusd in short]
                owed = [purse.owed_nusd for purse, _ in short]
            answer = self._shared.leases.grant(self._shared.owner(), wants, forced=forced)
            with self.lock:
                if isinstance(answer, Refusal):
                    purse, amount_nusd = short[answer.place]
                    purse.hear(answer.spent_nusd, wants[answer.place].spent_nusd)
                    raise purse.account.refuse(amount_nusd, answer.spent_nusd, answer.left_nusd)
                for (purse, _), want, grant, owing in zip(short, wants, answer, owed, strict=True):
                    if not forced:
                        purse.scarce = grant.nusd == want.need_nusd
                    purse.take(want, grant, owing)
                    self.live.add(purse)

    def tend(self) -> None:
        """Give back what is idle, ask for what is overdrawn, tell of marks that were passed.

        To be called some 200 ms after the last hold or end; says `wake` where that has to be done
        once more.

        Raises:
            RecordError: the accounts cannot be reached; nothing is lost, it is done next time.
        """
        with self.lock:
            live = list(self.live)
        idle: list[tuple[Purse, int]] = []
        try:
            for purse in live:
                self._mend(purse)
                self._tell(purse)
                if free_nusd := self._idle(purse):
                    idle.append((purse, free_nusd))
            self._give_back(idle)
            if self._shared.leases.tend():
                self._shared.wake()
        finally:
            with self.lock:
                self.live.difference_update([purse for purse in live if purse.at_rest])
                again = any(purse.restless for purse in self.live)
            if again:
                self._shared.wake()

    def _mend(self, purse: Purse) -> None:
        """Have the account know of what was spent without its leave."""
        if purse.want(0).need_nusd or purse.unsure or (purse.moved and purse.account.marks):
            self.ask([(purse, 0)], forced=True)

    def _tell(self, purse: Purse) -> None:
        """Tell of the alert marks that the present bucket has passed, each once."""
        account = purse.account
        if purse is not account.purse or not purse.open:
            return
        for mark in account.passed():
            where = account.rule.scope, account.period, purse.window.bucket_ns
            first = self._shared.leases.mark(*where, mark)
            purse.marked_nusd = mark
            if first:
                self._alert(account.rule, account.settled_nusd, mark)

    def _idle(self, purse: Purse) -> int:
        """Return what of a purse nobody will use soon, by what was used since the last look."""
        with self.lock:
            used_nusd = purse.held_nusd + purse.spent_nusd - purse.seen_nusd
            purse.seen_nusd += used_nusd
            busy = purse.moved and not purse.scarce
            purse.moved = False
            kept_nusd = _KEPT_LOOKS * max(used_nusd, 0) if busy else 0
            return max(0, purse.free_nusd - kept_nusd)

    def _give_back(self, idle: list[tuple[Purse, int]]) -> None:
        with self._asking:
            with self.lock:
                taken = [(purse, min(nusd, purse.free_nusd)) for purse, nusd in idle]
                taken = [(purse, nusd) for purse, nusd in taken if nusd > 0]
                backs = [purse.back(nusd) for purse, nusd in taken]
            if not backs:
                return
            try:
                self._shared.leases.give_back(self._shared.owner(), backs)
            except BaseException as error:
                with self.lock:
                    for purse, nusd in taken:
                        if isinstance(error, Unsure):
                            purse.owed_nusd -= nusd  # others may have it by now
                        else:
                            purse.granted_nusd += nusd
                raise

    def close(self) -> None:
        """Give back all that is free; the purses can be used again.

        Raises:
            RecordError: what is free stays ours until this process has ended and its journal has
                been ingested.
        """
        with self.lock:
            for purse in self.live:
                purse.scarce = True
        self.tend()
