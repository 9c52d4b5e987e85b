"""Usage and calls as they are answered: rows, periods, pages, and nobody sees what is not his."""

import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.journal_records import begun, called, ended, whole
from trunkline.config import from_mapping
from trunkline.errors import Forbidden, InputError, NotFound
from trunkline.gateway.admin.reports import Reports
from trunkline.gateway.uplink import Asker
from trunkline.storage.engines import open_database
from trunkline.storage.store import Store
from trunkline.testing import ManualClock
from trunkline.types.answer import Usage

ADMIN = Asker(id="admin", role="admin")
ADA = Asker(id="key_a", role="member", user_id="ada", team_id="red", tenant_id="acme")
KEY = Asker(id="key_b", role="viewer")
OWNERS = {"key_a": "ada", "key_a2": "ada", "key_z": "zoe"}


def ns(year: int, month: int, day: int, hour: int = 0) -> int:
    """Return a moment of UTC in nanoseconds since the epoch."""
    at = datetime.datetime(year, month, day, hour, tzinfo=datetime.UTC)
    return int(at.timestamp()) * 10**9


@pytest.fixture
def store() -> Store:
    """Three calls this month, and one of the last."""
    found = Store(open_database(from_mapping({})))
    found.apply(
        "j.1",
        1,
        [
            *whole("c1", started_ns=ns(2026, 11, 20, 9), key_id="key_a", user_id="ada"),
            *whole("c2", started_ns=ns(2026, 11, 15), key_id="key_a2", user_id="ada"),
            *whole("c3", started_ns=ns(2026, 11, 2), key_id="key_b", model="slow"),
            *whole("c4", started_ns=ns(2026, 10, 25), key_id="key_z", user_id="zoe"),
        ],
    )
    return found


@pytest.fixture
def reports(store: Store) -> Reports:
    """The reports on them, at noon of the day of the last."""
    clock = ManualClock()
    clock.advance((ns(2026, 11, 20, 12) - clock.now_ns()) / 1e9)
    return Reports(store, clock, OWNERS.get)


def test_a_row_of_usage(reports: Reports) -> None:
    """Named by what it is about, with tokens, requests and cost, as the contract says."""
    answer = reports.usage(ADMIN, "by=user&period=today")
    assert answer == {
        "object": "list",
        "data": [
            {
                "user_id": "ada",
                "requests": 1,
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "cached_tokens": 0,
                "reasoning_tokens": 0,
                "cost_nusd": 120,
                "cost_usd": "0.00000012",
                "unknown_price_requests": 0,
            }
        ],
        "has_more": False,
        "next_cursor": None,
    }


@pytest.mark.parametrize(("asked", "requests"), [
    ("period=today", 1), ("period=last_7d", 2), ("period=current_month", 3), ("", 3),
    ("period=last_30d", 4), ("period=all", 4),
    ("since=2026-11-15", 2), ("until=2026-11-15", 2), ("since=2026-11-02&until=2026-11-16", 2),
    ("since=2026-11-20T10:30:00%2B02:00", 1), (f"since={ns(2026, 11, 20) // 10**9}", 1),
    ("key_id=key_a", 1), ("user_id=ada", 2), ("tenant_id=x", 0), ("team_id=x", 0),
])  # fmt: skip
def test_what_counts(reports: Reports, asked: str, requests: int) -> None:
    """Periods, bounds and filters; nothing said means the current month."""
    rows = reports.usage(ADMIN, f"by=day&{asked}")["data"]
    assert sum(row["requests"] for row in rows) == requests


def test_pages_of_usage(reports: Reports) -> None:
    """Each row once, dearest first, and no cursor after the last."""
    first = reports.usage(ADMIN, "by=key&limit=2")
    second = reports.usage(ADMIN, f"by=key&limit=2&cursor={first['next_cursor']}")
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    names = [row["key_id"] for page in (first, second) for row in page["data"]]
    assert sorted(names) == ["key_a", "key_a2", "key_b"]


