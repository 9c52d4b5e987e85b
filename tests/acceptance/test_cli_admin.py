"""Administration from the command line: on the database itself, whether a gateway runs or not."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import Trunk
from tests.acceptance.pages import ROOT, tables, words
from tests.acceptance.test_cli import EVERY
from tests.journal_records import begun, called, ended
from tests.serving import body, eventually, starting
from trunkline.accounting.leases import Want
from trunkline.accounting.period import window
from trunkline.clock import SystemClock
from trunkline.config import load
from trunkline.journal import Journal
from trunkline.storage.engines import open_database
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.outbox import Left, Outbox
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.testing import FakeUpstream, Json, chat_answer, chat_usage

KINDS = ["tenants", "teams", "users", "keys", "budgets"]
MAKE = {
    "tenants": ["--id", "acme", "--name", "Acme"],
    "teams": ["--name", "blue"],
    "users": ["--name", "Alice"],
    "keys": ["--name", "ci"],
    "budgets": ["--scope", "global", "--amount", "1.50", "--period", "day"],
}
CHANGE = {**{kind: ["--name", "other"] for kind in KINDS}, "budgets": ["--amount", "2"]}


@pytest.fixture
def out(trunk: Trunk) -> Callable[..., Any]:
    """Run a command that has to go well, and return its JSON."""

    def run(*args: str) -> Any:
        result = trunk(*args, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def store() -> Iterator[Store]:
    """The store that the commands work on, without a price for anything."""
    with closing(Store(SqliteDatabase(Path(os.environ["TRUNKLINE_DATA"], "trunkline.db")))) as made:
        yield made


def test_the_reference_has_every_command() -> None:
    """And no other."""
    page = tables(ROOT / "docs/reference/cli.md")
    named = [name for table in page.values() for row in table for name in words(row["command"])]
    assert sorted(named) == sorted(EVERY)


# --- keys, users, teams, tenants, budgets ---------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_life(kind: str, trunk: Trunk, out: Callable[..., Any]) -> None:
    """Made, listed, shown, changed, deleted; by then it is not there, which is no wrong use."""
    assert trunk(kind, "list").stdout == f"no {kind}\n"
    made = out(kind, "create", *MAKE[kind])
    id_ = made["id"]
    listed = out(kind, "list")
    assert [row["id"] for row in listed["data"]] == [id_]
    assert (listed["has_more"], listed["next_cursor"]) == (False, None)
    assert trunk(kind, "list").stdout.splitlines()[1].split()[0] == id_
    assert f"{id_}\n" in trunk(kind, "show", id_).stdout
    changed = out(kind, "change", id_, *CHANGE[kind])
    assert changed == out(kind, "show", id_)
    assert "other" in changed.values() or changed["amount_nusd"] == 2 * 10**9
    assert out(kind, "delete", id_)["deleted"] is True
    if kind == "keys":  # it is revoked; what it spent keeps its name
        assert out(kind, "show", id_)["revoked_at"] is not None
        return
    again = trunk(kind, "delete", id_)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "[not_found]" in again.stderr


def test_a_key_is_printed_once_and_alone(trunk: Trunk, out: Callable[..., Any]) -> None:
    """So a shell can keep it; the words about it go to standard error."""
    result = trunk("keys", "create", "--name", "ci")
    assert result.stdout.startswith("tl-")
    assert result.stdout.count("\n") == 1
    assert "the key is shown this once" in result.stderr
    key = result.stdout.strip()
    [row] = out("keys", "list")["data"]
    assert key not in trunk("keys", "show", row["id"]).stdout + json.dumps(row)
    rotated = trunk("keys", "rotate", row["id"], "--grace", "1h")
    assert rotated.stdout.strip() not in {key, ""}
    as_json = trunk("keys", "create", "--name", "two", "--json")
    assert json.loads(as_json.stdout)["key"].startswith("tl-")
    assert "the key is shown this once" in as_json.stderr


def test_options_are_the_fields_of_bodies(out: Callable[..., Any]) -> None:
    """Each arrives where it belongs; an empty one takes away what is there."""
    out("tenants", "create", "--id", "acme", "--name", "Acme")
    out("teams", "create", "--id", "blue", "--name", "Blue", "--tenant", "acme")
    user = ["--id", "alice", "--name", "Al", "--email", "a@b.c", "--team", "blue"]
    made = out("users", "create", *user, "--allowance", "0.5", "--period", "week")
    assert (made["tenant_id"], made["email"]) == ("acme", "a@b.c")
    assert (made["allowance_nusd"], made["allowance_period"]) == (500_000_000, "week")
    lists = ["--models", "fast, gpt-4o", "--may-act-for", "*", "--required-tags", "app"]
    more = ["--tier", "gold", "--role", "viewer", "--expires", "2099-01-01T00:00:00Z"]
    more += ["--rate-limits", "60,40000"]
    key = out("keys", "create", "--name", "k", "--user", "alice", *lists, *more)
    assert (key["models"], key["may_act_for"]) == (["fast", "gpt-4o"], ["*"])
    assert (key["required_tags"], key["tier"], key["role"]) == (["app"], "gold", "viewer")
    assert key["rate_limits"] == {"requests_per_minute": 60, "tokens_per_minute": 40000}
    assert key["expires_at"].startswith("2099-01-01T00:00:00")
    assert (key["user_id"], key["team_id"], key["tenant_id"]) == ("alice", "blue", "acme")
    assert out("keys", "change", key["id"], "--models", "", "--expires", "")["models"] == []
    limits = ["--mode", "soft", "--rolling", "--unknown-price", "allow"]
    when = ["--when-store-down", "open", "--alert-at", "0.5,1"]
    scope = ["--scope", "user:alice", "--amount", "3", "--period", "month"]
    budget = out("budgets", "create", *scope, *limits, *when)
    assert (budget["rolling"], budget["mode"], budget["alert_at"]) == (True, "soft", [0.5, 1.0])
    assert (budget["unknown_price"], budget["when_store_down"]) == ("allow", "open")
    zone = ["--no-rolling", "--timezone", "Europe/Berlin", "--mode", "hard", "--cap-output"]
    changed = out("budgets", "change", budget["id"], *zone)
    assert (changed["timezone"], changed["cap_output"]) == ("Europe/Berlin", True)
    for kind, option in (("teams", "--tenant"), ("users", "--tenant"), ("keys", "--tenant")):
        assert len(out(kind, "list", option, "acme")["data"]) == 1
        assert out(kind, "list", option, "other")["data"] == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["keys", "create", "--name", "k", "--role", "boss"], "--role: found 'boss'"),
        (["keys", "create"], "--name: missing"),
        (["keys", "create", "--name", "k", "--user", "nobody"], "--user: found 'nobody'"),
        (["keys", "create", "--name", "k", "--expires", "soon"], "--expires: found 'soon'"),
        (["users", "create", "--allowance", "-1"], "--allowance: found '-1'"),
        (["budgets", "create", *MAKE["budgets"][:4], "--period", "year"], "--period: found 'year'"),
        (["budgets", "create", *MAKE["budgets"], "--alert-at", "a"], "--alert-at[0]: found 'a'"),
        (["keys", "change", "x"], "write what to change"),
        (["keys", "rotate", "x", "--grace", "long"], "'long' is no length of time"),
        (["keys", "rotate", "x", "--grace", "31d"], "--grace: found 2678400"),
        (["keys", "list", "--cursor", "x"], "cursor: found 'x'"),
        (["keys", "create", "--name", "k", "--expires", "9" * 5000], "--expires: found '999"),
        (["calls", "--cursor", "x"], "'x' is no cursor"),
        (["calls", "--user", "\udcff"], "not text in UTF-8"),
    ],
)
def test_wrong_use_names_the_option(line: list[str], text: str, trunk: Trunk) -> None:
    """Exit code 2, on standard error, and nothing was made."""
    result = trunk(*line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert text in result.stderr
    assert trunk(line[0], "list").stdout == f"no {line[0]}\n" or line[0] == "calls"


def test_what_something_depends_on_is_not_deleted(trunk: Trunk, out: Callable[..., Any]) -> None:
    """It is a failure, said as words and as JSON."""
    out("tenants", "create", "--id", "acme", "--name", "Acme")
    out("users", "create", "--id", "alice", "--tenant", "acme")
    result = trunk("tenants", "delete", "acme", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"]["code"] == "conflict"


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1)])
def test_on_a_terminal_it_asks_first(
    answer: str, left: int, trunk: Trunk, out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is deleted without a yes."""
    out("teams", "create", "--id", "blue", "--name", "Blue")
    monkeypatch.setattr("trunkline.cli.admin.on_terminal", lambda: True)
    result = trunk("teams", "delete", "blue", input=answer)
    assert (result.exit_code, "delete the team blue?" in result.stderr) == (left, True)
    assert len(out("teams", "list")["data"]) == left
    assert trunk("teams", "delete", "blue", "--yes").exit_code == 1 - left


