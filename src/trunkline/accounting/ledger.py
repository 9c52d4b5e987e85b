"""The in-process ledger: hold before, settle after, on every scope that applies, all or none.

An `Account` is one budget in its present period. A `Tab` belongs to one call and asks the accounts
of its scopes. Nothing here awaits between checking and holding, so no other call of this loop can
slip in between; a lock keeps other threads out.
"""

from __future__ import annotations

import datetime
import os
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal

from trunkline.accounting.price import format_usd
from trunkline.clock import Clock
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.types import Call, Cost, Deployment, Hold, Quote

_HELD_RETRY_S = 1.0
_FOR_EVER_NS = 2**63

_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()

Settled = Callable[[str, int], int]
"""(scope, since_ns) -> nano-USD settled there since: what the records say after a restart."""

Alert = Callable[[BudgetRule, int, int], None]
"""Told (rule, nano-USD settled, nano-USD of the mark) when a budget passes one of `alert_at`."""


def period_ns(period: str, now_ns: int) -> tuple[int, int]:
    """Return start and end of the UTC day, ISO week or month around `now_ns`, or of all time."""
    if period == "total":
        return 0, _FOR_EVER_NS
    now = datetime.datetime.fromtimestamp(now_ns // 1_000_000_000, tz=datetime.UTC)
    start = now.replace(hour=0, minute=0, second=0)
    end = start + datetime.timedelta(days=1)
    if period == "week":
        start -= datetime.timedelta(days=start.weekday())
        end = start + datetime.timedelta(days=7)
    elif period == "month":
        start = start.replace(day=1)
        end = (start + datetime.timedelta(days=31)).replace(day=1)
    return int(start.timestamp()) * 1_000_000_000, int(end.timestamp()) * 1_000_000_000


class Account:
    """One budget: what is settled, held and overrun in the present period, in nano-USD."""

    def __init__(self, rule: BudgetRule, settled: Settled, alert: Alert) -> None:
        self.rule = rule
        self._settled = settled
        self._alert = alert
        shares = {*rule.alert_at, *((1.0,) if rule.mode == "soft" else ())}
        self._marks = sorted(int(rule.amount_nusd * Decimal(str(share))) for share in shares)
        self.forget()

    def forget(self) -> None:
        """Begin afresh: the next `roll` asks what is settled."""
        self.settled_nusd = 0
        self.held_nusd = 0
        self.overrun_nusd = 0
        """By how much single attempts cost more than their hold."""
        self._start_ns = 0
        self._end_ns = 0
        self._passed = 0

    def roll(self, now_ns: int) -> None:
        """Begin a new period when the clock says so; what is held stays held."""
        if not self._start_ns <= now_ns < self._end_ns:
            start_ns, end_ns = period_ns(self.rule.period, now_ns)
            self.settled_nusd = self._settled(self.rule.scope, start_ns)
            self.overrun_nusd = 0
            self._start_ns, self._end_ns = start_ns, end_ns
            self._passed = bisect_right(self._marks, self.settled_nusd)

    def amount(self, quote: Quote) -> int:
        """Return what to hold for `quote`: its proof in strict mode, else its estimate.

        Raises:
            PriceUnknown: the budget refuses what has no price, or no proven bound in strict mode.
        """
        rule = self.rule
        if rule.mode == "strict":
            if quote.proven_nusd is None:
                raise PriceUnknown(
                    f"the strict budget on {rule.scope} takes only calls whose cost has a proven "
                    "bound: a known price, max_tokens given, text only"
                )
            return quote.proven_nusd
        if quote.estimate_nusd is None and rule.unknown_price == "refuse":
            raise PriceUnknown(
                f"the budget on {rule.scope} refuses deployments without a price; give the model "
                "a price in the configuration, or set unknown_price: flag"
            )
        return quote.estimate_nusd or 0

    def admit(self, amount_nusd: int) -> None:
        """Check that `amount_nusd` fits beside what is settled and held.

        Raises:
            BudgetExhausted: it does not fit into what is not yet spent.
            BudgetHeld: it would fit if the calls under way cost less than they hold.
        """
        rule = self.rule
        limit = rule.amount_nusd
        if rule.mode == "soft":
            return
        spent = self.settled_nusd
        if spent >= limit or spent + amount_nusd > limit:
            state = "is used up" if spent >= limit else "has too little left for this call"
            raise BudgetExhausted(
                f"the {rule.period} budget on {rule.scope} {state}: "
                f"{format_usd(spent)} of {format_usd(limit)} USD spent, "
                f"this call may need {format_usd(amount_nusd)}; a smaller max_tokens needs less"
            )
        if spent + self.held_nusd + amount_nusd > limit:
            raise BudgetHeld(
                f"what is left of the {rule.period} budget on {rule.scope} is held by calls "
                "under way; try again soon",
                retry_after_s=_HELD_RETRY_S,
            )

    def settle(self, amount_nusd: int, spent_nusd: int) -> None:
        """Turn a hold into what was spent; tell of each alert mark the first time it is passed."""
        self.held_nusd -= amount_nusd
        self.settled_nusd += spent_nusd
        if spent_nusd > amount_nusd:
            self.overrun_nusd += spent_nusd - amount_nusd
        while self._passed < len(self._marks) and self.settled_nusd >= self._marks[self._passed]:
            self._alert(self.rule, self.settled_nusd, self._marks[self._passed])
            self._passed += 1


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
        self._lock = threading.RLock()  # a dropped reply may be settled in the middle of a hold
        self._by_kind: dict[str, dict[str, tuple[Account, ...]]] = {}
        for rule in rules:
            kind, _, name = rule.scope.partition(":")
            table = self._by_kind.setdefault(kind, {})
            table[name] = (*table.get(name, ()), Account(rule, settled, alert))
        of = self._by_kind.get
        # Only kinds that have a budget are looked up for every call.
        self._payers = [
            (who, self._by_kind[kind]) for kind, who in _PAYERS if kind in self._by_kind
        ]
        self._everybody = of("global", {}).get("", ())
        self._tags, self._providers = of("tag", {}), of("provider", {})
        self._deployments = of("deployment", {})
        _ledgers.add(self)

    def open(self, call: Call) -> LedgerTab:
        """Return the tab of `call`: every account of its principal, tags and run."""
        found = self._everybody
        for who, table in self._payers:
            if (name := who(call)) is not None:
                found += table.get(name, ())
        if self._tags:
            for tag in dict.fromkeys(call.tags):
                found += self._tags.get(tag, ())
        return LedgerTab(self, found)

    def accounts(self) -> tuple[Account, ...]:
        """Every account, rolled to the present period."""
        now_ns = self._clock.now_ns()
        every = self._every()
        with self._lock:
            for account in every:
                account.roll(now_ns)
        return every

    def _every(self) -> tuple[Account, ...]:
        tables = self._by_kind.values()
        return tuple(account for table in tables for group in table.values() for account in group)

    def _leave_parent(self) -> None:
        """Forget, in a forked child, what the parent's calls hold; the records say the rest."""
        self._lock = threading.RLock()
        for account in self._every():
            account.forget()

    def hold(
        self, accounts: tuple[Account, ...], deployment: Deployment, quote: Quote
    ) -> list[tuple[Account, int]]:
        """Hold on all `accounts` and those of the deployment, or on none."""
        if self._providers:
            accounts += self._providers.get(deployment.provider, ())
        if self._deployments:
            accounts += self._deployments.get(deployment.name, ())
        if not accounts:
            return []
        now_ns = self._clock.now_ns()
        amounts = []
        with self._lock:
            for account in accounts:
                account.roll(now_ns)
                amount_nusd = account.amount(quote)
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

    __slots__ = ("_accounts", "_ledger", "_open")

    def __init__(self, ledger: Ledger, accounts: tuple[Account, ...]) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._open: list[Held] = []

    async def begin(self, deployment: Deployment, quote: Quote) -> Held:
        """Hold money for one attempt; see `Tab.begin`."""
        accounts = self._ledger.hold(self._accounts, deployment, quote)
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


_PAYERS: tuple[tuple[str, Callable[[Call], str | None]], ...] = (
    ("key", lambda call: call.principal.key_id),
    ("user", lambda call: call.principal.user_id),
    ("team", lambda call: call.principal.team_id),
    ("tenant", lambda call: call.principal.tenant_id),
    ("run", lambda call: call.run),
)


def _after_fork_in_child() -> None:
    for ledger in _ledgers:
        ledger._leave_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
