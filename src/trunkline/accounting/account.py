"""One budget: its rule, who pays into it, and what it says to those it refuses.

Pure arithmetic without a lock; the ledger holds one around every use.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple

from msgspec.structs import replace

from trunkline.accounting.period import Window, window
from trunkline.accounting.price import format_usd
from trunkline.accounting.purse import Purse
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.types import Call, Deployment, Quote

_HELD_RETRY_S = 1.0
_MOST_STILL_NS = 86_400 * 10**9

Alert = Callable[[BudgetRule, int, int], None]
"""Told (rule, nano-USD settled, nano-USD of the mark) when a budget passes one of `alert_at`."""


class Left(NamedTuple):
    """What a budget that refused a call has for a shorter answer."""

    nusd: int
    """What a hold may come to; 0 or less = nothing."""
    proven: bool
    """Whether that hold is a proven bound."""


def left_by(refusal: BudgetExhausted | BudgetHeld) -> Left | None:
    """Return what the budget that refused has left; None = it does not cap answers."""
    left: Left | None = getattr(refusal, "left", None)
    return left


def everywhere(error: BaseException) -> bool:
    """Whether a budget refused that pays at every deployment: none but a cheaper one would do."""
    found: bool = getattr(error, "everywhere", False)
    return found


def period_of(rule: BudgetRule, number: int = 1) -> str:
    """Return what tells the account of a rule from the others of its scope; see `Account`."""
    way = "rolling" if rule.rolling else rule.timezone.replace("UTC", "")
    parts = (rule.period, way, rule.origin, str(number) if number > 1 else "")
    return ":".join(filter(None, parts))


class Account:
    """One budget, and the purse of the present bucket."""

    def __init__(self, rule: BudgetRule, number: int = 1) -> None:
        """`number` tells budgets of the same scope, period and origin apart."""
        self.period = period_of(rule, number)
        self.overrun_nusd = 0
        """By how much single attempts of this process cost more than their hold."""
        self.retired = False
        """Whether it has no rule any more."""
        self.rule = rule
        self.forget()
        self.follow(rule)

    def follow(self, rule: BudgetRule) -> None:
        """Take a rule of the same scope and period."""
        if rule.amount_nusd < self.rule.amount_nusd or self.retired:
            self.purse.return_free()
        if self.retired:
            self.retired = self.purse.open = self.purse.fresh = False
        self.rule = rule
        self.strict = rule.mode == "strict"
        shares = {*rule.alert_at, *((1.0,) if rule.mode == "soft" else ())}
        self.marks = sorted(int(rule.amount_nusd * Decimal(str(share))) for share in shares)

    def retire(self) -> None:
        """Refuse nothing and tell nobody, but count: whatever is ingested counts, too."""
        self.retired = self.purse.open = True
        self.rule = replace(self.rule, mode="soft", unknown_price="allow")
        self.strict = False
        self.marks = []

    def forget(self) -> None:
        """Begin afresh: the next `roll` makes a new purse."""
        self.purse = Purse(self, Window(0, 0, 0, None), 0)

    @property
    def settled_nusd(self) -> int:
        """What has been spent in the present window, as far as this process has heard."""
        return self.purse.others_nusd + self.purse.spent_nusd

    @property
    def held_nusd(self) -> int:
        """What calls of this process hold."""
        return self.purse.held_nusd

    @property
    def left_nusd(self) -> int:
        """What is not yet spent, held or not; negative after an overrun."""
        return self.rule.amount_nusd - self.settled_nusd

    @property
    def resets(self) -> str:
        """When there is new money, as the end of a sentence about the budget."""
        resets_ns = self.purse.window.resets_ns
        if resets_ns is None:
            return "never resets"
        at = datetime.datetime.fromtimestamp(resets_ns // 1_000_000_000, tz=datetime.UTC)
        return f"resets at {at:%Y-%m-%d %H:%M} UTC"

    def roll(self, now_ns: int) -> Purse:
        """Return the purse of now; a new one when the clock says so.

        What is held in an old one stays held there.
        """
        purse = self.purse
        if not purse.window.bucket_ns <= now_ns < purse.window.end_ns:
            rule = self.rule
            purse.scarce = True
            present = window(rule.period, now_ns, timezone=rule.timezone, rolling=rule.rolling)
            purse = self.purse = Purse(self, present, now_ns)
            purse.open = self.retired  # nothing needs to be asked
        return purse

    def amount(self, quote: Quote) -> int:
        """Return what to hold for `quote`: its proof in strict mode, else its estimate.

        Raises:
            PriceUnknown: the budget refuses what has no price, or no proven bound in strict mode.
        """
        rule = self.rule
        if self.strict:
            if quote.proven_nusd is None:
                raise PriceUnknown(
                    f"the strict budget on {rule.scope} takes only calls whose cost has a proven "
                    "bound: a known price, max_tokens given, text only, no tools or data that "
                    "the provider keeps, no options that are not known here"
                )
            return quote.proven_nusd
        # A tier is the caller's choice: nobody may choose not to be charged.
        chosen = not quote.priced and rule.mode == "hard" and rule.unknown_price == "flag"
        unknown = quote.estimate_nusd is None or not quote.priced
        if chosen or (unknown and rule.unknown_price == "refuse"):
            raise PriceUnknown(
                f"the budget on {rule.scope} refuses what has no known price; give the model (and "
                "the service_tier that was asked for) a price in the configuration, or set "
                f"unknown_price: {'allow' if chosen else 'flag'}"
            )
        return quote.estimate_nusd or 0

    def refuse(
        self, amount_nusd: int, spent_nusd: int, left_nusd: int
    ) -> BudgetExhausted | BudgetHeld:
        """Return the error for a call of `amount_nusd`.

        Args:
            spent_nusd: over all processes.
            left_nusd: what a hold may come to instead.
        """
        refusal = self._refusal(amount_nusd, spent_nusd)
        at_one = self.rule.scope.startswith(("provider:", "deployment:"))
        refusal.everywhere = not at_one  # type: ignore[union-attr]  # who asks: `everywhere`
        if self.rule.cap_output:
            left = Left(left_nusd, self.rule.mode == "strict")
            refusal.left = left  # type: ignore[union-attr]  # who asks: `left_by`
        return refusal

    def _refusal(self, amount_nusd: int, spent_nusd: int) -> BudgetExhausted | BudgetHeld:
        """Money that calls under way merely hold may come back; money that is spent does not."""
        rule = self.rule
        limit = rule.amount_nusd
        if spent_nusd >= limit or spent_nusd + amount_nusd > limit:
            state = "is used up" if spent_nusd >= limit else "has too little left for this call"
            return BudgetExhausted(
                f"the {rule.period} budget on {rule.scope} {state}: "
                f"{format_usd(spent_nusd)} of {format_usd(limit)} USD spent, "
                f"this call may need {format_usd(amount_nusd)}; a smaller max_tokens needs less. "
                f"The budget {self.resets}"
            )
        return BudgetHeld(
            f"what is left of the {rule.period} budget on {rule.scope} is held by calls "
            "under way; try again soon",
            retry_after_s=_HELD_RETRY_S,
        )

    def passed(self) -> list[int]:
        """Return the alert marks that are passed and have not been told in this bucket."""
        place = bisect_right(self.marks, self.settled_nusd)
        return [mark for mark in self.marks[:place] if mark > self.purse.marked_nusd]


def common_ns(accounts: Iterable[Account], now_ns: int) -> int:
    """Return the first moment from `now_ns` on that is in a purse of every account.

    Each has buckets of its own. A clock that was wrong by more than a day is not waited for.
    """
    most_ns = now_ns + _MOST_STILL_NS
    while True:
        begun_ns = [account.roll(now_ns).since_ns for account in accounts]
        since_ns = max((each for each in begun_ns if each <= most_ns), default=0)
        if since_ns <= now_ns:
            return now_ns
        now_ns = since_ns


def amounts_of(accounts: Iterable[Account], now_ns: int, quote: Quote) -> list[tuple[Purse, int]]:
    """Return the purse of now of each account, and what to hold there for `quote`.

    See `Account.roll` and `Account.amount`, which nearly always have nothing to do.

    Raises:
        PriceUnknown: one of them refuses what has no price, or no proven bound.
    """
    usual_nusd = quote.estimate_nusd if quote.priced else None
    amounts: list[tuple[Purse, int]] = []
    for account in accounts:
        purse = account.purse
        if not purse.window.bucket_ns <= now_ns < purse.window.end_ns:
            purse = account.roll(now_ns)
        if usual_nusd is None or account.strict:
            amounts.append((purse, account.amount(quote)))
        else:
            amounts.append((purse, usual_nusd))
    return amounts


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
    ("key", attrgetter("principal.key_id")),
    ("user", attrgetter("principal.user_id")),
    ("team", attrgetter("principal.team_id")),
    ("tenant", attrgetter("principal.tenant_id")),
    ("run", attrgetter("run")),
)
