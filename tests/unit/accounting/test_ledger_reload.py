"""Other rules for a ledger in use: what is spent and held is never lost and never invented."""

import asyncio
import os
import threading
from typing import Any

import pytest

from tests.ledgers import (
    TARGET,
    InProcessEngine,
    Journaled,
    ask,
    budget,
    by,
    ended,
    ledger_of,
    quote,
    spend,
)  # fmt: skip
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.leases import ENOUGH_HOLDS
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.purses import Shared
from trunkline.errors import BudgetExhausted, PriceUnknown
from trunkline.testing import ManualClock
from trunkline.types import Cost

ESTIMATED = quote(60)


@pytest.mark.parametrize(
    "fields",
    [
        {"amount_nusd": 70},
        {"mode": "strict"},
        {"mode": "soft"},
        {"alert_at": (0.5,)},
        {"unknown_price": "refuse"},
    ],
    ids=str,
)
async def test_an_account_outlives_a_change_of_its_rule(fields: dict[str, Any]) -> None:
    """What is settled and held stays, and an attempt under way settles where it held."""
    ledger = ledger_of(budget(), budget("provider:p"))
    await spend(ledger, 30)
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, ESTIMATED)
    before = ledger.accounts()
    rule = budget(**fields)
    ledger.reload([rule, budget("provider:p")])
    assert ledger.accounts() == before
    account = before[0]
    assert account.rule is rule
    assert (account.settled_nusd, account.held_nusd) == (30, 60)
    tab.end(hold, Cost(25))
    assert [(a.settled_nusd, a.held_nusd) for a in before] == [(55, 0), (55, 0)]


async def test_what_is_held_follows_the_mode() -> None:
    """A budget holds proofs from when it is strict, estimates before and after."""
    ledger = ledger_of(budget())
    held: list[int] = []
    for mode in ("hard", "strict", "hard"):
        ledger.reload([budget(mode=mode)])
        tab = ledger.open(ask())
        await tab.begin(TARGET, quote(60, 90))
        held.append(ledger.accounts()[0].held_nusd)
        tab.close()
    assert held == [60, 90, 60]


async def test_a_changed_rule_counts_at_once() -> None:
    """For the next attempt, also of a call that was there before."""
    ledger = ledger_of(budget())
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(60))
    ledger.reload([budget(amount_nusd=50)])
    with pytest.raises(BudgetExhausted, match="used up"):
        await tab.begin(TARGET, quote(0))
    ledger.reload([budget(amount_nusd=1000, mode="strict")])
    with pytest.raises(PriceUnknown, match="proven bound"):
        await tab.begin(TARGET, ESTIMATED)
    ledger.reload([budget(amount_nusd=120)])
    await tab.begin(TARGET, ESTIMATED)


async def test_alert_marks_are_made_anew() -> None:
    """Those already passed are not told again, and one that moved out of reach waits anew."""
    told: list[int] = []
    ledger = Ledger(
        [budget(alert_at=(0.5,))],
        ManualClock(),
        alert=lambda rule, settled, mark: told.append(mark),
    )

    async def spent(nusd: int) -> list[int]:
        await spend(ledger, nusd)
        ledger.tend()
        return told

    assert await spent(60) == [50]
    ledger.reload([budget(alert_at=(0.5, 0.6, 0.7))])
    assert await spent(5) == [50, 60]
    assert await spent(5) == [50, 60, 70]
    ledger.reload([budget(amount_nusd=200, alert_at=(0.5,))])
    assert await spent(29) == [50, 60, 70]
    assert await spent(1) == [50, 60, 70, 100]


async def test_an_account_without_a_rule() -> None:
    """It refuses nothing any more but counts on, for the day on which its rule is back."""
    engine = InProcessEngine()
    ledger, journal = ledger_of(budget(), leases=engine.leases), Journaled("a")
    (account,) = ledger.accounts()
    old = ledger.open(ask())
    hold = await old.begin(TARGET, ESTIMATED)
    ledger.reload([])
    assert ledger.accounts() == ()
    tab = ledger.open(ask())
    other = await tab.begin(TARGET, quote(1000))
    tab.end(other, Cost(1000))
    begun = journal.begun(other)
    engine.ingest("a", [begun, ended(begun, 1000)])
    ledger.reload([budget(amount_nusd=1080)])
    assert ledger.accounts() == (account,)
    with pytest.raises(BudgetExhausted):
        await old.begin(TARGET, quote(81))
    await old.begin(TARGET, quote(20))
    seen = engine.leases.look("global", account.period, account.purse.window)
    assert (seen.settled_nusd, account.settled_nusd, account.held_nusd) == (1000, 1000, 80)
    old.end(hold, Cost(25))
    assert (account.settled_nusd, account.held_nusd) == (1025, 20)


async def test_a_soft_budget_may_become_a_hard_one() -> None:
    """What was spent without a grant is counted, and once, whether it is ingested or not."""
    engine = InProcessEngine()
    ledger, journal = ledger_of(budget(mode="soft"), leases=engine.leases), Journaled("a")
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, ESTIMATED)
    tab.end(hold, Cost(60))
    begun = journal.begun(hold)
    engine.ingest("a", [begun, ended(begun, 60)])
    await spend(ledger, 10)
    ledger.reload([budget()])
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(31))
    await tab.begin(TARGET, quote(30))