def test_pages(trunk: Trunk, out: Callable[..., Any]) -> None:
    """The cursor of a page is on standard error, or in the JSON."""
    for name in "abc":
        out("teams", "create", "--id", name, "--name", name)
    first = out("teams", "list", "--limit", "2")
    told = trunk("teams", "list", "--limit", "2")
    assert f"--cursor {first['next_cursor']}" in told.stderr
    rest = out("teams", "list", "--limit", "2", "--cursor", first["next_cursor"])
    assert [row["id"] for row in first["data"] + rest["data"]] == ["a", "b", "c"]


def test_replicas_need_one_secret(trunk: Trunk) -> None:
    """A key made under another pepper would be a key of nobody."""
    Path("trunkline.yaml").write_text(
        "llm_service: {storage: {database_url: 'postgresql://nobody@127.0.0.1:1/x'}}"
    )
    result = trunk("keys", "create", "--name", "ci")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "TRUNKLINE_SECRET" in result.stderr


def test_the_same_on_postgresql(
    trunk: Trunk, out: Callable[..., Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner without a journal here may live on another machine: only --force forgets it."""
    monkeypatch.setenv("TRUNKLINE_DATABASE_URL", database_url)
    monkeypatch.setenv("TRUNKLINE_SECRET", "s" * 32)
    key = out("keys", "create", "--name", "ci")
    assert out("keys", "list")["data"][0]["id"] == key["id"]
    out("budgets", "create", "--scope", "global", "--amount", "1", "--period", "day")
    with closing(Store(open_database(load(None)))) as store:
        hold(store, "somebody", "day:made")
    assert out("budgets", "list")["data"][0]["held_nusd"] == 5 * 10**8
    assert out("usage", "rerate")["attempts"] == 0
    assert "its journal is not in this data folder" in trunk("ledger", "forget", "somebody").stderr
    assert len(out("ledger", "forget", "somebody", "--force")["given_up"]) == 1


def test_a_budget_shows_what_is_spent(out: Callable[..., Any], store: Store) -> None:
    """Also what was spent before it was made."""
    store.apply("o.000000.log", 1, [begun(), ended(cost_nusd=250), called()])
    out("budgets", "create", "--scope", "global", "--amount", "1", "--period", "total")
    [row] = out("budgets", "list")["data"]
    assert (row["settled_nusd"], row["held_nusd"], row["resets_at"]) == (250, 0, None)
    assert row["remaining_nusd"] == 10**9 - 250


@pytest.mark.slow
async def test_a_running_gateway_follows(trunk: Trunk, out: Callable[..., Any]) -> None:
    """A key works within two seconds of its making, and stops within two of its revocation."""
    with starting() as start:
        process = start()

        async def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                url = f"{process.url}/chat/completions"
                async with session.post(url, json=body("Hi")) as answer:
                    return answer.status

        async def answers(key: str, wanted: int) -> None:
            async def true() -> bool:
                return await status(key) == wanted

            await eventually(true, most_s=2.0)

        key = (await asyncio.to_thread(trunk, "keys", "create", "--name", "ci")).stdout.strip()
        await answers(key, 200)
        [row] = out("keys", "list")["data"]
        await asyncio.to_thread(trunk, "keys", "delete", row["id"])
        await answers(key, 401)
        assert process.end() == (0, "")
    with sqlite3.connect(Path(os.environ["TRUNKLINE_DATA"], "trunkline.db")) as db:
        assert key not in "\n".join(db.iterdump())
    db.close()


# --- usage, calls ---------------------------------------------------------------------------------


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    """A provider of one model that has no price."""
    with FakeUpstream.in_thread() as upstream:
        upstream.on(lambda _: Json(chat_answer(usage=chat_usage(1000, 200))))
        yield upstream


def configure(up: FakeUpstream, price: str = "") -> None:
    """Write the configuration of this folder."""
    Path("trunkline.yaml").write_text(
        "llm_service: {providers: {openai: {api_key: sk-test-1234567890, "
        f"base_url: '{up.url}/v1', models: [{{name: house{price}}}]}}}}, "
        "budgets: [{scope: global, amount: 1, period: day}]}"
    )


def test_rerate_finds_out_costs(trunk: Trunk, out: Callable[..., Any], up: FakeUpstream) -> None:
    """Once a price is configured; usage, the call and the budget follow, once."""
    configure(up)
    assert trunk("call", "-m", "house", "hi").exit_code == 0
    found = out("usage", "rerate")
    assert (found["attempts"], found["unknown"]) == (0, {"openai/house": 1})
    configure(up, ", price: {input: 1.0, output: 5.0}")
    dry = trunk("usage", "rerate", "--dry-run").stdout
    assert dry == "1 attempts of 1 calls would get a cost, 0.002 USD in all\n"
    assert out("usage")[0]["unknown_price_requests"] == 1
    found = out("usage", "rerate", "--since", "1h")
    assert (found["calls"], found["cost_usd"], found["unknown"]) == (1, "0.002", {})
    assert (out("usage")[0]["cost_nusd"], out("usage")[0]["requests"]) == (2_000_000, 1)
    assert out("calls")["data"][0]["call"]["cost_state"] == "estimated"
    assert out("ledger", "show")["accounts"][0]["settled_nusd"] == 2_000_000
    assert out("usage", "rerate")["attempts"] == 0


def test_rerate_takes_the_configuration_of_usage(trunk: Trunk) -> None:
    """`-c` before the word counts as well: nobody changes a database he did not mean."""
    result = trunk("usage", "-c", "nowhere.yaml", "rerate")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nowhere.yaml" in result.stderr


def test_usage_is_narrowed(out: Callable[..., Any], trunk: Trunk, store: Store) -> None:
    """By who pays and when; by team as by anything."""
    who: dict[str, Any] = {"key_id": "k", "user_id": "u", "team_id": "t", "tenant_id": "n"}
    at_ns = SystemClock().now_ns()
    store.apply(
        "o.000000.log",
        1,
        [begun(started_ns=at_ns, **who), ended(), called(started_ns=at_ns, **who)],
    )
    [row] = out("usage", "--by", "team")
    assert (row["team_id"], row["requests"]) == ("t", 1)
    for kind, name in (("key", "k"), ("user", "u"), ("team", "t"), ("tenant", "n")):
        assert len(out("usage", f"--{kind}", name)) == 1
        assert out("usage", f"--{kind}", "other") == []
    for period in ("current_month", "today", "last_7d", "last_30d"):
        assert len(out("usage", "--period", period)) == 1
    assert out("usage", "--since", "7d", "--until", "1d") == []
    assert trunk("usage", "--period", "today", "--since", "7d").exit_code == 2


def test_calls_are_narrowed_and_paged(out: Callable[..., Any], trunk: Trunk, store: Store) -> None:
    """A cursor goes on where the page before ended."""
    for number in range(5):
        more = {"started_ns": 10**15 + number, "tags": ("even",) if number % 2 == 0 else ()}
        store.apply("o.000000.log", 1, [called(f"c{number}", **more)])
    store.apply("o.000000.log", 1, [called("other", model="slow", outcome="failed")])
    first = out("calls", "--limit", "4")
    rest = out("calls", "--limit", "4", "--cursor", first["next_cursor"])
    ids = [row["call"]["call_id"] for row in first["data"] + rest["data"]]
    assert ids == ["c4", "c3", "c2", "c1", "c0", "other"]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert first["next_cursor"] in trunk("calls", "--limit", "4").stderr
    for options, wanted in (
        (["--tag", "even"], 3),
        (["--model", "slow"], 1),
        (["--status", "failed"], 1),
        (["--since", "1970-01-02"], 5),
        (["--until", "1970-01-02"], 1),
    ):
        assert len(out("calls", *options)["data"]) == wanted
    assert out("calls", "c3")["call"]["call_id"] == "c3"
    assert trunk("calls", "nobody", "--json").exit_code == 1


# --- ledger ---------------------------------------------------------------------------------------


def hold(store: Store, owner: str, period: str = "day") -> None:
    """Grant an owner half a dollar of the budget on everybody."""
    now_ns = SystemClock().now_ns()
    want = Want("global", period, window("day", now_ns), 10**9, 5 * 10**8, 5 * 10**8, 0, now_ns)
    SqlLeases(store.database).grant(owner, [want])


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The journal of a process that lives: this one."""
    made = Journal(Path(os.environ["TRUNKLINE_DATA"], "journal"), clock=SystemClock())
    yield made
    made.close()


def test_ledger_shows_who_holds_what(
    out: Callable[..., Any], trunk: Trunk, up: FakeUpstream, store: Store, journal: Journal
) -> None:
    """Budgets of the configuration and of run time; owners that live, and the dead."""
    configure(up)
    out("budgets", "create", "--scope", "tag:x", "--amount", "2", "--period", "total")
    hold(store, journal.owner())
    hold(store, "lost")
    told = out("ledger", "show")
    found = {row["scope"]: row for row in told["accounts"]}
    assert (found["global"]["exposed_usd"], found["global"]["remaining_usd"]) == ("1.00", "0.00")
    assert found["tag:x"]["remaining_nusd"] == 2 * 10**9
    states = {row["owner"]: (row["state"], row["usd"]) for row in told["holdings"]}
    assert states == {journal.owner(): ("lives", "0.50"), "lost": ("dead", "0.50")}
    assert all(0 <= row["age_s"] < 60 for row in told["holdings"])
    text = trunk("ledger", "show").stdout
    assert "lost" in text
    assert "lives" in text


def test_only_the_dead_are_forgotten(
    out: Callable[..., Any], trunk: Trunk, up: FakeUpstream, store: Store, journal: Journal
) -> None:
    """What is given up is said; the living need --force, and who holds nothing is an error."""
    configure(up)
    hold(store, journal.owner())
    hold(store, "lost")
    refused = trunk("ledger", "forget", journal.owner())
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "its process lives" in refused.stderr
    told = trunk("ledger", "forget", "lost")
    assert told.stdout == "0.50 USD of the day budget on global are free again\n"
    assert trunk("ledger", "forget", "lost").exit_code == 1
    given = out("ledger", "forget", journal.owner(), "--force")
    assert [row["nusd"] for row in given["given_up"]] == [5 * 10**8]
    assert out("ledger", "show")["holdings"] == []


# --- hooks ----------------------------------------------------------------------------------------


def test_hooks_are_told_again(out: Callable[..., Any], trunk: Trunk, store: Store) -> None:
    """One or all; what is configured no more is left alone and named."""
    outbox = Outbox(store.database, Path(os.environ["TRUNKLINE_DATA"]))
    outbox.subscribe(["https://a/", "https://b/", "https://gone/"], now_ns=0)
    store.apply("o.000000.log", 1, [begun(), ended(), called()])
    for name in ("https://a/", "https://b/", "https://gone/"):
        [posted] = outbox.due(name, 0, 10)
        outbox.settle(name, [], [Left(posted.event, "it answered 410", None)])
    outbox.only("https://g", [])
    told = out("hooks", "list")
    assert (told["waiting"], told["dead"], len(told["events"])) == (0, 3, 3)
    assert "it answered 410" in trunk("hooks", "list").stdout
    assert out("hooks", "requeue", "https://a/") == {"requeued": 1, "not_configured": []}
    assert trunk("hooks", "requeue", "https://a/").exit_code == 1
    rest = trunk("hooks", "requeue")
    assert rest.stdout == "1 events will be told again\n"
    assert "https://gone/ is configured no more" in rest.stderr
    assert outbox.counts() == {"waiting": 2, "dead": 1}
    [again] = outbox.due("https://b/", 0, 10)
    assert again.tries == 0
