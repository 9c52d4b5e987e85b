"""The rows of what is made at run time, over both engines."""

import contextlib
import threading

import pytest
from msgspec.structs import replace

from trunkline.config.model import Allowance, MadeRule
from trunkline.storage import principals
from trunkline.storage.database import Database
from trunkline.storage.principals import (
    BUDGETS,
    EVERY,
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
    Tenant,
    renew,
)
from trunkline.storage.snapshot import Digest, snapshot
from trunkline.storage.users import User, UserTable

KEY = ApiKey(id="k", name="ci", prefix="tl-abcde", created_ns=7)
FULL = ApiKey(
    id="k2",
    name="Ü'; DROP TABLE keys; --",
    prefix="tl-fghij",
    user_id="u",
    team_id="t",
    tenant_id="acme",
    tier="gold",
    role="viewer",
    models=("m", "g"),
    may_act_for=("*",),
    required_tags=("team",),
    expires_ns=2**62,
    revoked_ns=8,
    created_ns=7,
)
BUDGET = Budget(
    id="b",
    scope="key:k",
    amount_nusd=9 * 10**18,
    period="day",
    rolling=True,
    cap_output=True,
    alert_at=(0.1, 1.0),
    created_ns=1,
)


@pytest.mark.parametrize(
    ("table", "item"),
    [
        (TENANTS, Tenant(id="acme", name="Acme", created_ns=1)),
        (TEAMS, Team(id="t", name="T", tenant_id="acme", created_ns=1)),
        (PERSONS, Person(id="u", created_ns=1)),
        (PERSONS, Person(id="u", role="admin", allowance_nusd=0, period="total", created_ns=1)),
        (KEYS, KEY),
        (KEYS, FULL),
        (BUDGETS, BUDGET),
    ],
)
def test_a_row_comes_back_as_it_was_put(database: Database, table: Table[Item], item: Item) -> None:
    """With every type of field; put again it takes the place of itself, and can be dropped."""
    with database.session(write=True) as db:
        assert table.find(db, item.id) is None
        table.put(db, replace(item, created_ns=5))
        table.put(db, item)
    with database.session(write=True) as db:
        assert table.find(db, item.id) == item
        assert table.page(db, EVERY) == [item]
        table.drop(db, item.id)
        assert table.page(db, EVERY) == []


def test_pages_follow_each_other(database: Database) -> None:
    """By age, then by id; a column may have to be something, or nothing at all."""
    teams = [Team(id=id, name="T", created_ns=at) for at, id in ((1, "b"), (2, "a"), (2, "c"))]
    with database.session(write=True) as db:
        for team in reversed(teams):
            TEAMS.put(db, team)
        TEAMS.put(db, Team(id="d", name="D", tenant_id="x", created_ns=9))
        assert TEAMS.page(db, 2) == teams[:2]
        assert [team.id for team in TEAMS.page(db, 9, (2, "a"))] == ["c", "d"]
        assert TEAMS.page(db, 9, where={"tenant_id": None}) == teams
        assert [team.id for team in TEAMS.page(db, 9, where={"tenant_id": "x"})] == ["d"]
        assert TEAMS.count(db, "name = ?", "T") == 3


def test_a_renewed_key_has_two_digests_for_a_while(database: Database) -> None:
    """All but the newest end, none later than it would have; what has ended is dropped."""
    with database.session(write=True) as db:
        KEYS.put(db, KEY)
        renew(db, "k", b"\x01", 0)
        renew(db, "k", b"\x02", 50)
        renew(db, "k", b"\x03", 90)
    (key,) = snapshot(database).keys
    assert key.digests == (Digest(b"\x01", 50), Digest(b"\x02", 90), Digest(b"\x03", None))
    with database.session(write=True) as db:
        renew(db, "k", b"\x04", 70)
        principals.drop_ended(db, "k", 50)
    (key,) = snapshot(database).keys
    assert key.digests == (Digest(b"\x02", 70), Digest(b"\x03", 70), Digest(b"\x04", None))
    with database.session(write=True) as db:
        principals.drop_digests(db, "k")
    assert snapshot(database).keys[0].digests == ()


def test_the_snapshot_has_what_workers_need(database: Database) -> None:
    """Keys that are not revoked, budgets as rules, and allowances of users who have such a key."""
    with database.session(write=True) as db:
        KEYS.put(db, replace(FULL, revoked_ns=None))
        KEYS.put(db, replace(FULL, id="gone", user_id="v"))
        BUDGETS.put(db, BUDGET)
        for id in ("u", "v"):
            PERSONS.put(db, Person(id=id, allowance_nusd=5, period="week", created_ns=1))
    found = snapshot(database)
    (key,) = found.keys
    for name in ("id", "name", "role", "user_id", "team_id", "tenant_id", "tier", "models",
                 "may_act_for", "required_tags", "expires_ns"):  # fmt: skip
        assert getattr(key, name) == getattr(FULL, name)
    allowance = Allowance(scope="user:u", amount_nusd=5, period="week")
    assert found.rules == (BUDGET.rule, allowance)
    assert type(found.budgets[0]) is MadeRule


def test_whose_allowances_are_in_it(database: Database) -> None:
    """Also those of users whose key is the configuration's."""
    with database.session(write=True) as db:
        for id in ("u", "v"):
            PERSONS.put(db, Person(id=id, allowance_nusd=5, period="week", created_ns=1))
    assert [rule.scope for rule in snapshot(database, ["v", "w"]).allowances] == ["user:v"]


def test_changes_are_counted_with_what_they_change(database: Database) -> None:
    """One that does not come to pass does not count; the snapshot says which it is of."""
    before = snapshot(database).version
    with contextlib.suppress(RuntimeError), database.session(write=True) as db:
        principals.count(db)
        raise RuntimeError
    assert snapshot(database).version == before
    for _ in range(2):
        with database.session(write=True) as db:
            principals.count(db)
    assert snapshot(database).version == before + 2


def test_the_user_service_has_the_same_users(database: Database) -> None:
    """Who has no allowance is nobody there until he enters, and keeps what is known of him."""
    table = UserTable(database)
    ada = Person(id="u", name="Ada", role="admin", tenant_id="acme", created_ns=3)
    with database.session(write=True) as db:
        PERSONS.put(db, ada)
    before = snapshot(database).version
    assert table.find("u") is None
    assert table.allow("u", 9) is None
    assert snapshot(database).version == before
    entered = table.enter(User(id="u", name="Eve", allowance_nusd=5, period="day", created_ns=8))
    assert entered == User(id="u", name="Ada", allowance_nusd=5, period="day", created_ns=3)
    assert table.enter(replace(entered, allowance_nusd=99)) == entered
    assert table.allow("u", 6) == replace(entered, allowance_nusd=6)
    with database.session() as db:
        assert PERSONS.find(db, "u") == replace(ada, allowance_nusd=6, period="day")
    assert snapshot(database).version == before + 2


def test_no_change_is_lost_between_threads(database: Database) -> None:
    """Each of many at once is counted."""
    before = snapshot(database).version

    def change() -> None:
        for _ in range(10):
            with database.session(write=True) as db:
                principals.count(db)

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert snapshot(database).version == before + 40
