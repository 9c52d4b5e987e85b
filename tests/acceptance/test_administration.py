"""Administration over HTTP: keys, users, teams, tenants and budgets, and what each may see."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateways import administered
from tests.serving import Process, eventually, starting
from tests.unit.gateway.talk import ask
from trunkline.config import from_mapping
from trunkline.gateway.app import Gateway

PRICED = {"name": "demo", "price": {"input": 1000, "output": 1000}}
"""A tenth of a cent for a token."""
SETTINGS = {
    "default_provider": "demo",
    "providers": {"demo": {"models": [PRICED]}},
    "keys": [{"name": "ci", "key": "a-declared-key-for-ci"}],
}
ADMIN = "an-admin-key-for-tests"
CALL = {"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway with a steward, in this process."""
    async with administered(from_mapping({"llm_service": SETTINGS})) as found:
        yield found


class Caller:
    """Somebody with a key; the administrator without one."""

    def __init__(self, gateway: Gateway, key: str | None = None) -> None:
        self._gateway = gateway
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def said(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Ask; return status and JSON."""
        sent = b"" if body is None else json.dumps(body).encode()
        answer = await ask(self._gateway, path, sent, {**self._headers, **headers}, method)
        return answer.status, json.loads(answer.body)

    async def does(self, method: str, path: str, body: object = None) -> Any:
        """Ask for what works."""
        status, found = await self.said(method, path, body)
        assert status == 200, found
        return found

    async def fails(self, status: int, method: str, path: str, body: object = None) -> Any:
        """Ask for what does not, and return the error."""
        found, told = await self.said(method, path, body)
        assert found == status, told
        assert set(told["error"]) == {"message", "type", "code", "param"}
        return told["error"]

    async def calls(self, **headers: str) -> int:
        """Make a call; return the status."""
        return (await self.said("POST", "/v1/chat/completions", CALL, **headers))[0]


@pytest.fixture
def admin(gateway: Gateway) -> Caller:
    """The administrator."""
    return Caller(gateway)


async def member(gateway: Gateway, **about: Any) -> Caller:
    """Make a key and return who has it."""
    made = await Caller(gateway).does("POST", "/v1/keys", {"name": "k", **about})
    return Caller(gateway, made["key"])


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.acceptance("D06")
async def test_a_key_is_shown_once_and_kept_as_a_digest(gateway: Gateway, admin: Caller) -> None:
    """Not in lists, not in the database's files; it is good at once, in any of three headers."""
    made = await admin.does("POST", "/v1/keys", {"name": "k", "tier": "gold", "models": ["demo"]})
    key = made.pop("key")
    assert made["prefix"] == key[: len(made["prefix"])]
    assert len(made["prefix"]) < 12
    assert len(key) > 32
    assert made["tier"] == "gold"
    assert await admin.does("GET", f"/v1/keys/{made['id']}") == made
    assert (await admin.does("GET", "/v1/keys"))["data"] == [made]
    for file in gateway._line.config.data_dir.rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file
    assert await Caller(gateway, key).calls() == 200
    for header in ("x-api-key", "api-key", "X-API-Key"):
        assert await Caller(gateway, "no-key").calls(**{header: key}) == 200
    me = await Caller(gateway, key).does("GET", "/v1/users/me")
    assert (me["key_id"], me["tier"], me["role"]) == (made["id"], "gold", "member")


@pytest.mark.acceptance("D06")
async def test_a_key_ends(gateway: Gateway, admin: Caller) -> None:
    """By being revoked, by another in its place, at once or after a grace, and by its own date."""
    made = [await admin.does("POST", "/v1/keys", {"name": f"k{n}"}) for n in range(3)]
    callers = [Caller(gateway, each["key"]) for each in made]
    gone = await admin.does("DELETE", f"/v1/keys/{made[0]['id']}")
    assert gone == {"id": made[0]["id"], "object": "key", "deleted": True}
    assert await callers[0].calls() == 401
    assert (await admin.does("GET", f"/v1/keys/{made[0]['id']}"))["revoked_at"]
    new = await admin.does("POST", f"/v1/keys/{made[1]['id']}/rotate")
    assert new["id"] == made[1]["id"]
    assert await callers[1].calls() == 401
    assert await Caller(gateway, new["key"]).calls() == 200
    new = await admin.does("POST", f"/v1/keys/{made[2]['id']}/rotate", {"grace_s": 1})
    assert await callers[2].calls() == 200
    short = await member(gateway, expires_at=time.time() + 1)
    assert await short.calls() == 200

    async def over() -> bool:
        return [await each.calls() for each in (short, callers[2])] == [401, 401]

    await eventually(over, 5)
    told = await short.fails(401, "GET", "/v1/users/me")
    assert "was good until" in told["message"]
    assert await Caller(gateway, new["key"]).calls() == 200


@pytest.mark.acceptance("D06")
async def test_usage_for_the_current_month(gateway: Gateway, admin: Caller) -> None:
    """Each key sees what it used, to the last token, the administrator what all did."""
    first, second = await member(gateway), await member(gateway)
    for caller, count in ((first, 2), (second, 1)):
        for _ in range(count):
            assert await caller.calls() == 200
    path = "/v1/usage?period=current_month&by=key"
    rows = (await admin.does("GET", path))["data"]
    assert sorted(row["requests"] for row in rows) == [1, 2]
    [own] = (await first.does("GET", path))["data"]
    assert own in rows
    assert own["requests"] == 2
    calls = (await first.does("GET", "/v1/calls"))["data"]
    assert [call["key_id"] for call in calls] == [own["key_id"]] * 2
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert own[name] == sum(call["usage"][name] for call in calls) > 0
    assert own["cost_nusd"] == own["total_tokens"] * 1_000_000
    assert own["cost_nusd"] == sum(call["cost_nusd"] for call in calls)
    assert await first.does("GET", f"/v1/calls/{calls[0]['id']}") == calls[0]
    await second.fails(404, "GET", f"/v1/calls/{calls[0]['id']}")


# --- who pays ------------------------------------------------------------------------------------


async def test_a_key_pays_for_its_user_team_and_tenant(gateway: Gateway, admin: Caller) -> None:
    """All of them are on record, so that budgets on any of them count it."""
    await admin.does("POST", "/v1/tenants", {"id": "acme", "name": "Acme"})
    await admin.does("POST", "/v1/teams", {"id": "red", "name": "Red", "tenant_id": "acme"})
    await admin.does("POST", "/v1/users", {"id": "ada", "name": "Ada", "team_id": "red"})
    ada = await member(gateway, user_id="ada")
    assert await ada.calls() == 200
    [call] = (await ada.does("GET", "/v1/calls"))["data"]
    assert (call["user_id"], call["team_id"], call["tenant_id"]) == ("ada", "red", "acme")
    me = await ada.does("GET", "/v1/users/me")
    assert (me["id"], me["name"], me["team_id"], me["tenant_id"]) == ("ada", "Ada", "red", "acme")
    for scope in ("user:ada", "team:red", "tenant:acme"):
        budget = {"scope": scope, "amount_usd": 0, "period": "day"}
        made = await admin.does("POST", "/v1/budgets", budget)
        assert await ada.calls() == 402, scope
        await admin.does("DELETE", f"/v1/budgets/{made['id']}")
        assert await ada.calls() == 200


@pytest.mark.parametrize("family", ["/v1/chat/completions", "/v1/messages"])
async def test_a_budget_made_at_run_time(gateway: Gateway, admin: Caller, family: str) -> None:
    """It stops the next call in the family's own shape; more money lets it through again."""
    key = await admin.does("POST", "/v1/keys", {"name": "k"})
    caller = Caller(gateway, key["key"])
    assert await caller.calls() == 200
    [call] = (await caller.does("GET", "/v1/calls"))["data"]
    asked = {"scope": f"key:{key['id']}", "amount_usd": call["cost_usd"], "period": "month"}
    budget = await admin.does("POST", "/v1/budgets", asked)
    assert (budget["settled_nusd"], budget["remaining_nusd"]) == (call["cost_nusd"], 0)
    status, told = await caller.said("POST", family, CALL)
    assert status == 402
    if family == "/v1/messages":
        assert told["type"] == "error"
    else:
        assert told["error"]["code"] == "budget_exhausted"
    await admin.does("PATCH", f"/v1/budgets/{budget['id']}", {"amount_usd": 100})
    assert (await caller.said("POST", family, CALL))[0] == 200
    budget = await admin.does("GET", f"/v1/budgets/{budget['id']}")
    assert budget["settled_nusd"] > call["cost_nusd"]
    left_nusd = 100 * 10**9 - budget["settled_nusd"] - budget["held_nusd"]
    assert budget["remaining_nusd"] == left_nusd
    assert budget["resets_at"].endswith("-01T00:00:00.000Z")


async def test_tags_that_a_key_demands(gateway: Gateway) -> None:
    """A call without them is refused with the header's name."""
    caller = await member(gateway, required_tags=["project"])
    told = await caller.fails(400, "POST", "/v1/chat/completions", CALL)
    assert told["param"] == "x-trunkline-tags"
    sent = {"x-trunkline-tags": "a, project:apollo"}
    assert await caller.calls(**sent) == 200


# --- nobody helps himself ------------------------------------------------------------------------


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("role", ["member", "viewer"])
async def test_nobody_raises_his_own_allowance(gateway: Gateway, admin: Caller, role: str) -> None:
    """Nor a budget, nor makes a key or rotates his own; what he may, he may not for others."""
    for name in ("ada", "bob"):
        await admin.does("POST", "/v1/users", {"id": name, "allowance_usd": 1})
    scope = {"scope": "user:ada", "amount_usd": 5, "period": "day"}
    budget = await admin.does("POST", "/v1/budgets", scope)
    key = await admin.does("POST", "/v1/keys", {"name": "k", "user_id": "ada", "role": role})
    caller = Caller(gateway, key["key"])
    for method, path, body in (
        ("PATCH", "/v1/users/ada", {"allowance_usd": 1000}),
        ("PATCH", f"/v1/budgets/{budget['id']}", {"amount_usd": 1000}),
        ("DELETE", f"/v1/budgets/{budget['id']}", None),
        ("POST", "/v1/budgets", {**scope, "period": "week"}),
        ("POST", "/v1/keys", {"name": "mine", "role": "admin"}),
        ("PATCH", f"/v1/keys/{key['id']}", {"role": "admin"}),
        ("POST", f"/v1/keys/{key['id']}/rotate", None),
        ("GET", "/v1/users", None),
        ("GET", "/v1/usage?user_id=bob", None),
        ("GET", "/v1/calls?user_id=bob", None),
    ):
        assert (await caller.fails(403, method, path, body))["code"] == "forbidden"
    assert await caller.calls() == (403 if role == "viewer" else 200)
    me = await caller.does("GET", "/users/me")
    assert (me["id"], me["allowance_usd"], me["role"]) == ("ada", "1.00", role)
    assert (await admin.does("GET", f"/v1/budgets/{budget['id']}"))["amount_usd"] == "5.00"


@pytest.mark.acceptance("D05")
@pytest.mark.parametrize("amount", [-1, "-0.01", -1e-9, "nan", "1e400", True, None, [1]])
async def test_no_amount_below_nothing(admin: Caller, amount: object) -> None:
    """What is no amount of money is refused, whoever asks."""
    await admin.does("POST", "/v1/users", {"id": "ada", "allowance_usd": 1})
    asked = {"scope": "user:ada", "amount_usd": amount, "period": "day"}
    assert (await admin.fails(400, "POST", "/v1/budgets", asked))["param"] == "amount_usd"
    if amount is not None:
        told = await admin.fails(400, "PATCH", "/v1/users/ada", {"allowance_usd": amount})
        assert told["param"] == "allowance_usd"
    assert (await admin.does("GET", "/v1/users/ada"))["allowance_usd"] == "1.00"


@pytest.mark.acceptance("D05")
async def test_an_allowance_stops_a_users_keys(gateway: Gateway, admin: Caller) -> None:
    """All of them together spend no more than what their user is allowed."""
    await admin.does("POST", "/v1/users", {"id": "ada", "allowance_usd": "0.05"})
    callers = [await member(gateway, user_id="ada") for _ in range(2)]
    statuses = [await callers[n % 2].calls() for n in range(20)]
    assert statuses[0] == 200
    assert statuses[-2:] == [402, 402]
    [row] = (await admin.does("GET", "/v1/usage?by=user"))["data"]
    assert 0 < row["cost_nusd"] <= 50_000_000


# --- lists ---------------------------------------------------------------------------------------


async def test_lists_have_pages(admin: Caller) -> None:
    """Each once, in an order that stays, to an end that is said."""
    for n in range(5):
        await admin.does("POST", "/v1/tenants", {"id": f"t{n}", "name": "x"})
    names: list[str] = []
    query = "limit=2"
    while True:
        page = await admin.does("GET", f"/v1/tenants?{query}")
        assert page["object"] == "list"
        names += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        query = f"limit=2&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert names == [f"t{n}" for n in range(5)]
    told = await admin.fails(400, "GET", "/v1/tenants?colour=red")
    assert told["param"] == "colour"


@pytest.mark.slow
async def test_replicas_on_one_database(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL what is made at one counts at the other, and either tells what both did."""
    monkeypatch.setenv("TRUNKLINE_SECRET", "s" * 32)
    storage = {"storage": {"database_url": database_url}}
    one, two = (
        from_mapping({"llm_service": SETTINGS | storage}, {"TRUNKLINE_DATA": str(tmp_path / name)})
        for name in ("one", "two")
    )
    async with administered(one) as first, administered(two) as second:
        assert second.on_change is not None
        made = await Caller(first).does("POST", "/v1/keys", {"name": "k"})
        await second.on_change()  # as each second
        for each in (first, second):
            assert await Caller(each, made["key"]).calls() == 200
            await Caller(each).does("GET", "/v1/usage")
        [row] = (await Caller(first).does("GET", "/v1/usage?by=key"))["data"]
        assert (row["key_id"], row["requests"]) == (made["id"], 2)
        budget = {"scope": f"key:{made['id']}", "amount_usd": row["cost_usd"], "period": "day"}
        budget = await Caller(first).does("POST", "/v1/budgets", budget)
        assert budget["settled_nusd"] == row["cost_nusd"]
        await second.on_change()
        assert await Caller(second, made["key"]).calls() == 402
        await Caller(first).does("DELETE", f"/v1/keys/{made['id']}")
        await second.on_change()
        assert await Caller(second, made["key"]).calls() == 401


# --- as processes --------------------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[Any]:
    """Start gateways; none outlives the test."""
    with starting() as start:
        yield start


def serving(started: Any, settings: dict[str, Any]) -> Process:
    """Start a gateway with two workers."""
    Path("trunkline.yaml").write_text(json.dumps({"llm_service": settings}))
    process: Process = started("--port", "0", "--workers", "2", TRUNKLINE_ADMIN_KEY=ADMIN)
    return process


@pytest.mark.slow
@pytest.mark.acceptance("D06")
async def test_every_worker_knows(started: Any) -> None:
    """A key, its budget and its end, within two seconds of the answer, in both of two workers."""
    process = serving(started, SETTINGS)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def does(method: str, path: str, body: object = None) -> Any:
            headers = {"x-api-key": ADMIN}
            url = process.url + path
            async with session.request(method, url, json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        async def calls(key: str) -> int:
            url, headers = f"{process.url}/chat/completions", {"authorization": f"Bearer {key}"}
            async with session.post(url, json=CALL, headers=headers) as answer:
                await answer.read()
                return answer.status

        async def within_two_seconds(key: str, status: int) -> None:
            began_s, right = time.monotonic(), 0
            while right < 24:  # each connection goes to one of the two by chance
                asked_s = time.monotonic()
                if await calls(key) == status:
                    right += 1
                else:
                    right = 0
                    assert asked_s - began_s < 2

        made = await does("POST", "/keys", {"name": "k"})
        await within_two_seconds(made["key"], 200)
        budget = {"scope": f"key:{made['id']}", "amount_usd": 0, "period": "day"}
        budget = await does("POST", "/budgets", budget)
        await within_two_seconds(made["key"], 402)
        await does("DELETE", f"/budgets/{budget['id']}")
        await within_two_seconds(made["key"], 200)
        await does("DELETE", f"/keys/{made['id']}")
        await within_two_seconds(made["key"], 401)
        rows = (await does("GET", "/usage?period=current_month&by=key"))["data"]
        assert [row["key_id"] for row in rows] == [made["id"]]
    assert await asyncio.to_thread(process.end) == (0, "")


@pytest.mark.slow
async def test_workers_share_a_budget(started: Any) -> None:
    """Two of them, asked at once, spend together what one might, and not a cent more."""
    budget = {"scope": "global", "amount": 1, "period": "day", "mode": "strict"}
    process = serving(started, {**SETTINGS, "budgets": [budget]})
    headers = {"authorization": f"Bearer {ADMIN}"}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def call() -> int:
            async with session.post(f"{process.url}/chat/completions", json=CALL) as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(call() for _ in range(60)))
        assert set(statuses) <= {200, 402, 429}
        async with session.get(f"{process.url}/usage?by=model") as answer:
            [row] = (await answer.json())["data"]
    assert 0 < statuses.count(200) < 60
    assert 0 < row["cost_nusd"] <= 1_000_000_000
    assert await asyncio.to_thread(process.end) == (0, "")
