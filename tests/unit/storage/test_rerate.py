"""Costs found out later: counted once in rows, sums and accounts, whatever cuts it short."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.journal_records import begun, called, died, ended
from trunkline.accounting.leases import Want
from trunkline.accounting.period import window
from trunkline.errors import RecordError
from trunkline.storage import rerate as module
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.outbox import Outbox
from trunkline.storage.rerate import Rerated, rerate, waiting
from trunkline.storage.store import Store
from trunkline.types import Price, Record, Usage

FILE = "owner.000000.log"
PRICE = Price(input_nusd=3_000_000, output_nusd=7_000_000, snapshot="of today")
COST_NUSD = 10 * 3 + 5 * 7
UNKNOWN: dict[str, Any] = {"cost_nusd": None, "cost_state": "unknown"}


def at(deployment: str, started_ns: int) -> Price | None:
    """Return the price of the one deployment that has one."""
    return PRICE if deployment == "openai/gpt-4o" else None


def unknown(store: Store, *ids: str, **fields: Any) -> None:
    """Take in calls of one attempt each, whose cost nobody knew."""
    for call_id in ids:
        who = {"key_id": "k", **fields}
        records: list[Record] = [
            begun(call_id, hold_nusd=None, **who),
            ended(call_id, **UNKNOWN),
            called(call_id, **UNKNOWN, **who),
        ]
        store.apply(FILE, 1, records)


def test_a_cost_is_found_out(store: Store) -> None:
    """Attempt and call have it, as an estimate at today's price; so have the sums."""
    unknown(store, "a")
    assert waiting(store.database) == 1
    assert rerate(store.database, at) == Rerated(calls=1, attempts=1, cost_nusd=COST_NUSD)
    [row] = store.calls()
    assert (row.call.cost_nusd, row.call.cost_state) == (COST_NUSD, "estimated")
    [attempt] = row.attempts
    assert (attempt.cost.nusd, attempt.price_snapshot) == (COST_NUSD, "of today")
    [usage] = store.usage("key")
    assert (usage.cost_nusd, usage.unknown_price_requests) == (COST_NUSD, 0)
    assert (usage.requests, usage.total_tokens) == (1, 15)
    assert waiting(store.database) == 0


def test_again_changes_nothing(store: Store) -> None:
    """What is known is not weighed a second time."""
    unknown(store, "a")
    rerate(store.database, at)
    assert rerate(store.database, at) == Rerated()
    assert store.usage("model")[0].cost_nusd == COST_NUSD


def test_a_dry_run_says_the_same_and_changes_nothing(store: Store) -> None:
    """Nobody else's writing is kept waiting either."""
    unknown(store, "a")
    said = rerate(store.database, at, dry_run=True)
    assert (waiting(store.database), store.usage("model")[0].cost_nusd) == (1, 0)
    assert said == rerate(store.database, at)


def test_what_has_no_price_stays_unknown(store: Store) -> None:
    """It is counted by its deployment; so is what died before anybody knew its tokens."""
    unknown(store, "a", deployment="house/x")
    store.apply(FILE, 2, [begun("b", hold_nusd=None), ended("b", **UNKNOWN, usage=Usage())])
    store.apply(FILE, 3, [called("b", **UNKNOWN)])
    report = rerate(store.database, at)
    assert report == Rerated(unknown={"house/x": 1, "openai/gpt-4o": 1})
    assert [row.call.cost_nusd for row in store.calls()] == [None, None]


def test_a_call_is_known_when_all_its_attempts_are(store: Store) -> None:
    """One attempt of two may stay unknown; its cost is added when it has a price, too."""
    store.apply(
        FILE,
        1,
        [
            begun("a", 1, deployment="house/x"),
            ended("a", 1, **UNKNOWN),
            begun("a", 2),
            ended("a", 2, **UNKNOWN),
            called("a", attempts=2, **UNKNOWN),
        ],
    )
    assert rerate(store.database, at) == Rerated(
        attempts=1, cost_nusd=COST_NUSD, unknown={"house/x": 1}
    )
    assert store.calls()[0].call.cost_state == "unknown"
    assert store.usage("model")[0].cost_nusd == COST_NUSD
    assert rerate(store.database, lambda *_: PRICE) == Rerated(
        calls=1, attempts=1, cost_nusd=COST_NUSD
    )
    assert store.calls()[0].call.cost_nusd == 2 * COST_NUSD
    assert store.usage("model")[0].unknown_price_requests == 0


def test_calls_before_since_and_calls_under_way(store: Store) -> None:
    """Both stay as they are: the end of a call still brings a cost of its own."""
    unknown(store, "a")
    store.apply(FILE, 2, [begun("b", started_ns=2_000), ended("b", **UNKNOWN)])
    assert rerate(store.database, at, since_ns=1_001) == Rerated()
    assert rerate(store.database, at).calls == 1


def test_an_attempt_that_recovery_ended(store: Store) -> None:
    """A call that died after an attempt of unknown cost is mended as well."""
    store.apply(
        FILE,
        1,
        [
            begun("a", 1),
            ended("a", 1, **UNKNOWN),
            begun("a", 2),
            died("a", 2),
            called("a", attempts=2, outcome="abandoned", error_code="process_died", **UNKNOWN),
        ],
    )
    assert rerate(store.database, at).calls == 1
    assert store.calls()[0].call.cost_nusd == COST_NUSD + 500


def test_accounts_settle_it_and_no_grant_is_touched(store: Store) -> None:
    """Whoever was granted money has not spent this from it, so all of the grant stays exposed."""
    leases = SqlLeases(store.database)
    span = window("total", 0)
    leases.grant("owner", [Want("key:k", "total", span, 10_000, 500, 500, 0, 0)])
    granted = leases.look("key:k", "total", span).exposed_nusd
    unknown(store, "a")
    rerate(store.database, at)
    seen = leases.look("key:k", "total", span)
    assert seen == (COST_NUSD, granted, 0)


def test_hooks_are_not_told_again(store: Store, tmp_path: Any) -> None:
    """What waits for a hook has the new cost when it is told; there is no second event."""
    outbox = Outbox(store.database, tmp_path)
    outbox.subscribe(["hook"], now_ns=0)
    unknown(store, "a")
    rerate(store.database, at)
    [posted] = outbox.due("hook", 0, 10)
    assert posted.event.cost_nusd == COST_NUSD


def test_cut_short_it_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every transaction is whole: after a failure in the second one nothing counts twice."""
    monkeypatch.setattr(module, "_CALLS_AT_ONCE", 2)
    unknown(store, "a", "b", "c", "d", "e")
    seen: list[int] = []

    def fails(deployment: str, started_ns: int) -> Price | None:
        seen.append(1)
        if len(seen) == 4:
            raise RecordError("gone")
        return at(deployment, started_ns)

    with pytest.raises(RecordError):
        rerate(store.database, fails)
    assert waiting(store.database) == 3
    heard: list[int] = []
    assert rerate(store.database, at, told=heard.append).calls == 3
    assert heard == [2, 1]
    [usage] = store.usage("key")
    assert (usage.cost_nusd, usage.requests) == (5 * COST_NUSD, 5)
    assert usage.unknown_price_requests == 0


def test_two_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is found out by one of them."""
    monkeypatch.setattr(module, "_CALLS_AT_ONCE", 1)
    unknown(store, *map(str, range(20)))
    with ThreadPoolExecutor(2) as hands:
        asked = [hands.submit(rerate, store.database, at) for _ in range(2)]
    assert sum(each.result().attempts for each in asked) == 20
    assert store.usage("key")[0].cost_nusd == 20 * COST_NUSD
