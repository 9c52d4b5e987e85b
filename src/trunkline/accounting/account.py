"""One budget's account: what is settled and held in its present period, and who pays into it.

Pure arithmetic without a lock; the ledger holds one around every use.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal

from trunkline.accounting.price import format_usd
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.types import Call, Deployment, Quote

_HELD_RETRY_S = 1.0
_FOR_EVER_NS = 2**63

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
        self._settled = settled
        self._alert = alert
        self.forget()
        self.follow(rule)

    def follow(self, rule: BudgetRule) -> None:
        """Take a rule of the same scope and period; marks already passed are not told again."""
        self.rule = rule
        shares = {*rule.alert_at, *((1.0,) if rule.mode == "soft" else ())}
        self._marks = sorted(int(rule.amount_nusd * Decimal(str(share))) for share in shares)
        self._passed = bisect_right(self._marks, self.settled_nusd)

    def forget(self) -> None:
        """Begin afresh: the next `roll` asks what is settled."""
        self.settled_nusd = 0
        self.held_nusd = 0
        self.overrun_nusd = 0
        """By how much single attempts cost more than their hold."""
        self._start_ns = 0
        self._end_ns = 0
        self._passed = 0

    @property
    def left_nusd(self) -> int:
        """What is not yet spent, held or not; negative after an overrun."""
        return self.rule.amount_nusd - self.settled_nusd

    @property
    def resets(self) -> str:
        """When the present period ends, as the end of a sentence about the budget."""
        if self._end_ns == _FOR_EVER_NS:
            return "never resets"
        end = datetime.datetime.fromtimestamp(self._end_ns // 1_000_000_000, tz=datetime.UTC)
        return f"resets at {end:%Y-%m-%d %H:%M} UTC"

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
                    "bound: a known price, max_tokens given, text only, no tools or data that "
                    "the provider keeps, no options that are not known here"
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
                f"this call may need {format_usd(amount_nusd)}; a smaller max_tokens needs less. "
                f"The budget {self.resets}"
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


class Accounts:
    """The accounts of one set of rules, by whom they charge; never changed once made."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._by_kind: dict[str, dict[str, tuple[Account, ...]]] = {}
        for account in accounts:
            kind, _, name = account.rule.scope.partition(":")
            table = self._by_kind.setdefault(kind, {})
            table[name] = (*table.get(name, ()), account)
        of = self._by_kind.get
        # Only kinds that have a budget are looked up for every call.
        self._payers = [
            (who, self._by_kind[kind]) for kind, who in _PAYERS if kind in self._by_kind
        ]
        self._everybody = of("global", {}).get("", ())
        self._tags, self._providers = of("tag", {}), of("provider", {})
        self._deployments = of("deployment", {})

    def every(self) -> tuple[Account, ...]:
        """Return all of them."""
        tables = self._by_kind.values()
        return tuple(account for table in tables for group in table.values() for account in group)

    def paying(self, call: Call, deployment: Deployment) -> tuple[Account, ...]:
        """Return those of the call's principal, tags and run, and of the deployment."""
        found = self._everybody
        for who, table in self._payers:
            if (name := who(call)) is not None:
                found += table.get(name, ())
        if self._tags:
            for tag in dict.fromkeys(call.tags):
                found += self._tags.get(tag, ())
        if self._providers:
            found += self._providers.get(deployment.provider, ())
        if self._deployments:
            found += self._deployments.get(deployment.name, ())
        return found


_PAYERS: tuple[tuple[str, Callable[[Call], str | None]], ...] = (
    ("key", lambda call: call.principal.key_id),
    ("user", lambda call: call.principal.user_id),
    ("team", lambda call: call.principal.team_id),
    ("tenant", lambda call: call.principal.tenant_id),
    ("run", lambda call: call.run),
)
