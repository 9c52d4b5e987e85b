"""Groups and aliases: names of the user's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trunkline.config import connection, fallbacks, prices
from trunkline.config.model import Group, Hedge, Strategy
from trunkline.config.models import ABILITIES, read_abilities, read_needs
from trunkline.config.node import Node, near
from trunkline.config.provider import Provider
from trunkline.types import Deployment

_KEYS = (
    *("deployments", "retries", "strategy", "promises", "midstream", "hedge"),
    *fallbacks.KINDS,
)
_DEPLOYMENT_KEYS = ("model", "priority", "weight", "retries", "price", "rate_limits", *ABILITIES)
STRATEGIES: dict[str, Strategy] = {
    "priority": "priority",
    "latency": "latency",
    "weighted": "weighted",
    "least_busy": "least_busy",
    "cost": "cost",
    "sticky": "sticky",
    "latency-based-routing": "latency",
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "usage-based-routing": "least_busy",
    "usage-based-routing-v2": "least_busy",
    "cost-based-routing": "cost",
}
"""Ours, then LiteLLM's. Source: https://docs.litellm.ai/docs/routing (2026-11-20)"""

Ranked = tuple[int, Deployment | None]
"""A priority and a deployment, None for one that is disabled."""


class Known(Struct):
    """The providers that a group may name, and those it may name although they are disabled."""

    providers: Mapping[str, Provider]
    disabled: Collection[str]


def native(name: str, node: Node, known: Known) -> Group:
    """Take one entry of `groups:`."""
    fields = node.mapping(_KEYS)
    if "deployments" not in fields or not (items := fields["deployments"].items()):
        raise node.fault("write its deployments, as in {deployments: [{model: openai/gpt-4o}]}")
    retries = fields["retries"].whole(0) if "retries" in fields else None
    rows, tiers = in_order(_ranked(item, known, name, retries) for item in items)
    more: dict[str, Any] = {k: fields[k].texts() for k in fallbacks.KINDS if k in fields}
    if "midstream" in fields:
        more["midstream"] = fields["midstream"].choice(("error", "continue"))
    if "hedge" in fields:
        more["hedge"] = read_hedge(fields["hedge"])
    return Group(
        name=name,
        deployments=rows,
        tiers=tiers,
        retries=2 if retries is None else retries,
        strategy=read_strategy(fields["strategy"]) if "strategy" in fields else "priority",
        promises=read_needs(fields["promises"]) if "promises" in fields else frozenset(),
        **more,
    )


def read_strategy(node: Node) -> Strategy:
    """Return how a group chooses among its deployments."""
    return STRATEGIES[node.choice(STRATEGIES)]


def read_hedge(node: Node) -> Hedge:
    """Return when a second deployment is asked as well."""
    fields = node.mapping(("after", "max_share"))
    if "after" not in fields:
        raise node.fault("write when, as in {after: p95} or {after: 2.5}")
    after, share = fields["after"], 0.05
    if "max_share" in fields:
        wanted = "a share above 0 and at most 1, for example 0.05"
        share = float(fields["max_share"].decimal(wanted))
        if not 0 < share <= 1:
            raise fields["max_share"].fault(f"write {wanted}")
    if after.value == "p95":
        return Hedge(max_share=share)
    wanted = "p95, or a number of seconds above 0"
    if (seconds := float(after.decimal(wanted))) <= 0:
        raise after.fault(f"write {wanted}")
    return Hedge(after=seconds, max_share=share)


def read_weight(node: Node) -> float:
    """Return a share, 0 or more."""
    wanted = "a number, 0 or more, for example 1 or 2.5"
    weight = node.decimal(wanted)
    if weight < 0:
        raise node.fault(f"write {wanted}")
    return float(weight)


def in_order(ranked: Iterable[Ranked]) -> tuple[tuple[Deployment, ...], tuple[int, ...]]:
    """Sort by priority, then as listed; return the deployments that are there, and theirs."""
    there = [(priority, row) for priority, row in ranked if row is not None]
    there.sort(key=lambda pair: pair[0])
    return tuple(row for _, row in there), tuple(priority for priority, _ in there)


def read_aliases(node: Node, others: Mapping[str, str] | None = None) -> dict[str, str]:
    """Take `aliases:` beside `others`; one may stand for another one, but never for itself."""
    nodes = node.entries()
    aliases = {**(others or {}), **{name: child.text() for name, child in nodes.items()}}
    for name, child in nodes.items():
        if loop := fallbacks.loop(name, {key: (target,) for key, target in aliases.items()}):
            raise child.fault(f"the aliases go round in a circle ({' -> '.join(loop)}); break it")
    return aliases


def _ranked(item: Node, known: Known, group: str, retries: int | None) -> Ranked:
    fields = {"model": item} if isinstance(item.value, str) else item.mapping(_DEPLOYMENT_KEYS)
    if "model" not in fields:
        raise item.fault("write its model, as in {model: openai/gpt-4o}")
    priority = fields["priority"].whole(0) if "priority" in fields else 0
    changes: dict[str, Any] = {} if retries is None else {"retries": retries}
    if "retries" in fields:
        changes["retries"] = fields["retries"].whole(0)
    if "weight" in fields:
        changes["weight"] = read_weight(fields["weight"])
    if "price" in fields:
        changes["price"] = prices.read(fields["price"])
    abilities = read_abilities(fields)
    row = _deployment(fields["model"], known)
    if row is None:
        return priority, None
    limits = connection.rates(fields.get("rate_limits"), f"deployment:{row.name}@{group}")
    return priority, abilities.of(replace(row, rates=row.rates + limits, **changes))


def _deployment(node: Node, known: Known) -> Deployment | None:
    provider, slash, model = node.text().partition("/")
    if provider in known.providers and model:
        return known.providers[provider].deployment(model)
    if provider in known.disabled and model:
        return None
    names = [*known.providers, *known.disabled]
    raise node.fault(
        f"{near(provider, names) if slash else ''}write provider/model with a provider that is "
        f"configured: {', '.join(names)}"
    )
