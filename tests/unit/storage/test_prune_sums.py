"""Sums by the quarter of an hour are not kept for ever; those by the day are."""

from tests.journal_records import whole
from trunkline.storage.rows import UsageFilter
from trunkline.storage.store import Store

DAY_NS = 86_400 * 10**9
FIRST = 20_000
"""A day."""


def quarters(store: Store) -> list[int]:
    """Return the days of which there are quarters."""
    with store.database.session() as db:
        rows = db.execute("SELECT DISTINCT quarter / 96 AS day FROM usage_sums ORDER BY day")
        return [row["day"] for row in rows]


def bring(store: Store, *days: int) -> None:
    """Have a call at noon of each day, with names of its own."""
    for day in days:
        about = {"user_id": f"u{day}", "tags": (f"t{day}",), "tenant_id": "acme"}
        noon_ns = day * DAY_NS + DAY_NS // 2
        store.apply("owner.log", day, whole(f"c{day}", started_ns=noon_ns, **about))


def test_the_oldest_go_some_at_a_time(store: Store) -> None:
    """Of days that were over by then, and no part of a day."""
    bring(store, *range(FIRST, FIRST + 6))
    before_ns = (FIRST + 4) * DAY_NS + DAY_NS * 3 // 4
    assert store.prune_sums(before_ns, 3) == 3
    assert quarters(store) == [FIRST + 3, FIRST + 4, FIRST + 5]
    assert store.prune_sums(before_ns, 3) == 1
    assert store.prune_sums(before_ns, 3) == 0
    assert quarters(store) == [FIRST + 4, FIRST + 5]


def test_whole_days_and_budgets_keep_theirs(store: Store) -> None:
    """Whatever they are asked by; for one user alone, what is left is all there is."""
    bring(store, FIRST, FIRST + 1, FIRST + 9)
    ranges = [UsageFilter(), UsageFilter(tenant_id="acme"), UsageFilter(since_ns=FIRST * DAY_NS)]
    known = [store.usage(by, where) for by in ("user", "tag", "day", "model") for where in ranges]
    settled = [store.settled(scope, 0) for scope in ("global", f"user:u{FIRST}", f"tag:t{FIRST}")]
    assert store.prune_sums((FIRST + 9) * DAY_NS, 99) == 2
    assert known == [
        store.usage(by, where) for by in ("user", "tag", "day", "model") for where in ranges
    ]
    assert settled == [
        store.settled(scope, 0) for scope in ("global", f"user:u{FIRST}", f"tag:t{FIRST}")
    ]
    assert store.usage("day", UsageFilter(user_id=f"u{FIRST}")) == []
    assert len(store.usage("day", UsageFilter(user_id=f"u{FIRST + 9}"))) == 1


def test_what_comes_late_goes_with_the_next(store: Store) -> None:
    """It is counted by the day all the same."""
    bring(store, FIRST + 9)
    store.prune_sums((FIRST + 9) * DAY_NS, 99)
    bring(store, FIRST)
    assert [row.value for row in store.usage("user")] == [f"u{FIRST}", f"u{FIRST + 9}"]
    assert store.prune_sums((FIRST + 9) * DAY_NS, 99) == 1
    assert [row.value for row in store.usage("user")] == [f"u{FIRST}", f"u{FIRST + 9}"]
