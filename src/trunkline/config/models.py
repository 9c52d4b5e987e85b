"""What a provider lists: models, and what they cost where the configuration knows better."""

from __future__ import annotations

import msgspec

from trunkline.config.node import Node
from trunkline.types import Price

_PRICES = {
    "input": "input_nusd",
    "output": "output_nusd",
    "cache_read": "cache_read_nusd",
    "cache_write": "cache_write_nusd",
    "cache_write_1h": "cache_write_1h_nusd",
    "audio_input": "audio_input_nusd",
    "audio_output": "audio_output_nusd",
}


def read(node: Node | None) -> tuple[tuple[str, ...], dict[str, Price]]:
    """Read `models:`: the names in order, and the prices that stand beside them."""
    names: list[str] = []
    prices: dict[str, Price] = {}
    for item in node.items() if node else ():
        if isinstance(item.value, str):
            name = item.text()
        else:
            fields = item.mapping(("name", "price"))
            if "name" not in fields:
                raise item.fault("write the model's name, or {name: ..., price: ...}")
            name = fields["name"].text()
            if "price" in fields:
                prices[name] = _price(fields["price"])
        if name in names:
            raise item.fault(f"{name!r} stands twice in this list; remove one")
        names.append(name)
    return tuple(names), prices


def _price(node: Node) -> Price:
    fields = node.mapping(_PRICES)
    if not {"input", "output"} <= fields.keys():
        raise node.fault(
            "write US dollars per million tokens for both, as in {input: 0.15, output: 0.60}"
        )
    amounts = {_PRICES[key]: field.nano_usd() for key, field in fields.items()}
    return msgspec.convert({"snapshot": "configuration", "configured": True, **amounts}, Price)
