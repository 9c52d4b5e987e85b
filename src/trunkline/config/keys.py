"""`keys:`: the keys that the gateway was told of, and what each lets its holder do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from trunkline.config import budgets, connection
from trunkline.config.model import ROLES, BudgetRule, Key
from trunkline.config.node import Node
from trunkline.observability.redact import know
from trunkline.types import Secret

_SHORTEST_CHARS = 16
_LONGEST_NAME = 256
"""As of a call: one with a longer name would be refused."""
_KEYS = (
    "name", "key", "user", "team", "tenant", "tier", "role", "models", "expires_at", "may_act_for",
    "required_tags", "budget", "rate_limits",
)  # fmt: skip


def read_keys(
    node: Node | None, providers: Collection[str]
) -> tuple[tuple[Key, ...], tuple[BudgetRule, ...]]:
    """Take `keys:`; a key's own budget becomes a rule on `key:NAME`."""
    keys: list[Key] = []
    rules: list[BudgetRule] = []
    for item in node.items() if node else ():
        fields = item.mapping(_KEYS)
        for wanted in ("name", "key"):
            if wanted not in fields:
                raise item.fault(f"{wanted} is missing; write {{name: ci, key: ${{CI_KEY}}}}")
        name, secret = _name(fields["name"]), fields["key"].text()
        if name == "admin" or name in {key.name for key in keys}:
            raise fields["name"].fault("write a name that no other key has")
        if len(secret) < _SHORTEST_CHARS:
            raise fields["key"].fault(f"write at least {_SHORTEST_CHARS} characters")
        know([secret])
        said = {field: read(fields[key]) for key, (field, read) in _MORE.items() if key in fields}
        rates = connection.rates(fields.get("rate_limits"), f"key:{name}")
        keys.append(Key(name=name, secret=Secret(secret), rates=rates, **said))
        if "budget" in fields:
            rules.append(budgets.of_key(fields["budget"], f"key:{name}", providers))
    return tuple(keys), tuple(rules)


def _name(node: Node) -> str:
    if len(node.text()) > _LONGEST_NAME:
        raise node.fault(f"write at most {_LONGEST_NAME} characters")
    return node.text()


def tenants(node: Node) -> tuple[str, ...]:
    """Take a list of tenants, or `*` for all of them."""
    return ("*",) if node.value == "*" else node.texts()


def tags(node: Node) -> tuple[str, ...]:
    """Take a list of tags, each of which callers can send."""
    for item in node.items():
        if "," in item.text():
            raise item.fault("write one tag, without a comma")
    return node.texts()


_MORE: dict[str, tuple[str, Callable[[Node], Any]]] = {
    "user": ("user_id", _name),
    "team": ("team_id", _name),
    "tenant": ("tenant_id", _name),
    "tier": ("tier", Node.text),
    "role": ("role", lambda node: node.choice(ROLES)),
    "models": ("models", Node.texts),
    "expires_at": ("expires_ns", Node.moment_ns),
    "may_act_for": ("may_act_for", tenants),
    "required_tags": ("required_tags", tags),
}
"""For each key the field that it fills, and what reads it."""
