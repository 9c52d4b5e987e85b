"""Budgets and allowances in the registry."""

from typing import Any

import pytest

from tests.unit.gateway.registries import START, budget, key, peopled, refused, registry
from trunkline.accounting.leases import Seen
from trunkline.config.model import Allowance
from trunkline.errors import Conflict, InputError
from trunkline.storage.database import Database
from trunkline.storage.snapshot import snapshot


def test_a_budget_is_checked_like_a_configured_one(database: Database) -> None:
    """It comes back with all that it means; workers get it as a rule."""
    made = peopled(database)
    answer = budget(made, amount_usd=0.1, period="day", timezone="Europe/Berlin", alert_at=[0.5])
    assert answer == {
        "id": answer["id"],
        "object": "budget",
        "scope": "tenant:acme",
        "amount_usd": "0.10",
        "amount_nusd": 100_000_000,
        "period": "day",
        "timezone": "Europe/Berlin",
        "rolling": False,
        "mode": "hard",
        "cap_output": False,
        "unknown_price": "flag",
        "when_store_down": "closed",
        "alert_at": [0.5],
        "created_at": START,
        "resets_at": "2026-11-20T23:00:00.000Z",
    }
    changed = made.change("budgets", answer["id"], {"amount_usd": "7", "alert_at": None})
    assert changed == {**answer, "amount_usd": "7.00", "amount_nusd": 7 * 10**9, "alert_at": []}
    (rule,) = snapshot(database).budgets
    assert (rule.scope, rule.amount_nusd, rule.timezone) == (
        "tenant:acme",
        7 * 10**9,
        "Europe/Berlin",
    )
    assert made.remove("budgets", answer["id"])["deleted"]
    assert snapshot(database).budgets == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"amount_usd": -1}, "amount_usd"),
        ({"amount_usd": "-0.01"}, "amount_usd"),
        ({"amount_usd": True}, "amount_usd"),
        ({"amount_usd": "1e99"}, "amount_usd"),
        ({"amount_usd": 9_000_000_001}, "amount_usd"),
        ({"amount": 5}, "amount"),
        ({"period": "year"}, "period"),
        ({"mode": "firm"}, "mode"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"rolling": 1}, "rolling"),
        ({"cap_output": True, "mode": "soft"}, "cap_output"),
        ({"rolling": True, "period": "total"}, "rolling"),
        ({"alert_at": [2]}, "alert_at[0]"),
        ({"scope": "tenant:nobody"}, "scope"),
        ({"scope": "user:nobody"}, "scope"),
        ({"scope": "team:nobody"}, "scope"),
        ({"scope": "key:nobody"}, "scope"),
        ({"scope": "provider:nobody"}, "scope"),
        ({"scope": "planet:mars"}, "scope"),
    ],
)
def test_budgets_that_are_refused(sqlite: Database, fields: dict[str, Any], param: str) -> None:
    """New or changed, by the name of the field; the one that is there stays as it is."""
    made = peopled(sqlite)
    assert refused(budget, made, **fields) == (InputError, param)
    kept = budget(made)
    assert refused(made.change, "budgets", kept["id"], fields) == (InputError, param)
    assert made.page("budgets")["data"] == [kept]


def test_scopes_that_exist(sqlite: Database) -> None:
    """Those made here, declared keys, and what comes with calls; a `$` is nothing special."""
    made = peopled(sqlite)
    id = key(made)["id"]
    for scope in (f"key:{id}", "key:ci", "user:bob", "team:loose", "tenant:other", "global",
                  "tag:${HOME}", "run:r", "provider:openai", "deployment:openai/gpt"):  # fmt: skip
        assert budget(made, scope=scope)["scope"] == scope


def test_one_budget_for_a_scope_and_period(database: Database) -> None:
    """A zone that says nothing makes no other budget, and an allowance is one as well."""
    made = peopled(database)
    first = budget(made)
    budget(made, timezone="Europe/Berlin")
    budget(made, rolling=True)
    for twin in ({"mode": "soft"}, {"rolling": True, "timezone": "Europe/Berlin"}):
        assert refused(budget, made, **twin) == (Conflict, "period")
    day = budget(made, period="day")["id"]
    assert refused(made.change, "budgets", day, {"period": "month"}) == (Conflict, "period")
    assert (
        made.change("budgets", first["id"], {"period": "month", "mode": "soft"})["mode"] == "soft"
    )
    budget(made, scope="user:ada")
    assert refused(made.change, "users", "ada", {"allowance_usd": 1}) == (Conflict, "period")
    made.change("users", "bob", {"allowance_usd": 1})
    assert refused(budget, made, scope="user:bob") == (Conflict, "period")
    budget(made, scope="user:bob", period="week")


def test_how_a_budget_stands(sqlite: Database) -> None:
    """What is spent, held, left and overrun is there when somebody knows it."""
    seen = {"tenant:acme": Seen(4 * 10**9, 10**9, 5)}
    made = peopled(sqlite)
    budget(made)
    budget(made, scope="global", period="total")
    told = registry(sqlite, seen=lambda rule: seen.get(rule.scope))
    (known,) = told.page("budgets", where={"scope": "tenant:acme"})["data"]
    (unknown,) = told.page("budgets", where={"scope": "global"})["data"]
    assert known["settled_usd"] == "4.00"
    assert known["held_nusd"] == 10**9
    assert known["remaining_usd"] == "0.00"
    assert known["overrun_nusd"] == 5
    assert known["resets_at"] == "2026-12-01T00:00:00.000Z"
    assert unknown["resets_at"] is None
    assert "settled_usd" not in unknown


def test_an_allowance_holds_for_the_keys_of_its_user(database: Database) -> None:
    """It is a budget in the snapshot once the user has a key; null takes it away."""
    made = peopled(database)
    answer = made.change("users", "ada", {"allowance_usd": "2.5"})
    assert (answer["allowance_nusd"], answer["allowance_period"]) == (2_500_000_000, "month")
    assert snapshot(database).rules == ()
    key(made, user_id="ada")
    assert snapshot(database).rules == (
        Allowance(scope="user:ada", amount_nusd=2_500_000_000, period="month"),
    )
    assert refused(made.change, "users", "ada", {"allowance_usd": -1}) == (
        InputError,
        "allowance_usd",
    )
    assert made.find("users", "ada") == answer
    made.change("users", "ada", {"allowance_usd": None})
    assert snapshot(database).rules == ()


def test_when_an_allowance_starts_again(database: Database) -> None:
    """As a budget's period; what would say nothing is refused, or forgotten with the allowance."""
    made = peopled(database)
    key(made, user_id="ada")

    def change(**said: Any) -> tuple[str, bool]:
        made.change("users", "ada", {f"allowance_{name}": value for name, value in said.items()})
        (rule,) = snapshot(database).allowances
        return rule.timezone, rule.rolling

    for name in ("timezone", "rolling"):
        field = f"allowance_{name}"
        said = {field: "Europe/Berlin" if name == "timezone" else True}
        assert refused(made.change, "users", "ada", said) == (InputError, field)
    assert change(usd=1, timezone="Europe/Berlin") == ("Europe/Berlin", False)
    assert change(usd=2) == ("Europe/Berlin", False)
    assert change(rolling=True) == ("UTC", True)
    total = {"allowance_period": "total"}
    assert refused(made.change, "users", "ada", total) == (InputError, "allowance_rolling")
    nowhere = {"allowance_timezone": "Europe/Nowhere"}
    assert refused(made.change, "users", "ada", nowhere) == (InputError, "allowance_timezone")
    made.change("users", "ada", {"allowance_usd": None})
    assert change(usd=1) == ("UTC", False)
