"""The registry under any bodies in any order."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.registries import peopled
from trunkline.config.model import ROLES
from trunkline.errors import InputError
from trunkline.gateway.admin.registry import KINDS, Registry
from trunkline.storage.database import Database
from trunkline.storage.principals import (
    EVERY,
    KEYS,
    PERSONS,
    TEAMS,
    ApiKey,
    Person,
)
from trunkline.storage.snapshot import snapshot
from trunkline.storage.sqlite import SqliteDatabase

FIELDS = (
    "id", "name", "email", "basic_info", "team_id", "tenant_id", "user_id", "role", "tier",
    "models", "expires_at", "may_act_for", "required_tags", "allowance_usd", "allowance_period",
    "scope", "amount_usd", "period", "mode", "timezone", "rolling", "alert_at", "cap_output",
    "unknown_price", "when_store_down",
)  # fmt: skip
IDS = ("acme", "other", "acme-team", "other-team", "loose", "ada", "bob", "x")
LIKELY = st.sampled_from(
    (*IDS, *ROLES, "day", "month", "total", "hard", "strict", "5", "0.5", "1e400", "global", "*",
     "user:ada", "tenant:acme", "key:ci", "provider:openai", "tag:a", "UTC", "../UTC", "2027-01-01",
     "-0", "\ud800", "\0", "$HOME", "${HOME}", 0, 1, -1, 2**63, 10**400, 0.5, True, None)
)  # fmt: skip
LEAVES = LIKELY | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    LEAVES,
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=4,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=5)
LIKELY_BODIES = st.dictionaries(st.sampled_from(FIELDS), LIKELY, max_size=3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("create", "change", "remove", "rotate")),
        st.sampled_from(KINDS),
        st.sampled_from((*IDS, "last")),
        BODIES | LIKELY_BODIES | VALUES,
    ),
    max_size=9,
)
NEEDED: dict[str, dict[str, Any]] = {
    "keys": {"name": "k"},
    "budgets": {"scope": "user:ada", "amount_usd": 1, "period": "day"},
}


def take(made: Registry, step: tuple[str, str, str, Any], last: str) -> dict[str, Any]:
    """Do one step; `last` is what was made last."""
    action, kind, id, body = step
    id = last if id == "last" else id
    if action == "rotate":
        return made.rotate(id, grace_s=body)
    if action == "remove":
        return made.remove(kind, id)
    if action == "change":
        return made.change(kind, id, body)
    return made.create(kind, {**NEEDED.get(kind, {}), **body} if isinstance(body, dict) else body)


def rows(database: Database) -> list[tuple[Any, ...]]:
    """Return all that is stored."""
    tables = ("tenants", "teams", "users", "keys", "key_digests", "budgets", "meta")
    with database.session() as db:
        return [tuple(row) for table in tables for row in db.execute(f"SELECT * FROM {table}")]


def check(database: Database) -> None:
    """Every key and user belongs where the others it names belong."""
    with database.session() as db:
        teams = {team.id: team for team in TEAMS.page(db, EVERY)}
        users = {user.id: user for user in PERSONS.page(db, EVERY)}
        keys = KEYS.page(db, EVERY, where={"revoked_ns": None})
    homed: list[Person | ApiKey] = [*users.values(), *keys]
    for item in homed:
        if item.team_id is not None:
            assert teams[item.team_id].tenant_id in {None, item.tenant_id}
    for key in keys:
        if key.user_id is not None:
            user = users[key.user_id]
            assert user.team_id in {None, key.team_id}
            assert user.tenant_id in {None, key.tenant_id}
            assert user.role is None or ROLES.index(key.role) <= ROLES.index(user.role)
    for user in users.values():
        assert user.allowance_nusd is None or user.allowance_nusd >= 0
        assert (user.allowance_nusd is None) == (user.period is None)


@given(steps=STEPS)
def test_any_body_is_taken_or_refused(steps: list[tuple[str, str, str, Any]]) -> None:
    """With an error for the caller alone, and then nothing has been written."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqliteDatabase(Path(folder) / "trunkline.db")) as database,
    ):
        made = peopled(database)
        last = made.create("keys", {"name": "k", "user_id": "ada"})["id"]
        for step in steps:
            before = rows(database)
            try:
                last = take(made, step, last)["id"]
            except InputError:
                assert rows(database) == before
            check(database)
        snapshot(database)
        for kind in KINDS:
            made.page(kind)
