"""Hold before, settle after, on every scope or on none; a limit is a limit at every instant."""

import pytest

from tests.ledgers import TARGET, ask, budget, ledger_of, quote, spend
from trunkline.accounting.account import Account
from trunkline.accounting.in_process import InProcessLeases
from trunkline.accounting.ledger import Ledger
from trunkline.config import BudgetRule
from trunkline.errors import BudgetExhausted, BudgetHeld, PriceUnknown
from trunkline.types import Cost, Principal, Quote

UNPRICED = Quote(None, None)


def books(*rules: BudgetRule) -> tuple[Ledger, tuple[Account, ...]]:
    """Make a ledger and return its accounts with it."""
    ledger = ledger_of(*rules)
    return ledger, ledger.accounts()


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


@pytest.mark.parametrize("said", [UNPRICED, Quote(60, None, priced=False)], ids=["all", "tier"])
@pytest.mark.parametrize("mode", ["hard", "soft"])
async def test_a_budget_may_refuse_unknown_prices(mode: str, said: Quote) -> None:
    """`unknown_price: refuse` says how to mend it, for a service tier without a price too."""
    ledger, _ = books(budget(mode=mode, unknown_price="refuse"))
    with pytest.raises(PriceUnknown, match="unknown_price"):
        await ledger.open(ask()).begin(TARGET, said)


@pytest.mark.parametrize(
    ("mode", "unknown_price", "passes"),
    [("hard", "flag", False), ("hard", "allow", True), ("soft", "flag", True)],
)
async def test_nobody_chooses_a_tier_to_go_uncharged(
    mode: str, unknown_price: str, passes: bool
) -> None:
    """Where the model has a price, a tier without one passes a hard budget only by its leave."""
    ledger, _ = books(budget(mode=mode, unknown_price=unknown_price))
    tab = ledger.open(ask())
    if passes:
        assert (await tab.begin(TARGET, Quote(60, None, priced=False))).nusd == 60
        tab.close()
    else:
        with pytest.raises(PriceUnknown, match="service_tier"):
            await tab.begin(TARGET, Quote(60, None, priced=False))


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


async def test_a_busy_process_keeps_what_it_uses_and_gives_back_the_rest() -> None:
    """Its slice of a large budget is not out of reach for all others while it makes small calls."""
    leases = InProcessLeases()
    busy = ledger_of(budget(amount_nusd=1000), leases=leases)
    other = ledger_of(budget(amount_nusd=1000), leases=leases, owner="b")
    for _ in range(3):
        await spend(busy, 1)
        busy.tend()
    await spend(other, 970)
    await spend(busy, 10)
