"""The SQLite store: what is applied, in whatever order, is what queries answer."""

from __future__ import annotations

import itertools
import random
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal_records import begun, called, ended
from trunkline.errors import InputError, RecordError
from trunkline.storage.rows import By, CallFilter
from trunkline.storage.sqlite import SqliteStore
from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import PROCESS_DIED, Called, Ended, Record

FILE = "owner.000000.log"
DAY_NS = 86_400 * 10**9
NASTY = ["'; DROP TABLE attempts; --", '" OR 1=1 --', "%", "a:b", "ü\n", "NULL"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty store."""
    made = SqliteStore(tmp_path / "data" / "trunkline.db")
    yield made
    made.close()


def whole(call_id: str, **fields: Any) -> list[Record]:
    """Return the three records of a call of one attempt, alike in who pays."""
    model = fields.pop("model", "fast")
    return [
        begun(call_id, model=model, **fields),
        ended(call_id),
        called(call_id, model=model, **fields),
    ]


def died(call_id: str = "c1", n: int = 1) -> Ended:
    """Return the end that recovery writes."""
    return Ended(
        call_id=call_id,
        n=n,
        outcome="abandoned",
        cost_nusd=500,
        cost_state="estimated",
        error_code=PROCESS_DIED,
    )


def died_call(call_id: str = "c1") -> Called:
    """Return the call that recovery writes."""
    return called(call_id, kind="unknown", outcome="abandoned", error_code=PROCESS_DIED)


def everything(store: SqliteStore) -> object:
    """Return all that the store tells, hidden calls included."""
    return (
        store.calls(where=CallFilter(hidden=True)),
        store.usage("deployment"),
        store.settled("global", 0),
        store.settled("user:u", 0),
        store.loose_ends("owner"),
    )


def test_the_file_is_private_and_made_when_needed(tmp_path: Path) -> None:
    """Constructing touches nothing; the file and its folder are for their owner only."""
    path = tmp_path / "data" / "trunkline.db"
    store = SqliteStore(path)
    assert not path.parent.exists()
    store.apply(FILE, 1, whole("c1"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["trunkline.db"]


def test_offsets_commit_with_their_rows(store: SqliteStore) -> None:
    """A batch that fails leaves neither rows nor a new offset."""
    assert store.offset(FILE) == 0
    store.apply(FILE, 10, whole("c1"))
    with pytest.raises(RecordError):
        store.apply(FILE, 20, [begun("c2"), ended("c2", latency_ms=object())])
    assert store.offset(FILE) == 10
    assert store.settled("global", 0) == 120
    store.forget(FILE)
    assert store.offset(FILE) == 0


def test_a_call_comes_back_as_it_was_written(store: SqliteStore) -> None:
    """Every field of the three records survives the way into the tables and out."""
    usage = Usage(**{name: i for i, name in enumerate(Usage.__struct_fields__, 1)})
    call = called(
        stream=True,
        message_count=3,
        error="broke",
        error_code="truncated",
        finish="length",
        latency_ms=12.5,
        first_token_ms=3.25,
        end_user="e",
        tags=("a", "b"),
        run="r",
        route=("x", "x", "y"),
        key_id="k",
        user_id="u",
        team_id="g",
        tenant_id="t",
    )
    end = ended(
        usage=usage,
        outcome="failed",
        error="broke",
        error_code="truncated",
        finish="length",
        latency_ms=11.5,
        first_token_ms=3.0,
        upstream_id="up-1",
    )
    store.apply(FILE, 1, [begun(price_snapshot="p1"), end, call, begun("c1", 2)])
    (row,) = store.calls()
    assert row.call == call
    assert row.attempts == [
        Attempt(
            n=1,
            deployment="openai/gpt-4o",
            started_ns=1_000,
            hold_nusd=500,
            outcome="failed",
            error_code="truncated",
            error="broke",
            usage=usage,
            cost=Cost(120),
            finish="length",
            latency_ms=11.5,
            first_token_ms=3.0,
            price_snapshot="p1",
            upstream_id="up-1",
        ),
        Attempt(n=2, deployment="openai/gpt-4o", started_ns=1_000, hold_nusd=500),
    ]


REAL: list[Record] = [
    *whole("a", user_id="u"),
    begun("b"),
    ended("b"),
    begun("b", 2),
    ended("b", 2),
    called("b"),
]
RECOVERED: list[Record] = [died("a"), died_call("a"), died("b", 2), died_call("b")]


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations([*REAL, *RECOVERED, *REAL[:3]]),
    cuts=st.lists(st.integers(1, 4), min_size=15, max_size=15),
)
def test_neither_order_nor_repetition_matters(order: list[Record], cuts: list[int]) -> None:
    """Records in any order, some twice, in any batches, beside recovered ends: the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        plain, shuffled = SqliteStore(Path(folder, "1.db")), SqliteStore(Path(folder, "2.db"))
        plain.apply(FILE, 1, REAL)
        rest = iter(order)
        for cut in cuts:
            shuffled.apply(FILE, 1, list(itertools.islice(rest, cut)))
        assert everything(shuffled) == everything(plain)
        plain.close()
        shuffled.close()


def test_loose_ends_are_those_of_their_owner(store: SqliteStore) -> None:
    """Only open attempts, and all of open calls, of exactly this owner come back."""
    store.apply("me.000000.log", 1, whole("done"))
    store.apply("me.000001.log", 1, [begun("open"), begun("half"), ended("half"), begun("half", 2)])
    store.apply("me2.000000.log", 1, [begun("other")])
    store.apply("me.000002.log", 1, [begun("hedge"), called("hedge"), ended("headless")])
    assert store.loose_ends("me") == [
        (begun("half"), Cost(120)),
        (begun("half", 2), None),
        (begun("hedge"), None),
        (begun("open"), None),
    ]
    assert store.loose_ends("m") == []


@pytest.mark.parametrize(
    ("by", "name", "expected"),
    [
        ("model", "model", {"fast": 2, "big": 1}),
        ("deployment", "deployment", {"openai/gpt-4o": 3, "anthropic/x": 1}),
        ("provider", "provider", {"openai": 3, "anthropic": 1}),
        ("key", "key_id", {"k1": 2, "k2": 1}),
        ("user", "user_id", {"u1": 1, None: 2}),
        ("tenant", "tenant_id", {"t1": 3}),
        ("tag", "tag", {"x": 2, "y": 1, None: 1}),
        ("day", "day", {"1970-01-01": 2, "1970-01-02": 1}),
    ],
)
def test_usage_is_grouped(
    store: SqliteStore, by: By, name: str, expected: dict[str | None, int]
) -> None:
    """Each grouping counts the calls of each value; a tag given twice counts once."""
    store.apply(FILE, 1, whole("1", key_id="k1", user_id="u1", tenant_id="t1", tags=("x", "x")))
    store.apply(FILE, 2, whole("2", key_id="k1", tenant_id="t1", tags=("x", "y")))
    store.apply(FILE, 3, whole("3", model="big", key_id="k2", tenant_id="t1", started_ns=DAY_NS))
    store.apply(FILE, 4, [begun("3", 2, deployment="anthropic/x"), ended("3", 2)])
    rows = store.usage(by)
    assert {row.value: row.requests for row in rows} == expected
    assert [next(iter(row.to_dict())) for row in rows] == [name] * len(rows)
    if by == "tag":
        assert {row.value: row.cost_nusd for row in rows} == {"x": 240, "y": 120, None: 240}
    else:
        assert sum(row.cost_nusd for row in rows) == 4 * 120


def test_usage_sums_are_exact(store: SqliteStore) -> None:
    """Tokens and money are summed over all attempts, as ints, far beyond what a float can hold."""
    usage = Usage(
        prompt_tokens=2**52 + 1, completion_tokens=7, cache_read_tokens=3, reasoning_tokens=5
    )
    for i in range(3):
        end = ended(f"c{i}", usage=usage, cost_nusd=2**52 + 1)
        store.apply(FILE, i, [begun(f"c{i}"), end, called(f"c{i}")])
    store.apply(FILE, 4, [begun("c0", 2), ended("c0", 2, cost_nusd=None, cost_state="unknown")])
    store.apply(FILE, 5, [begun("c1", 2)])
    (row,) = store.usage("model")
    assert row.to_dict() == {
        "model": "fast",
        "requests": 3,
        "prompt_tokens": 3 * (2**52 + 1) + 10,
        "completion_tokens": 3 * 7 + 5,
        "total_tokens": 3 * (2**52 + 1 + 7) + 15,
        "cached_tokens": 9,
        "reasoning_tokens": 15,
        "cost_nusd": 3 * (2**52 + 1),
        "unknown_price_requests": 1,
    }


def test_usage_counts_a_call_that_made_no_attempt(store: SqliteStore) -> None:
    """A refused call is a request without tokens; it has no deployment."""
    store.apply(FILE, 1, [called(attempts=0, outcome="failed", deployment=None, cost_nusd=0)])
    (row,) = store.usage("model")
    assert (row.requests, row.total_tokens, row.cost_nusd, row.unknown_price_requests) == (
        1,
        0,
        0,
        0,
    )
    assert store.usage("deployment") == []


def test_usage_has_bounds(store: SqliteStore) -> None:
    """`since` is included, `until` is not."""
    for i in range(1, 5):
        store.apply(FILE, i, whole(f"c{i}", started_ns=i * 100))
    (row,) = store.usage("model", since_ns=200, until_ns=400)
    assert row.requests == 2
    assert store.usage("model", since_ns=500) == []


def test_hidden_calls_are_settled_but_not_shown(store: SqliteStore) -> None:
    """`track_tokens=False` writes nothing a usage page shows; the ledger counts it all the same."""
    store.apply(FILE, 1, [*whole("seen"), *whole("hidden", tracked=False)])
    (row,) = store.usage("model")
    assert (row.requests, row.cost_nusd) == (1, 120)
    assert [row.call.call_id for row in store.calls()] == ["seen"]
    assert (store.calls()[0].call.prompt_tokens, store.calls()[0].call.completion_tokens) == (10, 5)
    assert len(store.calls(where=CallFilter(hidden=True))) == 2
    assert store.settled("global", 0) == 240


def test_a_call_that_is_not_over_is_settled_but_not_shown(store: SqliteStore) -> None:
    """Who pays is known from its first attempt on, and counts once when the call ends."""
    payer: dict[str, Any] = {"user_id": "u", "tags": ("x", "x")}
    store.apply(FILE, 1, [begun(**payer), ended(), begun(n=2, **payer)])
    assert store.calls(where=CallFilter(hidden=True)) == []
    assert store.usage("user") == []
    assert store.settled("user:u", 0) == store.settled("tag:x", 0) == 120 + 500
    store.apply(FILE, 2, [ended(n=2), called(**payer)])
    assert [len(row.attempts) for row in store.calls()] == [2]
    assert [(row.value, row.requests) for row in store.usage("tag")] == [("x", 1)]
    assert store.settled("user:u", 0) == store.settled("tag:x", 0) == 240


def test_settled_by_scope(store: SqliteStore) -> None:
    """Every scope finds its own attempts: ended at cost, open at hold, unknown at nothing."""
    who: dict[str, Any] = {
        "key_id": "k",
        "user_id": "u",
        "team_id": "g",
        "tenant_id": "t",
        "run": "r",
    }
    store.apply(FILE, 1, [begun("1", tags=("x", "y"), **who), ended("1")])
    store.apply(FILE, 2, [begun("2", tags=("xx",), deployment="openaix/gpt-4o")])
    store.apply(FILE, 3, [begun("3", hold_nusd=None), begun("4"), ended("4", cost_nusd=None)])
    assert store.settled("global", 0) == 620
    for scope in ("key:k", "user:u", "team:g", "tenant:t", "run:r", "tag:x", "tag:y"):
        assert store.settled(scope, 0) == 120
    assert store.settled("provider:openai", 0) == 120
    assert store.settled("deployment:openaix/gpt-4o", 0) == 500
    assert store.settled("user:nobody", 0) == 0
    assert store.settled("user:u", 1_000) == 120
    assert store.settled("user:u", 1_001) == 0


@pytest.mark.parametrize("scope", ["", "user", "user:", "planet:mars", "Global", "global2"])
def test_an_unknown_scope_is_refused(store: SqliteStore, scope: str) -> None:
    """The error says what scopes there are."""
    with pytest.raises(InputError, match="use global, key:"):
        store.settled(scope, 0)


def test_an_unknown_grouping_is_refused(store: SqliteStore) -> None:
    """The error says what groupings there are; nothing of it reaches the SQL."""
    with pytest.raises(InputError, match="use model, deployment"):
        store.usage("model; DROP TABLE calls")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (CallFilter(), ["c", "b", "a"]),
        (CallFilter(call_id="a"), ["a"]),
        (CallFilter(key_id="k"), ["b", "a"]),
        (CallFilter(key_id="k", user_id="u"), ["b"]),
        (CallFilter(tenant_id="t"), ["c"]),
        (CallFilter(model="big"), ["c"]),
        (CallFilter(outcome="failed"), []),
        (CallFilter(tag="x"), ["a"]),
        (CallFilter(since_ns=2_000), ["c", "b"]),
    ],
)
def test_calls_are_filtered_newest_first(
    store: SqliteStore, where: CallFilter, expected: list[str]
) -> None:
    """Filters narrow together; the newest call comes first."""
    store.apply(FILE, 1, whole("a", key_id="k", tags=("x",)))
    store.apply(FILE, 2, whole("b", key_id="k", user_id="u", started_ns=2_000))
    store.apply(FILE, 3, whole("c", tenant_id="t", model="big", started_ns=3_000))
    assert [row.call.call_id for row in store.calls(where=where)] == expected
    assert [row.call.call_id for row in store.calls(1, where)] == expected[:1]


