"""The registry: what it makes, what it refuses, and how it lists."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.unit.gateway.registries import (
    SECRET,
    START,
    START_NS,
    budget,
    key,
    peopled,
    refused,
    registry,
)
from trunkline.errors import Conflict, InputError, NotFound, RecordError
from trunkline.gateway.admin.registry import KINDS
from trunkline.gateway.keys import digester
from trunkline.storage.database import Database
from trunkline.storage.snapshot import snapshot
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.testing import ManualClock


def test_tenants_teams_and_users(database: Database) -> None:
    """They come back as they were made; who has no id is given one, who has no name is his id."""
    made = registry(database)
    tenant = made.create("tenants", {"name": "Acme"})
    id = tenant.pop("id")
    assert id.startswith("ten_")
    assert tenant == {"object": "tenant", "name": "Acme", "created_at": START}
    team = made.create("teams", {"id": "t", "tenant_id": id})
    assert team == {
        "id": "t", "object": "team", "name": "t", "tenant_id": id, "created_at": START,
    }  # fmt: skip
    user = made.create("users", {"basic_info": {"name": "Ada", "email": "a@b"}, "team_id": "t"})
    assert user["id"].startswith("usr_")
    assert user == {
        "id": user["id"],
        "object": "user",
        "name": "Ada",
        "email": "a@b",
        "basic_info": {"name": "Ada", "email": "a@b"},
        "role": None,
        "team_id": "t",
        "tenant_id": id,
        "allowance_usd": None,
        "allowance_nusd": None,
        "allowance_period": None,
        "allowance_timezone": "UTC",
        "allowance_rolling": False,
        "created_at": START,
    }
    assert made.find("users", user["id"]) == user
    assert made.page("teams")["data"] == [team]


def test_a_key_is_shown_once(database: Database) -> None:
    """The answer that made it has it, no other answer and no row has more than its beginning."""
    made = peopled(database)
    fields = {
        "user_id": "ada",
        "tier": "gold",
        "models": ["fast"],
        "expires_at": "2026-11-21T12:00:00+01:00",
        "may_act_for": ["other"],
        "required_tags": ["team"],
        "rate_limits": {"requests_per_minute": 5, "tokens_per_minute": None},
    }
    shown = key(made, **fields)
    secret = shown.pop("key")
    assert secret.startswith("tl-")
    assert len(secret) >= 3 + 32  # 24 random bytes
    assert shown == {
        **fields,
        "id": shown["id"],
        "object": "key",
        "name": "k",
        "prefix": secret[:8],
        "team_id": "acme-team",
        "tenant_id": "acme",
        "role": "member",
        "expires_at": "2026-11-21T11:00:00.000Z",
        "revoked_at": None,
        "created_at": START,
    }
    assert made.find("keys", shown["id"]) == shown
    (stored,) = snapshot(database).keys
    assert [tuple(each) for each in stored.digests] == [(digester(SECRET)(secret), None)]
    with database.session() as db:
        for table in ("keys", "key_digests"):
            for row in db.execute(f"SELECT * FROM {table}"):
                assert secret not in " ".join(map(str, row))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (1_795_200_000, "2026-11-20T18:40:00.000Z"),
        (1_795_200_000.5, "2026-11-20T18:40:00.500Z"),
        ("1795200000", None),
        ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        ("2026-11-20T13:00:00-02:00", "2026-11-20T15:00:00.000Z"),
        ("2026-11-20T12:00:00Z", None),
        ("2300-01-01T00:00:00Z", None),
        (10**12, None),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        ([], None),
        (float("nan"), None),
    ],
)
def test_when_a_key_expires(sqlite: Database, given: Any, said: str | None) -> None:
    """ISO 8601 or seconds, by UTC where no zone is named, and not in the past."""
    made = registry(sqlite)
    if said is None:
        assert refused(key, made, expires_at=given) == (InputError, "expires_at")
    else:
        assert key(made, expires_at=given)["expires_at"] == said


def test_a_revoked_key_is_good_for_nothing(database: Database) -> None:
    """Workers do not get it any more, nothing brings it back; its row says when it was."""
    clock = ManualClock(START_NS)
    made = registry(database, clock=clock)
    id = key(made)["id"]
    before = snapshot(database).version
    clock.advance(1.0)
    assert made.remove("keys", id) == {"id": id, "object": "key", "deleted": True}
    assert snapshot(database).version > before
    assert snapshot(database).keys == ()
    clock.advance(1.0)
    made.remove("keys", id)
    assert made.find("keys", id)["revoked_at"] == "2026-11-20T12:00:01.000Z"
    assert refused(made.change, "keys", id, {"name": "x"}) == (Conflict, None)
    assert refused(made.rotate, id) == (Conflict, None)
    assert refused(budget, made, scope=f"key:{id}") == (InputError, "scope")


def test_a_rotated_key_works_on_for_its_grace(database: Database) -> None:
    """And not longer than the last rotation allows; without grace only the new one works."""
    made = registry(database)
    digest = digester(SECRET)
    first = key(made)
    second = made.rotate(first["id"], grace_s=60)
    assert second == {**first, "key": second["key"], "prefix": second["key"][:8]}
    (stored,) = snapshot(database).keys
    assert {each.digest: each.ends_ns for each in stored.digests} == {
        digest(first["key"]): START_NS + 60 * 10**9,
        digest(second["key"]): None,
    }
    third = made.rotate(first["id"])
    (stored,) = snapshot(database).keys
    assert [tuple(each) for each in stored.digests] == [(digest(third["key"]), None)]
    for grace_s in (-1, 30 * 86400 + 1, True, "60", 1.5, None):
        assert refused(made.rotate, first["id"], grace_s=grace_s) == (InputError, "grace_s")


def test_a_change_changes_what_is_given(database: Database) -> None:
    """All else stays; null takes a value away, which a name cannot be without."""
    made = peopled(database)
    before = key(made, tier="gold", models=["a"], role="viewer", expires_at=START_NS // 10**9 + 9)
    id, _ = before["id"], before.pop("key")
    after = made.change("keys", id, {"name": "n", "models": ["b", "c"]})
    assert after == {**before, "name": "n", "models": ["b", "c"]}
    cleared: dict[str, Any] = {"models": [], "role": "member", "tier": None, "expires_at": None}
    assert made.change("keys", id, dict.fromkeys(cleared)) == {**after, **cleared}
    assert made.change("keys", id, {}) == made.find("keys", id)
    assert refused(made.change, "keys", id, {"name": None}) == (InputError, "name")
    assert refused(made.change, "users", "ada", {"id": "eve"}) == (InputError, "id")
    renamed = made.change("users", "ada", {"basic_info": {"name": "Ada"}})
    assert (renamed["name"], renamed["team_id"]) == ("Ada", "acme-team")


def test_who_is_not_there_is_not_found(database: Database) -> None:
    """Whatever the kind, also one that there is not, and an id that none can be."""
    made = registry(database)
    for kind in (*KINDS, "spoons"):
        for id in ("nobody", "", "\udcff", "x" * 999):
            for call in (made.find, made.remove):
                assert refused(call, kind, id) == (NotFound, None)
            assert refused(made.change, kind, id, {}) == (NotFound, None)
    assert refused(made.rotate, "nobody") == (NotFound, None)
    assert refused(made.create, "spoons", {}) == (NotFound, None)


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        ("tenants", {}, "id"),
        ("tenants", {"name": ""}, "name"),
        ("tenants", {"name": "a\nb"}, "name"),
        ("tenants", {"name": "\ud800"}, "name"),
        ("tenants", {"name": "x" * 257}, "name"),
        ("tenants", {"id": "a b"}, "id"),
        ("tenants", {"id": "x" * 129}, "id"),
        ("tenants", {"id": ""}, "id"),
        ("tenants", {"id": 3}, "id"),
        ("tenants", {"id": "t", "tenant_id": "acme"}, "tenant_id"),
        ("tenants", [], None),
        ("tenants", None, None),
        ("teams", {"id": "t", "tenant_id": "nobody"}, "tenant_id"),
        ("users", {"team_id": "nobody"}, "team_id"),
        ("users", {"role": "king"}, "role"),
        ("users", {"basic_info": {"nam": "x"}}, "basic_info.nam"),
        ("users", {"basic_info": "Ada"}, "basic_info"),
        ("users", {"basic_info": {"name": "Ada"}, "name": "Eve"}, "name"),
        ("users", {"allowance_usd": -0.01}, "allowance_usd"),
        ("users", {"allowance_usd": "nan"}, "allowance_usd"),
        ("users", {"allowance_usd": 10**10}, "allowance_usd"),
        ("users", {"allowance_usd": "0.0000000001"}, "allowance_usd"),
        ("users", {"allowance_period": "day"}, "allowance_period"),
        ("users", {"allowance_usd": 1, "allowance_period": "year"}, "allowance_period"),
        ("keys", {}, "name"),
        ("keys", {"name": "k", "id": "key_x"}, "id"),
        ("keys", {"name": "k", "user_id": "nobody"}, "user_id"),
        ("keys", {"name": "k", "models": "fast"}, "models"),
        ("keys", {"name": "k", "models": ["a", "a"]}, "models[1]"),
        ("keys", {"name": "k", "models": [""]}, "models[0]"),
        ("keys", {"name": "k", "models": [str(n) for n in range(1001)]}, "models"),
        ("keys", {"name": "k", "may_act_for": ["nobody"]}, "may_act_for"),
        ("keys", {"name": "k", "required_tags": ["a,b"]}, "required_tags[0]"),
        ("keys", {"name": "k", "tier": "two words"}, "tier"),
        ("budgets", {"scope": "global", "period": "day"}, "amount_usd"),
        ("budgets", {"amount_usd": 1, "period": "day"}, "scope"),
        ("budgets", {"scope": "global", "amount_usd": 1}, "period"),
    ],
)
def test_bad_bodies_are_refused(sqlite: Database, kind: str, body: Any, param: str) -> None:
    """By the name of the field; nothing is made."""
    made = registry(sqlite)
    before = snapshot(sqlite).version
    assert refused(made.create, kind, body) == (InputError, param)
    assert made.page(kind)["data"] == []
    assert snapshot(sqlite).version == before


def test_near_names_are_named(sqlite: Database) -> None:
    """A field that is misspelt says which one was meant."""
    with pytest.raises(InputError, match=r"tenant: unknown key; did you mean 'tenant_id'"):
        key(registry(sqlite), tenant="acme")


def test_no_id_is_taken_twice(database: Database) -> None:
    """Nor does the second one change the first; another kind may have the same."""
    made = registry(database)
    for kind in ("tenants", "teams", "users"):
        first = made.create(kind, {"id": "x", "name": "first"})
        assert refused(made.create, kind, {"id": "x", "name": "second"}) == (Conflict, "id")
        assert made.find(kind, "x") == first


def test_pages_are_stable_while_rows_come(database: Database) -> None:
    """Each that was there comes once, in the order in which they were made; new ones at the end."""
    clock = ManualClock(START_NS)
    made = registry(database, clock=clock)
    names = [f"n{n}" for n in range(7)]
    for name in names:
        made.create("teams", {"id": name})
        clock.advance(0.001)
    seen: list[str] = []
    cursor = None
    for turn in range(9):
        answer = made.page("teams", limit=3, cursor=cursor)
        seen += [team["id"] for team in answer["data"]]
        assert answer["has_more"] == (answer["next_cursor"] is not None)
        if not answer["has_more"]:
            break
        cursor = answer["next_cursor"]
        made.create("teams", {"id": f"a{turn}"})
        made.remove("teams", f"n{turn}")  # it was on a page already
    assert seen[:7] == names
    assert set(seen) >= {"a0", "a1"}
    assert len(set(seen)) == len(seen)


def test_what_a_page_may_be_asked(sqlite: Database) -> None:
    """Filters are known by name; a cursor is one that we made; a page has 1 to 1000."""
    made = peopled(sqlite)
    first = key(made, user_id="ada")["id"]
    key(made, user_id="bob")
    found = made.page("keys", where={"user_id": "ada"})
    assert [each["id"] for each in found["data"]] == [first]
    assert refused(made.page, "keys", where={"secret": "x"}) == (InputError, "secret")
    assert made.page("keys", where={"user_id": "\udcff"})["data"] == []
    for cursor in ("", "x", "%%", "ü", "\udcff", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTo="):
        assert refused(made.page, "keys", cursor=cursor) == (InputError, "cursor")
    for limit in (0, -1, 1001):
        assert refused(made.page, "keys", limit=limit) == (InputError, "limit")


def test_every_change_is_counted(database: Database) -> None:
    """And nothing else is: neither looking nor what was refused."""
    made = peopled(database)
    versions = [snapshot(database).version]
    id = key(made)["id"]
    changes: list[Callable[[], object]] = [
        lambda: made.rotate(id),
        lambda: made.change("keys", id, {"name": "n"}),
        lambda: made.remove("keys", id),
        lambda: made.remove("teams", "loose"),
    ]
    for change in changes:
        versions.append(snapshot(database).version)
        change()
    versions.append(snapshot(database).version)
    assert sorted(set(versions)) == versions
    made.find("keys", id)
    made.page("keys")
    refused(made.remove, "tenants", "acme")
    assert snapshot(database).version == versions[-1]


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """The error says so, whoever asks."""
    (tmp_path / "trunkline.db").write_text("no database" * 999)
    with closing(SqliteDatabase(tmp_path / "trunkline.db")) as broken:
        made = registry(broken)
        calls: list[Callable[[], object]] = [lambda: key(made), lambda: made.page("keys")]
        for call in calls:
            with pytest.raises(RecordError):
                call()


def test_answers_are_json(sqlite: Database) -> None:
    """Whatever is answered can be written as JSON."""
    made = peopled(sqlite)
    key(made, may_act_for="*")
    budget(made)
    for kind in KINDS:
        assert json.loads(json.dumps(made.page(kind))) == made.page(kind)
