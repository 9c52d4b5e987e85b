"""Who belongs where in the registry, and who cannot be taken away."""

import pytest

from tests.unit.gateway.registries import budget, key, peopled, refused
from trunkline.errors import Conflict, InputError
from trunkline.storage.database import Database
from trunkline.storage.snapshot import snapshot


@pytest.mark.parametrize(
    ("given", "team_id", "tenant_id"),
    [
        ({}, None, None),
        ({"user_id": "ada"}, "acme-team", "acme"),
        ({"user_id": "ada", "tenant_id": "acme"}, "acme-team", "acme"),
        ({"user_id": "bob", "team_id": "other-team"}, "other-team", "other"),
        ({"team_id": "acme-team"}, "acme-team", "acme"),
        ({"team_id": "loose", "tenant_id": "acme"}, "loose", "acme"),
        ({"tenant_id": "other"}, None, "other"),
    ],
)
def test_a_key_pays_for_its_users_home(
    sqlite: Database, given: dict[str, str], team_id: str, tenant_id: str
) -> None:
    """What is left out follows from the rest."""
    made = key(peopled(sqlite), **given)
    assert (made["team_id"], made["tenant_id"]) == (team_id, tenant_id)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"user_id": "ada", "tenant_id": "other"}, "tenant_id"),
        ({"user_id": "ada", "team_id": "other-team"}, "team_id"),
        ({"user_id": "ada", "team_id": "loose"}, "team_id"),
        ({"team_id": "acme-team", "tenant_id": "other"}, "tenant_id"),
        ({"user_id": "bob", "team_id": "acme-team", "tenant_id": "other"}, "tenant_id"),
    ],
)
def test_a_key_of_two_homes_is_refused(sqlite: Database, given: dict[str, str], param: str) -> None:
    """Its team and tenant are those of its user, and its tenant is that of its team."""
    made = peopled(sqlite)
    assert refused(key, made, **given) == (InputError, param)
    plain = key(made)
    assert refused(made.change, "keys", plain["id"], given) == (InputError, param)


def test_a_user_takes_the_keys_along(database: Database) -> None:
    """To another team and tenant; a key with a home of its own is in the way of that."""
    made = peopled(database)
    mine, own = key(made, user_id="ada")["id"], key(made, user_id="bob", team_id="acme-team")["id"]
    made.change("users", "ada", {"team_id": "other-team"})
    moved = made.find("keys", mine)
    assert (moved["team_id"], moved["tenant_id"]) == ("other-team", "other")
    made.change("users", "ada", {"team_id": None})
    assert made.find("users", "ada")["tenant_id"] == "other"
    assert made.find("keys", mine)["team_id"] is None
    assert refused(made.change, "users", "bob", {"team_id": "other-team"})[0] is Conflict
    assert made.find("users", "bob")["team_id"] is None
    made.change("users", "bob", {"team_id": "acme-team"})
    assert made.find("keys", own)["tenant_id"] == "acme"


def test_no_key_may_do_more_than_its_user(database: Database) -> None:
    """A role that is asked for is refused, one that is there becomes smaller."""
    made = peopled(database)
    id = key(made, user_id="ada", role="admin")["id"]
    made.change("users", "ada", {"role": "viewer"})
    assert made.find("keys", id)["role"] == "viewer"
    assert snapshot(database).keys[0].role == "viewer"
    assert refused(key, made, user_id="ada", role="member") == (InputError, "role")
    assert refused(made.change, "keys", id, {"role": "admin"}) == (InputError, "role")
    assert key(made, user_id="ada")["role"] == "viewer"


def test_nothing_goes_on_which_others_depend(database: Database) -> None:
    """Users with keys, teams with users, tenants with any of them, whatever has a budget."""
    made = peopled(database)
    mine = key(made, user_id="ada")["id"]
    acting = key(made, may_act_for=["other"])["id"]
    team_budget = budget(made, scope="team:acme-team")["id"]
    for kind, id in (("users", "ada"), ("teams", "acme-team"), ("tenants", "acme")):
        assert refused(made.remove, kind, id) == (Conflict, None)
    made.remove("keys", mine)
    made.remove("users", "ada")
    assert refused(made.remove, "teams", "acme-team") == (Conflict, None)
    made.remove("budgets", team_budget)
    assert refused(made.change, "teams", "loose", {"tenant_id": "nobody"})[0] is InputError
    assert made.remove("teams", "acme-team")["deleted"]
    assert made.remove("tenants", "acme") == {"id": "acme", "object": "tenant", "deleted": True}
    made.remove("teams", "other-team")
    assert refused(made.remove, "tenants", "other") == (Conflict, None)
    made.remove("keys", acting)
    made.remove("tenants", "other")
    assert made.page("tenants")["data"] == []


def test_a_team_with_people_stays_in_its_tenant(sqlite: Database) -> None:
    """Else they would pay for another one from now on; an empty one may go."""
    made = peopled(sqlite)
    assert refused(made.change, "teams", "acme-team", {"tenant_id": "other"})[0] is Conflict
    assert made.change("teams", "acme-team", {"tenant_id": "acme", "name": "n"})["name"] == "n"
    assert made.change("teams", "loose", {"tenant_id": "other"})["tenant_id"] == "other"
