"""Calls are kept no longer than was said."""

import time
from pathlib import Path

import pytest

from tests.gateways import administered
from tests.journal_records import whole
from tests.serving import eventually
from trunkline.config import from_mapping
from trunkline.errors import RecordError
from trunkline.gateway import pruning
from trunkline.gateway.pruning import Pruner
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.storage.store import Store
from trunkline.testing import ManualClock
from trunkline.types import Record

DAY_S = 86_400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Time; two calls are deleted at once."""
    monkeypatch.setattr(pruning, "_AT_ONCE", 2)
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with nothing in it."""
    return Store(SqliteDatabase(tmp_path / "trunkline.db"))


def bring(store: Store, clock: ManualClock, *ages_days: int) -> None:
    """Have calls that are so old, each with an attempt."""
    records: list[Record] = []
    for age in ages_days:
        records += whole(f"call_{age}", started_ns=clock.now_ns() - age * DAY_S * 10**9)
    store.apply("owner.000000.log", store.offset("owner.000000.log") + 1, records)


def kept(store: Store) -> list[str]:
    """Return the calls that are there."""
    return [row.call.call_id for row in store.calls(99)]


def test_the_oldest_go_some_at_a_time(store: Store, clock: ManualClock) -> None:
    """It says when there is more, so that others have their turn; what is not too old stays."""
    bring(store, clock, 1, 2, 31, 32, 33)
    pruner = Pruner(store, clock)
    assert pruner.work(30)
    assert kept(store) == ["call_1", "call_2", "call_31"]
    while pruner.work(30):
        pass
    assert kept(store) == ["call_1", "call_2"]


def test_their_sums_go_as_well(store: Store, clock: ManualClock) -> None:
    """After them; the usage of whole days stays."""
    bring(store, clock, 1, 31, 32, 33)
    pruner = Pruner(store, clock)
    while pruner.work(30):
        pass
    with store.database.session() as db:
        (count,) = db.execute("SELECT count(*) FROM usage_sums").fetchone()
    assert count == 1
    assert [row.requests for row in store.usage("model")] == [4]


async def test_the_steward_does_it(tmp_path: Path) -> None:
    """As soon as it is there and the journal is in the store."""
    settings = {"providers": {"demo": {}}, "storage": {"keep_days": 30}}
    config = from_mapping({"llm_service": settings}, {"TRUNKLINE_DATA": str(tmp_path)})
    before = Store(SqliteDatabase(tmp_path / "trunkline.db"))
    bring(before, ManualClock(time.time_ns()), 29, 31)
    before.close()
    async with administered(config):
        await eventually(lambda: kept(before) == ["call_29"])
    before.close()


def test_once_an_hour(store: Store, clock: ManualClock) -> None:
    """Not before, by what is said then."""
    bring(store, clock, 3)
    pruner = Pruner(store, clock)
    pruner.work(30)
    clock.advance(3599)
    pruner.work(1)
    assert kept(store) == ["call_3"]
    clock.advance(1)
    pruner.work(1)
    assert kept(store) == []


def test_nothing_is_said(store: Store, clock: ManualClock) -> None:
    """Nothing goes, however old; how old it is, is told."""
    pruner = Pruner(store, clock)
    pruner.work(None)
    assert pruner.gauges() == []
    bring(store, clock, 9999)
    clock.advance(3600)
    assert not pruner.work(None)
    assert kept(store) == ["call_9999"]
    (gauge,) = pruner.gauges()
    assert gauge.value == clock.now_ns() // 10**9 - 3600 - 9999 * DAY_S


def test_a_store_that_cannot_be_used(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again in an hour, and not at each ingestion."""

    def away(before_ns: int, most: int) -> int:
        raise RecordError("away")

    bring(store, clock, 31)
    pruner = Pruner(store, clock)
    with monkeypatch.context() as patched:
        patched.setattr(store, "prune", away)
        with pytest.raises(RecordError):
            pruner.work(30)
        assert not pruner.work(30)
    clock.advance(3600)
    pruner.work(30)
    assert kept(store) == []
