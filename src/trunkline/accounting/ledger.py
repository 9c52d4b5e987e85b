"""The in-process ledger: hold before, settle after, on every scope that applies, all or none.

An `Account` is one budget in its present period. A `Tab` belongs to one call and asks the accounts
of its scopes. Nothing here awaits between checking and holding, so no other call of this loop can
slip in between; a lock keeps other threads out.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable

from trunkline.accounting.account import Account, Accounts, Alert, Settled
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.types import Call, Cost, Deployment, Hold, Quote

_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()


class Held:
    """What one attempt holds, account by account."""

    __slots__ = ("accounts", "nusd")

    def __init__(self, nusd: int | None, accounts: list[tuple[Account, int]]) -> None:
        self.nusd = nusd
        self.accounts = accounts


class Ledger:
    """All accounts of this process."""

    def __init__(
        self,
        rules: Iterable[BudgetRule],
        clock: Clock,
        settled: Settled = lambda scope, ns: 0,
        alert: Alert = lambda rule, settled, mark: None,
    ) -> None:
        self._clock = clock
        self._settled = settled
        self._alert = alert
        self._lock = threading.RLock()  # a dropped reply may be settled in the middle of a hold
        self._accounts = Accounts(())
        self._granted: dict[str | None, Account] = {}
        """By user; these come at run time, and a reload leaves them alone."""
        self.reload(rules)
        _ledgers.add(self)

    def reload(self, rules: Iterable[BudgetRule]) -> None:
        """Take other rules; one with the scope and period of an old one keeps its account.

        A new account begins by asking what is settled, where an attempt under way counts with its
        hold, as after a restart. An account without a rule refuses nothing any more; what is held
        on it is still settled there.
        """
        with self._lock:
            kept: dict[tuple[str, str], list[Account]] = {}
            for account in self._accounts.every():
                kept.setdefault((account.rule.scope, account.rule.period), []).append(account)
            accounts = []
            for rule in rules:
                if same := kept.get((rule.scope, rule.period)):
                    account = same.pop(0)
                    account.follow(rule)
                else:
                    account = Account(rule, self._settled, self._alert)
                accounts.append(account)
            self._accounts = Accounts(accounts)

    def grant(self, user_id: str, rule: BudgetRule) -> None:
        """Put a budget on a user at run time; one who has one already keeps it as it is.

        It begins with what is settled, as after a reload. Attempts that the user begins while that
        is being asked, with no budget yet, are not in it.
        """
        account = Account(rule, self._settled, self._alert)
        account.roll(self._clock.now_ns())  # may read the records: no call waits for that
        with self._lock:
            self._granted.setdefault(user_id, account)

    def amend(self, user_id: str, rule: BudgetRule) -> None:
        """Change a granted budget to a rule of the same period; what is spent and held stays."""
        with self._lock:
            self._granted[user_id].follow(rule)

    def granted(self, user_id: str) -> Account | None:
        """Return the account of a granted budget, rolled to the present period."""
        account = self._granted.get(user_id)
        if account is not None:
            with self._lock:
                account.roll(self._clock.now_ns())
        return account

    def open(self, call: Call) -> LedgerTab:
        """Return the tab of `call`."""
        return LedgerTab(self, call)

    def accounts(self) -> tuple[Account, ...]:
        """Every account, rolled to the present period."""
        now_ns = self._clock.now_ns()
        with self._lock:
            every = self._every()
            for account in every:
                account.roll(now_ns)
        return every

    def _leave_parent(self) -> None:
        """Forget, in a forked child, what the parent's calls hold; the records say the rest."""
        self._lock = threading.RLock()
        for account in self._every():
            account.forget()

    def _every(self) -> tuple[Account, ...]:
        return (*self._accounts.every(), *self._granted.values())

    def hold(
        self, call: Call, deployment: Deployment, quote: Quote, *, spent: bool = False
    ) -> list[tuple[Account, int]]:
        """Hold on all accounts that an attempt of `call` at `deployment` charges, or on none.

        What is `spent` already is held whether there is room for it or not.
        """
        now_ns = self._clock.now_ns()
        amounts = []
        with self._lock:
            paying = self._accounts.paying(call, deployment)
            if own := self._granted.get(call.principal.user_id):
                paying += (own,)
            for account in paying:
                account.roll(now_ns)
                amount_nusd = account.amount(quote)
                if not spent:
                    account.admit(amount_nusd)
                amounts.append((account, amount_nusd))
            for account, amount_nusd in amounts:
                account.held_nusd += amount_nusd
        return amounts

    def settle(self, held: Held, cost: Cost) -> None:
        """Turn a hold into what the attempt cost; an unknown cost leaves no money settled."""
        if not held.accounts:
            return
        spent_nusd = cost.nusd or 0
        with self._lock:
            for account, amount_nusd in held.accounts:
                account.settle(amount_nusd, spent_nusd)


class LedgerTab:
    """What one call holds; satisfies `trunkline.types.Tab`."""

    __slots__ = ("_call", "_ledger", "_open")

    def __init__(self, ledger: Ledger, call: Call) -> None:
        self._ledger = ledger
        self._call = call
        self._open: list[Held] = []

    async def begin(self, deployment: Deployment, quote: Quote) -> Held:
        """Hold money for one attempt; see `Tab.begin`."""
        accounts = self._ledger.hold(self._call, deployment, quote)
        nusd = quote.estimate_nusd
        if nusd is not None and quote.proven_nusd is not None:
            # Recovery charges the most that any account holds.
            nusd = max([nusd, *(amount_nusd for _, amount_nusd in accounts)])
        held = Held(nusd, accounts)
        self._open.append(held)
        return held

    def end(self, hold: Hold, cost: Cost) -> None:
        """Settle one attempt; a second time does nothing."""
        for held in self._open:
            if held is hold:
                self._open.remove(held)
                self._ledger.settle(held, cost)
                return

    def close(self) -> None:
        """Give back what is still held; nothing was sent for it."""
        while self._open:
            self._ledger.settle(self._open.pop(), Cost(0))


def _after_fork_in_child() -> None:
    for ledger in _ledgers:
        ledger._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
