"""The page about HTTP says what the gateway says: paths, fields, parameters."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance.pages import ROOT, prose, tables, words
from tests.gateways import administered
from tests.unit.gateway.talk import ask, said
from trunkline.config import from_mapping
from trunkline.gateway.admin import checks, reports
from trunkline.gateway.app import _CALLS, Gateway, _methods
from trunkline.gateway.surfaces import admin, routing
from trunkline.storage.principals import ApiKey, Person, Team, Tenant

PAGE = ROOT / "docs/reference/http.md"
TABLES = tables(PAGE)
OBJECTS = "Users, teams and tenants"
BODIES = {
    "keys": b'{"name": "k"}',
    "budgets": b'{"scope": "global", "amount_usd": 9, "period": "day"}',
    "users": b'{"allowance_usd": 1}',
    "teams": b'{"name": "x"}',
    "tenants": b'{"name": "x"}',
}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway with a steward."""
    demo = {"default_provider": "demo", "providers": {"demo": {"models": ["demo"]}}}
    async with administered(from_mapping({"llm_service": demo})) as found:
        yield found


def named(rows: list[dict[str, str]], column: str = "in") -> set[str]:
    """Return the fields that have something in a column."""
    return {word for row in rows if row[column] != "-" for word in words(row["field"])}


def of(kind: str) -> list[dict[str, str]]:
    """Return the rows of the fields that one kind has."""
    if kind in {"keys", "budgets"}:
        return TABLES[kind.capitalize()]
    return [row for row in TABLES[OBJECTS] if row["of"] == "all" or kind in row["of"]]


def test_paths() -> None:
    """Each has its row, with the methods that it takes."""
    rows = {words(row["path"])[0]: words(row["methods"]) for row in TABLES["Paths"]}
    expected = {*_CALLS, "/models", "/models/ID", "/health", "/ready", "/metrics"}
    expected |= {"/usage", "/calls", "/calls/ID", "/users/me", "/keys/ID/rotate"}
    expected |= {*routing.LISTS, routing.EXPLAIN}
    expected |= {f"/{kind}{more}" for kind in admin.KINDS for more in ("", "/ID")}
    assert set(rows) == expected
    for path, methods in rows.items():
        assert tuple(methods) == _methods(path), path


@pytest.mark.parametrize(
    ("kind", "struct"), [("keys", ApiKey), ("users", Person), ("teams", Team), ("tenants", Tenant)]
)
def test_fields_that_are_taken(kind: str, struct: Any) -> None:
    """The table has what a body may have, and nothing else."""
    assert named(of(kind)) == checks._READERS[struct].keys()


def test_fields_that_a_budget_takes() -> None:
    """Likewise."""
    assert named(of("budgets")) == set(checks._BUDGET)


@pytest.mark.parametrize("kind", BODIES)
async def test_fields_that_are_answered(gateway: Gateway, kind: str) -> None:
    """All of them are in the table; the key itself only where it was made."""
    made = said(await ask(gateway, f"/v1/{kind}", BODIES[kind]))
    assert set(made) == named(of(kind), "out")
    found = said(await ask(gateway, f"/v1/{kind}/{made['id']}", method="GET"))
    assert set(found) == set(made) - {"key"}
    assert found["object"] == kind.removesuffix("s")


@pytest.mark.parametrize("kind", ["providers", "deployments"])
async def test_fields_of_health(gateway: Gateway, kind: str) -> None:
    """Each of them is in the table; likewise those of an explanation."""
    [row, *_] = said(await ask(gateway, f"/v1/{kind}", method="GET"))["data"]
    table = TABLES["How providers are"]
    known = {w for r in table if r.get("of") in {"all", kind} for w in words(r["field"])}
    assert set(row) == known
    found = said(await ask(gateway, "/v1/route/explain", b'{"model": "demo"}'))
    assert set(found) == named(TABLES["Where a call would go"], "out")


def test_parameters() -> None:
    """Of usage and of calls, all that are taken."""
    for heading, known in (("Usage", reports._USAGE), ("Calls", reports._CALLS)):
        found = {word for row in TABLES[heading] for word in words(row["parameter"])}
        assert found == set(known) - {"limit", "cursor"}


async def test_headers(gateway: Gateway) -> None:
    """Those of a call are taken, and matter; those of a good answer are there."""
    sent = {
        words(row["header"])[0]: words(row["example"])[0] for row in TABLES["Headers of a call"]
    }
    hello = b'{"messages": [{"role": "user", "content": "Hello!"}]}'
    answer = await ask(gateway, "/v1/chat/completions", hello, sent)
    assert answer.status == 200
    of_good = {
        words(row["header"])[0]
        for row in TABLES["Headers of its answer"]
        if row["where"] in {"any", "good", "whole"}
    }
    ours = {name for name in answer.headers if name.startswith("x-trunkline-")}
    assert ours == of_good
    [call] = said(await ask(gateway, "/v1/calls", method="GET"))["data"]
    assert call["id"] == answer.headers["x-trunkline-call-id"]
    assert (call["tags"], call["run"]) == (["nightly", "report"], "run-7")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        (",".join(map(str, range(64))), 200),
        (",".join(map(str, range(65))), 400),
        ("t" * 256, 200),
        ("t" * 257, 400),
        (",".join(f"{n}{'t' * 250}" for n in range(9)), 200),
        (",".join(f"{n}{'t' * 250}" for n in range(10)), 400),
    ],
    ids=["64", "65", "256 characters", "257", "2,400 bytes", "more"],
)
async def test_how_many_tags(gateway: Gateway, tags: str, status: int) -> None:
    """As the page says; what is too much is refused before anything is sent."""
    hello = b'{"messages": [{"role": "user", "content": "Hello!"}]}'
    answer = await ask(gateway, "/v1/chat/completions", hello, {"x-trunkline-tags": tags})
    assert answer.status == status
    if status == 400:
        assert "tags" in said(answer)["error"]["param"]


async def test_rows(gateway: Gateway) -> None:
    """What a row of usage, a call and an attempt have is named on the page."""
    hello = b'{"messages": [{"role": "user", "content": "Hello!"}]}'
    assert (await ask(gateway, "/v1/chat/completions", hello)).status == 200
    text = prose(PAGE).partition("## Usage")[2]
    [usage] = said(await ask(gateway, "/v1/usage", method="GET"))["data"]
    [call] = said(await ask(gateway, "/v1/calls", method="GET"))["data"]
    for row in (usage, call, call["attempts"][0], call["usage"]):
        assert row.keys() <= {*words(text)}
