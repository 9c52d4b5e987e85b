"""Money comes back when a period ends; what is in the records counts from the start."""

import datetime

import pytest

from tests.ledgers import TARGET, Flaky, ask, budget, by, ledger_of, quote
from trunkline.accounting.in_process import InProcessLeases
from trunkline.errors import BudgetExhausted, RecordError
from trunkline.testing import ManualClock
from trunkline.types import Cost

DAY_S = 86_400


def at(text: str) -> ManualClock:
    """Make a clock that shows this UTC time."""
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return ManualClock(start_ns=int(moment.timestamp()) * 10**9)


@pytest.mark.parametrize(
    ("period", "now", "left_s"),
    [
        ("day", "2026-11-20T23:59:50", 10),
        ("day", "2026-11-20T00:00:00", DAY_S),
        ("week", "2026-11-22T23:59:50", 10),  # a Sunday
        ("week", "2026-11-23T00:00:00", 7 * DAY_S),
        ("week", "2026-12-31T12:00:00", 3.5 * DAY_S),
        ("month", "2026-11-30T23:59:50", 10),
        ("month", "2026-12-31T23:59:50", 10),
        ("month", "2028-02-28T12:00:00", 1.5 * DAY_S),
        ("month", "2027-02-01T00:00:00", 28 * DAY_S),
        ("total", "2026-11-20T12:00:00", None),
    ],
)
async def test_a_period_ends_at_midnight_utc(period: str, now: str, left_s: float | None) -> None:
    """Spent until its very end, and free again from then on; `total` never ends."""
    clock = at(now)
    ledger = ledger_of(budget(period=period), clock=clock)
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, quote(100)), Cost(100))
    clock.advance((left_s or 4000 * DAY_S) - 0.001)
    with pytest.raises(BudgetExhausted, match=f"the {period} budget"):
        await tab.begin(TARGET, quote(1))
    clock.advance(0.001)
    if left_s is None:
        with pytest.raises(BudgetExhausted):
            await tab.begin(TARGET, quote(1))
    else:
        await tab.begin(TARGET, quote(1))
        assert ledger.accounts()[0].settled_nusd == 0


async def test_what_is_held_stays_held_over_the_end_of_a_period() -> None:
    """It is settled in the period in which it began; the new one has all its money."""
    clock = at("2026-11-20T23:59:50")
    ledger = ledger_of(budget(period="day"), clock=clock)
    (account,) = ledger.accounts()
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(60))
    old = account.purse
    assert hold.at_ns == clock.now_ns()
    clock.advance(10)
    assert ledger.accounts() == (account,)
    assert (old.held_nusd, account.held_nusd) == (60, 0)
    await tab.begin(TARGET, quote(100))
    tab.end(hold, Cost(25))
    assert (old.held_nusd, old.spent_nusd) == (0, 25)
    assert (account.held_nusd, account.settled_nusd) == (100, 0)


async def test_a_clock_that_is_put_back_finds_the_old_bucket() -> None:
    """An attempt begins in the bucket that pays for it, and not before its purse."""
    clock = at("2026-11-21T00:00:10")
    for period, rolling in (("day", False), ("day", True)):
        ledger = ledger_of(budget(period=period, rolling=rolling), clock=clock)
        tab = ledger.open(ask())
        first = await tab.begin(TARGET, quote(10))
        clock.advance(-1)
        again = await tab.begin(TARGET, quote(10))
        assert again.at_ns == first.at_ns
        clock.advance(-10)
        [(purse, _)] = (await tab.begin(TARGET, quote(10))).amounts
        assert purse.window.bucket_ns <= clock.now_ns() < purse.window.end_ns
        clock.advance(11)


async def test_a_clock_that_is_put_back_finds_a_moment_that_suits_every_budget() -> None:
    """Each has its own buckets: what one purse paid for would be settled in another one's."""
    clock = at("2026-11-20T12:00:05")
    rules = budget(period="day"), budget(period="day", rolling=True)
    ledger = ledger_of(*rules, clock=clock)
    ledger.accounts()  # whoever looks makes purses as well
    for back_s in (-1, -10):
        clock.advance(back_s)
        hold = await ledger.open(ask()).begin(TARGET, quote(10))
        for purse, _ in hold.amounts:
            assert purse.since_ns <= hold.at_ns
            assert purse.window.bucket_ns <= hold.at_ns < purse.window.end_ns


async def test_a_new_period_begins_with_what_the_records_say() -> None:
    """At the start and at each roll the records are asked, once, for the right time."""
    asked: list[tuple[str, int]] = []

    def settled(scope: str, since_ns: int) -> int:
        asked.append((scope, since_ns))
        return 70

    clock = at("2026-11-20T12:00:00")
    ledger = ledger_of(budget("user:u", period="day"), leases=InProcessLeases(settled), clock=clock)
    tab = ledger.open(by("u"))
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(31))
    tab.end(await tab.begin(TARGET, quote(30)), Cost(30))
    clock.advance(DAY_S)
    await tab.begin(TARGET, quote(30))
    today_ns = at("2026-11-20T00:00:00").now_ns()
    assert asked == [("user:u", today_ns), ("user:u", today_ns + DAY_S * 10**9)]


async def test_records_that_cannot_be_read_are_asked_again() -> None:
    """A failure then does not make a budget forget what was spent."""
    leases = Flaky(InProcessLeases(lambda scope, since_ns: 100))
    leases.away = True
    tab = ledger_of(budget(), leases=leases).open(ask())
    with pytest.raises(RecordError):
        await tab.begin(TARGET, quote(1))
    leases.away = False
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(1))
