"""Days added up to spans of days: always the same sums, from fewer rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal_records import begun, called, died, ended, whole
from trunkline.storage import spans
from trunkline.storage.rerate import rerate
from trunkline.storage.rows import By, UsageFilter
from trunkline.storage.store import Store
from trunkline.types.deployment import Price

FILE = "owner.000000.log"
DAY_NS = 86_400 * 10**9
GROUPINGS: tuple[By, ...] = get_args(By)
PRICE = Price(input_nusd=10**6, output_nusd=10**6, snapshot="of today")


def made(store: Store) -> int:
    """Return the day before which spans are made."""
    with store.database.session() as db:
        return spans.made(db)


def pages(store: Store, first: int, last: int) -> dict[str, list[object]]:
    """Return all pages about these days."""
    found: dict[str, list[object]] = {}
    for tenant_id in (None, "t1"):
        where = UsageFilter(since_ns=first * DAY_NS, until_ns=last * DAY_NS, tenant_id=tenant_id)
        found |= {f"{by} {tenant_id}": [*store.usage(by, where)] for by in GROUPINGS}
    return found


def by_days(store: Store, first: int, last: int) -> dict[str, list[object]]:
    """Return the same, read day by day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "made", lambda db: 0)
        return pages(store, first, last)


def take(store: Store, name: str, day: int, tenant_id: str = "t1") -> None:
    """Take a call in, by a user of its own day of the week."""
    who: dict[str, Any] = {
        "user_id": f"u{day % 7}",
        "tenant_id": tenant_id,
        "tags": ("x", f"{day % 3}"),
    }
    store.apply(FILE, 1, whole(name, started_ns=day * DAY_NS + 5, **who))


@pytest.mark.parametrize(
    ("first", "last", "until", "expected"),
    [
        (0, 0, 99, []),
        (3, 4, 99, [(1, 3, 4)]),
        (3, 99, 0, [(1, 3, 99)]),
        (2, 9, 8, [(2, 2, 4), (4, 4, 8), (1, 8, 9)]),
        (1, 8, 8, [(1, 1, 2), (2, 2, 4), (4, 4, 8)]),
        (0, 7, 99, [(4, 0, 4), (2, 4, 6), (1, 6, 7)]),
        (0, 1600, 1570, [(512, 0, 1536), (32, 1536, 1568), (2, 1568, 1570), (1, 1570, 1600)]),
    ],
)
def test_what_days_are_made_of(
    first: int, last: int, until: int, expected: list[tuple[int, int, int]]
) -> None:
    """Spans as large as there are; days where none is made, and at the edges."""
    assert spans.parts(first, last, until) == expected


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    days=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    between=st.tuples(st.integers(0, 40), st.integers(1, 41)),
)
def test_spans_say_what_their_days_do(
    store: Store, clear: Callable[[], None], days: list[int], between: tuple[int, int]
) -> None:
    """Whenever calls come, late ones too, and whichever days are asked for."""
    clear()
    for number, day in enumerate(days):
        take(store, f"c{number}", day, f"t{number % 2}")
    first, last = min(between), max(between)
    assert pages(store, first, last) == by_days(store, first, last)
    assert pages(store, 0, 41) == by_days(store, 0, 41)


def test_spans_are_made_when_their_days_are_over(store: Store) -> None:
    """Some days in one turn; then they are what is read."""
    for day in range(21):
        take(store, f"c{day}", day)
    assert made(store) == 20
    before = {by: store.usage(by) for by in GROUPINGS if by != "day"}
    with store.database.session(write=True) as db:
        db.execute("DELETE FROM usage_days WHERE day < 20")
    assert {by: store.usage(by) for by in GROUPINGS if by != "day"} == before


def test_what_was_there_before_spans_were(store: Store) -> None:
    """As of a database that was upgraded: some days in each turn, and a long pause in one."""
    for day in (0, 30, 31, 1000):
        take(store, f"c{day}", day)
    with store.database.session(write=True) as db:
        db.execute("DELETE FROM usage_spans")
        db.execute("DELETE FROM meta WHERE key = 'usage_spans_until'")
    expected = by_days(store, 0, 1001)
    seen = [made(store)]
    while seen[-1] < 1000:
        assert pages(store, 0, 1001) == expected
        store.apply(FILE, 2, [])
        seen.append(made(store))
    assert seen == [0, 8, 38, 1000]
    assert pages(store, 0, 1001) == expected


def test_a_clock_that_was_wrong(store: Store) -> None:
    """A call of the far future has all spans made: what comes then is late, and counted."""
    take(store, "a", 1)
    take(store, "future", 90_001)
    for number in range(3):
        store.apply(FILE, 1, [])
        take(store, f"b{number}", 20_000 + number)
    assert made(store) == 90_000
    assert pages(store, 0, 90_002) == by_days(store, 0, 90_002)
    assert sum(row.requests for row in store.usage("model")) == 5


def test_spans_follow_what_changes_later(store: Store) -> None:
    """A real end after one that recovery made, and a price that was found out."""
    store.apply(FILE, 1, [begun("a"), died("a")])
    unknown: dict[str, Any] = {"cost_nusd": None, "cost_state": "unknown"}
    store.apply(FILE, 1, [begun("b"), ended("b", **unknown), called("b", **unknown)])
    for day in range(1, 9):
        take(store, f"d{day}", day)
    store.apply(FILE, 1, [ended("a")])
    assert rerate(store.database, lambda *_: PRICE).attempts == 1
    assert made(store) == 8
    assert pages(store, 0, 9) == by_days(store, 0, 9)
    with store.database.session() as db:
        (cost_nusd,) = db.execute(
            "SELECT sum(cost_nusd) FROM usage_spans WHERE days = 8 AND kind = 'model'"
        ).fetchone()
    assert cost_nusd == 8 * 120 + 15
