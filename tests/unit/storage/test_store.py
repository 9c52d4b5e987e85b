"""The store: what is applied, in whatever order, is what queries answer."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.journal_records import begun, called, ended, whole
from trunkline.errors import RecordError
from trunkline.storage.rows import CallFilter
from trunkline.storage.store import Store
from trunkline.types.answer import Usage
from trunkline.types.call import Attempt, Cost
from trunkline.types.record import Record

FILE = "owner.000000.log"
NASTY = ["'; DROP TABLE attempts; --", '" OR 1=1 --', "%", "a:b", "ü\n", "NULL"]


def test_offsets_commit_with_their_rows(store: Store) -> None:
    """A batch that fails leaves neither rows nor sums nor a new offset."""
    assert store.offset(FILE) == 0
    store.apply(FILE, 10, whole("c1"))
    with pytest.raises(RecordError):
        store.apply(FILE, 20, [begun("c2"), ended("c2"), called("c2", kind=object())])
    assert store.offset(FILE) == 10
    assert store.settled("global", 0) == 120
    store.forget(FILE)
    assert store.offset(FILE) == 0


def test_a_call_comes_back_as_it_was_written(store: Store) -> None:
    """Every field of the three records survives the way into the tables and out."""
    numbers: dict[str, Any] = {name: i for i, name in enumerate(Usage.__struct_fields__, 1)}
    usage = Usage(**{**numbers, "service_tier": "flex"})
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


def test_whoever_observes_hears_of_what_was_taken_in(store: Store) -> None:
    """Of all records, when they are in; of a batch that failed, nothing."""
    heard: list[Record] = []
    told = Store(store.database, heard.extend)
    with pytest.raises(RecordError):
        told.apply(FILE, 1, [called(kind=object())])
    told.apply(FILE, 1, whole("a"))
    assert heard == whole("a")


def test_loose_ends_are_those_of_their_owner(store: Store) -> None:
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


def test_what_a_dead_owner_was_granted_goes(store: Store) -> None:
    """Nobody else's does."""
    with store.database.session(write=True) as db:
        db.executemany("INSERT INTO ledger_leases VALUES (1, ?, 0, 9, 0)", [("me",), ("you",)])
    store.release("me")
    with store.database.session() as db:
        assert [row["owner"] for row in db.execute("SELECT owner FROM ledger_leases")] == ["you"]


@pytest.mark.parametrize("text", NASTY)
def test_no_text_is_ever_sql(store: Store, text: str) -> None:
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


def test_threads_share_one_store(store: Store) -> None:
    """Threads that write and ask at once neither fail nor lose a row."""

    def work(number: int) -> None:
        for i in range(20):
            store.apply(f"{number}.log", i, whole(f"{number}-{i}"))
            store.usage(random.choice(["model", "tag"]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert store.settled("global", 0) == 80 * 120


def test_a_closed_store_opens_again(store: Store) -> None:
    """What was taken in is still there."""
    store.apply(FILE, 1, whole("a"))
    store.close()
    store.apply(FILE, 2, whole("b"))
    assert store.settled("global", 0) == 240
