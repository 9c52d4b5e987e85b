"""How tenants, teams, users, keys and budgets are answered: their fields as a caller sees them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from trunkline.accounting.leases import Seen
from trunkline.accounting.period import window
from trunkline.accounting.price import format_usd
from trunkline.config.connection import RATES
from trunkline.gateway.admin.asked import iso
from trunkline.storage.principals import ApiKey, Budget, Item, Person, Team, Tenant

_WORDS: dict[type[Item], str] = {
    Tenant: "tenant", Team: "team", Person: "user", ApiKey: "key", Budget: "budget",
}  # fmt: skip


def word(kind: type[Item]) -> str:
    """Return what one of a kind is called."""
    return _WORDS[kind]


def shown(item: Item) -> dict[str, Any]:
    """Return a row as it is answered: lists as lists, times as ISO 8601 by UTC."""
    answer: dict[str, Any] = {"id": item.id, "object": word(type(item))}
    for name, value in asdict(item).items():
        if name.endswith("_ns"):
            answer[f"{name.removesuffix('_ns')}_at"] = None if value is None else iso(value)
        elif name.endswith("_nusd"):
            answer |= money(name.removesuffix("_nusd"), value)
        else:
            answer[name] = list(value) if isinstance(value, tuple) else value
    if isinstance(item, ApiKey):
        rates = {name: answer.pop(name) for name in RATES}
        answer["rate_limits"] = rates if any(rates.values()) else None
    if isinstance(item, Person):
        for name in ("period", "timezone", "rolling"):
            answer[f"allowance_{name}"] = answer.pop(name)
        answer["basic_info"] = {"name": item.name, "email": item.email}
    return answer


def money(name: str, nusd: int | None) -> dict[str, Any]:
    """Return an amount in both of its spellings."""
    return {
        f"{name}_usd": None if nusd is None else format_usd(nusd),
        f"{name}_nusd": nusd,
    }


def state(budget: Budget, seen: Seen | None, now_ns: int) -> dict[str, Any]:
    """Return how much of a budget is spent, held and left, where that is known, and until when."""
    rule = budget.rule
    resets_ns = window(rule.period, now_ns, timezone=rule.timezone, rolling=rule.rolling).resets_ns
    answer: dict[str, Any] = {"resets_at": None if resets_ns is None else iso(resets_ns)}
    if seen is not None:
        left_nusd = budget.amount_nusd - seen.settled_nusd - seen.exposed_nusd
        answer |= money("settled", seen.settled_nusd) | money("held", seen.exposed_nusd)
        answer |= money("overrun", seen.overrun_nusd) | money("remaining", left_nusd)
    return answer
