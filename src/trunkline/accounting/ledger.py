"""The ledger of a process: hold before, settle after, on every scope that applies, all or none.

An `Account` is one budget, a `Tab` belongs to one call and asks the accounts of its scopes. Holds
are taken from what this process was granted (`leases`), without I/O and without an await between
check and hold, so no other call of this loop can slip in between; a lock keeps other threads out.
Only when that is too little the shared account is asked, in a thread of the ledger's own.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from trunkline.accounting.account import Account, Accounts, Alert, amounts_of, common_ns, period_of
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.matching import match
from trunkline.accounting.purses import Purses, Shared
from trunkline.accounting.tab import Amounts, Held, LedgerTab
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.config.model import Allowance
from trunkline.errors import BudgetExhausted, BudgetHeld, RecordError
from trunkline.types import Call, Cost, Deployment, Quote

_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()


class Ledger:
    """All accounts of this process."""

    def __init__(
        self,
        rules: Iterable[BudgetRule],
        clock: Clock,
        shared: Shared | None = None,
        alert: Alert = lambda rule, settled, mark: None,
    ) -> None:
        self._clock = clock
        self._purses = Purses(
            shared or Shared(InProcessLeases(), lambda: "this process"), clock, alert
        )
        self._accounts = Accounts(())
        self._ruled: tuple[Account, ...] = ()
        """Of those the ones that have a rule."""
        self._granted: dict[str | None, Account] = {}
        """By user; these come at run time, and a reload leaves them alone."""
        self._reloading = threading.Lock()
        self._hands: ThreadPoolExecutor | None = None
        self._read_ns = self._least_ns = 0
        """What the clock showed last, and how early it may be since it was put back."""
        self.reload(rules)
        _ledgers.add(self)

    # --- rules --------------------------------------------------------------------------------

    def reload(self, rules: Iterable[BudgetRule]) -> None:
        """Take other rules; one with the scope and period of an old one keeps its account.

        A new account does not count attempts under way. An account without a rule refuses nothing
        any more; what is held on it is still settled there. However many there are, no call waits
        for more than one of them.
        """
        rules = tuple(rules)
        with self._reloading:
            found = match(rules, self._accounts.every())
            for account, rule in found.changed:
                with self._purses.lock:
                    self._follow(account, rule)
            now_ns = self._clock.now_ns()
            retired = [each for each in found.left if each.purse.window.end_ns > now_ns]
            accounts = Accounts([*found.ruled, *retired])
            with self._purses.lock:
                self._ruled, self._accounts = found.ruled, accounts
            for account in retired:
                with self._purses.lock:
                    account.retire()

    def grant(self, user_id: str, rule: Allowance) -> Account:
        """Put a budget on a user at run time; one who has one already keeps it as it is.

        Asks the shared account, so it is nothing for an event loop.
        """
        account = Account(rule)
        self.open_account(account)
        with self._purses.lock:
            return self._granted.setdefault(user_id, account)

    def amend(self, user_id: str, rule: Allowance) -> Account:
        """Change a granted budget, as `grant`; of the same period, what is spent stays."""
        account = self._granted.get(user_id)
        if account is None or account.period != period_of(rule):
            account = Account(rule)
            self.open_account(account)
        with self._purses.lock:
            self._granted[user_id] = account
            self._follow(account, rule)
        return account

    def revoke(self, user_id: str) -> None:
        """Take a granted budget away; what is held on it is still settled there."""
        with self._purses.lock:
            self._granted.pop(user_id, None)

    def granted(self, user_id: str) -> Account | None:
        """Return the account of a granted budget, rolled to the present period."""
        account = self._granted.get(user_id)
        if account is not None:
            with self._purses.lock:
                account.roll(self._now_ns())
        return account

    def accounts(self) -> tuple[Account, ...]:
        """Every account that has a rule, rolled to the present period."""
        with self._purses.lock:
            now_ns = self._now_ns()
            every = (*self._ruled, *self._granted.values())
            for account in every:
                account.roll(now_ns)
        return every

    def open_account(self, account: Account) -> None:
        """Learn what has been spent of a budget, by whomever; nothing for an event loop.

        Raises:
            RecordError: the shared account cannot be asked.
        """
        with self._purses.lock:
            purse = account.roll(self._now_ns())
        if not purse.open:
            self._purses.ask([(purse, 0)], forced=True)

    # --- holds --------------------------------------------------------------------------------

    def open(self, call: Call) -> LedgerTab:
        """Return the tab of `call`."""
        return LedgerTab(self, call)

    async def hold(self, call: Call, deployment: Deployment, quote: Quote) -> Held:
        """Hold on all accounts that an attempt of `call` at `deployment` charges, or on none.

        Raises:
            BudgetExhausted, BudgetHeld, PriceUnknown: see `Tab.begin`.
            RecordError: the shared accounts cannot be asked, and a budget fails closed.
        """
        held, short = self._try(call, deployment, quote)
        return held if not short else await self._slowly(self._hold_slowly, call, deployment, quote)

    async def hold_more(self, amounts: Amounts) -> Amounts | None:
        """Hold so much more on all of these purses; None = refused, nothing is held."""
        with self._purses.lock:
            short = self._take(amounts)
        if short:
            try:
                await self._slowly(self._take_slowly, amounts)
            except (BudgetExhausted, BudgetHeld, RecordError):
                return None
        return amounts

    def hold_spent(self, call: Call, deployment: Deployment, quote: Quote) -> Held:
        """Hold what is spent already, whether there is room for it or not."""
        held, _ = self._try(call, deployment, quote, spent=True)
        return held

    def settle(self, amounts: Amounts, cost: Cost) -> None:
        """Turn a hold into what the attempt cost; an unknown cost leaves no money settled."""
        if not amounts:
            return
        spent_nusd = cost.nusd or 0
        with self._purses.lock:
            for purse, amount_nusd in amounts:
                purse.held_nusd -= amount_nusd
                purse.spent_nusd += spent_nusd
                if not purse.moved:
                    self._purses.watch(purse)
                if spent_nusd > amount_nusd:
                    purse.account.overrun_nusd += spent_nusd - amount_nusd

    def _try(
        self, call: Call, deployment: Deployment, quote: Quote, *, spent: bool = False
    ) -> tuple[Held, Amounts]:
        """Hold where every purse has enough; else return what is short, and hold nothing."""
        with self._purses.lock:
            # Within the lock, so that no purse is younger than a hold on it.
            now_ns = self._now_ns()
            paying = self._accounts.paying(call, deployment)
            if self._granted and (own := self._granted.get(call.principal.user_id)):
                paying += (own,)
            amounts = amounts_of(paying, now_ns, quote)
            short = self._take(amounts, spent=spent)
        return Held(_most(quote, amounts), amounts, now_ns), short

    def _take(self, amounts: Amounts, *, spent: bool = False) -> Amounts:
        """Hold `amounts` where every purse has enough; else return what is short."""
        # With nothing left, not even what costs nothing is let through.
        short = [
            (purse, nusd or 1)
            for purse, nusd in amounts
            if purse.granted_nusd - purse.held_nusd - purse.spent_nusd < (nusd or 1)
            and purse.short_of(nusd or 1)
        ]
        if spent or not short:
            for purse, nusd in amounts:
                purse.held_nusd += nusd
                if not purse.moved:
                    self._purses.watch(purse)
        return short

    # --- in a thread --------------------------------------------------------------------------

    async def _slowly(self, work: Callable[..., Held], *args: object) -> Held:
        asked = self._executor().submit(work, *args)
        try:
            return await asyncio.wrap_future(asked)
        except BaseException:
            asked.add_done_callback(self._let_go)
            raise

    def _hold_slowly(self, call: Call, deployment: Deployment, quote: Quote) -> Held:
        while True:  # what was granted may be taken by others; each time somebody got on
            held, short = self._try(call, deployment, quote)
            if not short:
                return held
            self._purses.ask(short)

    def _take_slowly(self, amounts: Amounts) -> Held:
        while True:
            with self._purses.lock:
                short = self._take(amounts)
            if not short:
                return Held(None, amounts, 0)
            self._purses.ask(short)

    # --- housekeeping: see `Purses`, whose methods ask the shared accounts ---------------------

    def tend(self) -> None:
        """Give back what is idle, and the like; to be called some 200 ms after a hold or an end."""
        self._purses.tend()

    def close(self) -> None:
        """Give back all that is free; the ledger can be used again."""
        self._purses.close()

    # --- inside -------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        """Return the time; where it was put back no earlier than the purses. Under the lock."""
        now_ns = self._clock.now_ns()
        if now_ns < self._read_ns:
            self._least_ns = common_ns(self._every(), now_ns)
        self._read_ns = now_ns
        return max(now_ns, self._least_ns)

    def _follow(self, account: Account, rule: BudgetRule) -> None:
        account.follow(rule)
        if account.purse.owed_nusd:
            self._purses.watch(account.purse)
            self._purses.wake()

    def _let_go(self, asked: Future[Held]) -> None:
        """Give back what was held for somebody who did not wait for it."""
        if not asked.cancelled() and asked.exception() is None:
            self.settle(asked.result().amounts, Cost(0))
            self._purses.wake()  # nothing of it reaches the journal, which would do so

    def _executor(self) -> ThreadPoolExecutor:
        if self._hands is None:
            self._hands = ThreadPoolExecutor(1, thread_name_prefix="trunkline-ledger")
        return self._hands

    def _leave_parent(self) -> None:
        """Forget, in a forked child, what the parent was granted: the child asks for its own."""
        self._purses.forget()
        self._reloading = threading.Lock()
        self._hands = None
        for account in self._every():
            account.forget()

    def _every(self) -> tuple[Account, ...]:
        return (*self._accounts.every(), *self._granted.values())


def _most(quote: Quote, amounts: Amounts) -> int | None:
    """Return what recovery charges: the most that any account holds."""
    if quote.estimate_nusd is None or quote.proven_nusd is None:
        return quote.estimate_nusd
    return max([quote.estimate_nusd, *[amount_nusd for _, amount_nusd in amounts]])


def _after_fork_in_child() -> None:
    for ledger in _ledgers:
        ledger._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
