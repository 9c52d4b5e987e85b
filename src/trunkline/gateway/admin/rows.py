"""Rows as bodies ask for them: new ones, and those that are there with some fields changed."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import asdict, replace

from trunkline.clock import Clock
from trunkline.errors import InputError
from trunkline.gateway.admin import checks, rules
from trunkline.gateway.admin.checks import Body
from trunkline.storage.database import Session
from trunkline.storage.principals import (
    BUDGETS,
    KEYS,
    PERSONS,
    TEAMS,
    TENANTS,
    ApiKey,
    Budget,
    Item,
    Person,
    Table,
    Team,
)

_PREFIXES = {
    "tenants": "ten_",
    "teams": "team_",
    "users": "usr_",
    "keys": "key_",
    "budgets": "bud_",
}
_WINDOW = ("period", "timezone", "rolling")
"""When an allowance starts again."""


class Rows:
    """Makes rows; nothing is written here. Every method raises `InputError` or `Conflict`."""

    def __init__(self, clock: Clock, providers: Collection[str], declared: Collection[str]) -> None:
        """`declared` are the names of the configuration's keys."""
        self._clock = clock
        self._providers = providers
        self._declared = declared

    def new(self, db: Session, table: Table[Any], body: Body) -> Item:
        """Return a row that a body asks for; a key has no prefix until it has a secret."""
        row: dict[str, Any] = {
            "id": _PREFIXES[table.name] + secrets.token_hex(10),
            "created_ns": self._clock.now_ns(),
        }
        if table is BUDGETS:
            return self._budget(db, body, None, row)
        said = checks.values(table.kind, body, new=True)
        if table is KEYS:
            checks.needed(body, "name")
            row["prefix"] = ""
        elif table is not PERSONS and "name" not in said:
            checks.needed(body, "id")
            row["name"] = said["id"]
        return self._fitting(db, table.kind(**(row | said)), said)

    def changed(self, db: Session, old: Item, body: Body) -> Item:
        """Return a row with what a body gives."""
        if isinstance(old, Budget):
            row = {"id": old.id, "created_ns": old.created_ns}
            return self._budget(db, body, old, row)
        if isinstance(old, ApiKey):
            rules.live(old)
        said = checks.values(type(old), body, new=False)
        if isinstance(old, Team) and said.get("tenant_id", old.tenant_id) != old.tenant_id:
            rules.check_unnamed(db, TEAMS, old.id)  # they pay for the tenant as well
        return self._fitting(db, replace(old, **said), said)

    def _budget(
        self, db: Session, body: Body, old: Budget | None, row: Mapping[str, Any]
    ) -> Budget:
        """Return a budget whose scope exists, and which is the only one of its kind."""
        rule = checks.rule(body, old, self._providers)
        if old is None or rule.scope != old.scope:
            rules.check_scope(db, rule.scope, self._declared)
        rules.check_twin(db, rule, row["id"])
        return Budget(**row, **asdict(rule))

    def _fitting(self, db: Session, item: Item, said: Mapping[str, Any]) -> Item:
        """Return a row with what follows from others; `said` is what its caller gave."""
        ends_ns = said.get("expires_ns")
        if ends_ns is not None and ends_ns <= self._clock.now_ns():
            raise InputError("expires_at: is over already; write a later time", param="expires_at")
        if isinstance(item, Team) and item.tenant_id is not None:
            rules.existing(db, TENANTS, item.tenant_id, "tenant_id")
        if isinstance(item, Person):
            item = _allowed(db, item, said)
        if isinstance(item, Person | ApiKey):
            item = rules.placed(db, item, {name for name in said if said[name] is not None})
        return item


def _allowed(db: Session, user: Person, said: Mapping[str, Any]) -> Person:
    """Return a user whose allowance has a period, and is the only budget of its kind."""
    if user.allowance_nusd is None:
        for name in _WINDOW:
            if said.get(name):
                raise InputError(
                    f"allowance_{name}: there is no allowance; write allowance_usd as well",
                    param=f"allowance_{name}",
                )
        return replace(user, period=None, timezone="UTC", rolling=False)
    user = replace(user, period=user.period or "month")
    if user.rolling and user.period == "total":
        raise InputError(
            "allowance_rolling: a total has no period; remove it, or write another period",
            param="allowance_rolling",
        )
    if user.rolling or user.period == "total":
        user = replace(user, timezone="UTC")  # it says nothing there
    if user.allowance is not None and {"allowance_nusd", *_WINDOW} & set(said):
        rules.check_twin(db, user.allowance, user.id)
    return user
