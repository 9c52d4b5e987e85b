"""Budgets put on users at run time."""

import asyncio
import os
import threading
from typing import Any

import pytest

from tests.ledgers import TARGET, budget, by, ledger_of, quote
from tests.ledgers import spend as spend_by
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.ledger import Ledger
from trunkline.config.model import Allowance
from trunkline.errors import BudgetExhausted
from trunkline.testing import ManualClock
from trunkline.types import Cost


def rule(amount_nusd: int = 100, **fields: Any) -> Allowance:
    """Make an allowance of the user `u`."""
    return Allowance(**{"scope": "user:u", "amount_nusd": amount_nusd, "period": "total", **fields})


async def spend(ledger: Ledger, nusd: int, user_id: str | None = "u") -> None:
    """Make an attempt that costs what it held."""
    await spend_by(ledger, nusd, by(user_id))


async def test_only_its_user_pays_into_it() -> None:
    """Beside the budgets of the configuration; others and nobody are not limited."""
    ledger = ledger_of(rule(1000))
    ledger.grant("u", rule(100))
    await spend(ledger, 60)
    await spend(ledger, 60, "v")
    await spend(ledger, 60, None)
    assert [account.settled_nusd for account in ledger.accounts()] == [60, 60]
    with pytest.raises(BudgetExhausted, match="never resets"):
        await spend(ledger, 60)


async def test_a_refusal_by_it_holds_nothing_elsewhere() -> None:
    """All or none."""
    ledger = ledger_of(rule(1000))
    ledger.grant("u", rule(10))
    with pytest.raises(BudgetExhausted):
        await spend(ledger, 60)
    assert [account.held_nusd for account in ledger.accounts()] == [0, 0]


async def test_the_first_grant_stays() -> None:
    """A second one neither changes the amount nor forgets what was spent."""
    ledger = ledger_of()
    ledger.grant("u", rule(100))
    await spend(ledger, 60)
    ledger.grant("u", rule(10**6))
    account = ledger.granted("u")
    assert account is not None
    assert account.left_nusd == 40
    assert ledger.granted("v") is None


async def test_a_reload_leaves_it_alone() -> None:
    """Also what is held on it."""
    ledger = ledger_of(rule(1000))
    ledger.grant("u", rule(100))
    tab = ledger.open(by("u"))
    hold = await tab.begin(TARGET, quote(60, 60))
    ledger.reload([])
    (account,) = ledger.accounts()
    assert account.held_nusd == 60
    tab.end(hold, Cost(25))
    assert (account.held_nusd, account.left_nusd) == (0, 75)


async def test_it_begins_with_what_is_settled() -> None:
    """And so in each period, once it is asked."""
    clock, asked = ManualClock(), []

    def settled(scope: str, since_ns: int) -> int:
        asked.append(scope)
        return 30

    ledger = ledger_of(leases=InProcessLeases(settled), clock=clock)
    ledger.grant("u", rule(100, period="day"))
    await spend(ledger, 60)
    clock.advance(86_400)
    account = ledger.granted("u")
    assert account is not None
    ledger.open_account(account)
    assert (account.left_nusd, asked) == (70, ["user:u"] * 2)
    assert account.resets == "resets at 2027-01-17 00:00 UTC"


async def test_an_amended_one_keeps_what_is_spent() -> None:
    """More or less may be spent at once."""
    ledger = ledger_of()
    ledger.grant("u", rule(100))
    await spend(ledger, 60)
    ledger.amend("u", rule(50))
    with pytest.raises(BudgetExhausted, match="used up"):
        await spend(ledger, 1)
    ledger.amend("u", rule(200))
    await spend(ledger, 140)


async def test_an_amended_one_of_another_period() -> None:
    """It is another account, which is asked what was spent; what the old one held is settled."""
    leases = InProcessLeases(lambda scope, since_ns: 30)
    ledger = ledger_of(leases=leases)
    ledger.grant("u", rule(100))
    old = ledger.granted("u")
    assert old is not None
    tab = ledger.open(by("u"))
    hold = await tab.begin(TARGET, quote(60, 60))
    ledger.amend("u", rule(100, period="day", rolling=True))
    account = ledger.granted("u")
    assert account is not None
    assert (account.period, account.left_nusd) == ("day:rolling:allowance", 70)
    tab.end(hold, Cost(60))
    ledger.tend()
    assert (old.held_nusd, account.held_nusd) == (0, 0)


async def test_a_revoked_one_refuses_nothing() -> None:
    """What is held on it is settled all the same; nobody's is revoked without harm."""
    ledger = ledger_of()
    ledger.grant("u", rule(60))
    tab = ledger.open(by("u"))
    hold = await tab.begin(TARGET, quote(60, 60))
    old = ledger.granted("u")
    for _ in range(2):
        ledger.revoke("u")
    await spend(ledger, 1000)
    tab.end(hold, Cost(60))
    assert old is not None
    assert (old.held_nusd, old.settled_nusd, ledger.granted("u")) == (0, 60, None)


def test_what_is_spent_already_needs_no_room() -> None:
    """It is held and settled as it is, without an overrun, and the shared account hears of it."""
    leases = InProcessLeases()
    ledger = ledger_of(leases=leases)
    ledger.grant("u", rule(100))
    held = ledger.hold_spent(by("u"), TARGET, quote(500, 500))
    (account,) = ledger.accounts()
    assert (account.held_nusd, held.nusd) == (500, 500)
    ledger.settle(held.amounts, Cost(500))
    assert (account.left_nusd, account.overrun_nusd) == (-400, 0)
    ledger.tend()
    assert leases.look("user:u", account.period, account.purse.window).exposed_nusd == 500


async def test_one_like_a_rule_of_the_configuration_is_another_account() -> None:
    """What one of them is granted is not taken for the other's."""
    leases = InProcessLeases()
    ledger = ledger_of(budget("user:u"), leases=leases)
    ledger.grant("u", rule(100))
    await spend(ledger, 60)
    assert [
        leases.look("user:u", account.period, account.purse.window).exposed_nusd
        for account in ledger.accounts()
    ] == [60, 60]


def test_grants_of_one_user_by_many_threads_are_one_account() -> None:
    """None of the calls that they hold for is lost."""
    ledger = ledger_of()
    together = threading.Barrier(8)

    async def work() -> None:
        for _ in range(50):
            await spend(ledger, 1)

    def first_calls() -> None:
        together.wait()
        ledger.grant("u", rule(10**6))
        asyncio.run(work())

    threads = [threading.Thread(target=first_calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (account,) = ledger.accounts()
    assert (account.settled_nusd, account.held_nusd) == (400, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_afresh_with_it() -> None:
    """It knows the rule, and holds nothing of the parent's."""
    ledger = ledger_of()
    ledger.grant("u", rule(100))
    asyncio.run(ledger.open(by("u")).begin(TARGET, quote(60, 60)))
    if (child := os.fork()) == 0:
        account = ledger.granted("u")
        os._exit(0 if account is not None and account.held_nusd == 0 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
