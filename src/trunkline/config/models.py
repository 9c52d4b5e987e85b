"""What a provider lists: models, and what of them the configuration knows better."""

from __future__ import annotations

from msgspec import Struct

from trunkline.config import prices
from trunkline.config.model import Api
from trunkline.config.node import Node
from trunkline.types import Price


class Listed(Struct):
    """What `models:` says: the names in order, and what stands beside them."""

    names: list[str] = []
    prices: dict[str, Price] = {}
    apis: dict[str, Api] = {}


def read(node: Node | None) -> Listed:
    """Read `models:`."""
    listed = Listed()
    for item in node.items() if node else ():
        if isinstance(item.value, str):
            name = item.text()
        else:
            fields = item.mapping(("name", "price", "api"))
            if "name" not in fields:
                raise item.fault("write the model's name, or {name: ..., price: ...}")
            name = fields["name"].text()
            if "price" in fields:
                listed.prices[name] = prices.read(fields["price"])
            if "api" in fields:
                listed.apis[name] = api(fields["api"])
        if name in listed.names:
            raise item.fault(f"{name!r} stands twice in this list; remove one")
        listed.names.append(name)
    return listed


def api(node: Node) -> Api:
    """Read which of OpenAI's two APIs to use."""
    name = node.text()
    if name == "chat":
        return "chat"
    if name == "responses":
        return "responses"
    raise node.fault("write chat (/chat/completions) or responses (/responses)")
