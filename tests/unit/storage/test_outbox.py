"""The outbox: what is kept for hooks, exactly once for each attempt that ended."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.journal_records import begun, called, ended
from trunkline.storage.outbox import Left, Outbox
from trunkline.storage.store import Store
from trunkline.types.answer import Usage
from trunkline.types.record import PROCESS_DIED, Record

FILE = "owner.000000.log"
DAY_NS = 86_400 * 10**9


@pytest.fixture
def outbox(store: Store, tmp_path: Path) -> Outbox:
    """An outbox with one hook, `a`."""
    made = Outbox(store.database, tmp_path)
    made.subscribe(["a"], now_ns=0)
    return made


def ids(outbox: Outbox, name: str = "a", now_ns: int = 0) -> list[str]:
    """Return what is due."""
    return [each.event.id for each in outbox.due(name, now_ns, 100)]


def take(outbox: Outbox, name: str = "a") -> None:
    """Let a hook take everything."""
    outbox.settle(name, [each.event for each in outbox.due(name, 0, 100)], [])


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_one_event_for_each_attempt(store: Store, outbox: Outbox, order: tuple[int, ...]) -> None:
    """However its records come, one by one or together, and however often they are read."""
    records: list[Record] = [begun(), ended(), called()]
    for place, number in enumerate(order):
        store.apply(FILE, place, [records[number]])
    assert ids(outbox) == ["c1:1"]
    take(outbox)
    store.apply(FILE, 3, [records[number] for number in order])
    assert ids(outbox) == []
    store.apply(FILE, 4, [begun("c2"), ended("c2"), begun("c2", 2), ended("c2", 2), called("c2")])
    assert ids(outbox) == ["c2:1", "c2:2"]


def test_an_end_that_comes_after_recovery(store: Store, outbox: Outbox) -> None:
    """It is not told a second time; what waits says what is known by then."""
    died = ended(outcome="abandoned", cost_nusd=500, error_code=PROCESS_DIED)
    store.apply(FILE, 1, [begun(), died])
    store.apply(FILE, 2, [ended(), called()])
    [posted] = outbox.due("a", 0, 10)
    assert (posted.event.outcome, posted.event.cost_nusd) == ("complete", 120)


def test_what_an_event_says(store: Store, outbox: Outbox) -> None:
    """Who pays, what was used, and what it cost to the last nano-dollar."""
    usage = Usage(
        prompt_tokens=10,
        completion_tokens=5,
        cache_read_tokens=4,
        service_tier="flex",
        web_search_requests=2,
    )
    who: dict[str, Any] = {"key_id": "k", "user_id": "u", "team_id": "cus_team", "tenant_id": "t"}
    first = begun(started_ns=1_800_000_000_999_999_999, tags=("x", "y"), **who)
    end = ended(usage=usage, cost_nusd=1_000_000_001)
    outbox.subscribe(["a"], now_ns=first.started_ns)
    store.apply(FILE, 1, [first, end, called(tags=("x", "y"), **who)])
    [posted] = outbox.due("a", 0, 10)
    event = posted.event
    assert (event.call_id, event.attempt, event.created_at) == ("c1", 1, 1_800_000_000)
    assert (event.key_id, event.user_id, event.team_id, event.tenant_id) == tuple(who.values())
    assert (event.model, event.deployment, event.tags) == ("fast", "openai/gpt-4o", ("x", "y"))
    assert (event.usage.total_tokens, event.usage.cache_read_tokens) == (15, 4)
    assert (event.usage.service_tier, event.usage.web_search_requests) == ("flex", 2)
    assert (event.cost_nusd, event.cost_usd, event.cost_state) == (
        1_000_000_001,
        "1.000000001",
        "exact",
    )
    meter = event.stripe_meter_event
    assert (meter.identifier, meter.timestamp) == (event.id, event.created_at)
    assert (meter.payload.value, meter.payload.stripe_customer_id) == ("15", "cus_team")


def test_a_cost_that_is_not_known(store: Store, outbox: Outbox) -> None:
    """It is null, never 0."""
    end = ended(cost_nusd=None, cost_state="unknown")
    store.apply(FILE, 1, [begun(), end, called(cost_nusd=None)])
    [posted] = outbox.due("a", 0, 10)
    assert (posted.event.cost_nusd, posted.event.cost_usd) == (None, None)
    assert posted.event.cost_state == "unknown"


@pytest.mark.acceptance("T15")
def test_untracked_calls(store: Store, outbox: Outbox) -> None:
    """They are never told, and do not stand in the way of others."""
    hidden: list[Record] = []
    for number in range(5):
        name = f"h{number}"
        hidden += [begun(name, tracked=False), ended(name), called(name, tracked=False)]
    store.apply(FILE, 1, [*hidden, begun("x"), ended("x"), called("x")])
    assert [each.event.id for each in outbox.due("a", 0, 2)] == ["x:1"]
    take(outbox)
    assert outbox.counts() == {}


def test_what_is_not_taken_waits(store: Store, outbox: Outbox) -> None:
    """Until it is due again; what is given up stays, as dead."""
    store.apply(FILE, 1, [begun(), ended(), called(), begun("c2"), ended("c2"), called("c2")])
    first, second = [each.event for each in outbox.due("a", 0, 10)]
    outbox.settle("a", [], [Left(first, "no", 50), Left(second, "gone", None)])
    assert ids(outbox, now_ns=49) == []
    assert [each.tries for each in outbox.due("a", 50, 10)] == [1]
    assert outbox.waits("a")
    assert outbox.counts() == {"waiting": 1, "dead": 1}
    take_all = [each.event for each in outbox.due("a", 50, 10)]
    outbox.settle("a", take_all, [])
    assert not outbox.waits("a")
    assert outbox.counts() == {"dead": 1}


def test_each_hook_has_its_own(store: Store, outbox: Outbox) -> None:
    """One that comes later is told what ends later."""
    store.apply(FILE, 1, [begun(), ended(), called()])
    outbox.subscribe(["a", "b"], now_ns=0)
    store.apply(FILE, 2, [begun("c2"), ended("c2"), called("c2")])
    take(outbox)
    assert (ids(outbox), ids(outbox, "b")) == ([], ["c2:1"])


def test_a_hook_that_nobody_speaks_for(store: Store, outbox: Outbox) -> None:
    """Nothing more is kept for it after a week."""
    for number, started_ns in enumerate((7 * DAY_NS - 1, 7 * DAY_NS)):
        name = f"c{number}"
        store.apply(FILE, number, [begun(name, started_ns=started_ns), ended(name), called(name)])
    assert ids(outbox) == ["c0:1"]


def test_hooks_that_are_configured_no_more(store: Store, outbox: Outbox) -> None:
    """They go with what waits for them; others, and what is dead, stay."""
    outbox.subscribe(["https://x/", "https://y/"], now_ns=0)
    store.apply(FILE, 1, [begun(), ended(), called()])
    [posted] = outbox.due("https://y/", 0, 10)
    outbox.settle("https://y/", [], [Left(posted.event, "no", None)])
    outbox.only("http", [])
    store.apply(FILE, 2, [begun("c2"), ended("c2"), called("c2")])
    assert (ids(outbox), ids(outbox, "https://x/")) == (["c1:1", "c2:1"], [])
    assert outbox.counts() == {"waiting": 2, "dead": 1}


def test_without_hooks_there_is_nothing(store: Store, tmp_path: Path) -> None:
    """What ends is kept for nobody."""
    outbox = Outbox(store.database, tmp_path)
    outbox.only("http", [])
    store.apply(FILE, 1, [begun(), ended(), called()])
    assert outbox.counts() == {}


def test_one_at_a_time(store: Store, tmp_path: Path, outbox: Outbox) -> None:
    """Of those who would tell the same hook; another hook may be told meanwhile."""
    other = Outbox(store.database, tmp_path)
    with outbox.turn("a") as mine, other.turn("a") as theirs, other.turn("b") as another:
        assert (mine, theirs, another) == (True, False, True)
    with other.turn("a") as theirs:
        assert theirs
