"""A call has one tab, and whatever becomes of the call nothing stays held."""

import pytest

from tests.unit.layers.double import ENDS, TARGET, Inner, ask, live
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.layers.budget import budget
from trunkline.reply import Reply
from trunkline.testing import ManualClock
from trunkline.types import Call, Quote


@pytest.mark.parametrize("how", ENDS)
async def test_nothing_stays_held(how: str) -> None:
    """Even an attempt that forgot its hold gives it back when the call is over."""
    rule = BudgetRule(scope="global", amount_nusd=100, period="total")
    ledger = Ledger([rule], ManualClock())
    inner = Inner(ENDS[how][0])
    held: list[int] = []

    async def forgetful(call: Call) -> Reply:
        assert call.tab is not None
        await call.tab.begin(TARGET, Quote(60, None))
        held.append(ledger.accounts()[0].held_nusd)
        return await inner(call)

    await live(budget(ledger.open)(forgetful), ask(), how)
    account = ledger.accounts()[0]
    assert held == [60]
    assert (account.held_nusd, account.settled_nusd) == (0, 0)


async def test_a_tab_that_cannot_be_opened_stops_the_call() -> None:
    """Without a tab nothing is tried."""
    inner = Inner(ENDS["whole"][0])

    def broken(call: Call) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await budget(broken)(inner)(ask())  # type: ignore[arg-type]
    assert inner.calls == []
