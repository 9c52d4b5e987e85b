"""Which account each of some rules has: the one that it had before, or a new one.

Takes no lock and changes no account, so that it may take its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import astuple

from trunkline.accounting.account import Account, period_of
from trunkline.config import BudgetRule


class Match(NamedTuple):
    """What some rules make of the accounts that there are."""

    ruled: tuple[Account, ...]
    """The account of each rule, in their order."""
    changed: list[tuple[Account, BudgetRule]]
    """Those that have still to follow their rule."""
    left: list[Account]
    """Those that have no rule any more."""


def match(rules: Sequence[BudgetRule], present: Iterable[Account]) -> Match:
    """Match rules with the accounts that are present.

    Where rules have one scope, period and origin, their own words say which is which: all processes
    come to the same, in whatever order they have them.
    """
    kept = {(account.rule.scope, account.period): account for account in present}
    alike: dict[tuple[str, str], list[int]] = {}
    for place, rule in enumerate(rules):
        alike.setdefault((rule.scope, period_of(rule)), []).append(place)
    ruled: dict[int, Account] = {}
    changed: list[tuple[Account, BudgetRule]] = []
    for (scope, _), places in alike.items():
        if len(places) > 1:
            places.sort(key=lambda place: astuple(rules[place]))
        for number, place in enumerate(places, 1):
            rule = rules[place]
            account = kept.pop((scope, period_of(rule, number)), None)
            if account is None:
                account = Account(rule, number)
            elif account.retired or account.rule != rule:
                changed.append((account, rule))
            ruled[place] = account
    return Match(tuple(ruled[place] for place in range(len(rules))), changed, list(kept.values()))
