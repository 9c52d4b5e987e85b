"""The engine breaks while it ends: nothing is spent twice, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.ledgers import TARGET, ask, budget, ledger_of, quote, shared, spend
from trunkline.accounting.leases import Unsure
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.period import window
from trunkline.errors import BudgetExhausted, BudgetHeld, RecordError
from trunkline.storage.ledger import SqlLeases
from trunkline.storage.sqlite import SqliteDatabase
from trunkline.testing import ManualClock
from trunkline.types import Cost

EVER = window("total", 0)


class Breaking:
    """Leases that do what they are asked for and cannot say so."""

    def __init__(self, leases: SqlLeases) -> None:
        self.leases = leases
        self.breaks = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.leases, name)
        return self._broken(method) if self.breaks else method

    def _broken(self, method: Callable[..., object]) -> Callable[..., None]:
        def call(*args: object, **more: object) -> None:
            method(*args, **more)
            raise Unsure("the server went away")

        return call

    @property
    def exposed_nusd(self) -> int:
        """What is held, or spent and not ingested."""
        return self.leases.look("global", "total", EVER).exposed_nusd


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Breaking]:
    """Leases that do not break yet."""
    with closing(SqliteDatabase(tmp_path / "ledger.db")) as database:
        yield Breaking(SqlLeases(database))


def ledger_at(leases: Breaking, woken: list[bool]) -> Ledger:
    """Make the ledger of one process, with a budget of 100 nano-USD."""
    to = shared(leases, wake=lambda: woken.append(True))
    return Ledger([budget()], ManualClock(), to)


async def test_what_was_granted_unheard_goes_back(leases: Breaking) -> None:
    """By itself, when the engine can be asked again; the ledger has itself called for that."""
    woken: list[bool] = []
    ledger = ledger_at(leases, woken)
    leases.breaks = True
    with pytest.raises(RecordError):
        await ledger.hold(ask(), TARGET, quote(60))
    assert leases.exposed_nusd == 60
    assert woken
    with pytest.raises(RecordError):
        ledger.tend()
    leases.breaks = False
    ledger.tend()
    assert leases.exposed_nusd == 0


async def test_what_was_granted_unheard_is_not_granted_twice(leases: Breaking) -> None:
    """Whoever asks again has room for it."""
    ledger = ledger_at(leases, [])
    await spend(ledger, 10)
    leases.breaks = True
    with pytest.raises(RecordError):
        await ledger.hold(ask(), TARGET, quote(60))
    leases.breaks = False
    await ledger.hold(ask(), TARGET, quote(90))
    assert leases.exposed_nusd == 100


async def test_what_was_given_back_unheard_is_spent_by_nobody_twice(leases: Breaking) -> None:
    """It may be another's by now."""
    ledger = ledger_at(leases, [])
    held = await ledger.hold(ask(), TARGET, quote(60))
    ledger.settle(held.amounts, Cost(10))
    leases.breaks = True
    with pytest.raises(RecordError):
        ledger.tend()
    leases.breaks = False
    other = ledger_of(budget(), leases=leases.leases, owner="b")
    await other.hold(ask(), TARGET, quote(90))
    with pytest.raises((BudgetHeld, BudgetExhausted)):
        await ledger.hold(ask(), TARGET, quote(20))
    ledger.tend()
    assert leases.exposed_nusd == 100
