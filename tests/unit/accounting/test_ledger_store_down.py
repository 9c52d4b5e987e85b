"""The shared accounts are away, or somebody dies, or a budget must be told of: nothing is lost."""

import pytest

from tests.ledgers import (
    TARGET,
    Engine,
    Flaky,
    InProcessEngine,
    Journaled,
    ask,
    budget,
    by,
    ended,
    ledger_of,
    quote,
    shared,
    spend,
)  # fmt: skip
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, RecordError
from trunkline.testing import ManualClock
from trunkline.types import Cost
from trunkline.types.record import Record

PLENTY = 100_000


def ledger_at(leases: Flaky, *rules: BudgetRule) -> tuple[Ledger, list[bool], list[int]]:
    """Make a ledger; return it with what it has woken and told."""
    woken: list[bool] = []
    told: list[int] = []
    to = shared(leases, wake=lambda: woken.append(True))
    ledger = Ledger(rules, ManualClock(), to, lambda rule, settled, mark: told.append(mark))
    return ledger, woken, told


async def test_what_was_granted_can_be_spent_while_the_store_is_away() -> None:
    """Beyond that, a budget that fails closed refuses."""
    leases = Flaky(InProcessLeases())
    ledger, _, _ = ledger_at(leases, budget(amount_nusd=PLENTY))
    await spend(ledger, 10)
    leases.away = True
    await spend(ledger, 10)
    with pytest.raises(RecordError):
        await spend(ledger, PLENTY // 2)
    leases.away = False
    await spend(ledger, PLENTY // 2)


async def test_a_budget_may_fail_open(engine: Engine) -> None:
    """Calls go on, over the limit if need be; when the store is back all of it counts, once."""
    leases = Flaky(engine.leases)
    rule = budget(when_store_down="open")
    ledger, woken, _ = ledger_at(leases, rule)
    (account,) = ledger.accounts()
    leases.away = True
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(150))
    assert woken
    tab.end(hold, Cost(120))
    with pytest.raises(RecordError):
        ledger.tend()
    leases.away = False
    begun = Journaled("a").begun(hold)
    if not isinstance(engine, InProcessEngine):  # ingested before the account hears of it
        engine.ingest("a", [begun, ended(begun, 120)])
    for _ in range(3):
        ledger.tend()
    if isinstance(engine, InProcessEngine):
        engine.ingest("a", [begun, ended(begun, 120)])
    seen = engine.leases.look("global", "total", account.purse.window)
    assert (seen.settled_nusd, seen.exposed_nusd, account.settled_nusd) == (120, 0, 120)
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(1))


async def test_one_budget_that_fails_closed_is_enough() -> None:
    """Nothing is held on the others then."""
    leases = Flaky(InProcessLeases())
    ledger, _, _ = ledger_at(leases, budget(when_store_down="open"), budget("user:u"))
    leases.away = True
    with pytest.raises(RecordError):
        await spend(ledger, 10, by("u"))
    assert [account.held_nusd for account in ledger.accounts()] == [0, 0]
    await spend(ledger, 10)


async def test_what_cannot_be_given_back_is_kept() -> None:
    """And given back the next time."""
    engine = InProcessLeases()
    leases = Flaky(engine)
    ledger, woken, _ = ledger_at(leases, budget(amount_nusd=PLENTY))
    (account,) = ledger.accounts()
    await spend(ledger, 10)
    ledger.tend()
    leases.away = True
    woken.clear()
    with pytest.raises(RecordError):
        ledger.tend()
    assert woken
    assert account.purse.free_nusd > 10
    leases.away = False
    ledger.tend()
    assert account.purse.free_nusd == 0
    assert engine.look("global", "total", account.purse.window).exposed_nusd == 10


async def test_an_alert_that_cannot_be_noted_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once."""
    leases = Flaky(InProcessLeases())
    ledger, _, told = ledger_at(leases, budget(alert_at=(0.5,)))
    await spend(ledger, 60)

    def fail(*where: object) -> bool:
        raise RecordError("the store went away")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "mark", fail, raising=False)
        with pytest.raises(RecordError):
            ledger.tend()
    assert told == []
    ledger.tend()
    ledger.tend()
    assert told == [50]


async def test_an_alert_is_told_by_one_process_alone(engine: Engine) -> None:
    """Whichever looks first after the mark was passed."""
    rule = budget(alert_at=(0.5,))
    leases = Flaky(engine.leases)
    first, _, told_first = ledger_at(leases, rule)
    second, _, told_second = ledger_at(leases, rule)
    await spend(first, 60)
    first.tend()
    await spend(second, 10)
    second.tend()
    first.tend()
    assert (told_first, told_second) == ([50], [])


async def test_whoever_asked_is_looked_after() -> None:
    """Also where the answer of a second account is no: what the first granted goes back."""
    engine = InProcessLeases()
    ledger, woken, _ = ledger_at(Flaky(engine), budget(amount_nusd=PLENTY), budget("user:u", 10))
    (account, _) = ledger.accounts()
    await spend(ledger, 10)
    assert woken
    with pytest.raises(BudgetExhausted):
        await spend(ledger, 20, by("u"))
    ledger.close()
    assert engine.look("global", "total", account.purse.window).exposed_nusd == 10


async def test_the_first_ask_alone_waits_for_what_is_in_journals() -> None:
    """Not every refusal after it."""
    refreshed: list[bool] = []
    leases = InProcessLeases(lambda scope, since_ns: 100)
    to = shared(leases, refresh=lambda: refreshed.append(True))
    ledger = Ledger([budget(), budget("user:u")], ManualClock(), to)
    for _ in range(3):
        with pytest.raises(BudgetExhausted):
            await spend(ledger, 10, by("u"))
    assert len(refreshed) == 1


async def test_what_was_held_at_nothing_and_cost_something_is_told() -> None:
    """Although the ledger was looked after while the attempt was under way."""
    engine = InProcessLeases()
    ledger, _, _ = ledger_at(Flaky(engine), budget())
    (account,) = ledger.accounts()
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(0))
    for _ in range(3):
        ledger.tend()
    tab.end(hold, Cost(70))
    ledger.tend()
    assert engine.look("global", "total", account.purse.window).exposed_nusd == 70
    assert account.overrun_nusd == 70


async def test_money_that_seems_held_may_be_spent_by_now() -> None:
    """So what is in journals is brought in before such a refusal, at most once a second."""
    engine, clock = InProcessEngine(), ManualClock()
    journal: list[Record] = []
    refreshed: list[bool] = []

    def refresh() -> None:
        refreshed.append(True)
        engine.ingest("b", journal)
        journal.clear()

    ledger = Ledger([budget()], clock, shared(engine.leases, refresh=refresh))
    await spend(ledger, 10)
    other = ledger_of(budget(), leases=engine.leases, owner="b", clock=clock)
    held = await other.hold(ask(), TARGET, quote(85))
    with pytest.raises(BudgetHeld):
        await spend(ledger, 10)
    other.settle(held.amounts, Cost(85))
    begun = Journaled("b").begun(held)
    journal += [begun, ended(begun, 85)]
    with pytest.raises(BudgetHeld):
        await spend(ledger, 10)
    assert len(refreshed) == 1
    clock.advance(1)
    with pytest.raises(BudgetExhausted):
        await spend(ledger, 10)
    await spend(ledger, 5)
    assert len(refreshed) == 2
