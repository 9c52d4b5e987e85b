"""Budget rules: who may spend how much, and when it starts again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from trunkline.config.model import BudgetRule, Mode, Period, UnknownPrice, WhenStoreDown
from trunkline.config.node import Node, near

_KEYS = (
    "scope", "amount", "period", "timezone", "rolling", "mode", "cap_output", "unknown_price",
    "when_store_down", "alert_at",
)  # fmt: skip
_KINDS = ("key", "user", "team", "tenant", "tag", "run", "provider", "deployment")


def native(node: Node, providers: Collection[str], amount: str = "amount") -> BudgetRule:
    """Take one entry of `budgets:`; `amount` is what its amount is called there."""
    fields = node.mapping([amount if key == "amount" else key for key in _KEYS])
    return _rule(
        node, {"amount" if key == amount else key: fields[key] for key in fields}, providers
    )


def of_key(node: Node, scope: str, providers: Collection[str]) -> BudgetRule:
    """Take the budget that stands with a key; its scope is that key."""
    fields = node.mapping([key for key in _KEYS if key != "scope"])
    return _rule(node, {**fields, "scope": node.child("scope", scope)}, providers)


def _rule(node: Node, fields: Mapping[str, Node], providers: Collection[str]) -> BudgetRule:
    for key in ("scope", "amount", "period"):
        if key not in fields:
            raise node.fault(
                f"{key} is missing; write for example "
                "{scope: tenant:acme, amount: 100.00, period: month}"
            )
    period = cast(Period, fields["period"].choice(("day", "week", "month", "total")))
    rolling = "rolling" in fields and fields["rolling"].flag()
    if rolling and period == "total":
        raise fields["rolling"].fault("a total has no period; remove it, or write another period")
    mode = cast(Mode, _word(fields, "mode", ("hard", "strict", "soft")))
    cap_output = "cap_output" in fields and fields["cap_output"].flag()
    if cap_output and mode == "soft":
        raise fields["cap_output"].fault(
            "a soft budget refuses nothing; remove it, or write another mode"
        )
    return BudgetRule(
        scope=_scope(fields["scope"], providers),
        amount_nusd=fields["amount"].nano_usd(),
        period=period,
        timezone=zone(fields["timezone"]) if "timezone" in fields else "UTC",
        rolling=rolling,
        mode=mode,
        cap_output=cap_output,
        unknown_price=cast(
            UnknownPrice, _word(fields, "unknown_price", ("flag", "refuse", "allow"))
        ),
        when_store_down=cast(WhenStoreDown, _word(fields, "when_store_down", ("closed", "open"))),
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
    model = name.removeprefix(provider).removeprefix("/")
    if kind == "provider" and name != provider:
        raise node.fault(f"write provider:{provider}, or deployment:{provider}/MODEL")
    if kind == "deployment" and not model:
        raise node.fault(f"write deployment:{provider}/MODEL, or provider:{provider}")
    return scope


def zone(node: Node) -> str:
    """Read the name of a time zone that is known here; UTC always is."""
    name = node.text()
    if name == "UTC":
        return name
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, no name, a folder
        known = sorted(available_timezones())
        raise node.fault(
            f"{near(name, known)}write the name of a time zone, for example Europe/Berlin or UTC"
            if known
            else "there is no time zone data here; install tzdata, of the system or of Python, "
            "or write UTC"
        ) from None
    return name


def _share(node: Node) -> float:
    wanted = "a share of the amount above 0 and up to 1, for example 0.8"
    share = node.decimal(wanted)
    if not 0 < share <= 1:
        raise node.fault(f"write {wanted}")
    return float(share)
