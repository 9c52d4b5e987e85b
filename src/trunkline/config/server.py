"""The gateway's own settings: where it listens, and the keys it was told of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from trunkline.config import budgets, connection
from trunkline.config.model import BudgetRule, Key, Server
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_SERVER_KEYS = ("host", "port", "hosts", "max_body_mb", "workers")
_MOST_WORKERS = 256
_KEY_KEYS = ("name", "key", "models", "budget", "rate_limits", "tier")
_SHORTEST_KEY_CHARS = 16


def read_server(node: Node | None) -> Server:
    """Take `server:`; what it does not say is as usual."""
    fields = node.mapping(_SERVER_KEYS) if node else {}
    said: dict[str, Any] = {}
    if "host" in fields:
        said["host"] = fields["host"].text()
    if "port" in fields:
        said["port"] = fields["port"].whole(0)
        if said["port"] > 65535:
            raise fields["port"].fault("write a port from 0 to 65535")
    if "hosts" in fields:
        said["hosts"] = fields["hosts"].texts()
    if "max_body_mb" in fields:
        said["max_body_mb"] = fields["max_body_mb"].whole(1)
    if "workers" in fields:
        said["workers"] = fields["workers"].whole(1)
        if said["workers"] > _MOST_WORKERS:
            raise fields["workers"].fault(f"write a number from 1 to {_MOST_WORKERS}")
    return Server(**said)


def read_keys(
    node: Node | None, providers: Collection[str]
) -> tuple[tuple[Key, ...], tuple[BudgetRule, ...]]:
    """Take `keys:`; a key's own budget becomes a rule on `key:NAME`."""
    keys: list[Key] = []
    rules: list[BudgetRule] = []
    for item in node.items() if node else ():
        fields = item.mapping(_KEY_KEYS, ("user", "team", "tenant", "expires_at", "role"))
        for wanted in ("name", "key"):
            if wanted not in fields:
                raise item.fault(f"{wanted} is missing; write {{name: ci, key: ${{CI_KEY}}}}")
        name, secret = fields["name"].text(), fields["key"].text()
        if name == "admin" or name in {key.name for key in keys}:
            raise fields["name"].fault("write a name that no other key has")
        if len(secret) < _SHORTEST_KEY_CHARS:
            raise fields["key"].fault(f"write at least {_SHORTEST_KEY_CHARS} characters")
        know([secret])
        models = fields["models"].texts() if "models" in fields else ()
        tier = fields["tier"].text() if "tier" in fields else None
        rates = connection.rates(fields.get("rate_limits"), f"key:{name}")
        keys.append(Key(name=name, secret=Secret(secret), models=models, tier=tier, rates=rates))
        if "budget" in fields:
            rules.append(budgets.of_key(fields["budget"], f"key:{name}", providers))
    return tuple(keys), tuple(rules)
