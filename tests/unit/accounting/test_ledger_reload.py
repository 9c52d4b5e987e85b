"""Other rules for a ledger in use: what is spent and held is never lost and never invented."""

import asyncio
import os
import threading
from typing import Any

import pytest

from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, PriceUnknown
from trunkline.testing import ManualClock
from trunkline.types import Call, Chat, Cost, Deployment, Principal, Prompt, Quote

TARGET = Deployment(provider="p", model="m")
ESTIMATED = Quote(60, None)


def budget(scope: str = "global", amount_nusd: int = 100, **fields: Any) -> BudgetRule:
    """Make a rule."""
    return BudgetRule(**{"scope": scope, "amount_nusd": amount_nusd, "period": "total", **fields})


def ask(**fields: Any) -> Call:
    """Make a call."""
    return Chat(**{"model": "m", "body": Prompt(messages=()), **fields})


async def spend(ledger: Ledger, nusd: int) -> None:
    """Make an attempt that costs what it held."""
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, Quote(nusd, nusd)), Cost(nusd))


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
    ledger = Ledger([budget(), budget("provider:p")], ManualClock())
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


async def test_a_changed_rule_counts_at_once() -> None:
    """For the next attempt, also of a call that was there before."""
    ledger = Ledger([budget()], ManualClock())
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(60))
    ledger.reload([budget(amount_nusd=50)])
    with pytest.raises(BudgetExhausted, match="used up"):
        await tab.begin(TARGET, Quote(0, None))
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
    await spend(ledger, 60)
    ledger.reload([budget(alert_at=(0.5, 0.6, 0.7))])
    await spend(ledger, 5)
    assert told == [50]
    await spend(ledger, 5)
    assert told == [50, 70]
    ledger.reload([budget(amount_nusd=200, alert_at=(0.5,))])
    await spend(ledger, 29)
    assert told == [50, 70]
    await spend(ledger, 1)
    assert told == [50, 70, 100]


async def test_an_account_without_a_rule() -> None:
    """It refuses nothing any more, what it holds is settled on it; later a new one asks."""
    spent_nusd = 0
    ledger = Ledger([budget()], ManualClock(), lambda scope, since_ns: spent_nusd)
    (old,) = ledger.accounts()
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, ESTIMATED)
    ledger.reload([])
    assert ledger.accounts() == ()
    await spend(ledger, 1000)
    tab.end(hold, Cost(25))
    assert (old.settled_nusd, old.held_nusd) == (25, 0)
    spent_nusd = 1025
    ledger.reload([budget(amount_nusd=2000)])
    (new,) = ledger.accounts()
    assert (new.settled_nusd, new.held_nusd) == (1025, 0)


async def test_a_new_account_begins_with_what_the_records_say() -> None:
    """It is asked at its first use; a call that was there before charges it from then on."""
    asked: list[tuple[str, int]] = []

    def settled(scope: str, since_ns: int) -> int:
        asked.append((scope, since_ns))
        return 30

    ledger = Ledger([], ManualClock(), settled)
    tab = ledger.open(ask(principal=Principal(user_id="u")))
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(25))
    ledger.reload([budget("user:u"), budget("deployment:p/m")])
    assert asked == []
    tab.end(await tab.begin(TARGET, ESTIMATED), Cost(25))
    assert asked == [("user:u", 0), ("deployment:p/m", 0)]
    assert [account.settled_nusd for account in ledger.accounts()] == [55, 55]


async def test_rules_alike_are_matched_in_their_order() -> None:
    """Two of one scope and period keep their accounts; a third one is new."""
    ledger = Ledger([budget(), budget(amount_nusd=1000, mode="soft")], ManualClock())
    first, second = ledger.accounts()
    await spend(ledger, 40)
    ledger.reload([budget(amount_nusd=n) for n in (100, 200, 300)])
    assert ledger.accounts()[:2] == (first, second)
    assert [account.settled_nusd for account in ledger.accounts()] == [40, 40, 0]
    assert [account.rule.amount_nusd for account in ledger.accounts()] == [100, 200, 300]


async def test_another_period_is_another_account() -> None:
    """What was spent in a day does not become what was spent in a month."""
    ledger = Ledger([budget(period="day")], ManualClock(), lambda scope, since_ns: 7)
    await spend(ledger, 40)
    ledger.reload([budget(period="month")])
    assert [account.settled_nusd for account in ledger.accounts()] == [7]


def test_reloads_in_the_middle_of_calls_keep_the_sums_exact() -> None:
    """Threads spend while another one swaps rules: nothing is lost, nothing stays held."""
    wide = budget(amount_nusd=10**9)
    ledger = Ledger([wide], ManualClock())
    (account,) = ledger.accounts()
    done = threading.Event()

    async def work() -> None:
        for number in range(300):
            tab = ledger.open(ask())
            hold = await tab.begin(TARGET, Quote(10, 10))
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
    ledger = Ledger([], ManualClock())
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
