"""Usage and what is settled, out of sums that were added up as records came."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.journal_records import begun, called, died, died_call, ended, whole
from trunkline.errors import InputError
from trunkline.storage.rows import By, UsageFilter
from trunkline.storage.store import Store
from trunkline.storage.sums import QUARTER_NS
from trunkline.types.answer import Usage

FILE = "owner.000000.log"
DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("by", "name", "expected"),
    [
        ("model", "model", {"fast": 2, "big": 1}),
        ("deployment", "deployment", {"openai/gpt-4o": 3, "anthropic/x": 1}),
        ("provider", "provider", {"openai": 3, "anthropic": 1}),
        ("key", "key_id", {"k1": 2, "k2": 1}),
        ("user", "user_id", {"u1": 1, None: 2}),
        ("team", "team_id", {"g1": 2, "g2": 1}),
        ("tenant", "tenant_id", {"t1": 3}),
        ("tag", "tag", {"x": 2, "y": 1, None: 1}),
        ("day", "day", {"1970-01-01": 2, "1970-01-02": 1}),
    ],
)
def test_usage_is_grouped(store: Store, by: By, name: str, expected: dict[str | None, int]) -> None:
    """Each grouping counts the calls of each value; a tag given twice counts once."""
    plain = {"key_id": "k1", "team_id": "g1", "tenant_id": "t1"}
    late = {"key_id": "k2", "team_id": "g2", "tenant_id": "t1", "started_ns": DAY_NS}
    again = begun("3", 2, model="big", deployment="anthropic/x", **late)
    store.apply(FILE, 1, whole("1", user_id="u1", tags=("x", "x"), **plain))
    store.apply(FILE, 2, whole("2", tags=("x", "y"), **plain))
    store.apply(FILE, 3, [*whole("3", model="big", **late), again, ended("3", 2)])
    rows = store.usage(by)
    assert {row.value: row.requests for row in rows} == expected
    assert [next(iter(row.to_dict())) for row in rows] == [name] * len(rows)
    if by == "tag":
        assert {row.value: row.cost_nusd for row in rows} == {"x": 240, "y": 120, None: 240}
    else:
        assert sum(row.cost_nusd for row in rows) == 4 * 120


def test_usage_is_summed_over_all_attempts(store: Store) -> None:
    """Failed ones and those of unknown cost included; not those that have not ended."""
    usage = Usage(prompt_tokens=9, completion_tokens=7, cache_read_tokens=3, reasoning_tokens=5)
    unknown: dict[str, Any] = {"cost_nusd": None, "cost_state": "unknown"}
    store.apply(FILE, 1, [begun("a"), ended("a", usage=usage, outcome="failed")])
    store.apply(FILE, 2, [begun("a", 2), ended("a", 2, **unknown), called("a", **unknown)])
    store.apply(FILE, 3, [*whole("b"), begun("b", 2)])
    (row,) = store.usage("model")
    assert row.to_dict() == {
        "model": "fast",
        "requests": 2,
        "prompt_tokens": 9 + 10 + 10,
        "completion_tokens": 7 + 5 + 5,
        "total_tokens": 46,
        "cached_tokens": 3,
        "reasoning_tokens": 5,
        "cost_nusd": 240,
        "unknown_price_requests": 1,
    }
    (row,) = store.usage("deployment")
    assert (row.requests, row.unknown_price_requests) == (3, 1)


def test_sums_are_exact_beyond_what_a_float_holds(store: Store) -> None:
    """To the last nano-dollar."""
    end = ended(usage=Usage(prompt_tokens=2**43 - 1), cost_nusd=2**43 - 1)
    records = [(begun(n=n), replace(end, n=n)) for n in range(2999)]
    store.apply(FILE, 1, [record for pair in records for record in pair])
    (row,) = store.usage("model")
    assert row.prompt_tokens == row.cost_nusd == 2999 * (2**43 - 1)


def test_absurd_numbers_do_not_stop_anything(store: Store) -> None:
    """A provider that reports 2**64 tokens is cut to the largest number; sums still add up."""
    usage = Usage(prompt_tokens=2**64 - 1, completion_tokens=-(2**63))
    end = ended(usage=usage, cost_nusd=2**64 - 1)
    records = [(begun(n=n), replace(end, n=n)) for n in range(1500)]
    store.apply(FILE, 1, [record for pair in records for record in pair])
    (row,) = store.usage("model")
    assert row.prompt_tokens == row.cost_nusd == 1500 * 2**43
    assert row.completion_tokens == -1500 * 2**43


def test_the_dearest_come_first(store: Store) -> None:
    """Then those with the most tokens, then by name."""
    for name, cost_nusd, tokens in (("d", 1, 1), ("b", 1, 2), ("c", 1, 2), ("a", None, 9)):
        end = ended(name, cost_nusd=cost_nusd, usage=Usage(prompt_tokens=tokens))
        store.apply(FILE, 1, [begun(name, model=name), end, called(name, model=name)])
    assert [row.value for row in store.usage("model")] == ["b", "c", "d", "a"]


def test_an_empty_name_is_none(store: Store) -> None:
    """Of a tag or a user alike."""
    store.apply(FILE, 1, [*whole("a", tags=("",), user_id=""), *whole("b")])
    for by in ("tag", "user"):
        assert [(row.value, row.requests) for row in store.usage(by)] == [(None, 2)]


def test_a_call_that_made_no_attempt(store: Store) -> None:
    """A refused call is a request without tokens; it has no deployment."""
    store.apply(FILE, 1, [called(attempts=0, outcome="failed", deployment=None, cost_nusd=0)])
    (row,) = store.usage("model")
    assert (row.requests, row.total_tokens, row.cost_nusd) == (1, 0, 0)
    assert row.unknown_price_requests == 0
    assert store.usage("deployment") == store.usage("provider") == []


def test_a_call_that_is_not_over(store: Store) -> None:
    """What its attempts cost is there when they end; it is a request when it is over itself."""
    store.apply(FILE, 1, [begun(tags=("x", "x")), ended(), begun(n=2)])
    (row,) = store.usage("tag")
    assert (row.value, row.requests, row.cost_nusd) == ("x", 0, 120)
    store.apply(FILE, 2, [ended(n=2), called(tags=("x",))])
    (row,) = store.usage("tag")
    assert (row.value, row.requests, row.cost_nusd) == ("x", 1, 240)


def test_hidden_calls_are_settled_but_not_shown(store: Store) -> None:
    """`track_tokens=False` writes nothing a usage page shows; the ledger counts it all the same."""
    store.apply(FILE, 1, [*whole("seen"), *whole("hidden", tracked=False)])
    (row,) = store.usage("model")
    assert (row.requests, row.cost_nusd) == (1, 120)
    assert store.settled("global", 0) == 240


@pytest.mark.parametrize(
    ("since", "until", "requests"),
    [
        (None, None, 4),
        (1 * QUARTER_NS, None, 3),
        (2 * QUARTER_NS - 1, None, 3),
        (None, 2 * QUARTER_NS, 2),
        (None, 2 * QUARTER_NS + 1, 3),
        (1 * QUARTER_NS, 3 * QUARTER_NS, 2),
        (4 * QUARTER_NS, None, 0),
        (None, 0, 0),
    ],
)
def test_usage_has_bounds(
    store: Store, since: int | None, until: int | None, requests: int
) -> None:
    """A bound takes the whole quarter of an hour that it falls into."""
    for i in range(4):
        store.apply(FILE, i, whole(f"c{i}", started_ns=i * QUARTER_NS + 5))
    rows = store.usage("model", UsageFilter(since_ns=since, until_ns=until))
    assert sum(row.requests for row in rows) == requests


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (UsageFilter(key_id="k"), 2),
        (UsageFilter(user_id="u"), 1),
        (UsageFilter(team_id="g"), 1),
        (UsageFilter(tenant_id="t"), 1),
        (UsageFilter(key_id="k", user_id="u"), 1),
        (UsageFilter(key_id="k", tenant_id="t"), 0),
        (UsageFilter(key_id="' OR 1=1 --"), 0),
        (UsageFilter(key_id="k", since_ns=QUARTER_NS), 0),
    ],
)
def test_usage_of_some(store: Store, where: UsageFilter, expected: int) -> None:
    """Filters narrow together, whatever it is grouped by."""
    store.apply(FILE, 1, whole("a", key_id="k", tags=("x",)))
    store.apply(FILE, 2, whole("b", key_id="k", user_id="u", tags=("x",)))
    store.apply(FILE, 3, whole("c", tenant_id="t", team_id="g", tags=("x",)))
    for by in ("model", "provider", "tag"):
        assert sum(row.requests for row in store.usage(by, where)) == expected


def test_a_real_end_replaces_a_recovered_one(store: Store) -> None:
    """It takes its place in every sum, also where the call began in another quarter or ended
    elsewhere; the reverse changes nothing.
    """
    first = begun(started_ns=DAY_NS, hold_nusd=None)
    lost = ended(outcome="abandoned", cost_nusd=None, error_code="process_died", usage=Usage())
    gone = died_call(started_ns=DAY_NS, cost_nusd=None, cost_state="unknown")
    store.apply(FILE, 1, [first, lost, gone])
    (row,) = store.usage("day")
    assert (row.value, row.requests, row.unknown_price_requests) == ("1970-01-02", 1, 1)
    store.apply(FILE, 2, [ended(), called(started_ns=DAY_NS - 1, deployment="other/b")])
    late, early = store.usage("day")
    assert (late.value, late.requests, late.cost_nusd) == ("1970-01-02", 0, 120)
    assert (late.prompt_tokens, late.unknown_price_requests) == (10, 0)
    assert (early.value, early.requests, early.cost_nusd) == ("1970-01-01", 1, 0)
    before = store.usage("model"), store.usage("deployment"), store.settled("global", 0)
    store.apply(FILE, 3, [first, died(), died_call()])
    assert (store.usage("model"), store.usage("deployment"), store.settled("global", 0)) == before


def test_settled_by_scope(store: Store) -> None:
    """Every scope finds its own attempts that ended; one of unknown cost counts with nothing."""
    who: dict[str, Any] = {"key_id": "k", "user_id": "u", "team_id": "g", "tenant_id": "t"}
    who["run"] = "r"
    store.apply(FILE, 1, [begun("1", tags=("x", "y"), **who), ended("1")])
    store.apply(FILE, 2, [begun("2", tags=("xx",), deployment="openaix/gpt-4o"), ended("2")])
    store.apply(FILE, 3, [begun("3", **who), begun("4", **who), ended("4", cost_nusd=None)])
    assert store.settled("global", 0) == 240
    for scope in ("key:k", "user:u", "team:g", "tenant:t", "run:r", "tag:x", "tag:y"):
        assert store.settled(scope, 0) == 120
    assert store.settled("provider:openai", 0) == 120
    assert store.settled("deployment:openaix/gpt-4o", 0) == 120
    assert store.settled("user:nobody", 0) == store.settled("run:nobody", 0) == 0


@pytest.mark.parametrize("scope", ["user:u", "run:r", "global"])
def test_settled_since(store: Store, scope: str) -> None:
    """Attempts count that began in that quarter of an hour or later."""
    for i in range(3):
        store.apply(FILE, i, whole(f"{i}", started_ns=i * QUARTER_NS, user_id="u", run="r"))
    assert [store.settled(scope, i * QUARTER_NS) for i in range(4)] == [360, 240, 120, 0]


@pytest.mark.parametrize("scope", ["", "user", "user:", "planet:mars", "Global", "global2"])
def test_an_unknown_scope_is_refused(store: Store, scope: str) -> None:
    """The error says what scopes there are."""
    with pytest.raises(InputError, match="use global, key:"):
        store.settled(scope, 0)


def test_an_unknown_grouping_is_refused(store: Store) -> None:
    """The error says what groupings there are; nothing of it reaches the SQL."""
    with pytest.raises(InputError, match="use model, deployment"):
        store.usage("model; DROP TABLE calls")  # type: ignore[arg-type]
