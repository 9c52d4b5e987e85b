"""Budget rules: who may spend how much, and when it starts again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from trunkline.config.model import BudgetRule, Mode, Period, UnknownPrice
from trunkline.config.node import Node, near

_KEYS = ("scope", "amount", "period", "mode", "unknown_price", "alert_at")
_LATER_KEYS = ("when_store_down", "timezone", "rolling")
_KINDS = ("key", "user", "team", "tenant", "tag", "run", "provider", "deployment")


def native(node: Node, providers: Collection[str]) -> BudgetRule:
    """Take one entry of `budgets:`."""
    return _rule(node, node.mapping(_KEYS, _LATER_KEYS), providers)


def of_key(node: Node, scope: str, providers: Collection[str]) -> BudgetRule:
    """Take the budget that stands with a key; its scope is that key."""
    fields = node.mapping([key for key in _KEYS if key != "scope"], _LATER_KEYS)
    return _rule(node, {**fields, "scope": node.child("scope", scope)}, providers)


def _rule(node: Node, fields: Mapping[str, Node], providers: Collection[str]) -> BudgetRule:
    for key in ("scope", "amount", "period"):
        if key not in fields:
            raise node.fault(
                f"{key} is missing; write for example "
                "{scope: tenant:acme, amount: 100.00, period: month}"
            )
    return BudgetRule(
        scope=_scope(fields["scope"], providers),
        amount_nusd=fields["amount"].nano_usd(),
        period=cast(Period, fields["period"].choice(("day", "week", "month", "total"))),
        mode=cast(Mode, _word(fields, "mode", ("hard", "strict", "soft"))),
        unknown_price=cast(
            UnknownPrice, _word(fields, "unknown_price", ("flag", "refuse", "allow"))
        ),
        alert_at=tuple(map(_share, fields["alert_at"].items())) if "alert_at" in fields else (),
    )


def _word(fields: Mapping[str, Node], key: str, options: tuple[str, ...]) -> str:
    """Read one of `options`; the first is what absence means."""
    return fields[key].choice(options) if key in fields else options[0]


def _scope(node: Node, providers: Collection[str]) -> str:
    scope = node.text()
    kind, _, name = scope.partition(":")
    if scope == "global":
        return scope
    if kind not in _KINDS or not name:
        raise node.fault(
            f"{near(kind, _KINDS)}write global, or a kind and a name as in tenant:acme; "
            f"the kinds are {', '.join(_KINDS)}"
        )
    provider = name.partition("/")[0]
    if kind in {"provider", "deployment"} and provider not in providers:
        raise node.fault(
            f"no provider is called {provider!r}; {near(provider, providers)}"
            f"configured are {', '.join(providers)}"
        )
    return scope


def _share(node: Node) -> float:
    wanted = "a share of the amount above 0 and up to 1, for example 0.8"
    share = node.decimal(wanted)
    if not 0 < share <= 1:
        raise node.fault(f"write {wanted}")
    return float(share)
