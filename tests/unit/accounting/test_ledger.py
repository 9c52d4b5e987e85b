"""Hold before, settle after, on every scope or on none; a limit is a limit at every instant."""

import asyncio
import datetime
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from trunkline.accounting.account import Account
from trunkline.accounting.ledger import Held, Ledger
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, LocalRefusal, PriceUnknown, RecordError
from trunkline.testing import ManualClock
from trunkline.types import Call, Chat, Cost, Deployment, Principal, Prompt, Quote

TARGET = Deployment(provider="p", model="m")
DAY_S = 86_400
UNPRICED = Quote(None, None)


def budget(scope: str = "global", amount_nusd: int = 100, **fields: Any) -> BudgetRule:
    """Make a rule."""
    return BudgetRule(**{"scope": scope, "amount_nusd": amount_nusd, "period": "total", **fields})


def books(*rules: BudgetRule) -> tuple[Ledger, tuple[Account, ...]]:
    """Make a ledger and return its accounts with it."""
    ledger = Ledger(rules, ManualClock())
    return ledger, ledger.accounts()


def ask(**fields: Any) -> Call:
    """Make a call."""
    return Chat(**{"model": "m", "body": Prompt(messages=()), **fields})


def quote(estimate_nusd: int, proven_nusd: int | None = None) -> Quote:
    """Make a quote."""
    return Quote(estimate_nusd, proven_nusd)


# --- hold and settle ---------------------------------------------------------------------------


async def test_a_hold_becomes_what_the_attempt_cost() -> None:
    """Held until the end, then settled at the cost; the rest is free again."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(60))
    assert (account.held_nusd, account.settled_nusd, hold.nusd) == (60, 0, 60)
    tab.end(hold, Cost(25))
    assert (account.held_nusd, account.settled_nusd, account.overrun_nusd) == (0, 25, 0)


async def test_the_last_cent_can_be_spent() -> None:
    """A hold that fits exactly fits."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, quote(99)), Cost(99))
    tab.end(await tab.begin(TARGET, quote(1)), Cost(1))
    assert account.settled_nusd == 100
    with pytest.raises(BudgetExhausted, match="used up"):
        await tab.begin(TARGET, quote(0))


async def test_a_second_end_changes_nothing() -> None:
    """Nor does closing after it, nor closing twice."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(60))
    tab.end(hold, Cost(25))
    tab.end(hold, Cost(25))
    tab.close()
    tab.close()
    assert (account.held_nusd, account.settled_nusd) == (0, 25)


async def test_closing_gives_back_what_is_held() -> None:
    """Attempts that never ended cost nothing here."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    await tab.begin(TARGET, quote(30))
    await tab.begin(TARGET, quote(30))
    tab.close()
    assert (account.held_nusd, account.settled_nusd) == (0, 0)