async def test_a_lower_limit_counts_for_what_was_granted() -> None:
    """What is free is not spent any more, and whoever needs it next has it at once."""
    leases = InProcessLeases()
    limit_nusd = 16 * ENOUGH_HOLDS * 10
    ledger = ledger_of(budget(amount_nusd=limit_nusd), leases=leases)
    (account,) = ledger.accounts()
    await spend(ledger, 10)
    assert account.purse.free_nusd > 100
    ledger.reload([budget(amount_nusd=40)])
    with pytest.raises(BudgetExhausted):
        await spend(ledger, 31)
    await spend(ledger, 30)
    assert leases.look("global", "total", account.purse.window).exposed_nusd == 40


async def test_what_a_lower_limit_frees_goes_back() -> None:
    """Somebody is asked to see to it, and nothing else is needed."""
    woken: list[bool] = []
    leases = InProcessLeases()
    ledger = Ledger(
        [budget(amount_nusd=10_000)],
        ManualClock(),
        Shared(leases, lambda: "a", wake=lambda: woken.append(True)),
    )
    (account,) = ledger.accounts()
    await spend(ledger, 10)
    woken.clear()
    ledger.reload([budget(amount_nusd=5_000)])
    assert woken
    ledger.tend()
    assert leases.look("global", "total", account.purse.window).exposed_nusd == 10


async def test_a_new_account_begins_with_what_the_records_say() -> None:
    """It is asked at its first use; a call that was there before charges it from then on."""
    asked: list[tuple[str, int]] = []

    def settled(scope: str, since_ns: int) -> int:
        asked.append((scope, since_ns))
        return 30

    ledger = ledger_of(leases=InProcessLeases(settled))
    tab = ledger.open(by("u"))
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(25))
    ledger.reload([budget("user:u"), budget("deployment:p/m")])
    assert asked == []
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(25))
    assert sorted(asked) == [("deployment:p/m", 0), ("user:u", 0)]
    assert [account.settled_nusd for account in ledger.accounts()] == [55, 55]


async def test_rules_alike_are_matched_by_what_they_say() -> None:
    """Two of one scope and period keep their accounts; a third one is new."""
    ledger = ledger_of(budget(), budget(amount_nusd=1000, mode="soft"))
    first, second = ledger.accounts()
    await spend(ledger, 40)
    ledger.reload([budget(amount_nusd=n) for n in (100, 200, 300)])
    assert ledger.accounts()[:2] == (first, second)
    assert [account.settled_nusd for account in ledger.accounts()] == [40, 40, 0]
    assert [account.rule.amount_nusd for account in ledger.accounts()] == [100, 200, 300]


async def test_another_period_is_another_account() -> None:
    """What was spent in a day does not become what was spent in a month."""
    ledger = ledger_of(budget(period="day"), leases=InProcessLeases(lambda scope, since_ns: 7))
    await spend(ledger, 40)
    ledger.reload([budget(period="month")])
    await spend(ledger, 0)
    assert [account.settled_nusd for account in ledger.accounts()] == [7]


def test_reloads_in_the_middle_of_calls_keep_the_sums_exact() -> None:
    """Threads spend while another one swaps rules: nothing is lost, nothing stays held."""
    wide = budget(amount_nusd=10**9)
    ledger = ledger_of(wide)
    (account,) = ledger.accounts()
    done = threading.Event()

    async def work() -> None:
        for number in range(300):
            tab = ledger.open(ask())
            hold = await tab.begin(TARGET, quote(10, 10))
            if number % 2:
                tab.end(hold, Cost(7))
            tab.close()

    def swap() -> None:
        while not done.is_set():
            ledger.reload([budget(amount_nusd=10**8, mode="strict"), budget("provider:p", 10**9)])
            ledger.reload([wide])

    swapper = threading.Thread(target=swap)
    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in (swapper, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    swapper.join()
    assert ledger.accounts() == (account,)
    assert (account.held_nusd, account.settled_nusd) == (0, 4 * 150 * 7)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_the_rules_of_the_reload() -> None:
    """And begins afresh with them, though a thread of the parent was reloading."""
    ledger = ledger_of()
    ledger.reload([budget()])
    (account,) = ledger.accounts()
    asyncio.run(ledger.open(ask()).begin(TARGET, ESTIMATED))
    locked, done = threading.Event(), threading.Event()

    def rules() -> Any:
        locked.set()
        done.wait()
        yield budget()

    thread = threading.Thread(target=lambda: ledger.reload(rules()))
    thread.start()
    locked.wait()
    if (child := os.fork()) == 0:
        held_nusd = account.held_nusd
        ledger.reload([budget(amount_nusd=50)])
        kept = ledger.accounts() == (account,)
        os._exit(0 if (held_nusd, kept, account.rule.amount_nusd) == (0, True, 50) else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
    assert account.held_nusd == 60