@pytest.mark.parametrize("text", NASTY)
def test_no_text_is_ever_sql(store: SqliteStore, text: str) -> None:
    """Whatever stands in a record or a question is a value and nothing else."""
    names = ("key_id", "user_id", "tenant_id", "model")
    store.apply(
        text, 1, [*whole(text, **dict.fromkeys(names, text), tags=(text,)), *whole("other")]
    )
    assert store.offset(text) == 1
    assert store.settled(f"user:{text}", 0) == store.settled(f"tag:{text}", 0) == 120
    for name in (*names, "tag", "call_id"):
        where: dict[str, Any] = {name: text}
        (row,) = store.calls(where=CallFilter(**where))
        assert row.call.call_id == text
    assert {row.value for row in store.usage("tag")} == {text, None}
    assert store.loose_ends(text) == []


def test_absurd_numbers_do_not_stop_anything(store: SqliteStore) -> None:
    """A provider that reports 2**64 tokens is cut to the largest number; sums still add up."""
    usage = Usage(prompt_tokens=2**64 - 1, completion_tokens=-(2**63))
    for i in range(100):
        end = ended(f"c{i}", usage=usage, cost_nusd=2**64 - 1)
        store.apply(FILE, i, [begun(f"c{i}"), end, called(f"c{i}")])
    (row,) = store.usage("model")
    assert row.prompt_tokens == row.cost_nusd == 100 * 2**53
    assert row.completion_tokens == -100 * 2**53


