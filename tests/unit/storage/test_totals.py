"""Sums added up further say the same as the sums, and are what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import convert
from msgspec.structs import replace

from tests.journal_records import begun, called, died, ended, whole
from trunkline.storage import ledger
from trunkline.storage.rows import By, UsageFilter
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.storage.sums import QUARTER_NS

FILE = "owner.000000.log"
DAY_NS = 86_400 * 10**9
GROUPINGS: tuple[By, ...] = get_args(By)


def filled(store: Store) -> None:
    """Take in calls of three days by several payers, some more than once."""
    for number in range(24):
        who: dict[str, Any] = {
            "model": f"m{number % 2}",
            "key_id": "k" if number % 3 else None,
            "user_id": f"u{number % 4}",
            "team_id": "g" if number % 2 else None,
            "tenant_id": f"t{number % 2}",
            "tags": ("x", "y", "x") if number % 5 else (),
            "started_ns": number * DAY_NS // 8,
            "tracked": number % 7 > 0,
        }
        call_id = f"c{number}"
        store.apply(FILE, 1, [begun(call_id, **who), died(call_id)])
        for _ in range(2):
            store.apply(FILE, 2, [*whole(call_id, **who), begun(call_id, 2, **who)])
        store.apply(FILE, 3, [ended(call_id, 2, cost_nusd=None, cost_state="unknown")])


def counted(store: Store, by: By, where: UsageFilter) -> dict[str | None, list[int]]:
    """Return what a page says of each value."""
    return {
        row.value: [row.requests, row.cost_nusd, row.total_tokens, row.unknown_price_requests]
        for row in store.usage(by, where)
    }


def by_quarters(store: Store, by: By, where: UsageFilter) -> dict[str | None, list[int]]:
    """Return the same, read quarter by quarter, as that of each of the four users is."""
    found: dict[str | None, list[int]] = {}
    for user in range(4):
        for value, counts in counted(store, by, replace(where, user_id=f"u{user}")).items():
            before = found.setdefault(value, [0] * len(counts))
            found[value] = [one + other for one, other in zip(before, counts, strict=True)]
    return found


@pytest.mark.parametrize("tenant_id", [None, "t1"])
@pytest.mark.parametrize(
    ("since_ns", "until_ns"),
    [
        (None, None),
        (DAY_NS // 2, 2 * DAY_NS + DAY_NS // 2),
        (DAY_NS, 2 * DAY_NS),
        (DAY_NS + 5, None),
        (DAY_NS // 4, DAY_NS // 2),
        (None, DAY_NS + QUARTER_NS),
    ],
)
def test_days_and_the_rest_of_them_are_all_quarters(
    store: Store, tenant_id: str | None, since_ns: int | None, until_ns: int | None
) -> None:
    """Whole days from one table and what is left of others from another leave no call out."""
    filled(store)
    where = UsageFilter(since_ns=since_ns, until_ns=until_ns, tenant_id=tenant_id)
    found = {by: counted(store, by, where) for by in GROUPINGS}
    assert all(found.values())
    assert found == {by: by_quarters(store, by, where) for by in GROUPINGS}


@pytest.mark.parametrize("name", ["key_id", "user_id", "team_id", "tenant_id"])
def test_an_empty_name_is_nobody_and_not_everybody(store: Store, name: str) -> None:
    """Who asks for the usage of an empty name sees that of calls without one."""
    store.apply(FILE, 1, whole("a", **{name: "x"}))
    assert store.usage("model", convert({name: ""}, UsageFilter)) == []
    store.apply(FILE, 2, whole("b"))
    (row,) = store.usage("model", convert({name: ""}, UsageFilter))
    assert row.requests == 1


def test_whole_days_are_read_from_their_sums(store: Store) -> None:
    """A page of them reads no quarter."""
    filled(store)
    before = {by: store.usage(by) for by in GROUPINGS}
    with store.database.session(write=True) as db:
        db.execute("DELETE FROM usage_sums")
    assert {by: store.usage(by) for by in GROUPINGS} == before


@pytest.mark.parametrize(
    ("scope", "share"),
    [
        ("global", 24),
        ("user:u1", 6),
        ("key:k", 16),
        ("team:g", 12),
        ("tenant:t1", 12),
        ("tag:x", 19),
        ("provider:openai", 24),
        ("deployment:openai/gpt-4o", 24),
        ("user:nobody", 0),
    ],
)
def test_scopes_have_sums_of_their_own(store: Store, scope: str, share: int) -> None:
    """What is settled is each call once, hidden ones too, by whatever records it came."""
    filled(store)
    with store.database.session(write=True) as db:
        db.execute("DELETE FROM usage_sums")
    assert store.settled(scope, 0) == share * 120


def test_settled_begins_within_a_day(store: Store) -> None:
    """A quarter of an hour is the finest that is known."""
    store.apply(FILE, 1, [begun("a"), ended("a"), called("a")])
    store.apply(FILE, 2, whole("b", started_ns=QUARTER_NS))
    assert (store.settled("global", 0), store.settled("global", QUARTER_NS)) == (240, 120)


def test_what_is_asked_of_one_name_has_an_index(tmp_path: Path) -> None:
    """A lease looks at no attempt from before it, and a user's page at nobody else's quarters."""
    with SqliteDatabase(tmp_path / "trunkline.db").session() as db:
        (first, *_) = db.execute(f"EXPLAIN QUERY PLAN {ledger._OWN}", ("o", 1, 2)).fetchall()
        page = "SELECT 1 FROM usage_sums WHERE quarter > 1 AND user_id = ? AND user_id <> ''"
        (only,) = db.execute(f"EXPLAIN QUERY PLAN {page}", ("u",)).fetchall()
    assert "attempts_started (started_ns>? AND started_ns<?)" in first["detail"]
    assert "usage_sums_user (user_id=? AND quarter>?)" in only["detail"]