async def test_an_attempt_may_cost_more_than_it_held() -> None:
    """The excess is charged and told apart."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, quote(60)), Cost(130, "estimated"))
    assert (account.settled_nusd, account.overrun_nusd, account.held_nusd) == (130, 70, 0)
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(0))


# --- who pays ----------------------------------------------------------------------------------

SCOPES = [
    ("global", {}),
    ("key:k", {"principal": Principal(key_id="k")}),
    ("user:u", {"principal": Principal(user_id="u")}),
    ("team:t", {"principal": Principal(team_id="t")}),
    ("tenant:acme", {"principal": Principal(tenant_id="acme")}),
    ("run:r", {"run": "r"}),
    ("tag:x", {"tags": ("w", "x")}),
    ("provider:p", {}),
    ("deployment:p/m", {}),
]


@pytest.mark.parametrize(("scope", "fields"), SCOPES)
async def test_every_scope_pays_for_its_own_calls(scope: str, fields: dict[str, object]) -> None:
    """Its calls are charged, and those of others are not."""
    kind = scope.partition(":")[0]
    ledger, (mine, *others) = books(
        budget(scope), *([budget(f"{kind}:other")] if ":" in scope else [])
    )
    tab = ledger.open(ask(**fields))
    tab.end(await tab.begin(TARGET, quote(60)), Cost(25))
    assert mine.settled_nusd == 25
    assert [other.settled_nusd for other in others] == [0] * len(others)
    if kind not in {"global", "provider", "deployment"}:
        tab = ledger.open(ask())
        tab.end(await tab.begin(TARGET, quote(60)), Cost(25))
        assert mine.settled_nusd == 25


async def test_a_tag_given_twice_pays_once() -> None:
    """A careless caller is not charged double."""
    ledger, (account,) = books(budget("tag:x"))
    tab = ledger.open(ask(tags=("x", "x")))
    await tab.begin(TARGET, quote(60))
    assert account.held_nusd == 60


async def test_without_a_budget_nothing_is_counted() -> None:
    """The hold still says what recovery would charge."""
    ledger, _ = books()
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(60))
    assert hold.nusd == 60
    tab.end(hold, Cost(25))


async def test_all_accounts_hold_or_none() -> None:
    """A refusal of the last one leaves the first ones as they were."""
    ledger, accounts = books(
        budget(), budget("user:u"), budget("tag:x", period="day"), budget("deployment:p/m", 50)
    )
    tab = ledger.open(ask(principal=Principal(user_id="u"), tags=("x",)))
    with pytest.raises(BudgetExhausted, match="deployment:p/m"):
        await tab.begin(TARGET, quote(60))
    assert [account.held_nusd for account in accounts] == [0] * 4
    await tab.begin(TARGET, quote(40))
    assert [account.held_nusd for account in accounts] == [40] * 4


# --- refusals ----------------------------------------------------------------------------------


async def test_money_that_is_gone_and_money_that_is_held() -> None:
    """What would fit if others cost nothing is worth another try, what would not is not."""
    ledger, (account,) = books(budget())
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, quote(40)), Cost(40))
    held = await tab.begin(TARGET, quote(50))
    with pytest.raises(BudgetHeld, match="held by calls") as refusal:
        await tab.begin(TARGET, quote(20))
    assert refusal.value.retry_after_s == 1.0
    with pytest.raises(BudgetExhausted, match=r"0\.00000004 of 0\.0000001 USD"):
        await tab.begin(TARGET, quote(61))
    tab.end(held, Cost(0))
    await tab.begin(TARGET, quote(20))
    assert account.held_nusd == 20


async def test_a_cheaper_deployment_may_fit() -> None:
    """Both refusals are for another candidate to mend."""
    assert BudgetExhausted.fail_over
    assert BudgetHeld.fail_over
    ledger, _ = books(budget())
    tab = ledger.open(ask())
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(101))
    await tab.begin(TARGET, quote(100))


async def test_a_soft_budget_refuses_nothing() -> None:
    """It only counts."""
    ledger, (account,) = books(budget(mode="soft"))
    tab = ledger.open(ask())
    tab.end(await tab.begin(TARGET, quote(500)), Cost(400))
    await tab.begin(TARGET, quote(500))
    assert (account.settled_nusd, account.held_nusd) == (400, 500)


async def test_a_strict_budget_holds_what_is_proven() -> None:
    """The bound, not the guess; and recovery would charge no less."""
    ledger, (strict, hard) = books(budget(mode="strict"), budget("provider:p"))
    hold = await ledger.open(ask()).begin(TARGET, quote(60, 90))
    assert (strict.held_nusd, hard.held_nusd, hold.nusd) == (90, 60, 90)


@pytest.mark.parametrize("said", [UNPRICED, quote(60)], ids=["no price", "no bound"])
async def test_a_strict_budget_refuses_what_has_no_bound(said: Quote) -> None:
    """Whatever its rule for unknown prices says."""
    ledger, (account,) = books(budget(mode="strict", unknown_price="allow"))
    with pytest.raises(PriceUnknown, match="proven bound"):
        await ledger.open(ask()).begin(TARGET, said)
    assert account.held_nusd == 0


@pytest.mark.parametrize("mode", ["hard", "soft"])
async def test_a_budget_may_refuse_unknown_prices(mode: str) -> None:
    """`unknown_price: refuse` says how to mend it."""
    ledger, _ = books(budget(mode=mode, unknown_price="refuse"))
    with pytest.raises(PriceUnknown, match="unknown_price"):
        await ledger.open(ask()).begin(TARGET, UNPRICED)


@pytest.mark.parametrize("unknown_price", ["flag", "allow"])
async def test_an_unknown_price_may_be_let_through(unknown_price: str) -> None:
    """Nothing is held and nothing settled for it, until the money is gone."""
    ledger, (account,) = books(budget(unknown_price=unknown_price))
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, UNPRICED)
    assert hold.nusd is None
    tab.end(hold, Cost(None, "unknown"))
    assert (account.held_nusd, account.settled_nusd, account.overrun_nusd) == (0, 0, 0)
    tab.end(await tab.begin(TARGET, quote(100)), Cost(100))
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, UNPRICED)


# --- periods -----------------------------------------------------------------------------------


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
    ledger = Ledger([budget(period=period)], clock)
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
    """It is settled in the period in which it ends, if that one has begun here."""
    clock = at("2026-11-20T23:59:50")
    ledger = Ledger([budget(period="day")], clock)
    tab = ledger.open(ask())
    hold = await tab.begin(TARGET, quote(60))
    clock.advance(10)
    (account,) = ledger.accounts()
    assert account.held_nusd == 60
    tab.end(hold, Cost(25))
    assert (account.held_nusd, account.settled_nusd) == (0, 25)


async def test_a_new_period_begins_with_what_the_records_say() -> None:
    """At the start and at each roll the records are asked, once, for the right time."""
    asked: list[tuple[str, int]] = []

    def settled(scope: str, since_ns: int) -> int:
        asked.append((scope, since_ns))
        return 70

    clock = at("2026-11-20T12:00:00")
    ledger = Ledger([budget("user:u", period="day")], clock, settled)
    tab = ledger.open(ask(principal=Principal(user_id="u")))
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(31))
    tab.end(await tab.begin(TARGET, quote(30)), Cost(30))
    clock.advance(DAY_S)
    await tab.begin(TARGET, quote(30))
    today_ns = at("2026-11-20T00:00:00").now_ns()
    assert asked == [("user:u", today_ns), ("user:u", today_ns + DAY_S * 10**9)]


async def test_records_that_cannot_be_read_are_asked_again() -> None:
    """A failure then does not make a budget forget what was spent."""
    answers = [100]

    def settled(scope: str, since_ns: int) -> int:
        if len(answers) == 1:
            answers.append(0)
            raise RecordError("the disk is gone")
        return answers[0]

    ledger = Ledger([budget()], ManualClock(), settled)
    tab = ledger.open(ask())
    with pytest.raises(RecordError):
        await tab.begin(TARGET, quote(1))
    with pytest.raises(BudgetExhausted):
        await tab.begin(TARGET, quote(1))


# --- threads and forks -------------------------------------------------------------------------


def test_threads_keep_the_sums_exact() -> None:
    """Begin and end from many threads at once lose and invent nothing."""
    ledger, (account, other) = books(budget(amount_nusd=10**9), budget("provider:p", 10**9))
    interval_s = sys.getswitchinterval()

    async def spend() -> None:
        for number in range(400):
            tab = ledger.open(ask())
            hold = await tab.begin(TARGET, quote(10))
            if number % 2:
                tab.end(hold, Cost(7))
            else:
                tab.close()

    threads = [threading.Thread(target=lambda: asyncio.run(spend())) for _ in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    for each in (account, other):
        assert (each.held_nusd, each.settled_nusd) == (0, 8 * 200 * 7)


async def test_a_reply_dropped_in_the_middle_of_a_hold_is_settled() -> None:
    """The collector may run an old call's tail while this thread is in the ledger."""
    old: list[Callable[[], None]] = []

    def settled(scope: str, since_ns: int) -> int:
        for tail in old:
            tail()
        return 0

    ledger = Ledger([budget("user:u"), budget("user:v")], ManualClock(), settled)
    first = ledger.open(ask(principal=Principal(user_id="u")))
    hold = await first.begin(TARGET, quote(60))
    old.append(lambda: first.end(hold, Cost(25)))
    await ledger.open(ask(principal=Principal(user_id="v"))).begin(TARGET, quote(60))
    one, two = ledger.accounts()
    assert (one.settled_nusd, one.held_nusd, two.held_nusd) == (25, 0, 60)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_afresh() -> None:
    """What the parent's calls hold, and a lock one of its threads had, are not the child's."""
    ledger, (account,) = books(budget())
    asyncio.run(ledger.open(ask()).begin(TARGET, quote(60)))
    locked, done = threading.Event(), threading.Event()

    def busy() -> None:
        with ledger._lock:
            locked.set()
            done.wait()

    thread = threading.Thread(target=busy)
    thread.start()
    locked.wait()
    if (child := os.fork()) == 0:
        begin = ledger.open(ask()).begin(TARGET, quote(100))
        try:
            begin.send(None)
        except StopIteration:
            os._exit(0 if account.held_nusd == 100 else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
    assert account.held_nusd == 60


# --- any order of events -----------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Begin, end and close in any order: limits hold, nothing is lost."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.accounts = books(
            budget(mode="strict"), budget("user:u", 80), budget("tag:x", 60, mode="strict")
        )
        self.tabs = [
            self.ledger.open(ask()),
            self.ledger.open(ask(principal=Principal(user_id="u"))),
            self.ledger.open(ask(principal=Principal(user_id="u"), tags=("x",))),
        ]
        self.spent = [0, 0, 0]

    @rule(
        target=holds,
        who=st.integers(0, 2),
        estimate_nusd=st.integers(0, 40),
        more_nusd=st.integers(0, 20),
    )
    def begin(self, who: int, estimate_nusd: int, more_nusd: int) -> tuple[int, Held, int] | None:
        """Begin an attempt, which may be refused."""
        proven_nusd = estimate_nusd + more_nusd
        before = [account.held_nusd for account in self.accounts]
        begin = self.tabs[who].begin(TARGET, quote(estimate_nusd, proven_nusd))
        try:
            begin.send(None)
        except StopIteration as done:
            for account in self.accounts[: who + 1]:
                assert account.settled_nusd + account.held_nusd <= account.rule.amount_nusd
            return who, done.value, proven_nusd
        except LocalRefusal:
            assert before == [account.held_nusd for account in self.accounts]
        return None

    @rule(hold=consumes(holds), share=st.floats(0, 1))
    def end(self, hold: tuple[int, Held, int] | None, share: float) -> None:
        """End an attempt at up to its proven bound."""
        if hold is None:
            return
        who, held, proven_nusd = hold
        cost_nusd = round(proven_nusd * share)
        if held in self.tabs[who]._open:
            for number in range(who + 1):
                self.spent[number] += cost_nusd
        self.tabs[who].end(held, Cost(cost_nusd))

    @rule(who=st.integers(0, 2))
    def close(self, who: int) -> None:
        """Close a tab; what it held cost nothing."""
        self.tabs[who].close()

    @invariant()
    def strict_is_strict(self) -> None:
        """A strict limit holds at every instant, and what was spent is what is settled."""
        for account, spent_nusd in zip(self.accounts, self.spent, strict=True):
            if account.rule.mode == "strict":
                assert account.settled_nusd + account.held_nusd <= account.rule.amount_nusd
            assert account.settled_nusd == spent_nusd
            assert account.held_nusd >= 0

    def teardown(self) -> None:
        """When all is over nothing is held."""
        for tab in self.tabs:
            tab.close()
        assert [account.held_nusd for account in self.accounts] == [0, 0, 0]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
