"""Limits of callers: who may ask for how many requests and tokens per minute."""

from __future__ import annotations

from trunkline.config.connection import RATES
from trunkline.config.node import Node, near
from trunkline.types import RateLimit

_KINDS = ("key", "tier", "user", "team", "tenant")


def read(node: Node | None) -> tuple[RateLimit, ...]:
    """Take `rate_limits:`, a list."""
    found: dict[str, RateLimit] = {}
    for item in node.items() if node else ():
        fields = item.mapping(("scope", *RATES))
        if "scope" not in fields or len(fields) == 1:
            raise item.fault(
                "write whom it limits and to what, for example "
                "{scope: user:*, requests_per_minute: 60, tokens_per_minute: 40000}"
            )
        scope = _scope(fields.pop("scope"))
        if scope in found:
            raise item.fault(f"{scope} stands twice in this list; remove one")
        said = {key: field.whole(1) for key, field in fields.items()}
        found[scope] = RateLimit(scope=scope, **said)
    return tuple(found.values())


def _scope(node: Node) -> str:
    scope = node.text()
    kind, _, name = scope.partition(":")
    if kind in {"provider", "deployment"}:
        raise node.fault(
            "write it where the provider, its model or the group's deployment stands, as "
            "rate_limits: {requests_per_minute: 60}"
        )
    if scope != "global" and (kind not in _KINDS or not name):
        raise node.fault(
            f"{near(kind, _KINDS)}write global, or a kind and a name as in tenant:acme, or a kind "
            f"and * for each, as in user:*; the kinds are {', '.join(_KINDS)}"
        )
    if scope == "tier:*":
        raise node.fault("write the name of a tier, or key:* for each key")
    return scope
