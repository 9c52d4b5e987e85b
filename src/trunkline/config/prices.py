"""What a model costs where the configuration knows better: `price:` of a model or a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from trunkline.config.node import Node
from trunkline.config.provider import SERVICE_TIERS
from trunkline.types import Price

_TOKENS = {
    "input": "input_nusd",
    "output": "output_nusd",
    "cache_read": "cache_read_nusd",
    "cache_write": "cache_write_nusd",
    "cache_write_1h": "cache_write_1h_nusd",
    "audio_input": "audio_input_nusd",
    "audio_output": "audio_output_nusd",
}
"""US dollars per million tokens."""
_FEES = {"request": "request_nusd", "web_search": "web_search_nusd"}
"""US dollars for each one."""
_RATES = (*_TOKENS, *_FEES)
_EACH = 1_000_000


def read(node: Node) -> Price:
    """Take a `price:`; what its parts do not say of fees is as in the whole."""
    fields = node.mapping((*_RATES, "above", *SERVICE_TIERS))
    price = _price(node, fields, {})
    fees = {name: getattr(price, name) for name in _FEES.values()}
    service_tiers = tuple(
        (name, _price(fields[name], fields[name].mapping((*_RATES, "above")), fees))
        for name in SERVICE_TIERS
        if name in fields
    )
    return replace(price, service_tiers=service_tiers)


def _price(node: Node, fields: Mapping[str, Node], fees: Mapping[str, Any]) -> Price:
    if not {"input", "output"} <= fields.keys():
        raise node.fault(
            "write US dollars per million tokens for both, as in {input: 0.15, output: 0.60}"
        )
    tokens = {name: fields[key].nano_usd() for key, name in _TOKENS.items() if key in fields}
    own = {name: fields[key].nano_usd() * _EACH for key, name in _FEES.items() if key in fields}
    said = {"snapshot": "configuration", "configured": True, **fees, **own, **tokens}
    price = msgspec.convert(said, Price)
    return (
        replace(price, tiers=_above(fields["above"], {**fees, **own}))
        if "above" in fields
        else price
    )


def _above(node: Node, fees: Mapping[str, Any]) -> tuple[tuple[int, Price], ...]:
    """Take the prices of long prompts, by the number of tokens above which they hold."""
    tiers: list[tuple[int, Price]] = []
    for item in node.items():
        fields = item.mapping(("tokens", *_RATES))
        if "tokens" not in fields:
            raise item.fault(
                "write above how many prompt tokens it holds, "
                "as in {tokens: 200000, input: 2.50, output: 15}"
            )
        threshold = fields["tokens"].whole(1)
        if tiers and threshold <= tiers[-1][0]:
            raise fields["tokens"].fault(f"write more than the {tiers[-1][0]} before it")
        tiers.append((threshold, _price(item, fields, fees)))
    return tuple(tiers)
