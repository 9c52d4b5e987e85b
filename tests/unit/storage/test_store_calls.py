"""Calls as they are asked for: filtered, page by page; and deleted when they are old."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal_records import begun, called, died_call, ended, whole
from trunkline.storage import tagged
from trunkline.storage.outbox import Left, Outbox
from trunkline.storage.rows import CallFilter
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store, _which

FILE = "owner.000000.log"


def ids(store: Store, where: CallFilter | None = None, limit: int = 50) -> list[str]:
    """Return the ids of the calls that match."""
    return [row.call.call_id for row in store.calls(limit, where)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (CallFilter(), ["c", "b", "a"]),
        (CallFilter(call_id="a"), ["a"]),
        (CallFilter(key_id="k"), ["b", "a"]),
        (CallFilter(key_id="k", user_id="u"), ["b"]),
        (CallFilter(tenant_id="t"), ["c"]),
        (CallFilter(model="big"), ["c"]),
        (CallFilter(deployment="openai/gpt-4o"), ["b", "a"]),
        (CallFilter(outcome="failed"), ["c"]),
        (CallFilter(outcome="cancelled"), []),
        (CallFilter(tag="x"), ["c", "a"]),
        (CallFilter(tag="x", until_ns=3_000), ["a"]),
        (CallFilter(tag="x", after=(3_000, "c")), ["a"]),
        (CallFilter(tag="x", key_id="k"), ["a"]),
        (CallFilter(tag="x", user_id="u"), []),
        (CallFilter(tag="x", outcome="failed"), ["c"]),
        (CallFilter(tag="nobody's"), []),
        (CallFilter(since_ns=2_000), ["c", "b"]),
        (CallFilter(until_ns=2_000), ["a"]),
        (CallFilter(since_ns=2_000, until_ns=3_000), ["b"]),
        (CallFilter(after=(2_000, "b")), ["a"]),
        (CallFilter(after=(2_000, "c")), ["b", "a"]),
        (CallFilter(key_id="k", after=(3_000, "c")), ["b", "a"]),
        (CallFilter(after=(1_000, "a")), []),
    ],
)
def test_calls_are_filtered_newest_first(
    store: Store, where: CallFilter, expected: list[str]
) -> None:
    """Filters narrow together; the newest call comes first."""
    store.apply(FILE, 1, whole("a", key_id="k", tags=("x",)))
    store.apply(FILE, 2, whole("b", key_id="k", user_id="u", started_ns=2_000))
    who: dict[str, Any] = {"tenant_id": "t", "model": "big", "tags": ("y", "x")}
    who["started_ns"] = 3_000
    store.apply(FILE, 3, [called("c", outcome="failed", deployment="other/b", **who)])
    assert ids(store, where) == expected
    assert ids(store, where, 1) == expected[:1]


def test_a_tag_too_long_for_an_index(store: Store) -> None:
    """It stops nothing: the call is there, and is found by its other tags."""
    store.apply(FILE, 1, whole("a" * 400, tags=("x", "y" * 2000)))
    assert [len(row.call.tags) for row in store.calls(where=CallFilter(tag="x"))] == [2]


@pytest.mark.parametrize("few", [0, 10_000])
def test_calls_are_found_by_their_tags(
    store: Store, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, by what was said last of it, whether many calls have the tag or few."""
    monkeypatch.setattr(tagged, "_FEW", few)
    who: dict[str, Any] = {"tags": ("x", "x", "y"), "key_id": "k"}
    for _ in range(2):
        store.apply(FILE, 1, whole("a", **who))
    store.apply(FILE, 2, [begun("b", **who), ended("b"), died_call("b", **who)])
    store.apply(FILE, 3, [called("b", tags=("x",), key_id="k", started_ns=9_000)])
    store.apply(FILE, 4, [begun("c", **who), ended("c")])
    for where in (CallFilter(tag="x"), CallFilter(tag="x", key_id="k")):
        assert ids(store, where) == ["b", "a"]
    for where in (CallFilter(tag="y"), CallFilter(tag="y", key_id="k")):
        assert ids(store, where) == ["a"]
    assert len(rows(store, "call_tags")) == 3


def test_hidden_calls(store: Store) -> None:
    """Only those see them who ask for them."""
    store.apply(FILE, 1, [*whole("seen"), *whole("hidden", tracked=False)])
    assert ids(store) == ["seen"]
    assert ids(store, CallFilter(hidden=True)) == ["seen", "hidden"]


