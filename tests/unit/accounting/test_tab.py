"""A hold grows while its attempt is under way, on every hard budget or on none."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.leases import Grant, Refusal, Want
from trunkline.accounting.ledger import Ledger
from trunkline.accounting.purses import Shared
from trunkline.config import BudgetRule
from trunkline.errors import RecordError
from trunkline.testing import ManualClock
from trunkline.types import Chat, Cost, Deployment, Prompt, Quote

TARGET = Deployment(provider="p", model="m")
CALL = Chat(model="m", body=Prompt(messages=()), tags=("t",))


class Slow(InProcessLeases):
    """Leases that can be told to wait, or to be away."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.away = False

    def grant(
        self, owner: str, wants: Sequence[Want], *, forced: bool = False
    ) -> list[Grant] | Refusal:
        """Grant after a while, or not at all."""
        self.asked.set()
        self.go.wait(5)
        if self.away:
            raise RecordError("away")
        return super().grant(owner, wants, forced=forced)


class Books:
    """A ledger over such leases."""

    def __init__(self, *rules: BudgetRule) -> None:
        self.leases = Slow()
        self.ledger = Ledger(rules, ManualClock(), Shared(self.leases, lambda: "me"))
        self.tab = self.ledger.open(CALL)

    def held(self) -> list[int]:
        """Return what is held of each budget."""
        return [account.held_nusd for account in self.ledger.accounts()]


def rule(scope: str, amount_nusd: int, **fields: object) -> BudgetRule:
    """Make a budget."""
    plain = {"scope": scope, "amount_nusd": amount_nusd, "period": "total", **fields}
    return BudgetRule(**plain)  # type: ignore[arg-type]


async def test_a_top_up_is_on_every_hard_budget() -> None:
    """Strict ones hold a proven bound already, soft ones bind nobody."""
    books = Books(
        rule("global", 1000),
        rule("tag:t", 500),
        rule("provider:p", 900, mode="strict"),
        rule("deployment:p/m", 1, mode="soft"),
    )
    hold = await books.tab.begin(TARGET, Quote(100, 800))
    assert (hold.nusd, hold.hard_nusd) == (800, 100)
    assert await books.tab.top_up(hold, 150)
    assert books.held() == [250, 250, 800, 100]
    assert (hold.nusd, hold.hard_nusd) == (800, 250)
    books.tab.end(hold, Cost(260))
    assert books.held() == [0, 0, 0, 0]
    assert [account.overrun_nusd for account in books.ledger.accounts()] == [10, 10, 0, 160]


async def test_a_top_up_counts_in_what_recovery_charges() -> None:
    """The hold as a whole, and without a price none."""
    books = Books(rule("global", 1000))
    hold = await books.tab.begin(TARGET, Quote(100, None))
    assert await books.tab.top_up(hold, 150)
    assert hold.nusd == 250
    hold = await books.tab.begin(TARGET, Quote(None, None))
    assert await books.tab.top_up(hold, 150)
    assert (hold.nusd, hold.hard_nusd) == (None, 150)


async def test_a_top_up_is_refused_where_one_budget_has_no_room() -> None:
    """Nothing is held more then, on any; what fits is let in."""
    books = Books(rule("global", 1000), rule("tag:t", 200))
    hold = await books.tab.begin(TARGET, Quote(100, None))
    assert not await books.tab.top_up(hold, 101)
    assert books.held() == [100, 100]
    assert await books.tab.top_up(hold, 100)
    assert books.held() == [200, 200]


async def test_other_budgets_are_not_hard() -> None:
    """Nobody has to look at what such an attempt costs."""
    for rules in ((), (rule("global", 1, mode="soft"),), (rule("global", 9, mode="strict"),)):
        hold = await Books(*rules).tab.begin(TARGET, Quote(3, 5))
        assert hold.hard_nusd is None


@pytest.mark.parametrize(("when", "granted"), [("closed", False), ("open", True)])
async def test_a_store_that_is_away(when: str, granted: bool) -> None:
    """Follows the budget's word for that; there is no error."""
    books = Books(rule("global", 100, when_store_down=when))
    hold = await books.tab.begin(TARGET, Quote(60, None))
    books.leases.away = True
    assert await books.tab.top_up(hold, 90) is granted
    assert books.held() == [60 + 90 * granted]


async def test_an_attempt_that_ends_while_the_store_is_asked() -> None:
    """Is settled as it was; what was granted for it comes back."""
    books = Books(rule("global", 1000))
    hold = await books.tab.begin(TARGET, Quote(100, None))
    books.leases.go.clear()
    books.leases.asked.clear()
    asked = asyncio.create_task(books.tab.top_up(hold, 500))
    await asyncio.to_thread(books.leases.asked.wait, 5)
    books.tab.end(hold, Cost(30))
    books.leases.go.set()
    assert not await asked
    assert books.held() == [0]
    assert books.ledger.accounts()[0].settled_nusd == 30
    assert not await books.tab.top_up(hold, 1)


async def test_a_top_up_that_is_cancelled_leaves_nothing() -> None:
    """What the store grants afterwards comes back."""
    books = Books(rule("global", 1000))
    hold = await books.tab.begin(TARGET, Quote(100, None))
    books.leases.go.clear()
    books.leases.asked.clear()
    asked = asyncio.create_task(books.tab.top_up(hold, 500))
    await asyncio.to_thread(books.leases.asked.wait, 5)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    books.leases.go.set()
    await asyncio.to_thread(books.ledger._executor().shutdown)
    assert books.held() == [100]
    books.tab.end(hold, Cost(0))
    assert books.held() == [0]
