"""Groups and aliases: names of the user's own, and the proof that they lead somewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from trunkline.config import prices
from trunkline.config.model import Group, Provider, Strategy
from trunkline.config.node import Node, near
from trunkline.errors import ConfigError
from trunkline.types import Deployment

_KEYS = ("deployments", "fallbacks", "retries", "strategy")
_LATER_KEYS = ("midstream", "hedge")
_DEPLOYMENT_KEYS = ("model", "priority", "weight", "retries", "price")
STRATEGIES: dict[str, Strategy] = {
    "priority": "priority",
    "latency": "latency",
    "latency-based-routing": "latency",
}
LATER_STRATEGIES = (
    "weighted", "least_busy", "cost", "sticky", "simple-shuffle", "least-busy",
    "usage-based-routing", "usage-based-routing-v2", "cost-based-routing",
)  # fmt: skip


class Known(Struct):
    """The providers that a group may name, and those it may name although they are disabled."""

    providers: Mapping[str, Provider]
    disabled: Collection[str]


def native(name: str, node: Node, known: Known) -> Group:
    """Take one entry of `groups:`."""
    fields = node.mapping(_KEYS, _LATER_KEYS)
    if "deployments" not in fields or not (items := fields["deployments"].items()):
        raise node.fault("write its deployments, as in {deployments: [{model: openai/gpt-4o}]}")
    retries = fields["retries"].whole(0) if "retries" in fields else None
    ranked = [_ranked(item, known, retries) for item in items]
    return Group(
        name=name,
        deployments=in_order(ranked),
        fallbacks=fields["fallbacks"].texts() if "fallbacks" in fields else (),
        retries=2 if retries is None else retries,
        strategy=read_strategy(fields["strategy"]) if "strategy" in fields else "priority",
    )


def read_strategy(node: Node) -> Strategy:
    """Return how a group chooses among its deployments."""
    return STRATEGIES[node.choice(STRATEGIES, LATER_STRATEGIES)]


def in_order(ranked: Iterable[tuple[int, Deployment | None]]) -> tuple[Deployment, ...]:
    """Sort by priority, then as listed; None stands for a deployment that is disabled."""
    return tuple(row for _, row in sorted(ranked, key=lambda pair: pair[0]) if row is not None)


def check_fallbacks(groups: Mapping[str, Group], nodes: Mapping[str, Node]) -> None:
    """Check that fallbacks name groups and never lead back; `nodes` has where each list stands."""
    for name, group in groups.items():
        for target in group.fallbacks:
            if target not in groups:
                raise ConfigError(
                    f"{nodes[name].where}: no group is called {target!r}; {near(target, groups)}"
                    f"write one of {', '.join(groups)}"
                )
    for name in groups:
        if loop := _loop(name, {key: group.fallbacks for key, group in groups.items()}):
            raise ConfigError(
                f"{nodes[name].where}: the fallbacks go round in a circle "
                f"({' -> '.join(loop)}); take one of them out"
            )


def read_aliases(node: Node) -> dict[str, str]:
    """Take `aliases:`; an alias may stand for another one, but never for itself."""
    nodes = node.entries()
    aliases = {name: child.text() for name, child in nodes.items()}
    for name, child in nodes.items():
        if loop := _loop(name, {key: (target,) for key, target in aliases.items()}):
            raise child.fault(f"the aliases go round in a circle ({' -> '.join(loop)}); break it")
    return aliases


def _ranked(item: Node, known: Known, retries: int | None) -> tuple[int, Deployment | None]:
    fields = {"model": item} if isinstance(item.value, str) else item.mapping(_DEPLOYMENT_KEYS)
    if "model" not in fields:
        raise item.fault("write its model, as in {model: openai/gpt-4o}")
    priority = fields["priority"].whole(0) if "priority" in fields else 0
    changes: dict[str, Any] = {} if retries is None else {"retries": retries}
    if "retries" in fields:
        changes["retries"] = fields["retries"].whole(0)
    if "weight" in fields:
        changes["weight"] = fields["weight"].whole(0)
    if "price" in fields:
        changes["price"] = prices.read(fields["price"])
    row = _deployment(fields["model"], known)
    return priority, None if row is None else replace(row, **changes)


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


def _loop(start: str, edges: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the way from `start` back to itself, or nothing."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for target in edges.get(way[-1], ()):
            if target == start:
                return [*way, start]
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return []
