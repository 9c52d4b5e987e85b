"""The in-process ledger: hold before, settle after, on every scope that applies, all or none.

An `Account` is one budget in its present period. A `Tab` belongs to one call and asks the accounts
of its scopes. Nothing here awaits between checking and holding, so no other call of this loop can
slip in between; a lock keeps other threads out.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterable

from trunkline.config import BudgetRule

from trunkline.clock import Clock
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.types import Call, Cost, Deployment, Hold, Quote

_HELD_RETRY_S = 1.0

Settled = Callable[[str, int], int]
"""(scope, since_ns) -> nano-USD settled there since: what the records say after a restart."""


def period_start_ns(period: str, now_ns: int) -> int:
    """Return the start of the UTC day, ISO week or month around `now_ns`; 0 for `total`."""
    now = datetime.datetime.fromtimestamp(now_ns // 1_000_000_000, tz=datetime.UTC)
    day = now.replace(hour=0, minute=0, second=0)
    if period == "total":
        return 0
    if period == "week":
        day -= datetime.timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return int(day.timestamp()) * 1_000_000_000


class Account:
    """One budget: what is settled, held and overrun in the present period, in nano-USD."""

    def __init__(self, rule: BudgetRule, settled: Settled) -> None:
        self.rule = rule
        self.settled_nusd = 0
        self.held_nusd = 0
        self.overrun_nusd = 0
        """By how much single attempts cost more than their hold."""
        self._settled = settled
        self._started_ns = -1

    def roll(self, now_ns: int) -> None:
        """Begin a new period when the clock says so; what is held stays held."""
        start_ns = period_start_ns(self.rule.period, now_ns)
        if start_ns != self._started_ns:
            self._started_ns = start_ns
            self.settled_nusd = self._settled(self.rule.scope, start_ns)
            self.overrun_nusd = 0

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
            raise BudgetExhausted(
                f"the {rule.period} budget on {rule.scope} is used up: "
                f"{_usd(spent)} of {_usd(limit)} USD spent, this call may need {_usd(amount_nusd)}"
            )
        if spent + self.held_nusd + amount_nusd > limit:
            raise BudgetHeld(
                f"what is left of the {rule.period} budget on {rule.scope} is held by calls "
                "under way; try again soon",
                retry_after_s=_HELD_RETRY_S,
            )


class Held:
    """What one attempt holds, account by account."""

    __slots__ = ("accounts", "nusd")

    def __init__(self, nusd: int | None, accounts: tuple[tuple[Account, int], ...]) -> None:
        self.nusd = nusd
        self.accounts = accounts


class Ledger:
    """All accounts of this process."""

    def __init__(
        self, rules: Iterable[BudgetRule], clock: Clock, settled: Settled = lambda scope, ns: 0
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str, list[Account]] = {}
        for rule in rules:
            self._accounts.setdefault(rule.scope, []).append(Account(rule, settled))

    def open(self, call: Call) -> LedgerTab:
        """Return the tab of `call`: every account of its principal, tags and run."""
        return LedgerTab(self, self._of(_scopes(call)) if self._accounts else ())

    def accounts(self) -> tuple[Account, ...]:
        """Every account, rolled to the present period."""
        now_ns = self._clock.now_ns()
        every = tuple(account for group in self._accounts.values() for account in group)
        with self._lock:
            for account in every:
                account.roll(now_ns)
        return every

    def hold(
        self, accounts: tuple[Account, ...], deployment: Deployment, quote: Quote
    ) -> tuple[tuple[Account, int], ...]:
        """Hold on all `accounts` and those of the deployment, or on none."""
        if not self._accounts:
            return ()
        accounts += self._of((f"provider:{deployment.provider}", f"deployment:{deployment.name}"))
        if not accounts:
            return ()
        now_ns = self._clock.now_ns()
        with self._lock:
            for account in accounts:
                account.roll(now_ns)
            amounts = [(account, account.amount(quote)) for account in accounts]
            for account, amount_nusd in amounts:
                account.admit(amount_nusd)
            for account, amount_nusd in amounts:
                account.held_nusd += amount_nusd
        return tuple(amounts)

    def settle(self, held: Held, cost: Cost) -> None:
        """Turn a hold into what the attempt cost; an unknown cost leaves no money settled."""
        if not held.accounts:
            return
        now_ns = self._clock.now_ns()
        with self._lock:
            for account, amount_nusd in held.accounts:
                account.roll(now_ns)
                account.held_nusd -= amount_nusd
                spent = cost.nusd or 0
                account.settled_nusd += spent
                account.overrun_nusd += max(0, spent - amount_nusd)

    def _of(self, scopes: Iterable[str]) -> tuple[Account, ...]:
        found = self._accounts
        return tuple(account for scope in scopes for account in found.get(scope, ()))


class LedgerTab:
    """What one call holds; satisfies `trunkline.types.Tab`."""

    __slots__ = ("_accounts", "_ledger", "_open")

    def __init__(self, ledger: Ledger, accounts: tuple[Account, ...]) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._open: list[Held] = []

    async def begin(self, deployment: Deployment, quote: Quote) -> Held:
        """Hold money for one attempt; see `Tab.begin`."""
        held = Held(quote.estimate_nusd, self._ledger.hold(self._accounts, deployment, quote))
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


def _scopes(call: Call) -> list[str]:
    who = call.principal
    named = (
        ("key", who.key_id),
        ("user", who.user_id),
        ("team", who.team_id),
        ("tenant", who.tenant_id),
        ("run", call.run),
    )
    scopes = ["global", *(f"{kind}:{name}" for kind, name in named if name)]
    scopes += [f"tag:{tag}" for tag in call.tags]
    return scopes


def _usd(nusd: int) -> str:
    return f"{nusd / 1_000_000_000:.6f}"  # for people to read; sums never pass through here