def test_a_call_that_is_not_over(store: Store) -> None:
    """It is not there; when it is over, so are all its attempts."""
    store.apply(FILE, 1, [begun(), ended(), begun(n=2)])
    assert ids(store, CallFilter(hidden=True)) == []
    store.apply(FILE, 2, [ended(n=2), called()])
    assert [[attempt.n for attempt in row.attempts] for row in store.calls()] == [[1, 2]]


def test_pages(store: Store) -> None:
    """Every call comes once, those of the same moment too, whatever arrives meanwhile."""
    for number in range(7):
        name = f"c{number}"
        store.apply(FILE, number, whole(name, started_ns=number // 3, key_id="k"))
    seen: list[str] = []
    where = CallFilter(key_id="k")
    while page := store.calls(2, where):
        seen += [row.call.call_id for row in page]
        where = CallFilter(key_id="k", after=(page[-1].call.started_ns, page[-1].call.call_id))
        store.apply(FILE, 9, whole(f"new{len(seen)}", started_ns=9, key_id="k"))
    assert seen == ["c6", "c5", "c4", "c3", "c2", "c1", "c0"]


# --- old ones -------------------------------------------------------------------------------------


def rows(store: Store, table: str) -> list[str]:
    """Return of which calls there are rows."""
    with store.database.session() as db:
        found = db.execute(f"SELECT call_id FROM {table} ORDER BY call_id")
        return [row["call_id"] for row in found]


def test_old_calls_are_deleted(store: Store) -> None:
    """The oldest first, so many at once, with their attempts; sums and ledger stay."""
    for number in range(5):
        name = f"c{number}"
        who: dict[str, Any] = {"run": "r", "tags": ("x", "y")}
        store.apply(FILE, number, whole(name, started_ns=number * 100, **who))
    before = store.usage("model"), store.usage("day"), store.settled("global", 0)
    assert store.prune(before_ns=300, most=2) == 2
    assert rows(store, "calls") == rows(store, "attempts") == ["c2", "c3", "c4"]
    assert store.prune(before_ns=300, most=2) == 1
    assert store.prune(before_ns=300, most=2) == 0
    assert rows(store, "calls") == rows(store, "attempts") == ["c3", "c4"]
    assert rows(store, "call_tags") == ["c3", "c3", "c4", "c4"]
    assert (store.usage("model"), store.usage("day"), store.settled("global", 0)) == before
    store.apply(FILE, 9, [begun("c3"), ended("c3")])
    assert store.usage("model") == before[0]


def test_what_is_not_over_is_not_deleted(store: Store) -> None:
    """Neither a call nor what one of its attempts has still to say."""
    store.apply(FILE, 1, [begun("open"), ended("open")])
    store.apply(FILE, 2, [begun("hedge"), ended("hedge"), begun("hedge", 2), called("hedge")])
    store.apply(FILE, 3, whole("over"))
    assert store.prune(before_ns=10**6, most=9) == 1
    assert rows(store, "calls") == ["hedge", "open"]
    assert rows(store, "attempts") == ["hedge", "hedge", "open"]
    store.apply(FILE, 4, [ended("hedge", 2)])
    assert store.prune(before_ns=10**6, most=9) == 1


def test_what_a_hook_has_to_be_told_is_not_deleted(store: Store, tmp_path: Path) -> None:
    """It goes when the hook was told, or was given up."""
    outbox = Outbox(store.database, tmp_path)
    outbox.subscribe(["a"], now_ns=0)
    store.apply(FILE, 1, [*whole("told"), *whole("dead"), *whole("waits")])
    dead, told, _ = [each.event for each in outbox.due("a", 0, 9)]
    outbox.settle("a", [told], [Left(dead, "no", None)])
    assert store.prune(before_ns=10**6, most=9) == 2
    assert rows(store, "calls") == rows(store, "outbox") == ["waits"]
    assert outbox.counts() == {"waiting": 1}


def test_a_tag_has_an_index(tmp_path: Path) -> None:
    """Whoever asks for one that nobody has waits for no other call."""
    with closing(SqliteDatabase(tmp_path / "trunkline.db")) as database, database.session() as db:
        source, order, conditions, bound = _which(db, CallFilter(tag="x", until_ns=9))
        which = f"{' AND '.join(conditions)} ORDER BY {order}.started_ns DESC"
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT 1 FROM {source} WHERE {which}", bound)
        tags, *rest = (row["detail"] for row in plan)
    assert tags == "SEARCH t USING PRIMARY KEY (tag=? AND started_ns<?)"
    assert len(rest) == 1
    assert rest[0].startswith("SEARCH c USING")
