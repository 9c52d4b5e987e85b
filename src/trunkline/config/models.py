"""What a provider lists: models, and what they cost where the configuration knows better."""

from __future__ import annotations

from trunkline.config import prices
from trunkline.config.node import Node
from trunkline.types import Price


def read(node: Node | None) -> tuple[tuple[str, ...], dict[str, Price]]:
    """Read `models:`: the names in order, and the prices that stand beside them."""
    names: list[str] = []
    priced: dict[str, Price] = {}
    for item in node.items() if node else ():
        if isinstance(item.value, str):
            name = item.text()
        else:
            fields = item.mapping(("name", "price"))
            if "name" not in fields:
                raise item.fault("write the model's name, or {name: ..., price: ...}")
            name = fields["name"].text()
            if "price" in fields:
                priced[name] = prices.read(fields["price"])
        if name in names:
            raise item.fault(f"{name!r} stands twice in this list; remove one")
        names.append(name)
    return tuple(names), priced