def test_a_newer_schema_is_refused(store: SqliteStore, tmp_path: Path) -> None:
    """A file that a newer version wrote is left alone, with words on what to do."""
    store.apply(FILE, 1, whole("c1"))
    store.close()
    with sqlite3.connect(tmp_path / "data" / "trunkline.db") as db:
        db.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    db.close()
    with pytest.raises(RecordError, match=r"newer Trunkline \(schema 2"):
        store.usage("model")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_file_that_is_no_database_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file; its content is left alone."""
    path = tmp_path / "trunkline.db"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"trunkline\.db.*TRUNKLINE_DATA"):
        SqliteStore(path).usage("model")
    assert path.read_bytes() == content


def test_threads_share_one_store(store: SqliteStore) -> None:
    """Threads that write and ask at once neither fail nor lose a row."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(20):
                store.apply(f"{number}.log", i, whole(f"{number}-{i}"))
                store.usage(random.choice(["model", "tag"]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.settled("global", 0) == 80 * 120


def test_two_stores_of_one_process_see_each_other(store: SqliteStore, tmp_path: Path) -> None:
    """What one commits the other reads, and closing one does not disturb the other."""
    other = SqliteStore(tmp_path / "data" / "trunkline.db")
    store.apply(FILE, 1, whole("a"))
    assert other.settled("global", 0) == 120
    other.close()
    store.apply(FILE, 2, whole("b"))
    assert store.settled("global", 0) == 240