def test_pages_of_calls(reports: Reports, store: Store) -> None:
    """Newest first, each once, though calls come meanwhile."""
    names: list[str] = []
    query = "limit=2"
    for _ in range(2):
        page = reports.calls(ADMIN, query)
        names += [row["id"] for row in page["data"]]
        store.apply("j.1", 2, whole("new", started_ns=ns(2026, 11, 20, 11)))
        query = f"limit=2&cursor={quote(str(page['next_cursor']))}"
    assert names == ["c1", "c2", "c3", "c4"]
    assert page["next_cursor"] is None


@pytest.mark.parametrize(("asked", "ids"), [
    ({"key_id": "key_a"}, ["c1"]), ({"user_id": "ada"}, ["c1", "c2"]), ({"model": "slow"}, ["c3"]),
    ({"status": "failed"}, []), ({"since": "2026-11-15"}, ["c1", "c2"]),
    ({"until": "2026-11-01"}, ["c4"]), ({"deployment": "openai/gpt-4o", "limit": "1"}, ["c1"]),
    ({"tag": "x"}, []), ({"tenant_id": "x"}, []),
])  # fmt: skip
def test_which_calls(reports: Reports, asked: dict[str, str], ids: list[str]) -> None:
    """Every filter is one."""
    assert [row["id"] for row in reports.calls(ADMIN, urlencode(asked))["data"]] == ids


def test_a_call(reports: Reports, store: Store) -> None:
    """With its attempts and why they were made, as the contract says."""
    at_ns = ns(2026, 11, 20, 10)
    who: dict[str, Any] = {"key_id": "key_a", "user_id": "ada", "tags": ("t",)}
    store.apply(
        "j.1",
        2,
        [
            begun("call", started_ns=at_ns, **who),
            ended("call", outcome="failed", error_code="rate_limited", cost_nusd=0, usage=Usage()),
            begun("call", 2, started_ns=at_ns + 250_000_000, **who),
            ended("call", 2, latency_ms=30.0, usage=Usage(
                prompt_tokens=10, completion_tokens=5, cache_read_tokens=4, reasoning_tokens=3,
            )),
            called("call", started_ns=at_ns, attempts=2, route=("first", "second"), **who),
        ],
    )  # fmt: skip
    found = reports.call(ADA, "call")
    attempts = found.pop("attempts")
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
    }
    cost = {"cost_usd": "0.00000012", "cost_nusd": 120, "cost_state": "exact"}
    assert found == {
        "id": "call",
        "object": "call",
        "created_at": "2026-11-20T10:00:00.000Z",
        "key_id": "key_a",
        "user_id": "ada",
        "team_id": None,
        "tenant_id": None,
        "end_user": None,
        "run": None,
        "model": "fast",
        "deployment": "openai/gpt-4o",
        "status": "complete",
        "error_code": None,
        "tags": ("t",),
        "usage": usage,
        **cost,
        "latency_ms": 0.0,
        "first_token_ms": None,
        "route": ("first", "second"),
    }
    assert [(each["n"], each["outcome"], each["error_code"]) for each in attempts] == [
        (1, "failed", "rate_limited"),
        (2, "complete", None),
    ]
    assert attempts[1] == {
        "n": 2,
        "deployment": "openai/gpt-4o",
        "outcome": "complete",
        "error_code": None,
        "usage": usage,
        **cost,
        "started_at": "2026-11-20T10:00:00.250Z",
        "latency_ms": 30.0,
        "first_token_ms": None,
    }


def test_an_unknown_cost_is_not_zero(reports: Reports, store: Store) -> None:
    """It is null."""
    unknown: dict[str, Any] = {"cost_nusd": None, "cost_state": "unknown"}
    store.apply("j.1", 2, [begun("u"), ended("u", **unknown), called("u", **unknown)])
    found = reports.call(ADMIN, "u")
    assert (found["cost_usd"], found["cost_nusd"], found["cost_state"]) == (None, None, "unknown")


