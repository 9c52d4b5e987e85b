"""What a provider lists: models, what they cost and can do, and what they are limited to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from trunkline.config import connection, prices
from trunkline.config.node import Node
from trunkline.config.provider import Abilities, Api
from trunkline.types import Need, Price, RateLimit

ABILITIES = ("context_window", "max_output", "lacks")
_NEEDS: dict[str, Need] = {
    "tools": "tools", "images": "images", "audio": "audio", "files": "files", "schema": "schema",
    "reasoning": "reasoning",
}  # fmt: skip


class Listed(NamedTuple):
    """Models in order, and what stands beside some of them."""

    names: tuple[str, ...]
    prices: dict[str, Price]
    rates: dict[str, RateLimit]
    abilities: dict[str, Abilities]
    apis: dict[str, Api]


def read(node: Node | None, provider: str) -> Listed:
    """Read `models:` of a provider."""
    names: list[str] = []
    priced: dict[str, Price] = {}
    limited: dict[str, RateLimit] = {}
    abilities: dict[str, Abilities] = {}
    apis: dict[str, Api] = {}
    for item in node.items() if node else ():
        if isinstance(item.value, str):
            name = item.text()
        else:
            fields = item.mapping(("name", "price", "api", "rate_limits", *ABILITIES))
            if "name" not in fields:
                raise item.fault("write the model's name, or {name: ..., price: ...}")
            name = fields["name"].text()
            if "price" in fields:
                priced[name] = prices.read(fields["price"])
            if "api" in fields:
                apis[name] = api(fields["api"])
            for rate in connection.rates(
                fields.get("rate_limits"), f"deployment:{provider}/{name}"
            ):
                limited[name] = rate
            if (known := read_abilities(fields)) != Abilities():
                abilities[name] = known
        if name in names:
            raise item.fault(f"{name!r} stands twice in this list; remove one")
        names.append(name)
    return Listed(tuple(names), priced, limited, abilities, apis)


def read_abilities(fields: Mapping[str, Node]) -> Abilities:
    """Read those of `ABILITIES` that are given."""
    window, most = (fields.get(key) for key in ("context_window", "max_output"))
    return Abilities(
        lacks=read_needs(fields["lacks"]) if "lacks" in fields else frozenset(),
        context_window=window.whole(1) if window else None,
        max_output=most.whole(1) if most else None,
    )


def read_needs(node: Node) -> frozenset[Need]:
    """Read a list of things that a call may need."""
    return frozenset(_NEEDS[item.choice(_NEEDS)] for item in node.items())


def api(node: Node) -> Api:
    """Read which of OpenAI's two APIs to use."""
    name = node.text()
    if name == "chat":
        return "chat"
    if name == "responses":
        return "responses"
    raise node.fault("write chat (/chat/completions) or responses (/responses)")
