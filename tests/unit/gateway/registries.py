"""A registry with somebody in it, and how it refuses."""

from typing import Any

import pytest

from trunkline.errors import InputError
from trunkline.gateway.admin.registry import Registry
from trunkline.storage.database import Database
from trunkline.testing import ManualClock

SECRET = b"s" * 32
START = "2026-11-20T12:00:00.000Z"
START_NS = 1_795_176_000 * 10**9


def registry(database: Database, **more: Any) -> Registry:
    """Make a registry that stands at noon."""
    more = {"providers": ["openai"], "declared": ["ci"], **more}
    return Registry(database, SECRET, more.pop("clock", ManualClock(START_NS)), **more)


def peopled(database: Database) -> Registry:
    """Make two tenants, a team in each and one in none, a user in a team and one in nothing."""
    made = registry(database)
    for id in ("acme", "other"):
        made.create("tenants", {"id": id, "name": id.title()})
        made.create("teams", {"id": f"{id}-team", "tenant_id": id})
    made.create("teams", {"id": "loose"})
    made.create("users", {"id": "ada", "team_id": "acme-team"})
    made.create("users", {"id": "bob"})
    return made


def key(registry: Registry, **fields: Any) -> dict[str, Any]:
    """Make a key."""
    return registry.create("keys", {"name": "k", **fields})


def budget(registry: Registry, **fields: Any) -> dict[str, Any]:
    """Make a budget."""
    body = {"scope": "tenant:acme", "amount_usd": "5", "period": "month", **fields}
    return registry.create("budgets", body)


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[type, str | None]:
    """Return how a call is refused: the class, and the field that is at fault."""
    with pytest.raises(InputError) as refusal:
        call(*args, **kwargs)
    assert refusal.value.message
    return type(refusal.value), refusal.value.param