# --- who may see what ----------------------------------------------------------------------------


def test_others_see_their_own(reports: Reports) -> None:
    """A user all of his keys, a key without a user itself."""
    assert [row["id"] for row in reports.calls(ADA, "")["data"]] == ["c1", "c2"]
    assert [row["id"] for row in reports.calls(KEY, "")["data"]] == ["c3"]
    for asker, names in ((ADA, {"key_a", "key_a2"}), (KEY, {"key_b"})):
        rows = reports.usage(asker, "by=key&period=all")["data"]
        assert {row["key_id"] for row in rows} == names


@pytest.mark.parametrize("asker", [ADA, KEY])
@pytest.mark.parametrize("asked", ["key_id=key_z", "user_id=zoe", "tenant_id=other"])
def test_nobody_asks_for_others(reports: Reports, asker: Asker, asked: str) -> None:
    """A filter for somebody else is refused, not answered with nothing."""
    for report in (reports.usage, reports.calls):
        with pytest.raises(Forbidden, match="only what is its own") as caught:
            report(asker, asked)
        assert caught.value.param == asked.partition("=")[0]
    with pytest.raises(Forbidden):
        reports.usage(asker, "team_id=other")


def test_filters_for_oneself(reports: Reports) -> None:
    """Another key of the same user is one's own; so are team and tenant, as far as one is there."""
    assert [row["id"] for row in reports.calls(ADA, "key_id=key_a2")["data"]] == ["c2"]
    assert reports.calls(ADA, "user_id=ada&key_id=key_a")["data"][0]["id"] == "c1"
    assert reports.usage(ADA, "tenant_id=acme&team_id=red")["data"] == []


def test_somebody_elses_call(reports: Reports) -> None:
    """There is none for who may not see it."""
    for asker, call_id in ((ADA, "c3"), (KEY, "c1"), (ADMIN, "nothing")):
        with pytest.raises(NotFound):
            reports.call(asker, call_id)


def test_a_hidden_call(reports: Reports, store: Store) -> None:
    """By its id the administrator may see it, nobody else."""
    who = {"tracked": False, "key_id": "key_b"}
    store.apply("j.1", 2, whole("hidden", started_ns=ns(2026, 11, 20), **who))
    assert reports.call(ADMIN, "hidden")["id"] == "hidden"
    with pytest.raises(NotFound):
        reports.call(KEY, "hidden")
    assert "hidden" not in {row["id"] for row in reports.calls(ADMIN, "")["data"]}


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "param"), [
    ("periode=today", "periode"), ("period=year", "period"), ("period=today&since=1", "period"),
    ("by=colour", "by"), ("since=soon", "since"), ("since=-1", "since"), ("until=9e9", "until"),
    ("since=99999999999999", "since"), ("since=0001-01-01", "since"),
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
    ("cursor=x", "cursor"), ("by=key&by=key", "by"), ("limit=%C2%B2", "limit"),
])  # fmt: skip
def test_mistakes_about_usage(reports: Reports, asked: str, param: str) -> None:
    """Named."""
    with pytest.raises(InputError) as caught:
        reports.usage(ADMIN, asked)
    assert (caught.value.param, type(caught.value)) == (param, InputError)


@pytest.mark.parametrize(("asked", "param"), [
    ("period=today", "period"), ("status=good", "status"), ("cursor=1", "cursor"),
    ("cursor=x.c1", "cursor"), ("cursor=99999999999999999999.c1", "cursor"), ("since=x", "since"),
])  # fmt: skip
def test_mistakes_about_calls(reports: Reports, asked: str, param: str) -> None:
    """Named as well."""
    with pytest.raises(InputError) as caught:
        reports.calls(ADMIN, asked)
    assert caught.value.param == param
